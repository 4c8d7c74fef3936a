//! Bytes of a file as text.

use std::fmt;

/// Why bytes are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotText {
    /// UTF-16, as a redirection in Windows PowerShell writes it.
    Utf16,
    /// Something else: where the first character is that UTF-8 doesn't have.
    Other {
        /// The line, from 1.
        line: usize,
        /// The byte.
        byte: u8,
    },
}

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf16 => f.write_str(
                "it is UTF-16, as `>` in Windows PowerShell writes it; save it as UTF-8, there with `| Out-File -Encoding utf8`",
            ),
            Self::Other { line, byte } => {
                write!(f, "line {line} holds the byte 0x{byte:02X}, which is not UTF-8; save the file as UTF-8")
            }
        }
    }
}

impl std::error::Error for NotText {}

/// The text, without a byte order mark.
///
/// # Errors
/// Where it is none, and what to do.
pub fn text_of(bytes: Vec<u8>) -> Result<String, NotText> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(NotText::Utf16);
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let (valid, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let line = bytes.iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        NotText::Other { line, byte: bytes.get(valid).copied().unwrap_or_default() }
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
