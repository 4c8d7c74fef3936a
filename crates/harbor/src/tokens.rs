//! Bearer tokens: what a challenge asks for, and the tokens at hand, one for each repository.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, header};
use serde_json::Value;

use super::{HarborError, Refusal};

/// A token without `expires_in` lives so long (distribution, "Token Authentication Specification").
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// Slots kept before those with nothing in them are looked for.
const SLOTS_BEFORE_PURGE: usize = 1024;

/// A `Bearer` challenge of a 401.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) realm: String,
    pub(super) service: Option<String>,
    pub(super) scope: Option<String>,
}

/// A token, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    expires: Instant,
}

/// The tokens at hand. Whoever wants one that is being fetched waits for that fetch.
#[derive(Default)]
pub(super) struct Tokens {
    slots: Mutex<HashMap<String, Arc<Slot>>>,
}

type Slot = tokio::sync::Mutex<Option<Token>>;

impl Challenge {
    /// The first `Bearer` challenge among a 401's headers; one line may hold several challenges.
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        headers.get_all(header::WWW_AUTHENTICATE).iter().find_map(|value| Self::parse(value.to_str().ok()?))
    }

    /// Reads a list of challenges (RFC 9110, 11.6.1) as leniently as can be: blanks around `=` are let through there,
    /// and values without quotes are met although an address is no token.
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut bearer: Option<HashMap<String, String>> = None;
        loop {
            rest = rest.trim_start_matches([',', ' ', '\t']);
            let end = rest.find(['=', ',', ' ', '\t', '"']).unwrap_or(rest.len());
            let (name, after) = (rest[..end].to_ascii_lowercase(), rest[end..].trim_start_matches([' ', '\t']));
            if let Some(value) = after.strip_prefix('=') {
                let (value, after) = parameter(value.trim_start_matches([' ', '\t']))?;
                if let Some(parameters) = &mut bearer {
                    parameters.entry(name).or_insert(value);
                }
                rest = after;
                continue;
            }
            // A name that nothing is set to begins another challenge.
            if let Some(challenge) = bearer.take().and_then(Self::of) {
                return Some(challenge);
            }
            if name.is_empty() {
                return None;
            }
            bearer = (name == "bearer").then(HashMap::new);
            rest = after;
        }
    }

    fn of(mut parameters: HashMap<String, String>) -> Option<Self> {
        let realm = parameters.remove("realm").filter(|realm| !realm.is_empty())?;
        Some(Self { realm, service: parameters.remove("service"), scope: parameters.remove("scope") })
    }
}

/// A parameter's value, and what comes after it; none where its quote isn't closed.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            character => value.push(character),
        }
    }
    None
}

impl Token {
    /// Reads a token server's answer. Renewed when a tenth of its life is left, so that none expires on its way.
    pub(super) fn from_json(answer: &Value, now: Instant) -> Result<Self, HarborError> {
        let refused = || HarborError::Unauthorized(Refusal::Token);
        let field = |name: &str| answer.get(name).and_then(Value::as_str).filter(|token| !token.is_empty());
        let token = field("token").or_else(|| field("access_token")).ok_or_else(refused)?;
        let mut header = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| refused())?;
        header.set_sensitive(true);
        let lifetime = answer.get("expires_in").and_then(Value::as_u64).map_or(DEFAULT_LIFETIME, Duration::from_secs);
        // No server means a century, and an Instant can't take every number.
        let lifetime = lifetime.min(Duration::from_secs(24 * 60 * 60));
        Ok(Self { header, expires: now + lifetime.mul_f32(0.9) })
    }

    fn is_fresh(&self, now: Instant) -> bool {
        now < self.expires
    }
}

impl Tokens {
    /// The token at hand for a repository.
    pub(super) async fn at_hand(&self, repository: &str, now: Instant) -> Option<HeaderValue> {
        // Not `slot`: most Harbors never need a token, and then nothing is kept for a repository.
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(repository).cloned()?;
        let token = slot.lock().await;
        token.as_ref().filter(|token| token.is_fresh(now)).map(|token| token.header.clone())
    }

    /// A token for a repository other than the one that was refused: one that somebody else has fetched meanwhile, or
    /// what `fetch` brings.
    pub(super) async fn renew(
        &self,
        repository: &str,
        refused: Option<&HeaderValue>,
        now: Instant,
        fetch: impl Future<Output = Result<Token, HarborError>>,
    ) -> Result<HeaderValue, HarborError> {
        let slot = self.slot(repository, now);
        let mut at_hand = slot.lock().await;
        if let Some(token) = at_hand.as_ref().filter(|token| token.is_fresh(now) && Some(&token.header) != refused) {
            return Ok(token.header.clone());
        }
        *at_hand = None;
        let token = fetch.await?;
        let header = token.header.clone();
        *at_hand = Some(token);
        Ok(header)
    }

