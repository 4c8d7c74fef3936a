use std::fmt;

use crate::{Digest, HarborImage, Platforms, REPOSITORY_MAX_CHARACTERS, Tag, TargetName, VERSION};

/// One request of the policy to the warmer: warm this image for these platforms.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandOff {
    /// Where the image lives.
    pub image: HarborImage,
    /// The replication target that the workload pulls from, where the rule names one.
    pub target: Option<TargetName>,
    /// What the workload's nodes can run.
    pub platforms: Platforms,
    /// What is to be warmed.
    pub subject: Subject,
}

/// What a [`HandOff`] is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Announced by tag; nothing is resolved yet.
    Tag(Tag),
    /// Announced by digest. A workload that wrote `tag@digest` means the digest; its tag is kept for Harbor's record.
    Pin {
        /// The digest of the index or of the manifest.
        digest: Digest,
        /// The tag beside it.
        tag: Option<Tag>,
    },
    /// Resolved: this platform manifest of that tag.
    Layers {
        /// The digest of the platform manifest.
        child: Digest,
        /// The tag that was resolved; none where the workload pinned a digest without one.
        tag: Option<Tag>,
    },
}

/// The hand-off's repository name would be longer than OCI clients accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameTooLong {
    /// How many characters it would have.
    pub characters: usize,
}

impl fmt::Display for NameTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the request's name has {} characters; OCI clients accept {REPOSITORY_MAX_CHARACTERS}",
            self.characters
        )
    }
}

impl std::error::Error for NameTooLong {}

impl Subject {
    /// The tag, where there is one.
    pub fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Pin { tag, .. } | Self::Layers { tag, .. } => tag.as_ref(),
        }
    }
}

/// What stands in a request's last segment where there is no tag. It is a legal tag too, which is why the verb says
/// `-untagged` as well: `pin/…:untagged` is the tag called "untagged", `pin-untagged/…:untagged` is none.
pub(crate) const UNTAGGED: &str = "untagged";

impl HandOff {
    /// The repository name and the tag of the OCI request that this hand-off is.
    ///
    /// # Errors
    /// [`NameTooLong`]; the name is never cut.
    pub fn to_name(&self) -> Result<(String, String), NameTooLong> {
        let verb = match &self.subject {
            Subject::Tag(_) => "tag".to_owned(),
            Subject::Pin { digest, tag: Some(_) } => format!("pin/{}", digest.hex()),
            Subject::Pin { digest, tag: None } => format!("pin-{UNTAGGED}/{}", digest.hex()),
            Subject::Layers { child, tag: Some(_) } => format!("layers/{}", child.hex()),
            Subject::Layers { child, tag: None } => format!("layers-{UNTAGGED}/{}", child.hex()),
        };
        let target = self.target.as_ref().map_or(TargetName::NONE, TargetName::as_str);
        let HarborImage { harbor, project, repository } = &self.image;
        let platforms = self.platforms.path_form();
        let name = format!("{VERSION}/{verb}/{target}/{platforms}/{harbor}/{project}/{repository}");
        if name.len() > REPOSITORY_MAX_CHARACTERS {
            return Err(NameTooLong { characters: name.len() });
        }
        Ok((name, self.subject.tag().map_or(UNTAGGED, Tag::as_str).to_owned()))
    }

    /// The reference that an OCI client is given: `<warmer>/<name>:<tag>`. `warmer` is the warmer's `host:port`.
    ///
    /// # Errors
    /// [`NameTooLong`]; the name is never cut.
    pub fn to_reference(&self, warmer: &str) -> Result<String, NameTooLong> {
        let (name, tag) = self.to_name()?;
        Ok(format!("{warmer}/{name}:{tag}"))
    }
}
