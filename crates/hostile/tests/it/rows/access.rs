//! Challenges and tokens (the distribution project's token specification, RFC 9110 section 11).

use serde_json::{Value, json};

use crate::http::{Answer, Request};
use crate::registry::Registry;
use crate::row::{End, Row, row};

const TOKEN: &str = "a-token";

fn has_token(request: &Request) -> bool {
    request.header("authorization").is_some_and(|sent| sent.eq_ignore_ascii_case(&format!("Bearer {TOKEN}")))
}

/// A registry that wants a token, challenges so, and gives this one.
fn guarded(
    name: &str,
    challenge: impl Fn(&Registry) -> String + Send + Sync + 'static,
    token: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Row {
    row(name, move |request, registry| {
        if request.path() == "/token" {
            return Some(token(request));
        }
        let refused = || Answer::error(401, "UNAUTHORIZED", "a token is wanted");
        (!has_token(request)).then(|| refused().header("WWW-Authenticate", challenge(registry)))
    })
    .distribution()
}

fn usual(registry: &Registry) -> String {
    format!(r#"Bearer realm="{}/token",service="registry",scope="repository:library/app:pull""#, registry.url)
}

fn token(shown: &Value) -> Answer {
    Answer::new(200).header("Content-Type", "application/json").body(shown.to_string())
}

fn good(_: &Request) -> Answer {
    token(&json!({"token": TOKEN, "expires_in": 300}))
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![
        guarded("a token as it should be", usual, good),
        guarded("a token under access_token", usual, |_| token(&json!({"access_token": TOKEN, "expires_in": 300}))),
        guarded("a token that never says when it ends", usual, |_| token(&json!({"token": TOKEN}))),
        guarded("a token that ends at once", usual, |_| token(&json!({"token": TOKEN, "expires_in": 0}))),
        guarded("a token that ended before", usual, |_| token(&json!({"token": TOKEN, "expires_in": -60}))),
        guarded("a token whose end is a text", usual, |_| token(&json!({"token": TOKEN, "expires_in": "300"}))),
        guarded("a token whose end is a fraction", usual, |_| token(&json!({"token": TOKEN, "expires_in": 299.5}))),
        guarded("a token whose end is beyond 64 bits", usual, |_| token(&json!({"token": TOKEN, "expires_in": 1e30}))),
        guarded("a token whose end is null", usual, |_| token(&json!({"token": TOKEN, "expires_in": null}))),
        guarded("a token with an empty access_token beside it", usual, |_| {
            token(&json!({"token": TOKEN, "access_token": "", "expires_in": 300}))
        }),
        guarded("a token issued in a time zone of its own", usual, |_| {
            token(&json!({"token": TOKEN, "expires_in": 300, "issued_at": "yesterday"}))
        }),
        guarded("a challenge without quotes", |it| format!("Bearer realm={}/token,service=registry", it.url), good),
        guarded("a realm without a host", |_| r#"Bearer realm="/token",service="r""#.to_owned(), good),
        guarded("a challenge in capitals", |it| format!(r#"BEARER Realm="{}/token",Service="registry""#, it.url), good),
        guarded("a challenge with spaces", |it| format!(r#"Bearer  realm = "{}/token" , service="r""#, it.url), good),
        guarded(
            "a challenge with escapes",
            |it| format!(r#"Bearer realm="{}/token",service="a \"b\" c""#, it.url),
            good,
        ),
        guarded(
            "a challenge without a scope",
            |it| format!(r#"Bearer realm="{}/token",service="registry""#, it.url),
            good,
        ),
        guarded(
            "a challenge after another in one line",
            |it| format!(r#"Negotiate, Bearer realm="{}/token",service="registry""#, it.url),
            good,
        ),
        guarded(
            "a challenge before another in one line",
            |it| format!(r#"Bearer realm="{}/token",service="registry", Basic realm="x""#, it.url),
            good,
        ),
        // As Docker Hub's. It gets no credentials there, and a token for anybody will do.
        // The token server of a Distribution registry may be elsewhere, if the configuration says so.
        guarded("a realm on another host", |it| format!(r#"Bearer realm="{}/token",service="r""#, it.elsewhere), good)
            .ends(End::NotWarm(&["tokenRealm"])),
        guarded("a token that comes with status 201", usual, |request| {
            let mut answer = good(request);
            answer.status = 201;
            answer
        }),
        guarded("a token endpoint that fails twice", usual, |request| {
            if request.before < 2 { Answer::page(503) } else { good(request) }
        }),
    ];
    let never = |row: Row| row.ends(End::NotWarm(&[]));
    rows.extend([
        never(guarded("a realm of no sense", |_| r#"Bearer realm="::::",service="r""#.to_owned(), good)),
        never(guarded("a realm in a file", |_| r#"Bearer realm="file:///etc/passwd",service="r""#.to_owned(), good)),
        never(guarded(
            "a realm on the link itself",
            |_| r#"Bearer realm="http://169.254.169.254/token",service="r""#.to_owned(),
            good,
        )),
        never(guarded("no challenge at all", |_| String::new(), good)),
        never(guarded("a token that isn't taken", usual, |_| token(&json!({"token": "another", "expires_in": 300})))),
        never(guarded("a token that is a number", usual, |_| token(&json!({"token": 7, "expires_in": 300})))),
        never(guarded("a token with a line break", usual, |_| token(&json!({"token": "a\r\nX-Evil: 1"})))),
        never(guarded("an empty token", usual, |_| token(&json!({"token": ""})))),
        never(guarded("a page in place of a token", usual, |_| Answer::page(200))),
        never(guarded("a token endpoint that says 404", usual, |_| Answer::page(404))),
        never(guarded("a token of 3 MB", usual, |_| token(&json!({"token": "x".repeat(3_000_000)})))),
        never(guarded("a token endpoint in a loop", usual, |request| Answer::redirect(307, request.target.clone()))),
        never(row("401 for ever, with Basic", |_, _| {
            let refused = Answer::error(401, "UNAUTHORIZED", "authentication required");
            Some(refused.header("WWW-Authenticate", r#"Basic realm="harbor""#))
        })),
        never(row("403 for ever, in JSON", |_, _| Some(Answer::error(403, "DENIED", "requested access is denied")))),
        never(row("407 for ever", |_, _| Some(Answer::page(407).header("Proxy-Authenticate", "Basic")))),
    ]);
    rows
}
