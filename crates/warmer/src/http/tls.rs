//! The registry port's certificate, read again when its files change.
//!
//! cert-manager and the kubelet replace the files while the service runs. What was served last stays in use when the
//! new files can't be read or don't fit together: that is often the middle of a replacement.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::{TlsFiles, small_file};

/// Why there is no certificate to serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file can't be read.
    #[error("can't read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{} holds no {what} in PEM form", path.display())]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The key can't be used, or is another certificate's.
    #[error("the key in {} doesn't fit the certificate", path.display())]
    KeyMismatch {
        /// The key's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The library refuses the set-up.
    #[error("TLS can't be set up")]
    Setup(#[source] rustls::Error),
}

/// The certificate that is served, and where it stands.
pub(crate) struct ServerCertificate {
    files: TlsFiles,
    served: Arc<Served>,
}

/// What a handshake picks its certificate from.
#[derive(Debug)]
struct Served(RwLock<(Contents, Arc<CertifiedKey>)>);

/// The two files as they were read: they changed when these did, whatever their times say.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contents")
    }
}

impl ServerCertificate {
    /// Reads the files. Blocks on them.
    ///
    /// # Errors
    /// Says which file is at fault.
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let contents = Contents::read(files)?;
        let key = contents.parse(files)?;
        Ok(Self { files: files.clone(), served: Arc::new(Served(RwLock::new((contents, Arc::new(key))))) })
    }

    /// Reads the files again, and serves what they hold from the next handshake on. Says whether anything changed.
    /// Blocks on the files.
    ///
    /// # Errors
    /// Says which file is at fault; what was served before goes on being served.
    pub(crate) fn reload(&self) -> Result<bool, TlsError> {
        let contents = Contents::read(&self.files)?;
        if self.served.0.read().is_ok_and(|served| served.0 == contents) {
            return Ok(false);
        }
        let key = Arc::new(contents.parse(&self.files)?);
        // Nothing panics while it holds the lock, and the value is whole in any case.
        *self.served.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = (contents, key);
        Ok(true)
    }

    /// What carries out the handshakes. It follows every later [`ServerCertificate::reload`].
    ///
    /// TLS 1.3 and 1.2. Tickets are for clients that keep a session between connections; a policy server doesn't, since
    /// it makes a new client for each call, so one ticket a connection is enough.
    ///
    /// # Errors
    /// [`TlsError::Setup`] where the library refuses, such as without a source of randomness.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.served) as Arc<dyn ResolvesServerCert>);
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Setup)?;
        config.send_tls13_tickets = 1;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let served = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        Some(Arc::clone(&served.1))
    }
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &PathBuf| {
            small_file::read(path).map_err(|source| TlsError::Unreadable { path: path.clone(), source })
        };
        Ok(Self { certificate: read(&files.certificate)?, key: read(&files.key)? })
    }

    fn parse(&self, files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
        let no_certificate = || TlsError::NotPem { path: files.certificate.clone(), what: "certificate" };
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| no_certificate())?;
        if chain.is_empty() {
            return Err(no_certificate());
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| TlsError::NotPem { path: files.key.clone(), what: "private key" })?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|source| TlsError::KeyMismatch { path: files.key.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rstest::rstest;

    use super::*;

    fn write_pair(directory: &Path, certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> TlsFiles {
        let files = TlsFiles { certificate: directory.join("tls.crt"), key: directory.join("tls.key") };
        fs::write(&files.certificate, certificate.cert.pem()).unwrap();
        fs::write(&files.key, certificate.signing_key.serialize_pem()).unwrap();
        files
    }

    fn certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
    }

    fn served(certificate: &ServerCertificate) -> Vec<u8> {
        certificate.served.0.read().unwrap().1.cert[0].to_vec()
    }

    #[test]
    fn a_replaced_certificate_is_served_and_an_unchanged_one_is_not_parsed_again() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (certificate(), certificate());
        let loaded = ServerCertificate::load(&write_pair(directory.path(), &first)).unwrap();
        assert_eq!(served(&loaded), first.cert.der().to_vec());
        assert!(!loaded.reload().unwrap());
        write_pair(directory.path(), &second);
        assert!(loaded.reload().unwrap());
        assert_eq!(served(&loaded), second.cert.der().to_vec());
    }

    #[test]
    fn half_a_replacement_leaves_the_old_certificate_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (certificate(), certificate());
        let files = write_pair(directory.path(), &first);
        let loaded = ServerCertificate::load(&files).unwrap();
        fs::write(&files.certificate, second.cert.pem()).unwrap();
        assert!(matches!(loaded.reload(), Err(TlsError::KeyMismatch { .. })));
        assert_eq!(served(&loaded), first.cert.der().to_vec());
        fs::write(&files.key, second.signing_key.serialize_pem()).unwrap();
        assert!(loaded.reload().unwrap());
        assert_eq!(served(&loaded), second.cert.der().to_vec());
    }

    #[rstest]
    #[case::no_certificate("", None, "tls.crt holds no certificate in PEM form")]
    #[case::garbage("-----BEGIN CERTIFICATE-----\n!", None, "tls.crt holds no certificate in PEM form")]
    #[case::no_key("CERTIFICATE", Some(""), "tls.key holds no private key in PEM form")]
    fn a_file_at_fault_is_named(#[case] chain: &str, #[case] key: Option<&str>, #[case] expected: &str) {
        let directory = tempfile::tempdir().unwrap();
        let files = write_pair(directory.path(), &certificate());
        if chain != "CERTIFICATE" {
            fs::write(&files.certificate, chain).unwrap();
        }
        if let Some(key) = key {
            fs::write(&files.key, key).unwrap();
        }
        let error = ServerCertificate::load(&files).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let files = write_pair(directory.path(), &certificate());
        fs::remove_file(&files.key).unwrap();
        let error = ServerCertificate::load(&files).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("tls.key"), "{error}");
    }
}
