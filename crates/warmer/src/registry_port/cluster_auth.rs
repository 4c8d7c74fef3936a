//! Who may use the registry port: one user for each cluster, by HTTP Basic credentials.
//!
//! Passwords are kept as their SHA-256 only. That also makes every comparison one of 32 bytes in constant time, so that
//! neither a password's length nor its beginning shows in the time of an answer.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::config::ClusterCredential;
use crate::config::small_file::{self, SecretFault};
use harbor_warmer_harbor::Secret;

/// What a cluster is called where no credentials are configured.
pub(super) const ANONYMOUS: &str = "anonymous";

/// A cluster's password can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the password of cluster `{cluster}` can't be used: {why}")]
pub(crate) struct PasswordError {
    /// Whose.
    pub cluster: String,
    /// Why.
    pub why: PasswordFault,
}

/// What is wrong with a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordFault {
    /// The file can't be read.
    #[error("{} can't be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The environment variable is not set, or is no text.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// It can't be a password.
    #[error("it {0}")]
    NoSecret(#[from] SecretFault),
}

/// Why a request proves nothing. Clients are told the same for all three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unauthorized {
    /// It has no `Authorization`, or none that is `Basic`.
    NoCredentials,
    /// It names nobody that is configured.
    UnknownUser,
    /// It names a cluster, and has not its password.
    WrongPassword(Arc<str>),
}

/// The users.
pub(super) struct ClusterAuth {
    users: Vec<User>,
}

struct User {
    cluster: Arc<str>,
    password: Secret,
    hash: RwLock<[u8; 32]>,
}

