//! A certificate authority for one run, a certificate for 127.0.0.1, and a client that trusts it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What both sides of a TLS connection need.
pub(crate) struct Identity {
    authority: CertifiedIssuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Identity {
    /// Makes a new one.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &authority)?;
        Ok(Self { authority, certificate, key })
    }

    /// Writes `ca.crt`, `tls.crt` and `tls.key`.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        fs::write(directory.join("ca.crt"), self.authority.pem())?;
        fs::write(directory.join("tls.crt"), self.certificate.pem())?;
        fs::write(directory.join("tls.key"), self.key.serialize_pem())?;
        Ok(())
    }

    /// A server's side.
    pub(crate) fn acceptor(&self) -> anyhow::Result<TlsAcceptor> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// A client's side. Every connection is a whole handshake: a policy server makes a new client for every call, so
    /// it has no session to resume.
    pub(crate) fn connector(&self) -> anyhow::Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone())?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
