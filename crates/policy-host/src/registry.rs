//! Asking a registry, as policy-fetcher does it: a new client for every call, and HTTPS before anything less.
//!
//! Every call costs a connection, `GET /v2/`, a token where one is demanded, and the request itself. There are no
//! timeouts, neither of connecting nor of reading: a registry that hangs holds the evaluation, and the capability's
//! lock with it.

use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::OciManifest;
use oci_client::{Client, Reference};

use crate::sources::RegistrySources;

/// How a registry is spoken to.
#[derive(Debug, Clone, Copy)]
enum Transport {
    /// HTTPS, verified against the source's authorities or the system's.
    Verified,
    /// HTTPS with whatever certificate.
    Unverified,
    /// No TLS.
    Plain,
}

/// The registries of the configured sources.
#[derive(Debug)]
pub(crate) struct Registries {
    sources: RegistrySources,
}

impl Registries {
    pub(crate) fn new(sources: RegistrySources) -> Self {
        Self { sources }
    }

    /// The digest of what `reference` names, by `HEAD`. oci-client repeats it as a `GET` when the answer, an error's
    /// included, lacks `Docker-Content-Digest`.
    pub(crate) async fn manifest_digest(&self, reference: &Reference) -> Result<String, OciDistributionError> {
        let auth = self.sources.docker_config.auth(reference.registry());
        self.over_each_transport(reference, async |client| client.fetch_manifest_digest(reference, &auth).await).await
    }

    /// The manifest or index that `reference` names, by `GET`.
    pub(crate) async fn manifest(&self, reference: &Reference) -> Result<OciManifest, OciDistributionError> {
        let auth = self.sources.docker_config.auth(reference.registry());
        self.over_each_transport(reference, async |client| client.pull_manifest(reference, &auth).await)
            .await
            .map(|(manifest, _digest)| manifest)
    }

    /// Any error makes policy-fetcher try the next transport, a 404 too. The last error is the one that is told.
    async fn over_each_transport<T>(
        &self,
        reference: &Reference,
        ask: impl AsyncFn(Client) -> Result<T, OciDistributionError>,
    ) -> Result<T, OciDistributionError> {
        let verified = ask(self.client(reference.registry(), Transport::Verified)).await;
        if verified.is_ok() || !self.sources.insecure.contains(reference.registry()) {
            return verified;
        }
        match ask(self.client(reference.registry(), Transport::Unverified)).await {
            Ok(answer) => Ok(answer),
            Err(_) => ask(self.client(reference.registry(), Transport::Plain)).await,
        }
    }

    fn client(&self, registry: &str, transport: Transport) -> Client {
        let mut config = ClientConfig::default();
        match transport {
            Transport::Verified => {
                config.protocol = ClientProtocol::Https;
                config.extra_root_certificates = self.authorities(registry);
            }
            Transport::Unverified => {
                config.protocol = ClientProtocol::Https;
                config.accept_invalid_certificates = true;
            }
            Transport::Plain => config.protocol = ClientProtocol::Http,
        }
        // Like policy-fetcher, not `try_from`: a certificate that is none makes a client without it, and a log line.
        Client::new(config)
    }

    fn authorities(&self, registry: &str) -> Vec<Certificate> {
        let certificates = self.sources.source_authorities.get(registry).into_iter().flatten();
        certificates
            .map(|pem| Certificate { encoding: CertificateEncoding::Pem, data: pem.clone().into_bytes() })
            .collect()
    }
}
