//! The list of scenarios.

use futures_util::future;

use crate::error::SiteError;
use crate::expectation::{Row, Verdict};
use crate::product::{MISSING_TAG, PRODUCTS, Product};
use crate::sequence::{SEQUENCES, Sequence};
use crate::site::Site;
use crate::{answers, product, replication, second_tag, slow, trouble};

/// How many of Harbor's seconds the warmer may take from the hand-off to its first GET of a platform manifest, from
/// which the sequences by hand are counted, and lose between a look and the next.
const HEAD_START_SECONDS: f64 = 15.0;

/// One scenario starts so many of Harbor's seconds after the other: pushing the images of all at once would hold up what
/// is measured in their first seconds.
const STARTS_APART_SECONDS: f64 = 2.0;

/// One entry of the list.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Sequence(&'static Sequence),
    Slow,
    Answers,
    Encoding,
    ReplicationByTag,
    ReplicationByEvent,
    WideReplication,
    Product(&'static Product),
    MissingTag,
    SecondTag,
    QuotaFull,
    UpstreamDown,
    MovedTag,
    ReplicationByWarmer,
}

/// All scenarios: by hand first, then the warmer's.
pub fn scenarios() -> Vec<Scenario> {
    let by_hand = SEQUENCES.iter().map(Kind::Sequence).chain([
        Kind::Slow,
        Kind::Answers,
        Kind::Encoding,
        Kind::ReplicationByTag,
        Kind::ReplicationByEvent,
        Kind::WideReplication,
    ]);
    let products = PRODUCTS.iter().map(Kind::Product).chain([
        Kind::MissingTag,
        Kind::SecondTag,
        Kind::QuotaFull,
        Kind::UpstreamDown,
        Kind::MovedTag,
        Kind::ReplicationByWarmer,
    ]);
    by_hand.chain(products).map(|kind| Scenario { kind }).collect()
}

impl Scenario {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sequence(sequence) => sequence.name,
            Kind::Slow => slow::SLOW,
            Kind::Answers => answers::ANSWERS,
            Kind::Encoding => answers::ENCODING,
            Kind::ReplicationByTag => replication::BY_TAG,
            Kind::ReplicationByEvent => replication::EVENT_BASED,
            Kind::WideReplication => replication::WIDE,
            Kind::Product(product) => product.name,
            Kind::MissingTag => MISSING_TAG,
            Kind::SecondTag => second_tag::SECOND_TAG,
            Kind::QuotaFull => trouble::QUOTA_FULL,
            Kind::UpstreamDown => trouble::UPSTREAM_DOWN,
            Kind::MovedTag => trouble::MOVED_TAG,
            Kind::ReplicationByWarmer => replication::BY_WARMER,
        }
    }

    async fn play(&self, site: &Site) -> Result<Vec<Row>, SiteError> {
        match self.kind {
            Kind::Sequence(sequence) => sequence.run(site).await,
            Kind::Slow => slow::by_hand(site).await,
            Kind::Answers => answers::answers(site).await,
            Kind::Encoding => answers::encoding(site).await,
            Kind::ReplicationByTag => replication::by_tag(site).await,
            Kind::ReplicationByEvent => replication::event_based(site).await,
            Kind::WideReplication => replication::wide(site).await,
            Kind::Product(product) => product.run(site).await,
            Kind::MissingTag => product::missing_tag(site).await,
            Kind::SecondTag => second_tag::second_tag(site).await,
            Kind::QuotaFull => trouble::quota_full(site).await,
            Kind::UpstreamDown => trouble::upstream_down(site).await,
            Kind::MovedTag => trouble::moved_tag(site).await,
            Kind::ReplicationByWarmer => replication::by_warmer(site).await,
        }
    }

    async fn rows(&self, site: &Site) -> Vec<Row> {
        self.play(site).await.unwrap_or_else(|error| {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            vec![Row::fact(self.name(), "", "an end", text, false)]
        })
    }
}

/// Plays the scenarios side by side, and compares the warmer's with those by hand.
pub async fn run_all(site: &Site, scenarios: &[Scenario]) -> Vec<Row> {
    let plays = scenarios.iter().enumerate().map(|(place, scenario)| async move {
        site.pause(place as f64 * STARTS_APART_SECONDS).await;
        scenario.rows(site).await
    });
    let mut rows = future::join_all(plays).await.concat();
    let comparisons: Vec<Row> = scenarios
        .iter()
        .filter_map(|scenario| match scenario.kind {
            Kind::Product(product) => compare(&rows, product, site.options.slack_seconds),
            _ => None,
        })
        .collect();
    rows.extend(comparisons);
    rows
}

/// The warmer's tag against the same image's by hand, where both were played.
fn compare(rows: &[Row], product: &Product, slack_seconds: f64) -> Option<Row> {
    let by_hand = product.by_hand?;
    let tag = |scenario: &str| rows.iter().find(|row| row.scenario == scenario && row.what == "tag recorded");
    let (hand, warmer) = (tag(by_hand)?, tag(product.name)?);
    let limit = hand.seconds? + HEAD_START_SECONDS + slack_seconds;
    let agrees = warmer.verdict != Verdict::Differs && warmer.seconds.is_some_and(|seconds| seconds <= limit);
    let expected = format!("{} by hand", hand.seen);
    Some(Row::fact(product.name, "tag no later than by hand", expected, warmer.seen.clone(), agrees))
}