impl ClusterAuth {
    /// Reads every password. Blocks on the files.
    ///
    /// # Errors
    /// The first password that can't be used.
    pub(super) fn load(credentials: &[ClusterCredential]) -> Result<Self, PasswordError> {
        let users = credentials
            .iter()
            .map(|ClusterCredential { cluster, password }| {
                let hash = read(password).map_err(|why| PasswordError { cluster: cluster.clone(), why })?;
                Ok(User { cluster: cluster.as_str().into(), password: password.clone(), hash: RwLock::new(hash) })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { users })
    }

    /// Reads the passwords again that stand in files. Blocks on them. Returns what can't be read; such a user's last
    /// password stays good.
    pub(super) fn reload(&self) -> Vec<PasswordError> {
        let mut errors = Vec::new();
        for user in self.users.iter().filter(|user| matches!(user.password, Secret::File(_))) {
            match read(&user.password) {
                Ok(hash) => {
                    let before =
                        std::mem::replace(&mut *user.hash.write().unwrap_or_else(PoisonError::into_inner), hash);
                    if before != hash {
                        tracing::info!(cluster = %user.cluster, "a cluster's password is replaced");
                    }
                }
                Err(why) => errors.push(PasswordError { cluster: user.cluster.to_string(), why }),
            }
        }
        errors
    }

    /// The cluster that a request's `Authorization` header proves; none where no credentials are configured, and
    /// whatever the header says counts for nothing.
    ///
    /// # Errors
    /// [`Unauthorized`] where credentials are configured and the header doesn't match any.
    pub(super) fn authenticate(&self, authorization: Option<&HeaderValue>) -> Result<Option<Arc<str>>, Unauthorized> {
        if self.users.is_empty() {
            return Ok(None);
        }
        let (name, password) = authorization.and_then(basic).ok_or(Unauthorized::NoCredentials)?;
        let given: [u8; 32] = Sha256::digest(&password).into();
        // All users are compared, whoever matches.
        let (mut found, mut named) = (None, None);
        for user in &self.users {
            let expected = user.hash.read().unwrap_or_else(PoisonError::into_inner);
            let same_name = Choice::from(u8::from(*user.cluster == *name));
            if bool::from(same_name) {
                named = Some(&user.cluster);
            }
            if bool::from(expected.ct_eq(&given) & same_name) {
                found = Some(&user.cluster);
            }
        }
        match (found, named) {
            (Some(cluster), _) => Ok(Some(Arc::clone(cluster))),
            (None, Some(cluster)) => Err(Unauthorized::WrongPassword(Arc::clone(cluster))),
            (None, None) => Err(Unauthorized::UnknownUser),
        }
    }
}

/// User name and password of a `Basic` header (RFC 7617).
fn basic(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut name = STANDARD.decode(encoded.trim_matches(' ')).ok()?;
    let colon = name.iter().position(|byte| *byte == b':')?;
    let password = name.split_off(colon + 1);
    name.pop();
    Some((String::from_utf8(name).ok()?, password))
}

/// The hash of the password, less a final line break.
fn read(secret: &Secret) -> Result<[u8; 32], PasswordFault> {
    let text = match secret {
        Secret::File(path) => {
            small_file::read(path).map_err(|error| PasswordFault::Unreadable { path: path.clone(), error })?
        }
        Secret::Environment(name) => std::env::var(name).map_err(|_| PasswordFault::Unset(name.clone()))?.into_bytes(),
    };
    Ok(Sha256::digest(small_file::secret(&text)?).into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use rstest::rstest;

    use super::*;

    fn file(directory: &tempfile::TempDir, name: &str, content: &str) -> PathBuf {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn credential(cluster: &str, path: PathBuf) -> ClusterCredential {
        ClusterCredential { cluster: cluster.to_owned(), password: Secret::File(path) }
    }

    fn header(user_and_password: &str) -> HeaderValue {
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(user_and_password))).unwrap()
    }

    #[rstest]
    #[case::east("east:sesame", Some("east"))]
    #[case::west_with_a_line_break_in_the_file("west:s:e:same", Some("west"))]
    #[case::wrong_password("east:other", None)]
    #[case::anothers_password("east:s:e:same", None)]
    #[case::beginning_of_the_password("east:sesam", None)]
    #[case::no_password("east:", None)]
    #[case::no_colon("east", None)]
    #[case::unknown_user("north:sesame", None)]
    #[case::line_break_sent("west:s:e:same\n", None)]
    fn users_are_who_their_password_says(#[case] sent: &str, #[case] cluster: Option<&str>) {
        let directory = tempfile::tempdir().unwrap();
        let auth = ClusterAuth::load(&[
            credential("east", file(&directory, "east", "sesame")),
            credential("west", file(&directory, "west", "s:e:same\r\n")),
        ])
        .unwrap();
        let proved = auth.authenticate(Some(&header(sent))).ok().flatten();
        assert_eq!(proved.as_deref(), cluster);
    }

    #[rstest]
    #[case::none(None)]
    #[case::bearer(Some("Bearer abc"))]
    #[case::not_base64(Some("Basic !!!"))]
    #[case::no_scheme(Some("c2VzYW1l"))]
    #[case::not_utf8(Some("Basic /zpzZXNhbWU="))]
    fn a_header_that_proves_nothing_is_refused(#[case] sent: Option<&str>) {
        let directory = tempfile::tempdir().unwrap();
        let auth = ClusterAuth::load(&[credential("east", file(&directory, "east", "sesame"))]).unwrap();
        let header = sent.map(|text| HeaderValue::from_str(text).unwrap());
        assert_eq!(auth.authenticate(header.as_ref()), Err(Unauthorized::NoCredentials));
    }

    #[test]
    fn without_credentials_anybody_is_nobody() {
        let auth = ClusterAuth::load(&[]).unwrap();
        assert_eq!(auth.authenticate(None), Ok(None));
        assert_eq!(auth.authenticate(Some(&header("east:sesame"))), Ok(None));
    }

    #[test]
    fn a_rotated_password_replaces_the_old_one_and_a_lost_file_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory, "east", "first");
        let auth = ClusterAuth::load(&[credential("east", path.clone())]).unwrap();
        fs::write(&path, "second\n").unwrap();
        assert!(auth.reload().is_empty());
        assert_eq!(auth.authenticate(Some(&header("east:first"))), Err(Unauthorized::WrongPassword("east".into())));
        assert!(auth.authenticate(Some(&header("east:second"))).is_ok());
        fs::write(&path, "\n").unwrap();
        assert_eq!(auth.reload().len(), 1);
        fs::remove_file(&path).unwrap();
        assert_eq!(auth.reload().len(), 1);
        assert!(auth.authenticate(Some(&header("east:second"))).is_ok());
    }

    #[rstest]
    #[case::binary(b"\x00\xffgarbage".as_slice(), "it is not text")]
    #[case::several_lines(b"first\nsecond\n".as_slice(), "it has several lines")]
    fn garbage_is_told_and_does_not_replace_a_password(#[case] garbage: &[u8], #[case] told: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory, "east", "first");
        let auth = ClusterAuth::load(&[credential("east", path.clone())]).unwrap();
        fs::write(&path, garbage).unwrap();
        let errors = auth.reload();
        assert!(errors[0].to_string().contains(told), "{errors:?}");
        assert!(auth.authenticate(Some(&header("east:first"))).is_ok());
    }

    #[test]
    fn an_error_names_the_cluster_and_never_a_password() {
        let directory = tempfile::tempdir().unwrap();
        let error = ClusterAuth::load(&[credential("east", file(&directory, "east", ""))]).err().unwrap();
        assert_eq!(error.to_string(), "the password of cluster `east` can't be used: it is empty");
    }
}
