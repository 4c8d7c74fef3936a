//! Small files that people and Kubernetes put somewhere: passwords, tokens, certificates.
//!
//! What is none of these is refused before it is read: a pipe would never end, and a file of gigabytes would be taken
//! into memory for a password.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A chain of certificates has some kilobytes; a docker config with hundreds of hosts still has less than this.
const MAX_BYTES: u64 = 1024 * 1024;

/// What is wrong with a text that should be one secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretFault {
    /// Nothing in it: everybody would know it.
    #[error("is empty")]
    Empty,
    /// It is no UTF-8, or has characters that nobody types.
    #[error("is not text")]
    NotText,
    /// It has more than one line.
    #[error("has several lines; it must hold the secret alone")]
    SeveralLines,
}

/// Reads a file. Blocks on it.
///
/// # Errors
/// It can't be read, is no file such as a pipe or a device, or has more than a mebibyte.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file, but a pipe or a device"));
    }
    let mut bytes = Vec::new();
    // The size of some files shows only when they are read.
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if metadata.len() > MAX_BYTES || bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it has more than 1 MiB"));
    }
    Ok(bytes)
}

/// The secret in a file's text, less a final line break, which editors and `echo` add.
///
/// # Errors
/// It can't be a secret that somebody sends in a header.
pub(crate) fn secret(text: &[u8]) -> Result<&[u8], SecretFault> {
    let secret = text.strip_suffix(b"\n").unwrap_or(text);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.is_empty() {
        return Err(SecretFault::Empty);
    }
    let text = std::str::from_utf8(secret).map_err(|_| SecretFault::NotText)?;
    if text.contains('\n') {
        return Err(SecretFault::SeveralLines);
    }
    if text.chars().any(char::is_control) { Err(SecretFault::NotText) } else { Ok(secret) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain(b"sesame", Ok(b"sesame".as_slice()))]
    #[case::with_a_line_break(b"sesame\n", Ok(b"sesame".as_slice()))]
    #[case::from_windows(b"sesame\r\n", Ok(b"sesame".as_slice()))]
    #[case::with_blanks(b" se same ", Ok(b" se same ".as_slice()))]
    #[case::beyond_ascii("gr\u{fc}\u{df}".as_bytes(), Ok("gr\u{fc}\u{df}".as_bytes()))]
    #[case::empty(b"", Err(SecretFault::Empty))]
    #[case::a_line_break_alone(b"\n", Err(SecretFault::Empty))]
    #[case::two_lines(b"sesame\nopen\n", Err(SecretFault::SeveralLines))]
    #[case::not_utf8(b"\xff\xfe\x00s", Err(SecretFault::NotText))]
    #[case::binary(b"\x00\x01\x02", Err(SecretFault::NotText))]
    fn a_secret_is_one_line_of_text(#[case] text: &[u8], #[case] expected: Result<&[u8], SecretFault>) {
        assert_eq!(secret(text), expected);
    }

    #[test]
    fn a_huge_file_and_a_pipe_are_refused_before_they_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let huge = directory.path().join("huge");
        // A hole: two gibibytes that take no room.
        File::create(&huge).unwrap().set_len(2 << 30).unwrap();
        assert_eq!(read(&huge).unwrap_err().to_string(), "it has more than 1 MiB");
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(read(&pipe).unwrap_err().to_string(), "it is no file, but a pipe or a device");
        let endless = read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(endless.to_string(), "it is no file, but a pipe or a device");
        assert_eq!(read(directory.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }
}
