//! Looks at the queue that change nothing.

use std::collections::BTreeMap;

use harbor_warmer_core::announcement::Announcement;
use harbor_warmer_core::image::view::{attempt_views, want_view};
use harbor_warmer_core::projects::Projects;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_core::view::{ImageList, ImageSummary, ImageView, Phase};
use harbor_warmer_protocol::{Digest, HarborImage, HarborName, ImageState, Tag, TagOrDigest, TargetName};
use rusqlite::{Connection, OptionalExtension, named_params};

use crate::body::{Sql, announcement_key, image_key};
use crate::line::{self, Line};
use crate::row::{self, DONE, Row, UNREADABLE, parse_unit_name};
use crate::{Shared, Store, StoreError, Unit, UnitId};

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

/// Tags that have to be asked for before an index is read, since Harbor records none that comes later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnouncedTags {
    /// Those that the index itself is wanted for.
    pub own: Vec<Tag>,
    /// Others of the repository whose digests aren't known yet: any of them may mean it. Not all, where there are many.
    pub others: Vec<Tag>,
}

/// The queue, counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// How many units are in each phase; none in a phase is no entry.
    pub phases: BTreeMap<Phase, usize>,
    /// When the unit that waits longest for a worker became due. Images that wait for their Harbor don't count.
    pub oldest_due: Option<Timestamp>,
    /// For each target that a recorded tag waits for: when the longest waiting was recorded.
    pub oldest_replications: BTreeMap<TargetName, Timestamp>,
    /// For each Harbor: images that nothing was asked of it for yet.
    pub waiting: BTreeMap<HarborName, usize>,
    /// For each cluster that has any: units that workers still have something to do for.
    pub unfinished: BTreeMap<String, usize>,
    /// Units whose rows can't be read.
    pub unreadable: usize,
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
        self.read(move |connection, shared| follow(connection, shared, Row::get(connection, id, now)?, now)).await
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
        self.read(move |connection, shared| follow(connection, shared, Row::find(connection, &key, now)?, now)).await
    }

    /// The tags of `place` that have to be asked for before the index `root` is read.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn announced_tags(&self, place: &HarborImage, root: Digest) -> Result<AnnouncedTags, StoreError> {
        let place = place.clone();
        self.read(move |connection, _| {
            let mut own = Vec::new();
            if let Some(Row { id, .. }) = Row::find(connection, &image_key(&place, root), Timestamp::NEVER)? {
                let wants = row::wants(connection, id)?;
                own.extend(wants.into_iter().filter(|want| want.headed.is_none()).filter_map(|want| want.tag));
            }
            own.sort();
            own.dedup();
            // A tag can't hold a semicolon, which follows the colon: so this is all of the repository's tags.
            let (from, to) = (format!("{place}:"), format!("{place};"));
            let misses = Line::Misses.number();
            let keys: Vec<String> = connection
                .prepare_cached(ANNOUNCED)?
                .query_map(named_params! {":from": from, ":to": to, ":misses": misses}, |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            let tag = |key: &String| key.strip_prefix(&from).and_then(|tag| tag.parse::<Tag>().ok());
            let others = keys.iter().filter_map(tag).filter(|tag| !own.contains(tag)).collect();
            Ok(AnnouncedTags { own, others })
        })
        .await
    }

    /// How many units are in each phase, and how long the oldest has been due.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        self.read(|connection, _| {
            let mut counts = Counts::default();
            let mut tally = connection.prepare_cached(TALLY)?;
            let mut rows = tally.query([])?;
            while let Some(row) = rows.next()? {
                let (cluster, harbor): (String, String) = (row.get(0)?, row.get(1)?);
                let (state, line, phase): (i64, i64, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
                let units = usize::try_from(row.get::<_, i64>(5)?).unwrap_or_default();
                if let Some(phase) = row::phase_of(phase) {
                    *counts.phases.entry(phase).or_default() += units;
                }
                if state < DONE {
                    *counts.unfinished.entry(cluster).or_default() += units;
                }
                if state == UNREADABLE {
                    counts.unreadable += units;
                }
                if let (0, Line::Beginnings, Ok(harbor)) = (state, Line::numbered(line), harbor.parse()) {
                    *counts.waiting.entry(harbor).or_default() += units;
                }
            }
            drop(rows);
            counts.oldest_due = oldest_due(connection)?;
            counts.oldest_replications = oldest_replications(connection)?;
            Ok(counts)
        })
        .await
    }
}

