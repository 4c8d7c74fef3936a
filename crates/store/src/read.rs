//! Looks at the queue that change nothing.

use std::collections::{BTreeMap, HashSet};

use harbor_warmer_protocol::{Digest, HarborImage, ImageState, Tag, TagOrDigest, TargetName};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::body::{Sql, announcement_key, image_key};
use super::hand_off::{DEAD, DONE, parse_unit_name, unit_name};
use super::{Shared, Store, StoreError, Unit, UnitId};
use harbor_warmer_core::announcement::Announcement;
use harbor_warmer_core::image::view::{RowFacts, attempt_views, want_view};
use harbor_warmer_core::projects::Projects;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_core::view::{ImageList, ImageSummary, ImageView, Phase};

/// Which images to list.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Only this phase.
    pub phase: Option<Phase>,
    /// Only where the reference contains this.
    pub query: Option<String>,
    /// Only what comes after this id, as [`ImageList::next`] gave it.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// The queue, counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// How many units are in each phase; none in a phase is no entry.
    pub phases: BTreeMap<Phase, usize>,
    /// When the unit that waits longest for a worker became due.
    pub oldest_due: Option<Timestamp>,
    /// For each target that a recorded tag waits for: when the longest waiting was recorded.
    pub oldest_replications: BTreeMap<TargetName, Timestamp>,
}

impl Store {
    /// A page of images, newest first.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn list(&self, filter: ListFilter, now: Timestamp) -> Result<ImageList, StoreError> {
        self.read(move |connection, shared| list(connection, shared, &filter, now)).await
    }

    /// Everything about one image, by its id. An announcement that is resolved leads to its image.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn view(&self, name: &str, now: Timestamp) -> Result<Option<ImageView>, StoreError> {
        let Some(id) = parse_unit_name(name) else { return Ok(None) };
        self.read(move |connection, shared| follow(connection, shared, by_id(connection, id)?, now)).await
    }

    /// Everything about one image, by its reference.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn find(
        &self,
        place: &HarborImage,
        reference: &TagOrDigest,
        now: Timestamp,
    ) -> Result<Option<ImageView>, StoreError> {
        let key = match reference {
            TagOrDigest::Tag(tag) => announcement_key(place, tag),
            TagOrDigest::Digest(digest) => image_key(place, *digest),
        };
        self.read(move |connection, shared| follow(connection, shared, by_key(connection, &key)?, now)).await
    }

    /// The tags of `place` that may mean `root` and were not asked for yet: they have to be, before the index is read.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn announced_tags(&self, place: &HarborImage, root: Digest) -> Result<Vec<Tag>, StoreError> {
        let place = place.clone();
        self.read(move |connection, _| {
            // A tag can't hold a semicolon, which follows the colon: so this is all of the repository's tags.
            let (from, to) = (format!("{place}:"), format!("{place};"));
            let sql = format!("{SELECT} WHERE key > :from AND key < :to AND kind = 0 AND state < 2 LIMIT 64");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(named_params! {":from": from, ":to": to}, StoredUnit::read)?;
            let mut tags = Vec::new();
            for row in rows {
                if let Unit::Announcement(Announcement { tag, resolved: None, .. }) = row?.unit {
                    tags.push(tag);
                }
            }
            if let Some(StoredUnit { id, .. }) = by_key(connection, &image_key(&place, root))? {
                let wants = super::lease::wants(connection, id)?;
                tags.extend(wants.into_iter().filter(|want| want.headed.is_none()).filter_map(|want| want.tag));
            }
            tags.sort();
            tags.dedup();
            Ok(tags)
        })
        .await
    }

    /// How many units are in each phase, and how long the oldest has been due.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        self.read(|connection, shared| {
            let mut phases = BTreeMap::new();
            for phase in shared.phases().values() {
                *phases.entry(*phase).or_default() += 1;
            }
            let oldest_due: Option<Sql<Timestamp>> = connection
                .prepare_cached("SELECT min(due) FROM unit WHERE state < 2 AND state = 0")?
                .query_row([], |row| row.get(0))?;
            let oldest_replications = oldest_replications(connection, shared)?;
            Ok(Counts { phases, oldest_due: oldest_due.map(|due| due.0), oldest_replications })
        })
        .await
    }
}

