//! Files that the configuration names, read once so that `serve` finds nothing wrong in them.

use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::section::{ReadFile, Reading, Section};
use crate::config::{Secret, TlsFiles};

/// A secret from `passwordFile` or `passwordEnv`. One in plain text is refused: configurations end in Git, in tickets
/// and on screens.
pub(super) fn read_secret(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Secret> {
    let plain = section.get_hidden("password").is_some();
    if plain {
        let message = "a secret does not belong into the configuration; write it into a file and name that in \
                       passwordFile, or name an environment variable in passwordEnv";
        reading.mistake(section.path("password"), message);
    }
    let has_file = section.get("passwordFile").is_some();
    let has_variable = section.get("passwordEnv").is_some();
    match (has_file, has_variable) {
        (true, true) => {
            reading.mistake(section.path("passwordEnv"), "stands beside passwordFile; remove one of the two");
            None
        }
        (true, false) => read_secret_file(section, reading),
        (false, true) => read_secret_variable(section, reading),
        (false, false) if plain => None,
        (false, false) => {
            section.missing("passwordFile", "write the path of a file that holds the password", reading);
            None
        }
    }
}

fn read_secret_file(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Secret> {
    let file = section.file("passwordFile", reading)?;
    match std::str::from_utf8(&file.bytes).map(str::trim_end) {
        Ok("") => reading.mistake(section.path("passwordFile"), format!("{} is empty", file.path.display())),
        Ok(text) if text.contains('\n') => {
            let message = format!("{} has several lines; it must hold the password alone", file.path.display());
            reading.mistake(section.path("passwordFile"), message);
        }
        Ok(_) => return Some(Secret::File(file.path)),
        Err(_) => reading.mistake(section.path("passwordFile"), format!("{} is not text", file.path.display())),
    }
    None
}

fn read_secret_variable(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Secret> {
    let name = section.text("passwordEnv", reading)?;
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Some(Secret::Environment(name.to_owned())),
        Ok(_) => {
            reading.mistake(section.path("passwordEnv"), format!("the environment variable `{name}` is empty"));
            None
        }
        Err(_) => {
            let message = format!("the environment variable `{name}` is not set; this key takes a variable's name");
            reading.mistake(section.path("passwordEnv"), message);
            None
        }
    }
}

/// Certificate and key of the registry port: both, whole, and of each other.
pub(super) fn read_tls(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<TlsFiles> {
    let (certificate, key) = ("certificateFile", "keyFile");
    for (there, absent) in [(certificate, key), (key, certificate)] {
        if section.get(there).is_some() && section.get(absent).is_none() {
            section.missing(absent, &format!("{there} alone is not enough for TLS"), reading);
        }
    }
    if section.get(certificate).is_none() && section.get(key).is_none() {
        section.missing(certificate, "write certificateFile and keyFile, or remove tls for plain HTTP", reading);
    }
    let chain = section.file(certificate, reading);
    let private = section.file(key, reading);
    let chain = chain.and_then(|file| read_certificates(section, certificate, file, reading));
    let private = private.and_then(|file| match PrivateKeyDer::from_pem_slice(&file.bytes) {
        Ok(der) => Some((file.path, der)),
        Err(_) => {
            let message = format!("{} holds no private key in PEM form", file.path.display());
            reading.mistake(section.path(key), message);
            None
        }
    });
    let ((certificate_path, chain), (key_path, private)) = (chain?, private?);
    match CertifiedKey::from_der(chain, private, &ring::default_provider()) {
        Ok(_) => Some(TlsFiles { certificate: certificate_path, key: key_path }),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let message = format!("{} is not the key of {}", key_path.display(), certificate_path.display());
            reading.mistake(section.path(key), message);
            None
        }
        Err(error) => {
            reading.mistake(section.path(key), format!("{} can't be used: {error}", key_path.display()));
            None
        }
    }
}

/// A file with at least one certificate.
pub(super) fn read_certificates(
    section: &Section<'_>,
    key: &str,
    file: ReadFile,
    reading: &mut Reading<'_>,
) -> Option<(std::path::PathBuf, Vec<CertificateDer<'static>>)> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Some((file.path, certificates)),
        _ => {
            reading.mistake(section.path(key), format!("{} holds no certificate in PEM form", file.path.display()));
            None
        }
    }
}
