//! Who asks, and what they may: Basic credentials, Bearer tokens, and the challenges of a 401.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harbor::Harbor;
use crate::harbor::error::HarborError;
use crate::harbor::store::Token;
use crate::spec::{ProjectSpec, Right, RobotSpec};

/// The administrator's name.
const ADMIN: &str = "admin";
/// The administrator's password, the one that Harbor's installer suggests.
const ADMIN_PASSWORD: &str = "Harbor12345";
/// `token_expiration`. Clients take `expires_in` as real seconds, so tokens live in real time; a test that wants them
/// gone calls [`crate::Simulator::expire_tokens`].
const TOKEN_SECONDS: u32 = 30 * 60;

/// Who sent a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    identity: Identity,
    /// Whether there was an `Authorization` header, be it a good one or not.
    sent_credentials: bool,
}

#[derive(Debug, Clone)]
enum Identity {
    Anonymous,
    Admin,
    Robot(RobotSpec),
    Token(Token),
}

/// An answer of the token service.
#[derive(Debug)]
pub(crate) struct IssuedToken {
    pub(crate) token: String,
    pub(crate) expires_in: u32,
}

impl Caller {
    /// The name in the request log; nothing for the anonymous.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.identity {
            Identity::Anonymous => None,
            Identity::Admin => Some(ADMIN),
            Identity::Robot(robot) => Some(&robot.name),
            Identity::Token(token) => Some(&token.user),
        }
    }

    /// Whether a list of projects shows it: to whom it is public, or who has any right in it.
    pub(crate) fn sees(&self, project: &ProjectSpec) -> bool {
        match &self.identity {
            Identity::Admin => true,
            Identity::Robot(robot) if robot.project.as_ref().is_none_or(|own| *own == project.name) => true,
            Identity::Anonymous | Identity::Token(_) | Identity::Robot(_) => project.public,
        }
    }

    fn may(&self, right: Right, project: Option<&str>) -> bool {
        match &self.identity {
            Identity::Anonymous | Identity::Token(_) => false,
            Identity::Admin => true,
            Identity::Robot(robot) => {
                let covers = robot.project.is_none() || (project.is_some() && robot.project.as_deref() == project);
                covers && robot.rights.contains(&right)
            }
        }
    }
}

impl Harbor {
    /// Reads an `Authorization` header. Wrong credentials and an expired robot make an anonymous caller.
    pub(crate) fn identify(&self, authorization: Option<&str>) -> Caller {
        let identity = authorization.and_then(|header| match header.split_once(' ')? {
            (scheme, rest) if scheme.eq_ignore_ascii_case("basic") => {
                let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
                let (name, secret) = decoded.split_once(':')?;
                if name == ADMIN && secret == ADMIN_PASSWORD {
                    return Some(Identity::Admin);
                }
                let good = |robot: &&RobotSpec| robot.name == name && robot.secret == secret && !robot.expired;
                self.store.read(|tables| tables.robots.iter().find(good).cloned()).map(Identity::Robot)
            }
            (scheme, rest) if scheme.eq_ignore_ascii_case("bearer") => {
                self.store.read(|tables| tables.tokens.get(rest.trim()).cloned()).map(Identity::Token)
            }
            _ => None,
        });
        Caller { identity: identity.unwrap_or(Identity::Anonymous), sent_credentials: authorization.is_some() }
    }

    /// `GET /v2/`
    pub(crate) fn check_login(&self, caller: &Caller, host: &str) -> Result<(), HarborError> {
        match caller.identity {
            Identity::Anonymous => Err(HarborError::unauthorized("unauthorized", challenge(caller, host, None))),
            Identity::Admin | Identity::Robot(_) | Identity::Token(_) => Ok(()),
        }
    }

