//! The queue against its promises. [`suite`] holds what every engine has to keep and [`random`] drives one at random;
//! [`sqlite`] puts this one through both and adds what only a file can break.

mod bodies;
mod clock;
mod files;
mod random;
mod room;
mod sqlite;
mod suite;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use harbor_warmer_protocol::{Digest, HandOff, HarborImage, Platforms, Subject, Tag};

use super::body::Sql;
use super::row::{self, phase_of};
use super::{AcquireRequest, Leased, Options, Settlement, Store, StoreError, Unit, UnitId};
use harbor_warmer_core::announcement::{self, Resolved};
use harbor_warmer_core::image::{Child, Image, Observation, Want};
use harbor_warmer_core::project::{HarborKind, Project, Transfer};
use harbor_warmer_core::projects::Projects;
use harbor_warmer_core::timers::Timers;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_core::view::Phase;

const START: Timestamp = Timestamp::from_millis(1_000_000_000);
const LEASE: Duration = Duration::from_secs(60);
const RECHECK_AFTER: Duration = Duration::from_secs(600);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn at(seconds_from_start: u64) -> Timestamp {
    START + seconds(seconds_from_start)
}

fn digest(n: u8) -> Digest {
    Digest::from_bytes([n; 32])
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn place(repository: &str) -> HarborImage {
    HarborImage {
        harbor: "main".parse().unwrap(),
        project: "hub".parse().unwrap(),
        repository: repository.parse().unwrap(),
    }
}

/// A hand-off of `library/app` for linux/amd64.
fn hand_off(subject: Subject) -> HandOff {
    HandOff { image: place("library/app"), target: None, platforms: platforms("linux/amd64"), subject }
}

fn platforms(text: &str) -> Platforms {
    Platforms::new(text.split(',').map(|platform| platform.parse().unwrap())).unwrap()
}

fn by_tag(name: &str) -> HandOff {
    hand_off(Subject::Tag(tag(name)))
}

fn by_digest(n: u8) -> HandOff {
    hand_off(Subject::Pin { digest: digest(n), tag: None })
}

fn layers(child: u8, name: Option<&str>) -> HandOff {
    hand_off(Subject::Layers { child: digest(child), tag: name.map(tag) })
}

fn for_arm(hand_off: HandOff) -> HandOff {
    HandOff { platforms: platforms("linux/arm64"), ..hand_off }
}

fn resolved(root: u8, at: Timestamp) -> Resolved {
    Resolved { root: digest(root), at }
}

/// The projects that a queue serves in these tests.
fn projects() -> Arc<Projects> {
    let terms = Project {
        kind: HarborKind::Harbor,
        transfer: Transfer::Touch,
        complete_index: false,
        resolves_through: false,
        skips_untagged: false,
        timers: Timers::REAL,
        give_up_after: seconds(86_400),
        replicate_again_after: seconds(86_400),
        targets: Vec::new(),
        keep_warm_every: None,
        pause: None,
        strained: false,
        probes_storage: false,
    };
    Arc::new(Projects::new([("main".parse().unwrap(), "hub".parse().unwrap(), terms)]))
}

fn project() -> Project {
    projects().get(&place("library/app"), START)
}

/// A queue without a reserve, and without a bound that a test comes near.
fn options() -> Options {
    Options {
        recheck_after: RECHECK_AFTER,
        projects: projects(),
        most_unfinished: 1_000_000,
        reserve_bytes: 0,
        timers: Timers::REAL,
    }
}

/// What a worker does with what it holds.
impl Leased {
    fn image(&self) -> &Image {
        match &self.unit {
            Unit::Image(image) => image,
            Unit::Announcement(announcement) => panic!("not an image: {announcement:?}"),
        }
    }

    /// With the tag looked up.
    fn headed(&self, root: u8, now: Timestamp) -> Unit {
        let mut unit = self.unit.clone();
        match &mut unit {
            Unit::Announcement(announcement) => {
                announcement.observe(announcement::Observation::Headed(digest(root)), now);
            }
            Unit::Image(image) => panic!("not an announcement: {image:?}"),
        }
        unit
    }

    /// With everything verified: an index of linux/amd64 and linux/arm64, of which the first is in Harbor.
    fn warmed(&self, now: Timestamp) -> Unit {
        let mut image = self.image().clone();
        let child = |n: u8, architecture: &str| Child {
            digest: digest(n),
            platform: Some(("linux".to_owned(), architecture.to_owned(), None)),
            undeclared: false,
        };
        let children = vec![child(100, "amd64"), child(101, "arm64")];
        let mut see = |observation| image.observe(&project(), observation, now);
        let root = self.image().root;
        for want in &self.image().wants {
            if let Some(tag) = want.tag.clone() {
                see(Observation::TagHeaded { tag, digest: root });
            }
        }
        see(Observation::RootWasIndex { children, through_project: true });
        see(Observation::ChildRead { digest: digest(100), blobs: Vec::new() });
        see(Observation::ArtifactRecorded { digest: digest(100), platform: None });
        Unit::Image(Box::new(image))
    }
}

/// Leases as many as there is room for.
async fn acquire(store: &Store, limit: usize, now: Timestamp) -> Result<Vec<Leased>, StoreError> {
    let request = AcquireRequest { harbor: "main".parse().unwrap(), limit, begin: limit, lease: LEASE };
    store.acquire(request, now).await
}

/// The only unit that is due.
async fn lease_one(store: &Store, now: Timestamp) -> Leased {
    let mut leased = acquire(store, 10, now).await.unwrap();
    assert_eq!(leased.len(), 1, "{leased:#?}");
    leased.remove(0)
}

async fn assert_nothing_is_due(store: &Store, now: Timestamp) {
    let leased = acquire(store, 10, now).await.unwrap();
    assert!(leased.is_empty(), "{leased:#?}");
}

/// Settles the only unit that is due as a warm image.
async fn warm_one(store: &Store, now: Timestamp) {
    let leased = lease_one(store, now).await;
    assert!(
        store
            .settle(leased.lease, leased.warmed(now), Settlement::Done { again: None }, Vec::new(), now)
            .await
            .unwrap()
    );
}

/// Settles the only unit that is due as an announcement that means `root`.
async fn resolve_one(store: &Store, root: u8, now: Timestamp) {
    let leased = lease_one(store, now).await;
    let settlement = Settlement::Resolved(resolved(root, now));
    assert!(store.settle(leased.lease, leased.headed(root, now), settlement, Vec::new(), now).await.unwrap());
}

/// Settles the only unit that is due as a dead letter.
async fn give_one_up(store: &Store, now: Timestamp) {
    let leased = lease_one(store, now).await;
    let dead = Settlement::Dead { reason: "no such tag".to_owned() };
    assert!(store.settle(leased.lease, leased.unit, dead, Vec::new(), now).await.unwrap());
}

/// A row with its wants.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    id: UnitId,
    unit: Unit,
    state: i64,
    due: Timestamp,
    phase: Option<Phase>,
}

