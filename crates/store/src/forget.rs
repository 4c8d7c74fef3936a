//! What nobody asks for any more is forgotten, a few hundred at a time, so that no hand-off waits for it.

use harbor_warmer_core::timestamp::Timestamp;
use rusqlite::named_params;

use crate::body::Sql;
use crate::lease::BATCH;
use crate::row::{DEAD, DONE, UNREADABLE};
use crate::{Store, StoreError, UnitId};

/// So many finished units are looked through at a time.
const LOOKED_THROUGH: i64 = 5_000;

impl Store {
    /// Forgets finished and dead units that nobody asked for since `before`.
    ///
    /// # Errors
    /// The queue can't be read or written; what was forgotten until then stays so.
    pub async fn forget(&self, before: Timestamp) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        for state in [DONE, DEAD, UNREADABLE] {
            let mut after = (i64::MIN, UnitId::MIN);
            loop {
                let page = self.finished(state, after, before).await?;
                let Some((updated, id, _)) = page.last() else { break };
                after = (*updated, *id);
                let old: Vec<UnitId> = page.iter().filter(|(_, _, is_old)| *is_old).map(|(_, id, _)| *id).collect();
                for batch in old.chunks(BATCH) {
                    forgotten += self.forget_these(batch.to_vec(), before).await?;
                }
            }
        }
        Ok(forgotten)
    }

    /// A page of finished units in the order of the index, each with whether nobody asks for it any more.
    async fn finished(
        &self,
        state: i64,
        after: (i64, UnitId),
        before: Timestamp,
    ) -> Result<Vec<(i64, UnitId, bool)>, StoreError> {
        self.read(move |connection, _| {
            let parameters = named_params! {
                ":state": state,
                ":updated": after.0,
                ":id": after.1,
                ":before": Sql(before),
                ":limit": LOOKED_THROUGH,
            };
            let page = connection
                .prepare_cached(FINISHED)?
                .query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<Result<_, _>>()?;
            Ok(page)
        })
        .await
    }

    async fn forget_these(&self, units: Vec<UnitId>, before: Timestamp) -> Result<usize, StoreError> {
        self.write(move |connection| {
            let mut forget = connection.prepare_cached(FORGET)?;
            let mut forgotten = 0;
            for id in units {
                forgotten += forget.execute(named_params! {":id": id, ":before": Sql(before)})?;
            }
            Ok(forgotten)
        })
        .await
    }
}

// `state >= 2` names the partial index; without it SQLite scans the table.
pub(crate) const FINISHED: &str = "
SELECT updated, id,
  NOT EXISTS (SELECT 1 FROM want WHERE want.unit = unit.id AND want.asked >= :before)
  AND (updated < :before OR EXISTS (SELECT 1 FROM want WHERE want.unit = unit.id))
FROM unit
WHERE state >= 2 AND state = :state AND (updated, id) > (:updated, :id)
ORDER BY updated, id LIMIT :limit";

/// It may have been asked for since it was looked at.
const FORGET: &str = "
DELETE FROM unit WHERE id = :id AND state >= 2
  AND NOT EXISTS (SELECT 1 FROM want WHERE want.unit = unit.id AND want.asked >= :before)";
