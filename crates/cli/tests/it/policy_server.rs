//! The real `.wasm` in a policy server beside a site, and the workloads that it is shown.

use harbor_warmer_policy_host::{DockerConfig, PolicyHost, PolicyHostBuilder, RegistrySources, policy_wasm};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::site::{Options, Site, harbor};

/// The cluster whose policy servers a [`TlsSite`] knows.
pub(crate) const CLUSTER: &str = "blue";

/// A site as it is installed: HTTPS with an authority of its own, and credentials of a cluster.
pub(crate) struct TlsSite {
    pub(crate) site: Site,
    /// In PEM form.
    pub(crate) authority: String,
    _certificate: TempDir,
}

impl TlsSite {
    pub(crate) async fn start(options: Options) -> Self {
        let certificate = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        std::fs::write(certificate.path().join("tls.crt"), leaf.pem()).unwrap();
        std::fs::write(certificate.path().join("tls.key"), key.serialize_pem()).unwrap();
        let more = match options.registry.as_str() {
            "" => String::new(),
            keys => format!(", {keys}"),
        };
        let registry = format!(
            "tls: {{certificateFile: {path}/tls.crt, keyFile: {path}/tls.key}}, \
             credentials: [{{cluster: {CLUSTER}, passwordFile: password}}]{more}",
            path = certificate.path().display()
        );
        let site = Site::with(harbor(), Options { registry, ..options }).await;
        Self { site, authority: authority.pem(), _certificate: certificate }
    }

    /// How a policy server of the cluster reaches `address`, if it has a certificate of this site's authority.
    pub(crate) fn sources(&self, address: &str) -> RegistrySources {
        let docker_config = DockerConfig::default().with_credentials(address, CLUSTER, "s3cret");
        let mut sources = RegistrySources { docker_config, ..RegistrySources::default() };
        sources.source_authorities.insert(address.to_owned(), vec![self.authority.clone()]);
        sources
    }

    /// A policy server of the cluster, with Kubewarden's defaults.
    pub(crate) fn policy_server(&self) -> PolicyHostBuilder {
        let address = self.site.service.registry_address.to_string();
        policy_server_at(&address).registry(self.sources(&address))
    }
}

/// A policy server with Kubewarden's defaults: protect mode, 2 s, one lock per capability.
pub(crate) fn policy_server(site: &Site) -> PolicyHostBuilder {
    let address = site.service.registry_address.to_string();
    policy_server_at(&address).registry(plain(&address))
}

pub(crate) fn policy_server_at(address: &str) -> PolicyHostBuilder {
    PolicyHost::builder().wasm(policy_wasm()).settings(settings(address))
}

/// The registry is spoken to in plain HTTP.
pub(crate) fn plain(address: &str) -> RegistrySources {
    let mut sources = RegistrySources::default();
    sources.insecure.insert(address.to_owned());
    sources
}

pub(crate) fn settings(address: &str) -> Value {
    json!({
        "warmer": address,
        "rules": [
            {"prefix": "docker.io/", "harbor": "main", "project": "hub"},
            {
                "pattern": "^[0-9]+\\.dkr\\.ecr\\.[^/]+/dockerhub/(?<repository>[^:]+):(?<tag>.+)$",
                "harbor": "main", "project": "hub", "repository": "{repository}", "tag": "{tag}",
            },
        ],
        "platforms": ["linux/amd64"],
    })
}

/// The AdmissionReview of a new Deployment with these images.
pub(crate) fn deployment(images: &[&str]) -> Value {
    let containers: Vec<_> =
        images.iter().enumerate().map(|(n, image)| json!({"name": format!("c{n}"), "image": image})).collect();
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "6b1f9a52-0d0a-4d0f-8d3c-1a2b3c4d5e6f",
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
            "operation": "CREATE",
            "namespace": "shop",
            "name": "web",
            "dryRun": false,
            "userInfo": {"username": "alice"},
            "object": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "shop"},
                "spec": {"template": {"spec": {"containers": containers}}},
            },
        },
    })
}

/// Admits a Deployment with these images; what the person at `kubectl` is warned of.
pub(crate) async fn admit(host: &PolicyHost, images: &[&str]) -> Vec<String> {
    let review = host.admission_review(&deployment(images)).await.expect("an AdmissionReview");
    assert_eq!(review["response"]["allowed"], true, "{review:#}");
    let warnings = review["response"]["warnings"].as_array().cloned().unwrap_or_default();
    warnings.into_iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
}