/// Only images that a worker still has something to do for can wait for a target, and of those only such as are in
/// Harbor: bodies of others are not read, since a queue may hold a hundred thousand.
fn oldest_replications(connection: &Connection, shared: &Shared) -> rusqlite::Result<BTreeMap<TargetName, Timestamp>> {
    let mut statement = connection.prepare_cached(ACTIVE)?;
    let active: Vec<UnitId> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let in_harbor: Vec<UnitId> = {
        let phases = shared.phases();
        let is_there = |id: &UnitId| matches!(phases.get(id), Some(Phase::Warm | Phase::Tagged));
        active.into_iter().filter(is_there).collect()
    };
    let mut oldest = BTreeMap::new();
    for id in in_harbor {
        let Some(mut row) = by_id(connection, id)? else { continue };
        row.unit.set_wants(super::lease::wants(connection, row.id)?);
        let Unit::Image(image) = &row.unit else { continue };
        for (target, recorded) in image.waiting_replications(&shared.projects.get(&image.place, Timestamp::NEVER)) {
            let known = oldest.entry(target).or_insert(recorded);
            *known = recorded.min(*known);
        }
    }
    Ok(oldest)
}

const SELECT: &str = "SELECT id, kind, body, state, due, created, reason FROM unit";

struct StoredUnit {
    id: UnitId,
    kind: i64,
    unit: Unit,
    state: i64,
    due: Timestamp,
    created: Timestamp,
    reason: Option<String>,
}

impl StoredUnit {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            kind: row.get(1)?,
            unit: row.get(2)?,
            state: row.get(3)?,
            due: row.get::<_, Sql<_>>(4)?.0,
            created: row.get::<_, Sql<_>>(5)?.0,
            reason: row.get(6)?,
        })
    }

    fn facts(&self) -> RowFacts {
        RowFacts {
            id: unit_name(self.kind, self.id),
            dead: self.state == DEAD,
            due: self.due,
            created: self.created,
            reason: self.reason.clone(),
        }
    }

    fn summary(&self, projects: &Projects, now: Timestamp) -> ImageSummary {
        match &self.unit {
            Unit::Image(image) => image.summary(self.facts(), &projects.get(&image.place, now), now),
            Unit::Announcement(announcement) => self.announcement_summary(announcement),
        }
    }

    fn announcement_summary(&self, announcement: &Announcement) -> ImageSummary {
        let wants = &announcement.wants;
        ImageSummary {
            id: unit_name(self.kind, self.id),
            place: announcement.place.clone(),
            tags: vec![announcement.tag.clone()],
            root: None,
            phase: if self.state == DEAD { Phase::Failed } else { Phase::Announced },
            reason: self.reason.clone(),
            blobs_local: 0,
            blobs_total: 0,
            bytes_local: 0,
            bytes_total: 0,
            failures: announcement.attempts.failures,
            first_asked: wants.iter().map(|want| want.first_asked).min().unwrap_or(self.created),
            last_asked: wants.iter().map(|want| want.last_asked).max().unwrap_or(self.created),
            due: self.due,
        }
    }

    fn view(&self, projects: &Projects, now: Timestamp) -> ImageView {
        match &self.unit {
            Unit::Image(image) => image.view(self.facts(), &projects.get(&image.place, now), now),
            Unit::Announcement(announcement) => {
                let state = if self.state == DEAD { ImageState::Failed } else { ImageState::Queued };
                let dead = (self.state == DEAD).then(|| self.reason.as_deref().unwrap_or_default());
                let stuck = announcement.stuck(dead, &projects.get(&announcement.place, now), now);
                ImageView {
                    summary: self.announcement_summary(announcement),
                    wants: announcement.wants.iter().map(|want| want_view(want, state)).collect(),
                    tag_records: Vec::new(),
                    manifests: Vec::new(),
                    blobs: Vec::new(),
                    attempts: attempt_views(&announcement.attempts),
                    timeline: announcement.timeline(),
                    stuck,
                    new_tags_blocked_until: None,
                }
            }
        }
    }
}

pub(super) const ACTIVE: &str = "SELECT id FROM unit WHERE state < 2";

/// The units whose key or wants may hold a text. More than do: an image's tags are put together before they are looked
/// through, so what stands before a colon is enough here.
pub(super) const NAMED: &str = "
SELECT id FROM unit WHERE instr(key, :place) > 0
UNION ALL SELECT unit FROM want WHERE instr(key, :query) > 0";

/// So many units are chosen at a time.
const CHUNK: usize = 256;

fn by_id(connection: &Connection, id: UnitId) -> rusqlite::Result<Option<StoredUnit>> {
    let sql = format!("{SELECT} WHERE id = :id");
    connection.prepare_cached(&sql)?.query_row(named_params! {":id": id}, StoredUnit::read).optional()
}

fn by_key(connection: &Connection, key: &str) -> rusqlite::Result<Option<StoredUnit>> {
    let sql = format!("{SELECT} WHERE key = :key");
    connection.prepare_cached(&sql)?.query_row(named_params! {":key": key}, StoredUnit::read).optional()
}

