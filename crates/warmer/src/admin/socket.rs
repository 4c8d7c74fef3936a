//! The Unix socket of the admin API: who may use it is who may write to its file, and that is the warmer's own user.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The socket can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the socket {} (admin.socket)", path.display())]
pub(crate) struct SocketError {
    path: PathBuf,
    #[source]
    error: io::Error,
}

/// An open socket; its file goes with it.
pub(crate) struct Socket {
    path: PathBuf,
}

impl Socket {
    /// Opens it. One that a killed process left is replaced, but no other file. Call it when nobody else has the queue,
    /// or two processes would take the socket from each other.
    ///
    /// # Errors
    /// [`SocketError`]: the directory is missing or not ours, the path is longer than the 107 bytes that the system
    /// allows, or something else is there.
    pub(crate) fn open(path: &Path) -> Result<(UnixListener, Self), SocketError> {
        let failed = |error| SocketError { path: path.to_owned(), error };
        if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            std::fs::remove_file(path).map_err(failed)?;
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = Self { path: path.to_owned() };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok((listener, socket))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, socket = %self.path.display(), "the socket's file stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_its_users_alone_replaces_a_dead_one_and_goes_with_its_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        // What a killed process leaves: a file that nobody listens at.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (listener, socket) = Socket::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(tokio::net::UnixStream::connect(&path).await.is_ok());
        drop((listener, socket));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn another_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        std::fs::write(&path, "precious").unwrap();
        let error = Socket::open(&path).err().unwrap();
        assert!(error.to_string().contains("admin.socket"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