/// Of what is asleep, and of those that stand first in the line. Each has its due time at the beginning of an index.
fn oldest_due(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let harbors: Vec<String> = connection
        .prepare_cached("SELECT DISTINCT harbor FROM tally WHERE state = 0 AND units > 0")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut oldest: Option<Timestamp> = None;
    for harbor in harbors {
        for line in [Line::UnderWay, Line::Looks, Line::Misses, Line::Suspects] {
            let parameters = named_params! {":harbor": harbor, ":line": line.number()};
            let asleep: Option<Sql<Timestamp>> =
                connection.prepare_cached(OLDEST_ASLEEP)?.query_row(parameters, |row| row.get(0))?;
            oldest = oldest.into_iter().chain(asleep.map(|due| due.0)).min();
            let mut last = None;
            while let Some(cluster) = line::cluster_after(connection, &harbor, line, last.as_deref())? {
                let first: Option<Sql<Timestamp>> = connection
                    .prepare_cached(OLDEST_STANDING)?
                    .query_row(named_params! {":harbor": harbor, ":line": line.number(), ":cluster": cluster}, |row| {
                        row.get(0)
                    })
                    .optional()?;
                oldest = oldest.into_iter().chain(first.map(|due| due.0)).min();
                last = Some(cluster);
            }
        }
    }
    Ok(oldest)
}

fn oldest_replications(connection: &Connection) -> rusqlite::Result<BTreeMap<TargetName, Timestamp>> {
    let mut oldest = BTreeMap::new();
    let mut last = String::new();
    let mut next = connection.prepare_cached(OLDEST_REPLICATION)?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Sql<_>>(1)?.0));
    while let Some((target, since)) = next.query_row(named_params! {":last": last}, read).optional()? {
        if let Ok(target) = target.parse() {
            oldest.insert(target, since);
        }
        last = target;
    }
    Ok(oldest)
}

pub(crate) const TALLY: &str = "SELECT cluster, harbor, state, line, phase, units FROM tally WHERE units > 0";

pub(crate) const OLDEST_ASLEEP: &str =
    "SELECT min(due) FROM unit WHERE state = 0 AND turn IS NULL AND harbor = :harbor AND line = :line";

pub(crate) const OLDEST_STANDING: &str = "
SELECT due FROM unit
WHERE state = 0 AND turn IS NOT NULL AND harbor = :harbor AND line = :line AND cluster = :cluster
ORDER BY turn LIMIT 1";

pub(crate) const OLDEST_REPLICATION: &str =
    "SELECT target, since FROM replication WHERE target > :last ORDER BY target, since LIMIT 1";

// Those that the upstream doesn't have take no place among the others.
const ANNOUNCED: &str = "
SELECT key FROM unit WHERE key > :from AND key < :to AND kind = 0 AND state < 2 AND line <> :misses LIMIT 64";

impl Row {
    fn summary(&self, projects: &Projects, now: Timestamp) -> ImageSummary {
        match &self.unit {
            Unit::Image(image) => image.summary(self.facts(), &projects.get(&image.place, now), now),
            Unit::Announcement(announcement) => self.announcement_summary(announcement),
        }
    }

    fn announcement_summary(&self, announcement: &Announcement) -> ImageSummary {
        let wants = &announcement.wants;
        ImageSummary {
            id: self.name(),
            place: announcement.place.clone(),
            tags: vec![announcement.tag.clone()],
            root: None,
            phase: if self.is_given_up() { Phase::Failed } else { Phase::Announced },
            reason: self.reason.clone(),
            blobs_local: 0,
            blobs_total: 0,
            bytes_local: 0,
            bytes_total: 0,
            failures: announcement.attempts.counted(),
            first_asked: wants.iter().map(|want| want.first_asked).min().unwrap_or(self.created),
            last_asked: wants.iter().map(|want| want.last_asked).max().unwrap_or(self.created),
            due: self.due,
        }
    }

