//! A place in Harbor as the admin API writes it: `harbor/project/repository:tag` or `…@sha256:…`. Pure.

use harbor_warmer_protocol::{HarborImage, TagOrDigest};

/// Reads it.
///
/// # Errors
/// A sentence that names the part at fault.
pub(super) fn parse(text: &str) -> Result<(HarborImage, TagOrDigest), String> {
    const FORM: &str = "write the image as harbor/project/repository:tag or harbor/project/repository@sha256:…";
    let fault = |part: &str, why: &dyn std::fmt::Display| format!("{part}: {why}; {FORM}");
    let mut parts = text.splitn(3, '/');
    let (Some(harbor), Some(project), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(FORM.to_owned());
    };
    let (repository, reference) = match rest.split_once('@') {
        Some((repository, digest)) => {
            let digest = digest.parse().map_err(|error| fault("digest", &error))?;
            (repository, TagOrDigest::Digest(digest))
        }
        None => {
            let (repository, tag) = rest.rsplit_once(':').ok_or(FORM)?;
            (repository, TagOrDigest::Tag(tag.parse().map_err(|error| fault("tag", &error))?))
        }
    };
    let image = HarborImage {
        harbor: harbor.parse().map_err(|error| fault("harbor", &error))?,
        project: project.parse().map_err(|error| fault("project", &error))?,
        repository: repository.parse().map_err(|error| fault("repository", &error))?,
    };
    Ok((image, reference))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    #[rstest]
    #[case::tag("main/hub/library/nginx:1.27", "main/hub/library/nginx", "1.27")]
    #[case::digest(&format!("main/hub/nginx@{DIGEST}"), "main/hub/nginx", DIGEST)]
    fn a_place_is_read(#[case] text: &str, #[case] image: &str, #[case] reference: &str) {
        let (read, found) = parse(text).unwrap();
        assert_eq!((read.to_string().as_str(), found.to_string().as_str()), (image, reference));
    }

    #[rstest]
    #[case("nginx", "write the image as")]
    #[case("main/hub/nginx", "write the image as")]
    #[case("Main/hub/nginx:1", "harbor: may hold")]
    #[case("main/hub/:1", "repository: must not be empty")]
    #[case("main/hub/nginx:.1", "tag: a tag has")]
    #[case("main/hub/nginx@sha256:12", "digest: a sha256 digest has")]
    fn the_part_at_fault_is_named(#[case] text: &str, #[case] begins: &str) {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(begins), "{error}");
    }
}
