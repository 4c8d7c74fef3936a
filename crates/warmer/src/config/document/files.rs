//! Files that the configuration names, read once so that `serve` finds nothing wrong in them.

use harbor_warmer_settings::{Absent, File, Setting, Text, format};
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::section::{ReadFile, Reading, Section};
use crate::config::{TlsFiles, small_file};
use harbor_warmer_harbor::Secret;

pub(super) static PASSWORD_FILE: Setting<File> = Setting {
    key: "passwordFile",
    absent: Absent::Depends("this or `passwordEnv`"),
    meaning: "A file that holds the password and perhaps a final line break. Read again when it changes.",
    example: "secrets/password",
    kind: File,
};

pub(super) static PASSWORD_ENV: Setting<Text> = Setting {
    key: "passwordEnv",
    absent: Absent::Depends("this or `passwordFile`"),
    meaning: "The name of an environment variable with the password, read once at the start.",
    example: "ROBOT_PASSWORD",
    kind: Text { format: &format::WRITTEN, default: None },
};

pub(super) static CERTIFICATE_FILE: Setting<File> = Setting {
    key: "certificateFile",
    absent: Absent::Required("write certificateFile and keyFile, or remove tls for plain HTTP"),
    meaning: "The chain, leaf first, in PEM form. Read again when it changes.",
    example: "secrets/tls.crt",
    kind: File,
};

pub(super) static KEY_FILE: Setting<File> = Setting {
    key: "keyFile",
    absent: Absent::Required("write certificateFile and keyFile, or remove tls for plain HTTP"),
    meaning: "The private key, in PEM form. Read again when it changes.",
    example: "secrets/tls.key",
    kind: File,
};

/// A secret from `passwordFile` or `passwordEnv`. One in plain text is refused: configurations end in Git, in tickets
/// and on screens.
pub(super) fn read_secret(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Secret> {
    let plain = section.get_hidden("password").map(|(path, _)| path);
    if let Some(path) = &plain {
        let message = "a secret does not belong into the configuration; write it into a file and name that in \
                       passwordFile, or name an environment variable in passwordEnv";
        reading.mistake(path, message);
    }
    let has_file = section.get(&PASSWORD_FILE).is_some();
    let has_variable = section.get(&PASSWORD_ENV).is_some();
    match (has_file, has_variable) {
        (true, true) => {
            section.mistake(&PASSWORD_ENV, "stands beside passwordFile; remove one of the two", reading);
            None
        }
        (true, false) => read_secret_file(section, reading),
        (false, true) => read_secret_variable(section, reading),
        (false, false) if plain.is_some() => None,
        (false, false) => {
            section.mistake(&PASSWORD_FILE, "is missing; write the path of a file that holds the password", reading);
            None
        }
    }
}

fn read_secret_file(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Secret> {
    read_one_secret(section, &PASSWORD_FILE, reading).map(|(path, _)| Secret::File(path))
}

/// A file that holds one secret, and the secret.
pub(super) fn read_one_secret(
    section: &mut Section<'_>,
    setting: &Setting<File>,
    reading: &mut Reading<'_>,
) -> Option<(std::path::PathBuf, Vec<u8>)> {
    let file = section.file(setting, reading)?;
    match one_secret(&file.bytes).map(<[u8]>::to_vec) {
        Ok(secret) => Some((file.path, secret)),
        Err(fault) => {
            section.mistake(setting, format!("{} {fault}", file.path.display()), reading);
            None
        }
    }
}

/// The secret in some bytes. All of it but a final line break is sent, so that a blank which nobody sees would be refused
/// as a wrong password.
fn one_secret(bytes: &[u8]) -> Result<&[u8], String> {
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] = bytes {
        return Err("is UTF-16, as `>` in Windows PowerShell writes it; save it as UTF-8".to_owned());
    }
    let secret = small_file::secret(bytes).map_err(|fault| fault.to_string())?;
    let text = std::str::from_utf8(secret).unwrap_or_default();
    let odd = if text.starts_with('\u{feff}') {
        "starts with a byte order mark"
    } else if text.ends_with(char::is_whitespace) {
        "ends with a blank"
    } else if text.starts_with(char::is_whitespace) {
        "starts with a blank"
    } else {
        return Ok(secret);
    };
    Err(format!("{odd}, which would be sent with the password; write it without"))
}

fn read_secret_variable(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Secret> {
    let name = section.text(&PASSWORD_ENV, reading)?;
    match std::env::var(name) {
        Ok(value) => {
            let fault = match value.ends_with(['\r', '\n']) {
                true => Some("ends with a line break, which would be sent; write it without".to_owned()),
                false => one_secret(value.as_bytes()).err(),
            };
            match fault {
                Some(fault) => {
                    section.mistake(&PASSWORD_ENV, format!("the environment variable `{name}` {fault}"), reading);
                    None
                }
                None => Some(Secret::Environment(name.to_owned())),
            }
        }
        Err(_) => {
            let message = format!("the environment variable `{name}` is not set; this key takes a variable's name");
            section.mistake(&PASSWORD_ENV, message, reading);
            None
        }
    }
}

/// Certificate and key of the registry port: both, whole, and of each other.
pub(super) fn read_tls(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<TlsFiles> {
    let chain = section.file(&CERTIFICATE_FILE, reading);
    let private = section.file(&KEY_FILE, reading);
    let chain = chain.and_then(|file| read_certificates(section, &CERTIFICATE_FILE, file, reading));
    let private = private.and_then(|file| match PrivateKeyDer::from_pem_slice(&file.bytes) {
        Ok(der) => Some((file.path, der)),
        Err(_) => {
            let message = format!("{} holds no private key in PEM form", file.path.display());
            section.mistake(&KEY_FILE, message, reading);
            None
        }
    });
    let ((certificate_path, chain), (key_path, private)) = (chain?, private?);
    match CertifiedKey::from_der(chain, private, &ring::default_provider()) {
        Ok(_) => Some(TlsFiles { certificate: certificate_path, key: key_path }),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let message = format!("{} is not the key of {}", key_path.display(), certificate_path.display());
            section.mistake(&KEY_FILE, message, reading);
            None
        }
        Err(error) => {
            section.mistake(&KEY_FILE, format!("{} can't be used: {error}", key_path.display()), reading);
            None
        }
    }
}

/// A file with at least one certificate.
pub(super) fn read_certificates(
    section: &Section<'_>,
    setting: &Setting<File>,
    file: ReadFile,
    reading: &mut Reading<'_>,
) -> Option<(std::path::PathBuf, Vec<CertificateDer<'static>>)> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Some((file.path, certificates)),
        _ => {
            section.mistake(setting, format!("{} holds no certificate in PEM form", file.path.display()), reading);
            None
        }
    }
}