fn follow(
    connection: &Connection,
    shared: &Shared,
    row: Option<StoredUnit>,
    now: Timestamp,
) -> rusqlite::Result<Option<ImageView>> {
    let Some(mut row) = row else { return Ok(None) };
    if let Unit::Announcement(Announcement { place, resolved: Some(resolved), .. }) = &row.unit
        && row.state == DONE
        && let Some(image) = by_key(connection, &image_key(place, resolved.root))?
    {
        row = image;
    }
    row.unit.set_wants(super::lease::wants(connection, row.id)?);
    Ok(Some(row.view(&shared.projects, now)))
}

/// Which units are shown is chosen by their phases, which are in memory, and their names, which an index has: only what
/// is on the page is read.
fn list(connection: &Connection, shared: &Shared, filter: &ListFilter, now: Timestamp) -> rusqlite::Result<ImageList> {
    let mut before = filter.after.as_deref().and_then(parse_unit_name).unwrap_or(UnitId::MAX);
    let named = filter.query.as_deref().map(|query| named(connection, query)).transpose()?;
    let mut images: Vec<ImageSummary> = Vec::new();
    loop {
        let chosen = shared.chosen(before, filter.phase, named.as_ref());
        let Some(last) = chosen.last() else { return Ok(ImageList { images, next: None }) };
        before = *last;
        for id in chosen {
            let Some(mut row) = by_id(connection, id)? else { continue };
            row.unit.set_wants(super::lease::wants(connection, row.id)?);
            let summary = row.summary(&shared.projects, now);
            if !filter.takes(&summary) {
                continue;
            }
            if images.len() == filter.limit {
                let next = images.last().map(|last| last.id.clone());
                return Ok(ImageList { images, next });
            }
            images.push(summary);
        }
    }
}

/// The units that may be named so.
fn named(connection: &Connection, query: &str) -> rusqlite::Result<HashSet<UnitId>> {
    let place = match query.split_once(':') {
        Some((place, _)) if place != "sha256" => place,
        _ => query,
    };
    connection
        .prepare_cached(NAMED)?
        .query_map(named_params! {":place": place, ":query": query}, |row| row.get(0))?
        .collect()
}

impl ListFilter {
    fn takes(&self, summary: &ImageSummary) -> bool {
        let is_named = |query: &str| {
            let tags: Vec<_> = summary.tags.iter().map(Tag::as_str).collect();
            format!("{}:{}", summary.place, tags.join(",")).contains(query)
                || summary.root.is_some_and(|root| root.to_string().contains(query))
        };
        self.phase.is_none_or(|phase| phase == summary.phase) && self.query.as_deref().is_none_or(is_named)
    }
}

impl Shared {
    /// The newest units before `before` that are shown in this phase, and are among `named`.
    fn chosen(&self, before: UnitId, phase: Option<Phase>, named: Option<&HashSet<UnitId>>) -> Vec<UnitId> {
        self.phases()
            .range(..before)
            .rev()
            .filter(|(id, shown)| {
                phase.is_none_or(|phase| phase == **shown) && named.is_none_or(|named| named.contains(id))
            })
            .map(|(id, _)| *id)
            .take(CHUNK)
            .collect()
    }
}

/// Whether people are shown it: a resolved announcement is shown as its image.
fn is_shown(unit: &Unit, state: i64) -> bool {
    matches!(unit, Unit::Image(_)) || state != DONE
}

/// The phase that people are shown of a unit with its wants; none where it isn't shown.
pub(super) fn phase(unit: &Unit, state: i64, projects: &Projects, now: Timestamp) -> Option<Phase> {
    match unit {
        _ if !is_shown(unit, state) => None,
        _ if state == DEAD => Some(Phase::Failed),
        Unit::Announcement(_) => Some(Phase::Announced),
        Unit::Image(image) => Some(image.phase(&projects.get(&image.place, now), now)),
    }
}

/// The phase of every unit that is shown, read once at the start; afterwards writes keep it up to date.
pub(super) fn phases(
    connection: &Connection,
    projects: &Projects,
    now: Timestamp,
) -> Result<BTreeMap<UnitId, Phase>, StoreError> {
    let mut phases = BTreeMap::new();
    let mut statement = connection.prepare(SELECT)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        let unreadable = |source| StoreError::Unreadable { unit: id, source };
        let StoredUnit { mut unit, state, .. } = StoredUnit::read(row).map_err(unreadable)?;
        unit.set_wants(super::lease::wants(connection, id).map_err(unreadable)?);
        if let Some(phase) = phase(&unit, state, projects, now) {
            phases.insert(id, phase);
        }
    }
    Ok(phases)
}