async fn rows(store: &Store) -> Vec<Row> {
    store
        .read(|connection, _| {
            let mut statement = connection.prepare("SELECT id, body, state, due, phase FROM unit ORDER BY id")?;
            let rows = statement.query_map([], |row| {
                Ok(Row {
                    id: row.get(0)?,
                    unit: row.get(1)?,
                    state: row.get(2)?,
                    due: row.get::<_, Sql<_>>(3)?.0,
                    phase: row.get::<_, Option<i64>>(4)?.and_then(phase_of),
                })
            })?;
            let mut rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
            for row in &mut rows {
                row.unit.set_wants(row::wants(connection, row.id)?);
            }
            Ok(rows)
        })
        .await
        .unwrap()
}

/// The phases that stand beside the bodies are those that the bodies give, and what is counted is what there is.
async fn assert_hints_are_right(store: &Store, now: Timestamp) {
    for row in rows(store).await {
        assert_eq!(row.phase, row::phase(&row.unit, row.state, &projects(), now), "{row:?}");
    }
    let count = |sql: &'static str| {
        store.read(move |connection, _| {
            let mut statement = connection.prepare(sql)?;
            let counted = statement.query_map([], |row| {
                let text: String = row.get(0)?;
                Ok((text, row.get::<_, i64>(1)?))
            })?;
            counted.collect::<Result<BTreeMap<_, _>, _>>()
        })
    };
    let tally = count("SELECT concat_ws(' ', cluster, harbor, state, line, phase), units FROM tally WHERE units <> 0");
    let units = count(
        "SELECT concat_ws(' ', cluster, harbor, state, line, coalesce(phase, -1)), count(*) FROM unit GROUP BY 1",
    );
    assert_eq!(tally.await.unwrap(), units.await.unwrap());
}

/// The clusters whose wants the image of `root` has.
async fn clusters_of(store: &Store, root: u8) -> BTreeSet<String> {
    let rows = rows(store).await;
    let image = rows.iter().find_map(|row| match &row.unit {
        Unit::Image(image) if image.root == digest(root) => Some(image),
        _ => None,
    });
    image.into_iter().flat_map(|image| &image.wants).map(|want| want.cluster.clone()).collect()
}