    fn view(&self, projects: &Projects, now: Timestamp) -> ImageView {
        match &self.unit {
            Unit::Image(image) => image.view(self.facts(), &projects.get(&image.place, now), now),
            Unit::Announcement(announcement) => {
                let state = if self.is_given_up() { ImageState::Failed } else { ImageState::Queued };
                let dead = self.is_given_up().then(|| self.reason.as_deref().unwrap_or_default());
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

/// The units whose key or wants may hold a text. More than do: an image's tags are put together before they are looked
/// through, so what stands before a colon is enough here.
pub(crate) const NAMED: &str = "
SELECT id FROM unit WHERE instr(key, :place) > 0
UNION ALL SELECT unit FROM want WHERE instr(key, :query) > 0";

/// So many units are chosen at a time.
const CHUNK: usize = 64;

fn follow(
    connection: &Connection,
    shared: &Shared,
    row: Option<Row>,
    now: Timestamp,
) -> rusqlite::Result<Option<ImageView>> {
    let Some(mut row) = row else { return Ok(None) };
    if let Unit::Announcement(Announcement { place, resolved: Some(resolved), .. }) = &row.unit
        && row.state == DONE
        && let Some(image) = Row::find(connection, &image_key(place, resolved.root), now)?
    {
        row = image;
    }
    row.unit.set_wants(row::wants(connection, row.id)?);
    Ok(Some(row.view(&shared.projects, now)))
}

/// Which units are shown is chosen by an index of their phases, and their names, which an index has: only what is on the
/// page is read.
fn list(connection: &Connection, shared: &Shared, filter: &ListFilter, now: Timestamp) -> rusqlite::Result<ImageList> {
    let mut before = filter.after.as_deref().and_then(parse_unit_name).unwrap_or(UnitId::MAX);
    let named = filter.query.as_deref().map(|query| named(connection, query)).transpose()?;
    let mut images: Vec<ImageSummary> = Vec::new();
    loop {
        let chosen = match &named {
            Some(named) => newest(named, before),
            None => shown(connection, before, filter.phase)?,
        };
        let Some(last) = chosen.last() else { return Ok(ImageList { images, next: None }) };
        before = *last;
        for id in chosen {
            let Some(mut row) = Row::get(connection, id, now)?.filter(|row| row.phase.is_some()) else { continue };
            row.unit.set_wants(row::wants(connection, row.id)?);
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

/// The newest units before `before` that are shown, in one phase or in all.
fn shown(connection: &Connection, before: UnitId, phase: Option<Phase>) -> rusqlite::Result<Vec<UnitId>> {
    let mut statement = connection.prepare_cached(SHOWN)?;
    let mut chosen: Vec<UnitId> = Vec::new();
    for phase in phase.as_ref().map_or(Phase::ALL.as_slice(), std::slice::from_ref) {
        let parameters = named_params! {":phase": row::phase_number(*phase), ":before": before, ":chunk": CHUNK as i64};
        let ids = statement.query_map(parameters, |row| row.get(0))?;
        chosen.extend(ids.collect::<Result<Vec<UnitId>, _>>()?);
    }
    chosen.sort_unstable_by(|one, other| other.cmp(one));
    chosen.truncate(CHUNK);
    Ok(chosen)
}

pub(crate) const SHOWN: &str =
    "SELECT id FROM unit WHERE phase = :phase AND id < :before ORDER BY id DESC LIMIT :chunk";

/// The newest of `named`, which are in order, before `before`.
fn newest(named: &[UnitId], before: UnitId) -> Vec<UnitId> {
    let older = named.partition_point(|id| *id < before);
    named[..older].iter().rev().take(CHUNK).copied().collect()
}

/// The units that may be named so.
fn named(connection: &Connection, query: &str) -> rusqlite::Result<Vec<UnitId>> {
    let place = match query.split_once(':') {
        Some((place, _)) if place != "sha256" => place,
        _ => query,
    };
    let mut named: Vec<UnitId> = connection
        .prepare_cached(NAMED)?
        .query_map(named_params! {":place": place, ":query": query}, |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    named.sort_unstable();
    named.dedup();
    Ok(named)
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
