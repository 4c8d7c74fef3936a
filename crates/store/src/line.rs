//! The lines that units stand in before a Harbor, and whose turn it is.
//!
//! What is under way goes first; it is in no line, and comes back when it is due. All else stands in a line, costs
//! nothing there, and is leased in turns: the clusters go round, and within a cluster its repositories do. So a cluster
//! that hands over a hundred thousand tags waits for itself.
//!
//! The clusters go round when work is taken ([`Turns`]). The repositories of one go round by number: a unit gets
//! the number after the last one of its repository, and none that is lower than what was served already (start-time fair
//! queueing; Goyal, Vin and Cheng, 1996). Repositories share so many counters that memory is bounded (stochastic
//! fairness queueing; McKenney, 1990). Numbers are stored with the units; the counters live in memory, and begin again
//! at the lowest number that stands there.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, named_params};

use crate::Unit;

/// Where a unit stands. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Line {
    /// In none: Harbor's clocks run for it.
    UnderWay = 0,
    /// To be looked at: an announcement, or an image that is asked for again.
    Looks = 1,
    /// Images that nothing was asked of Harbor for yet. Only as many begin as Harbor has room for.
    Beginnings = 2,
    /// Announced tags that the upstream said it doesn't have. They wait for all others.
    Misses = 3,
    /// In none: it was in hand when the process died, so it is worked on by itself.
    Suspects = 4,
}

impl Line {
    /// Where a unit goes that a worker has looked at.
    pub(crate) fn of(unit: &Unit) -> Self {
        match unit {
            Unit::Announcement(announcement) if announcement.is_missing() => Self::Misses,
            Unit::Announcement(_) => Self::Looks,
            Unit::Image(image) if image.has_begun() => Self::UnderWay,
            Unit::Image(_) => Self::Beginnings,
        }
    }

    /// Where a unit goes that is opened, by a hand-off or by hand: what has begun once is looked at again in its turn.
    pub(crate) fn of_opened(unit: &Unit) -> Self {
        match Self::of(unit) {
            Self::UnderWay => Self::Looks,
            line => line,
        }
    }

    pub(crate) fn number(self) -> i64 {
        self as i64
    }

    /// Reads what [`Line::number`] gives.
    pub(crate) fn numbered(number: i64) -> Self {
        match number {
            0 => Self::UnderWay,
            2 => Self::Beginnings,
            3 => Self::Misses,
            4 => Self::Suspects,
            _ => Self::Looks,
        }
    }
}

/// The repositories of a cluster share so many counters: 2 KiB for each cluster and line.
const COUNTERS: usize = 256;

/// Who has had a turn.
#[derive(Default)]
pub(crate) struct Turns(Mutex<Served>);

#[derive(Default)]
struct Served {
    /// The cluster that was served last, for each Harbor and line.
    clusters: HashMap<(String, Line), String>,
    queues: HashMap<(String, Line, String), Queue>,
}

/// One cluster's part of a line.
struct Queue {
    /// The highest number that was served.
    served: i64,
    /// The last number that was given out, by repository.
    given: Box<[i64; COUNTERS]>,
}

impl Turns {
    /// The number of a unit that comes into the line now. `key` is its own.
    pub(crate) fn number(
        &self,
        connection: &Connection,
        harbor: &str,
        line: Line,
        cluster: &str,
        key: &str,
    ) -> rusqlite::Result<i64> {
        let mut served = self.served();
        let queue = match served.queues.entry((harbor.to_owned(), line, cluster.to_owned())) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let lowest = first(connection, harbor, line, cluster)?.map_or(0, |(_, turn)| turn);
                entry.insert(Queue { served: lowest, given: Box::new([lowest; COUNTERS]) })
            }
        };
        let served = queue.served;
        let given = &mut queue.given[counter(key)];
        *given = served.max(*given).saturating_add(1);
        Ok(*given)
    }

    /// A unit of this number is leased.
    pub(crate) fn served_number(&self, harbor: &str, line: Line, cluster: &str, turn: i64) {
        let mut served = self.served();
        served.clusters.insert((harbor.to_owned(), line), cluster.to_owned());
        if let Some(queue) = served.queues.get_mut(&(harbor.to_owned(), line, cluster.to_owned())) {
            queue.served = queue.served.max(turn);
        }
    }

    /// The cluster that was served last.
    pub(crate) fn last(&self, harbor: &str, line: Line) -> Option<String> {
        self.served().clusters.get(&(harbor.to_owned(), line)).cloned()
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counter of a unit's repository: what its key has before the tag or digest.
fn counter(key: &str) -> usize {
    let repository = key.split([':', '@']).next().unwrap_or(key);
    let mut hasher = DefaultHasher::new();
    repository.hash(&mut hasher);
    usize::try_from(hasher.finish() % COUNTERS as u64).unwrap_or_default()
}

/// The unit that is first in a cluster's part of the line, and its number.
pub(crate) fn first(
    connection: &Connection,
    harbor: &str,
    line: Line,
    cluster: &str,
) -> rusqlite::Result<Option<(i64, i64)>> {
    connection
        .prepare_cached(FIRST)?
        .query_row(named_params! {":harbor": harbor, ":line": line.number(), ":cluster": cluster}, |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
}

pub(crate) const FIRST: &str = "
SELECT id, turn FROM unit
WHERE state = 0 AND turn IS NOT NULL AND harbor = :harbor AND line = :line AND cluster = :cluster
ORDER BY turn LIMIT 1";

/// The next cluster that has units in the line, after `last` in the alphabet and from its beginning again.
pub(crate) fn next_cluster(
    connection: &Connection,
    harbor: &str,
    line: Line,
    last: Option<&str>,
) -> rusqlite::Result<Option<String>> {
    match cluster_after(connection, harbor, line, last)? {
        None if last.is_some() => cluster_after(connection, harbor, line, None),
        next => Ok(next),
    }
}

/// The next cluster that has units in the line, after `last` in the alphabet; the first without one.
pub(crate) fn cluster_after(
    connection: &Connection,
    harbor: &str,
    line: Line,
    last: Option<&str>,
) -> rusqlite::Result<Option<String>> {
    let line = line.number();
    match last {
        Some(last) => connection
            .prepare_cached(NEXT_CLUSTER)?
            .query_row(named_params! {":harbor": harbor, ":line": line, ":last": last}, |row| row.get(0)),
        None => connection
            .prepare_cached(FIRST_CLUSTER)?
            .query_row(named_params! {":harbor": harbor, ":line": line}, |row| row.get(0)),
    }
}

pub(crate) const NEXT_CLUSTER: &str = "
SELECT min(cluster) FROM unit
WHERE state = 0 AND turn IS NOT NULL AND harbor = :harbor AND line = :line AND cluster > :last";

pub(crate) const FIRST_CLUSTER: &str = "
SELECT min(cluster) FROM unit WHERE state = 0 AND turn IS NOT NULL AND harbor = :harbor AND line = :line";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tags_and_digests_of_a_repository_share_a_counter() {
        assert_eq!(counter("main/hub/app:1"), counter("main/hub/app@sha256:00"));
        let counters: std::collections::HashSet<_> = (0..64).map(|n| counter(&format!("main/hub/app{n}:1"))).collect();
        assert!(counters.len() > 48, "{} counters for 64 repositories", counters.len());
    }
}
