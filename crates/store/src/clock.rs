//! A clock that was set back.
//!
//! Due times of the days before would lie in the future, for as long as the clock was set back. The file remembers a
//! moment that it has seen, a minute old at most; a start that finds it in the future makes everything due, and what a
//! body says of the future counts as now ([`crate::row::by_the_clock`]). While the service runs, its time does not step.

use std::sync::atomic::Ordering;
use std::time::Duration;

use harbor_warmer_core::timestamp::Timestamp;
use rusqlite::{Connection, named_params};

use crate::body::Sql;
use crate::lease::BATCH;
use crate::{Store, StoreError};

/// A write for its own sake every minute is nothing to a disk, and a minute is soon over.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The last moment that the file was told of.
pub(crate) fn moment(connection: &Connection) -> rusqlite::Result<Timestamp> {
    connection.query_row("SELECT at FROM moment", [], |row| row.get::<_, Sql<_>>(0)).map(|at| at.0)
}

impl Store {
    /// Writes down that it is `now`.
    pub(crate) async fn tell_moment(&self, now: Timestamp) -> Result<(), StoreError> {
        self.0.moment.store(now.as_millis(), Ordering::Relaxed);
        let told = Timestamp::from_millis(self.0.told.load(Ordering::Relaxed));
        if now.since(told) < TOLD_EVERY {
            return Ok(());
        }
        self.write(move |connection| {
            Ok(connection.execute("UPDATE moment SET at = :now", named_params! {":now": Sql(now)})?)
        })
        .await?;
        self.0.told.store(now.as_millis(), Ordering::Relaxed);
        Ok(())
    }

    /// Makes everything due that waits for a moment which the clock that was set back will not reach for long. How many
    /// units that are.
    ///
    /// # Errors
    /// The queue can't be written.
    pub async fn forgive_the_clock(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut forgiven = 0;
        for sql in [ASLEEP, RESTING] {
            loop {
                let some = self
                    .write(move |connection| {
                        let parameters = named_params! {":now": Sql(now), ":batch": BATCH as i64};
                        Ok(connection.prepare_cached(sql)?.execute(parameters)?)
                    })
                    .await?;
                forgiven += some;
                if some < BATCH {
                    break;
                }
            }
        }
        self.0.woken.notify_waiters();
        Ok(forgiven)
    }
}

const ASLEEP: &str = "
UPDATE unit SET due = :now
WHERE id IN (SELECT id FROM unit WHERE state = 0 AND turn IS NULL AND due > :now LIMIT :batch)";

/// One that has no time to be looked at again keeps none.
const RESTING: &str = "
UPDATE unit SET due = :now
WHERE id IN (SELECT id FROM unit WHERE state = 2 AND due > :now AND due < 9223372036854775807 LIMIT :batch)";
