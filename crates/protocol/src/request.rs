use std::fmt;

use crate::hand_off::UNTAGGED;
use crate::{Digest, HandOff, HarborImage, NameTooLong, Platforms, Subject, Tag, TagOrDigest, TargetName, VERSION};

/// A request to the warmer's registry port, parsed from its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryRequest {
    /// `/v2/`: the version check that every OCI client makes.
    Version,
    /// A manifest request that hands an image over.
    HandOff(HandOff),
    /// A manifest of Harbor's, through the warmer's bounded front.
    Manifest {
        /// Where the manifest lives.
        image: HarborImage,
        /// Which one.
        reference: TagOrDigest,
    },
    /// A manifest of a hand-off's repository by digest, as clients ask for that resolved its tag first.
    ReceiptByDigest {
        /// The digest asked for.
        digest: Digest,
    },
    /// A blob of a hand-off's repository. Receipts have one, the empty config.
    Blob {
        /// The digest asked for.
        digest: Digest,
    },
}

/// Why a path is not one of the contract's requests. `code` is the distribution spec's error code for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The path is none of this API's.
    UnknownPath,
    /// The repository name starts with another version than this warmer speaks.
    UnknownVersion,
    /// The repository name is none of the contract's; says which part.
    InvalidName(&'static str, String),
    /// The last segment is neither a tag nor a digest.
    InvalidReference(String),
}

impl RequestError {
    /// The distribution spec's error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownPath => "UNSUPPORTED",
            Self::UnknownVersion | Self::InvalidName(..) => "NAME_INVALID",
            Self::InvalidReference(_) => "MANIFEST_INVALID",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPath => f.write_str("not a path of the warmer's registry port"),
            Self::UnknownVersion => write!(
                f,
                "this warmer speaks version {VERSION} of the contract; update whichever of policy and warmer is older"
            ),
            Self::InvalidName(part, why) => write!(f, "{part}: {why}"),
            Self::InvalidReference(why) => write!(f, "tag or digest: {why}"),
        }
    }
}

impl std::error::Error for RequestError {}