    fn slot(&self, repository: &str, now: Instant) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(repository) {
            return Arc::clone(slot);
        }
        if slots.len() >= SLOTS_BEFORE_PURGE {
            // A slot that somebody holds is locked or about to be.
            slots.retain(|_, slot| {
                Arc::strong_count(slot) > 1
                    || slot.try_lock().map_or(true, |token| token.as_ref().is_some_and(|token| token.is_fresh(now)))
            });
        }
        Arc::clone(slots.entry(repository.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::harbor(
        r#"Bearer realm="https://harbor.example/service/token",service="harbor-registry",scope="repository:p/a:pull""#,
        "https://harbor.example/service/token",
        Some("harbor-registry"),
        Some("repository:p/a:pull")
    )]
    #[case::a_comma_in_the_scope(
        r#"bearer realm="https://t/", scope="repository:p/a:pull,push", error=invalid_token"#,
        "https://t/",
        None,
        Some("repository:p/a:pull,push")
    )]
    #[case::after_another_challenge_in_the_same_line(
        r#"Basic realm="a, b", charset="UTF-8", Bearer realm="https://t/",service="s""#,
        "https://t/",
        Some("s"),
        None
    )]
    #[case::after_a_scheme_alone(r#"Negotiate, Bearer realm="https://t/",service="s""#, "https://t/", Some("s"), None)]
    #[case::with_blanks_around_the_sign(r#"Bearer  realm = "https://t/" , service="s""#, "https://t/", Some("s"), None)]
    #[case::without_quotes("Bearer realm=https://t/,service=s", "https://t/", Some("s"), None)]
    #[case::before_one_that_is_no_parameters(
        r#"Bearer realm="https://t/",service="s", Negotiate YIIabc=="#,
        "https://t/",
        Some("s"),
        None
    )]
    #[case::escaped(r#"Bearer realm="https://t/?a=\"b\"",service="a\\b""#, r#"https://t/?a="b""#, Some(r"a\b"), None)]
    fn a_bearer_challenge_is_read(
        #[case] text: &str,
        #[case] realm: &str,
        #[case] service: Option<&str>,
        #[case] scope: Option<&str>,
    ) {
        let challenge = Challenge::parse(text).unwrap();
        assert_eq!(challenge.realm, realm);
        assert_eq!((challenge.service.as_deref(), challenge.scope.as_deref()), (service, scope));
    }

    #[rstest]
    #[case::basic(r#"Basic realm="harbor""#)]
    #[case::empty("")]
    #[case::no_realm(r#"Bearer service="x""#)]
    #[case::open_quote(r#"Bearer realm="https://"#)]
    fn what_is_no_bearer_challenge_is_none(#[case] text: &str) {
        assert_eq!(Challenge::parse(text), None);
    }

    proptest! {
        #[test]
        fn a_challenge_survives_being_written_and_anything_else_is_read_without_harm(
            realm in "https://[a-z./]{1,20}",
            scope in "[a-z:,/]{1,20}",
            anything in ".*",
        ) {
            let challenge = Challenge::parse(&format!(r#"Bearer realm="{realm}",scope="{scope}""#));
            prop_assert_eq!(challenge, Some(Challenge { realm, service: None, scope: Some(scope) }));
            Challenge::parse(&format!("Bearer {anything}"));
        }
    }

    fn token(text: &str, expires_in: u64, now: Instant) -> Token {
        Token::from_json(&json!({ "token": text, "expires_in": expires_in }), now).unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_token_is_at_hand_until_a_tenth_of_its_life_is_left() {
        let (tokens, start) = (Tokens::default(), Instant::now());
        assert_eq!(tokens.at_hand("p/a", start).await, None);
        tokens.renew("p/a", None, start, async { Ok(token("one", 100, start)) }).await.unwrap();
        assert_eq!(tokens.at_hand("p/a", start + seconds(89)).await.unwrap(), "Bearer one");
        assert_eq!(tokens.at_hand("p/a", start + seconds(91)).await, None);
        assert_eq!(tokens.at_hand("p/b", start).await, None);
    }

    #[tokio::test]
    async fn many_that_were_refused_the_same_token_cause_one_fetch() {
        let (tokens, fetches, now) = (Tokens::default(), AtomicUsize::new(0), Instant::now());
        let fetch = || async {
            let number = fetches.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(token(&number.to_string(), 100, now))
        };
        let first = tokens.renew("p/a", None, now, fetch()).await.unwrap();
        let renewed = (0..20).map(|_| tokens.renew("p/a", Some(&first), now, fetch()));
        for header in futures_util::future::join_all(renewed).await {
            assert_eq!(header.unwrap(), "Bearer 1");
        }
        assert_eq!(fetches.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_failed_fetch_leaves_no_token_and_the_next_one_tries_again() {
        let (tokens, now) = (Tokens::default(), Instant::now());
        let failed = tokens.renew("p/a", None, now, async { Err(HarborError::NotFoundAmbiguous) }).await;
        assert!(failed.is_err());
        let token = tokens.renew("p/a", None, now, async { Ok(token("two", 9, now)) }).await;
        assert_eq!(token.unwrap(), "Bearer two");
    }

    #[tokio::test]
    async fn expired_tokens_of_a_thousand_repositories_are_forgotten() {
        let (tokens, start) = (Tokens::default(), Instant::now());
        for number in 0..SLOTS_BEFORE_PURGE {
            tokens.renew(&number.to_string(), None, start, async { Ok(token("t", 10, start)) }).await.unwrap();
        }
        let later = start + seconds(60);
        tokens.renew("one more", None, later, async { Ok(token("t", 10, later)) }).await.unwrap();
        assert_eq!(tokens.slots.lock().unwrap().len(), 1);
    }
}
