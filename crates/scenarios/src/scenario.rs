//! The list of scenarios.

use futures_util::future;

use crate::expectation::{Row, Verdict};
use crate::product::{MISSING_TAG, PRODUCTS, Product, SLOW_PRODUCT};
use crate::sequence::{SEQUENCES, Sequence};
use crate::site::{Site, SiteError};
use crate::{answers, product, replication, slow};

/// How many of Harbor's seconds the warmer may take from the hand-off to its first GET of a platform manifest, from
/// which the sequences by hand are counted, and lose between a look and the next.
const HEAD_START_SECONDS: f64 = 15.0;

/// One entry of the list.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Sequence(&'static Sequence),
    Answers,
    Encoding,
    Replication,
    Product(&'static Product),
    MissingTag,
    Slow,
}

/// All scenarios: by hand first, then the warmer's.
pub fn scenarios() -> Vec<Scenario> {
    let by_hand = SEQUENCES.iter().map(Kind::Sequence).chain([Kind::Answers, Kind::Encoding, Kind::Replication]);
    let products = PRODUCTS.iter().map(Kind::Product).chain([Kind::MissingTag]);
    by_hand.chain(products).map(|kind| Scenario { kind }).collect()
}

/// The scenarios for a site of its own, with an upstream as slow as [`slow`] says.
pub fn slow_scenarios() -> Vec<Scenario> {
    [Kind::Slow, Kind::Product(SLOW_PRODUCT)].map(|kind| Scenario { kind }).to_vec()
}

impl Scenario {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sequence(sequence) => sequence.name,
            Kind::Answers => answers::ANSWERS,
            Kind::Encoding => answers::ENCODING,
            Kind::Replication => replication::REPLICATION,
            Kind::Product(product) => product.name,
            Kind::MissingTag => MISSING_TAG,
            Kind::Slow => slow::SLOW,
        }
    }

    async fn play(&self, site: &Site) -> Result<Vec<Row>, SiteError> {
        match self.kind {
            Kind::Sequence(sequence) => sequence.run(site).await,
            Kind::Answers => answers::answers(site).await,
            Kind::Encoding => answers::encoding(site).await,
            Kind::Replication => replication::by_tag(site).await,
            Kind::Product(product) => product.run(site).await,
            Kind::MissingTag => product::missing_tag(site).await,
            Kind::Slow => slow::by_hand(site).await,
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

/// Plays the scenarios all at once, and compares the warmer's with those by hand.
pub async fn run_all(site: &Site, scenarios: &[Scenario]) -> Vec<Row> {
    let mut rows = future::join_all(scenarios.iter().map(|scenario| scenario.rows(site))).await.concat();
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
