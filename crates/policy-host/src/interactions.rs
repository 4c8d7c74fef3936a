//! Recorded conversations between a policy and its host, in the format of `kwctl run --record-host-capabilities-interactions`:
//!
//! ```yaml
//! - type: Exchange
//!   request: "!OciManifestDigest\nimage: registry.example/app:1\n"
//!   response:
//!     type: Success
//!     payload: '{"digest":"sha256:…"}'
//! ```
//!
//! A replay is strictly ordered: each call takes the next exchange, and another question than the recorded one is an
//! error for the guest.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use crate::capability::{Capability, CapabilityRequest};

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What the policy asked.
    pub request: CapabilityRequest,
    /// What the host said.
    pub response: Recorded,
}

/// A recorded answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type")]
pub enum Recorded {
    /// The JSON that the guest was given.
    Success {
        /// The JSON's text.
        payload: String,
    },
    /// The call failed.
    Error {
        /// Why.
        message: String,
    },
}

/// Why a file of interactions can't be replayed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InteractionsError {
    /// It is not YAML of the right shape.
    #[error("not a list of recorded exchanges: {0}")]
    Malformed(String),
    /// A request is of another kind than this host answers.
    #[error("exchange {position} asks for `{request}`, which this host does not provide")]
    UnknownRequest {
        /// Counted from 1.
        position: usize,
        /// The request's text.
        request: String,
    },
}

/// What is recorded while a policy runs. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Recording(Arc<Mutex<Vec<Exchange>>>);

/// The exchanges that are still to come.
#[derive(Debug)]
pub(crate) struct Replay(Mutex<VecDeque<Exchange>>);

/// Why a replay has no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// All recorded exchanges are used up.
    #[error("the list of recorded responses is empty")]
    Empty,
    /// Another question comes next in the recording.
    #[error("unexpected request: the recording continues with {expected}, the policy asked for {actual}")]
    Unexpected {
        /// The recorded question.
        expected: CapabilityRequest,
        /// The policy's question.
        actual: CapabilityRequest,
    },
    /// The recorded call failed.
    #[error("{0}")]
    Failed(String),
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Item {
    Exchange { request: String, response: Recorded },
}

#[derive(Deserialize)]
struct OfImage {
    image: String,
}

/// Reads a file of interactions.
pub fn parse_interactions(text: &str) -> Result<Vec<Exchange>, InteractionsError> {
    let items: Vec<Item> =
        serde_saphyr::from_str(text).map_err(|error| InteractionsError::Malformed(error.to_string()))?;
    let exchanges = items.into_iter().enumerate().map(|(index, Item::Exchange { request, response })| {
        match parse_request(&request) {
            Some(request) => Ok(Exchange { request, response }),
            None => Err(InteractionsError::UnknownRequest { position: index + 1, request: request.trim().to_owned() }),
        }
    });
    exchanges.collect()
}

/// Prints what [`parse_interactions`] and `kwctl run --replay-host-capabilities-interactions` read. Strings are
/// double-quoted.
pub fn print_interactions(exchanges: &[Exchange]) -> String {
    let mut text = String::new();
    for Exchange { request, response } in exchanges {
        let request = format!("!{}\nimage: {}\n", request.capability.tag(), plain_or_quoted(&request.image));
        let (kind, field, value) = match response {
            Recorded::Success { payload } => ("Success", "payload", payload),
            Recorded::Error { message } => ("Error", "message", message),
        };
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "- type: Exchange\n  request: {}\n  response:\n    type: {kind}\n    {field}: {}\n",
            quoted(&request),
            quoted(value)
        );
    }
    if text.is_empty() {
        text.push_str("[]\n");
    }
    text
}

impl Recording {
    /// Everything recorded so far, in the order of the calls.
    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.0).clone()
    }

    pub(crate) fn push(&self, exchange: Exchange) {
        lock(&self.0).push(exchange);
    }
}

impl Replay {
    pub(crate) fn new(exchanges: Vec<Exchange>) -> Self {
        Self(Mutex::new(exchanges.into()))
    }

    /// Takes the next exchange, whether or not it is the expected one, as kwctl does.
    pub(crate) fn answer(&self, request: &CapabilityRequest) -> Result<Vec<u8>, ReplayError> {
        let exchange = lock(&self.0).pop_front().ok_or(ReplayError::Empty)?;
        if exchange.request != *request {
            return Err(ReplayError::Unexpected { expected: exchange.request, actual: request.clone() });
        }
        match exchange.response {
            Recorded::Success { payload } => Ok(payload.into_bytes()),
            Recorded::Error { message } => Err(ReplayError::Failed(message)),
        }
    }

