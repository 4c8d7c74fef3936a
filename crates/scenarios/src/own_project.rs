//! Projects of a real Harbor for one scenario each: an endpoint of its own, and two proxy-cache projects on it.

use std::net::IpAddr;

use futures_util::FutureExt;
use harbor_warmer_scenarios::{Credentials, Ground, Grounds, SiteError};
use reqwest::{Client, Response, Url, header};
use serde_json::{Value, json};

/// Has an administrator make them. They stay, to be looked at; their endpoint answers no more when the run is over. The
/// administrator pulls there, since no robot knows them.
pub(crate) fn grounds(harbor: Url, administrator: Credentials, listen: IpAddr, http: Client) -> Grounds {
    let make = move |name: String, upstream: Url| {
        let (harbor, administrator, http) = (harbor.clone(), administrator.clone(), http.clone());
        async move {
            let maker = Maker { harbor: &harbor, administrator: &administrator, http: &http };
            let endpoint = maker.endpoint(&name, &upstream).await?;
            let resolve_project = format!("{name}-resolve");
            for project in [&name, &resolve_project] {
                maker.project(project, endpoint).await?;
            }
            Ok(Ground {
                project: name,
                resolve_project: Some(resolve_project),
                robot: administrator.clone(),
                harbor: harbor.clone(),
                administrator: administrator.clone(),
                keeper: None,
            })
        }
        .boxed()
    };
    Grounds { listen, make: Box::new(make) }
}

struct Maker<'a> {
    harbor: &'a Url,
    administrator: &'a Credentials,
    http: &'a Client,
}

impl Maker<'_> {
    /// Returns its id.
    async fn endpoint(&self, name: &str, url: &Url) -> Result<u64, SiteError> {
        let url = url.as_str().trim_end_matches('/');
        let body = json!({"name": name, "type": "docker-registry", "url": url, "insecure": true});
        let created = self.post("/api/v2.0/registries", &body).await?;
        let location = created.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let id = location.and_then(|location| location.rsplit('/').next()?.parse().ok());
        id.ok_or_else(|| SiteError::Unexpected {
            request: "POST /api/v2.0/registries".to_owned(),
            status: created.status(),
            body: "no location".to_owned(),
        })
    }

    async fn project(&self, name: &str, endpoint: u64) -> Result<(), SiteError> {
        let body = json!({"project_name": name, "registry_id": endpoint, "metadata": {"public": "false"}});
        self.post("/api/v2.0/projects", &body).await?;
        Ok(())
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Response, SiteError> {
        let mut url = self.harbor.clone();
        url.set_path(path);
        let request = self
            .http
            .post(url)
            .basic_auth(&self.administrator.username, Some(&self.administrator.password))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string());
        let answer = request.send().await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.text().await?.chars().take(200).collect();
        Err(SiteError::Unexpected { request: format!("POST {path}"), status, body })
    }
}