fn named<T: std::str::FromStr>(part: &'static str, text: &str) -> Result<T, RequestError>
where
    T::Err: fmt::Display,
{
    text.parse().map_err(|error: T::Err| RequestError::InvalidName(part, error.to_string()))
}

impl RegistryRequest {
    /// Parses the path of a request's URL.
    ///
    /// # Errors
    /// Says what is wrong with it; nothing of the path is taken for what it might have meant.
    pub fn parse(path: &str) -> Result<Self, RequestError> {
        let rest = path.strip_prefix("/v2").ok_or(RequestError::UnknownPath)?;
        if rest.is_empty() || rest == "/" {
            return Ok(Self::Version);
        }
        let rest = rest.strip_prefix('/').ok_or(RequestError::UnknownPath)?;
        // The last occurrence: a repository may have a component of that name.
        if let Some((name, reference)) = rest.rsplit_once("/manifests/") {
            return Self::manifest(name, reference);
        }
        if let Some((name, digest)) = rest.rsplit_once("/blobs/") {
            Name::parse(name)?;
            let digest =
                digest.parse().map_err(|e: crate::DigestError| RequestError::InvalidReference(e.to_string()))?;
            return Ok(Self::Blob { digest });
        }
        Err(RequestError::UnknownPath)
    }

    fn manifest(name: &str, reference: &str) -> Result<Self, RequestError> {
        let name = Name::parse(name)?;
        let reference: TagOrDigest =
            reference.parse().map_err(|e: crate::TagError| RequestError::InvalidReference(e.to_string()))?;
        let (verb, image, target, platforms) = match name {
            Name::Harbor(image) => return Ok(Self::Manifest { image, reference }),
            Name::HandOff { verb, image, target, platforms } => (verb, image, target, platforms),
        };
        let tag = match reference {
            TagOrDigest::Tag(tag) => tag,
            TagOrDigest::Digest(digest) => return Ok(Self::ReceiptByDigest { digest }),
        };
        let subject = match verb {
            Verb::Tag => Subject::Tag(tag),
            Verb::Pin(digest, Tagged::Yes) => Subject::Pin { digest, tag: Some(tag) },
            Verb::Layers(child, Tagged::Yes) => Subject::Layers { child, tag: Some(tag) },
            Verb::Pin(digest, Tagged::No) => Subject::Pin { digest, tag: untagged(&tag)? },
            Verb::Layers(child, Tagged::No) => Subject::Layers { child, tag: untagged(&tag)? },
        };
        Ok(Self::HandOff(HandOff { image, target, platforms, subject }))
    }

    /// The name and last segment of Harbor's manifest through the front.
    ///
    /// # Errors
    /// [`NameTooLong`]; the name is never cut.
    pub fn front_name(image: &HarborImage) -> Result<String, NameTooLong> {
        let name = format!("{VERSION}/harbor/{image}");
        if name.len() > crate::REPOSITORY_MAX_CHARACTERS {
            return Err(NameTooLong { characters: name.len() });
        }
        Ok(name)
    }

    /// The reference that an OCI client is given for Harbor's manifest through the front. `warmer` is the warmer's
    /// `host:port`.
    ///
    /// # Errors
    /// [`NameTooLong`]; the name is never cut.
    pub fn front_reference(warmer: &str, image: &HarborImage, reference: &TagOrDigest) -> Result<String, NameTooLong> {
        let separator = match reference {
            TagOrDigest::Tag(_) => ':',
            TagOrDigest::Digest(_) => '@',
        };
        Ok(format!("{warmer}/{}{separator}{reference}", Self::front_name(image)?))
    }
}

fn untagged(tag: &Tag) -> Result<Option<Tag>, RequestError> {
    if tag.as_str() == UNTAGGED {
        return Ok(None);
    }
    Err(RequestError::InvalidReference(format!("an untagged hand-off ends in `{UNTAGGED}`")))
}

enum Name {
    Harbor(HarborImage),
    HandOff { verb: Verb, target: Option<TargetName>, platforms: Platforms, image: HarborImage },
}

enum Verb {
    Tag,
    Pin(Digest, Tagged),
    Layers(Digest, Tagged),
}

enum Tagged {
    Yes,
    No,
}

impl Name {
    fn parse(name: &str) -> Result<Self, RequestError> {
        if name.len() > crate::REPOSITORY_MAX_CHARACTERS {
            let error = NameTooLong { characters: name.len() };
            return Err(RequestError::InvalidName("name", error.to_string()));
        }
        let mut segments = Segments(name);
        if segments.next("version")? != VERSION {
            return Err(RequestError::UnknownVersion);
        }
        let verb = segments.next("verb")?;
        let mut digest = || named("digest", &format!("sha256:{}", segments.next("digest")?));
        let verb = match verb {
            "harbor" => return Ok(Self::Harbor(segments.image()?)),
            "tag" => Verb::Tag,
            "pin" => Verb::Pin(digest()?, Tagged::Yes),
            "pin-untagged" => Verb::Pin(digest()?, Tagged::No),
            "layers" => Verb::Layers(digest()?, Tagged::Yes),
            "layers-untagged" => Verb::Layers(digest()?, Tagged::No),
            other => return Err(RequestError::InvalidName("verb", format!("`{other}` is not known"))),
        };
        let target = match segments.next("target")? {
            TargetName::NONE => None,
            target => Some(named("target", target)?),
        };
        let platforms = Platforms::from_path_form(segments.next("platforms")?)
            .map_err(|error| RequestError::InvalidName("platforms", error.to_string()))?;
        Ok(Self::HandOff { verb, target, platforms, image: segments.image()? })
    }
}

/// What is left of a repository name.
struct Segments<'a>(&'a str);

impl<'a> Segments<'a> {
    fn next(&mut self, part: &'static str) -> Result<&'a str, RequestError> {
        let (segment, rest) = self
            .0
            .split_once('/')
            .ok_or_else(|| RequestError::InvalidName(part, "the name ends too early".to_owned()))?;
        self.0 = rest;
        Ok(segment)
    }

    /// Harbor, project and, as all the rest, the repository.
    fn image(&mut self) -> Result<HarborImage, RequestError> {
        Ok(HarborImage {
            harbor: named("harbor", self.next("harbor")?)?,
            project: named("project", self.next("project")?)?,
            repository: named("repository", self.0)?,
        })
    }
}