    /// What nobody asked for.
    pub(crate) fn leftovers(&self) -> Vec<Exchange> {
        lock(&self.0).iter().cloned().collect()
    }
}

fn parse_request(text: &str) -> Option<CapabilityRequest> {
    let (tag, fields) = text.trim_start().strip_prefix('!')?.split_once('\n')?;
    let capability = match tag.trim() {
        "OciManifestDigest" => Capability::OciManifestDigest,
        "OciManifest" => Capability::OciManifest,
        _ => return None,
    };
    let OfImage { image } = serde_saphyr::from_str(fields).ok()?;
    Some(CapabilityRequest { capability, image })
}

/// A reference as YAML: plain where it can't be taken for anything else, so that the file reads as kwctl's does.
fn plain_or_quoted(image: &str) -> String {
    let plain = image.starts_with(|c: char| c.is_ascii_alphanumeric())
        && image.contains('/')
        && image.ends_with(|c: char| c.is_ascii_alphanumeric())
        && image.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(c));
    match plain {
        true => image.to_owned(),
        false => quoted(image),
    }
}

/// A double-quoted YAML scalar. What is not plain ASCII is escaped: YAML refuses some characters even in quotes.
fn quoted(text: &str) -> String {
    let mut scalar = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => scalar.push_str("\\\""),
            '\\' => scalar.push_str("\\\\"),
            '\n' => scalar.push_str("\\n"),
            ' '..='~' => scalar.push(character),
            // Writing to a String can't fail.
            _ => drop(write!(scalar, "\\U{:08x}", u32::from(character))),
        }
    }
    scalar.push('"');
    scalar
}

/// A poisoned lock only means that another evaluation panicked; what is under it is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn digest_of(image: &str) -> CapabilityRequest {
        CapabilityRequest { capability: Capability::OciManifestDigest, image: image.to_owned() }
    }

    fn success(image: &str, payload: &str) -> Exchange {
        Exchange { request: digest_of(image), response: Recorded::Success { payload: payload.to_owned() } }
    }

    #[rstest]
    #[case::double_quotes(
        "- type: Exchange\n  request: \"!OciManifestDigest\\nimage: r.example/a:1\\n\"\n  response: {type: Success, payload: '{}'}\n"
    )]
    #[case::block(
        "- type: Exchange\n  request: |\n    !OciManifestDigest\n    image: r.example/a:1\n  response:\n    type: Success\n    payload: '{}'\n"
    )]
    fn reads_what_kwctl_records(#[case] text: &str) {
        assert_eq!(parse_interactions(text), Ok(vec![success("r.example/a:1", "{}")]));
    }

    #[test]
    fn a_request_of_another_kind_is_told_with_its_position() {
        let text =
            "- type: Exchange\n  request: \"!DNSLookupHost\\nhost: a\\n\"\n  response: {type: Success, payload: ''}\n";
        let error = parse_interactions(text).unwrap_err();
        assert!(matches!(error, InteractionsError::UnknownRequest { position: 1, .. }));
    }

    #[test]
    fn a_replay_answers_in_order_and_only_the_recorded_questions() {
        let replay = Replay::new(vec![success("a/b", "1"), success("a/c", "2"), success("a/d", "3")]);
        assert_eq!(replay.answer(&digest_of("a/b")), Ok(b"1".to_vec()));
        let unexpected = ReplayError::Unexpected { expected: digest_of("a/c"), actual: digest_of("a/d") };
        assert_eq!(replay.answer(&digest_of("a/d")), Err(unexpected));
        assert_eq!(replay.leftovers(), [success("a/d", "3")]);
        assert_eq!(replay.answer(&digest_of("a/d")), Ok(b"3".to_vec()));
        assert_eq!(replay.answer(&digest_of("a/d")), Err(ReplayError::Empty));
    }

    fn any_exchange() -> impl Strategy<Value = Exchange> {
        let capability = prop_oneof![Just(Capability::OciManifest), Just(Capability::OciManifestDigest)];
        let image = prop_oneof!["[a-z.:/@0-9-]{0,30}", "\\PC{0,20}"];
        let response = prop_oneof![
            "(?s).{0,40}".prop_map(|payload| Recorded::Success { payload }),
            "(?s).{0,40}".prop_map(|message| Recorded::Error { message }),
        ];
        (capability, image, response).prop_map(|(capability, image, response)| Exchange {
            request: CapabilityRequest { capability, image },
            response,
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(exchanges in proptest::collection::vec(any_exchange(), 0..5)) {
            prop_assert_eq!(parse_interactions(&print_interactions(&exchanges)), Ok(exchanges));
        }
    }
}