    /// A pull from a repository (`src/server/middleware/v2auth/auth.go`).
    pub(crate) fn check_pull(&self, caller: &Caller, repository: &str, host: &str) -> Result<(), HarborError> {
        if !caller.sent_credentials {
            let message = "authorize header needed to send HEAD to repository";
            return Err(HarborError::unauthorized(message, challenge(caller, host, Some(repository))));
        }
        let project = repository.split('/').next().unwrap_or_default();
        if !self.store.read(|tables| tables.projects.contains_key(project)) {
            return Err(HarborError::unauthorized(format!("project {project} not found"), ""));
        }
        if self.may_pull(caller, repository) {
            return Ok(());
        }
        let message = format!("unauthorized to access repository: {repository}, action: pull");
        Err(HarborError::unauthorized(message, challenge(caller, host, Some(repository))))
    }

    fn may_pull(&self, caller: &Caller, repository: &str) -> bool {
        let project = repository.split('/').next().unwrap_or_default();
        match &caller.identity {
            Identity::Token(token) => token.repositories.iter().any(|granted| granted == repository),
            Identity::Anonymous | Identity::Admin | Identity::Robot(_) => {
                self.is_public(project) || caller.may(Right::RepositoryPull, Some(project))
            }
        }
    }

    fn is_public(&self, project: &str) -> bool {
        self.store.read(|tables| tables.projects.get(project).is_some_and(|known| known.spec.public))
    }

    /// `GET /service/token`: anyone gets a token, it may just not be good for anything.
    pub(crate) fn issue_token(&self, caller: &Caller, scopes: &[String]) -> Result<IssuedToken, HarborError> {
        if caller.sent_credentials && matches!(caller.identity, Identity::Anonymous | Identity::Token(_)) {
            return Err(HarborError::unauthorized("unauthorized", r#"Basic realm="harbor""#));
        }
        let repositories = scopes
            .iter()
            .flat_map(|scope| scope.split(' '))
            .filter_map(|scope| scope.strip_prefix("repository:")?.rsplit_once(':'))
            .filter(|(repository, actions)| {
                actions.split(',').any(|action| action == "pull" || action == "*") && self.may_pull(caller, repository)
            })
            .map(|(repository, _)| repository.to_owned())
            .collect();
        let user = caller.name().unwrap_or("anonymous").to_owned();
        let token = self.store.write(|tables| {
            let token = format!("simulated-token-{}", tables.next_id());
            tables.tokens.insert(token.clone(), Token { user, repositories });
            token
        });
        Ok(IssuedToken { token, expires_in: TOKEN_SECONDS })
    }

    /// A call of `/api/v2.0`: 401 without good credentials, 403 without the right.
    pub(crate) fn check_api(&self, caller: &Caller, right: Right, project: Option<&str>) -> Result<(), HarborError> {
        // Anyone may look at a public project.
        let looks = matches!(
            right,
            Right::ArtifactRead | Right::ArtifactList | Right::TagList | Right::RepositoryList | Right::ProjectRead
        );
        if caller.may(right, project) || (looks && project.is_some_and(|project| self.is_public(project))) {
            return Ok(());
        }
        Err(refusal(caller))
    }

    /// A call of `/api/v2.0` that is an administrator's alone.
    pub(crate) fn check_administrator(&self, caller: &Caller) -> Result<(), HarborError> {
        if matches!(caller.identity, Identity::Admin) { Ok(()) } else { Err(refusal(caller)) }
    }
}

fn refusal(caller: &Caller) -> HarborError {
    match caller.identity {
        Identity::Anonymous | Identity::Token(_) => HarborError::unauthorized("unauthorized", ""),
        Identity::Admin | Identity::Robot(_) => HarborError::forbidden(),
    }
}

/// Docker's clients are sent to the token service, but only while they have shown no credentials.
fn challenge(caller: &Caller, host: &str, repository: Option<&str>) -> String {
    if caller.sent_credentials {
        return r#"Basic realm="harbor""#.to_owned();
    }
    let scope = repository.map(|name| format!(r#",scope="repository:{name}:pull""#)).unwrap_or_default();
    format!(r#"Bearer realm="http://{host}/service/token",service="harbor-registry"{scope}"#)
}
