//! Workers, clusters and crashes at random, beside a model that is too simple to be wrong.
//!
//! The model knows what was acknowledged and who holds what. After every operation: no acknowledged want is lost, no
//! unit has two holders, none is left done with a want that neither its worker saw nor its image answers, and the
//! phases are those that a look at every row gives. At the end, everything unfinished comes back to a worker.

use proptest::prelude::*;

use super::*;
use crate::row::{DONE, LEASED};

/// Something that happens to the queue.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    HandOff {
        subject: Subject,
        cluster: u8,
        arm: bool,
        known_root: Option<u8>,
    },
    Acquire {
        limit: usize,
    },
    Settle {
        holder: usize,
        outcome: Ended,
    },
    Renew {
        holder: usize,
    },
    Release {
        holder: usize,
    },
    Requeue {
        unit: UnitId,
    },
    Pass {
        seconds: u64,
    },
    /// The process ends without a word, and another one starts.
    Restart,
}

/// How a worker lets go; what doesn't fit the unit is a wait.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    Wait { seconds: u64 },
    Warm,
    Dead,
    Resolved { root: u8 },
    Moved { root: u8 },
}

pub(super) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let tags = || prop_oneof![Just("1.0"), Just("latest")].prop_map(tag);
    let subject = prop_oneof![
        3 => tags().prop_map(Subject::Tag),
        1 => (1u8..4, prop::option::of(tags())).prop_map(|(n, tag)| Subject::Pin { digest: digest(n), tag }),
        1 => (100u8..102, prop::option::of(tags())).prop_map(|(n, tag)| Subject::Layers { child: digest(n), tag }),
    ];
    let outcome = prop_oneof![
        1 => (0u64..900).prop_map(|seconds| Ended::Wait { seconds }),
        3 => Just(Ended::Warm),
        1 => Just(Ended::Dead),
        3 => (1u8..4).prop_map(|root| Ended::Resolved { root }),
        1 => (1u8..4).prop_map(|root| Ended::Moved { root }),
    ];
    let operation = prop_oneof![
        6 => (subject, 0u8..3, any::<bool>(), prop::option::of(1u8..4)).prop_map(
            |(subject, cluster, arm, known_root)| Operation::HandOff { subject, cluster, arm, known_root }
        ),
        5 => (1usize..4).prop_map(|limit| Operation::Acquire { limit }),
        6 => (any::<prop::sample::Index>(), outcome)
            .prop_map(|(holder, outcome)| Operation::Settle { holder: holder.index(8), outcome }),
        1 => (0usize..8).prop_map(|holder| Operation::Renew { holder }),
        1 => (0usize..8).prop_map(|holder| Operation::Release { holder }),
        1 => (1i64..8).prop_map(|unit| Operation::Requeue { unit }),
        3 => prop_oneof![Just(1u64), Just(61), Just(700), Just(4_000)].prop_map(|seconds| Operation::Pass { seconds }),
        1 => Just(Operation::Restart),
    ];
    prop::collection::vec(operation, 1..60)
}

/// A worker, with the moment when its lease ends. It may have lost it without knowing.
struct Holder {
    leased: Leased,
    until: Timestamp,
}

struct Driver<Reopen> {
    store: Option<Store>,
    reopen: Reopen,
    now: Timestamp,
    holders: Vec<Holder>,
    acknowledged: Vec<Want>,
    /// The wants that the last worker of a unit saw.
    seen: BTreeMap<UnitId, Vec<Want>>,
}

/// Drives an engine; `reopen` opens the same storage again.
pub(super) async fn drive(reopen: impl Fn() -> Store, operations: Vec<Operation>) {
    let mut driver = Driver {
        store: Some(reopen()),
        reopen,
        now: START,
        holders: Vec::new(),
        acknowledged: Vec::new(),
        seen: BTreeMap::new(),
    };
    for operation in operations {
        driver.carry_out(operation).await;
        driver.check().await;
    }
    driver.finish().await;
}

fn same(one: &Want, other: &Want) -> bool {
    (&one.cluster, &one.tag, &one.platforms) == (&other.cluster, &other.tag, &other.platforms)
}

impl<Reopen: Fn() -> Store> Driver<Reopen> {
    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    async fn carry_out(&mut self, operation: Operation) {
        match operation {
            Operation::HandOff { subject, cluster, arm, known_root } => {
                let mut hand_off = hand_off(subject);
                if arm {
                    hand_off = for_arm(hand_off);
                }
                let want = Want {
                    cluster: format!("cluster-{cluster}"),
                    tag: hand_off.subject.tag().cloned(),
                    pinned: matches!(hand_off.subject, Subject::Pin { .. }),
                    platforms: hand_off.platforms.clone(),
                    target: None,
                    first_asked: self.now,
                    last_asked: self.now,
                    headed: None,
                };
                let known_root = known_root.map(|root| resolved(root, self.now));
                self.store().hand_off(hand_off, &want.cluster, known_root, self.now).await.unwrap();
                self.acknowledged.push(want);
            }
            Operation::Acquire { limit } => self.acquire(limit, self.now).await,
            Operation::Settle { holder, outcome } => {
                if holder < self.holders.len() {
                    let holder = self.holders.remove(holder);
                    self.settle(holder, outcome).await;
                }
            }
            Operation::Renew { holder } => {
                let until = self.now + LEASE;
                let Some(lease) = self.holders.get(holder).map(|holder| holder.leased.lease) else { return };
                if self.store().renew(lease, until).await.unwrap() {
                    self.holders[holder].until = until;
                }
            }
            Operation::Release { holder } => {
                if holder < self.holders.len() {
                    let holder = self.holders.remove(holder);
                    self.store().release(holder.leased.lease, self.now).await.unwrap();
                }
            }
            Operation::Requeue { unit } => {
                self.store().requeue(&format!("i{unit}"), self.now).await.unwrap();
            }
            Operation::Pass { seconds: passed } => self.now = self.now + seconds(passed),
            Operation::Restart => {
                self.store = None;
                self.store = Some((self.reopen)());
                for holder in &mut self.holders {
                    holder.until = START;
                }
            }
        }
    }

    async fn acquire(&mut self, limit: usize, now: Timestamp) {
        let until = now + LEASE;
        for leased in acquire(self.store(), limit, now).await.unwrap() {
            let holds = |holder: &&Holder| holder.leased.lease.name() == leased.lease.name() && holder.until > now;
            assert!(self.holders.iter().find(holds).is_none(), "two holders of {leased:?}");
            self.holders.push(Holder { leased, until });
        }
    }

    async fn settle(&mut self, holder: Holder, outcome: Ended) {
        let (leased, now) = (holder.leased, self.now);
        let mut moved = Vec::new();
        let is_image = matches!(leased.unit, Unit::Image(_));
        let (unit, settlement) = match outcome {
            Ended::Warm if is_image => (leased.warmed(now), Settlement::Done { again: None }),
            Ended::Moved { root } if is_image && digest(root) != leased.image().root => {
                moved.push((tag("latest"), resolved(root, now)));
                (leased.warmed(now), Settlement::Done { again: None })
            }
            Ended::Resolved { root } if !is_image => {
                (leased.headed(root, now), Settlement::Resolved(resolved(root, now)))
            }
            Ended::Dead => (leased.unit.clone(), Settlement::Dead { reason: "no such tag".to_owned() }),
            Ended::Wait { seconds: n } => {
                (leased.unit.clone(), Settlement::Wait { due: now + seconds(n), reason: None })
            }
            _ => (leased.unit.clone(), Settlement::Wait { due: now, reason: None }),
        };
        let newer = |other: &Holder| other.leased.lease.name() == leased.lease.name();
        let lost = self.holders.iter().any(|other| newer(other) && other.until > holder.until);
        let held = self.store().settle(leased.lease, unit, settlement, moved, now).await.unwrap();
        assert!(!(held && lost), "somebody else has {leased:?}");
        if held {
            self.seen.insert(leased.lease.name(), leased.unit.wants().to_vec());
        }
    }

    async fn check(&self) {
        let rows = rows(self.store()).await;
        for want in &self.acknowledged {
            let kept = rows.iter().flat_map(|row| row.unit.wants()).any(|kept| same(kept, want));
            assert!(kept, "lost: {want:?} in {rows:#?}");
        }
        for row in &rows {
            let holders = self.holders.iter().filter(|holder| {
                holder.leased.lease.name() == row.id && holder.until > self.now && row.state == LEASED
            });
            assert!(holders.count() <= 1, "{row:?}");
            if row.state != DONE {
                continue;
            }
            let seen = self.seen.get(&row.id).map_or([].as_slice(), Vec::as_slice);
            for want in row.unit.wants() {
                let answered = matches!(&row.unit, Unit::Image(image) if image.answers(want, &project()));
                assert!(answered || seen.iter().any(|seen| same(seen, want)), "{want:?} is not seen: {row:?}");
            }
        }
        assert_hints_are_right(self.store(), self.now).await;
    }

    /// Every unit that is not finished comes back to a worker, and the units come to rest.
    async fn finish(&mut self) {
        self.holders.clear();
        for _ in 0..60 {
            self.now = self.now + seconds(100_000);
            let unfinished = rows(self.store()).await.into_iter().filter(|row| row.state <= LEASED);
            let unfinished: BTreeSet<_> = unfinished.map(|row| row.id).collect();
            self.acquire(1_000, self.now).await;
            let leased: BTreeSet<_> = self.holders.iter().map(|holder| holder.leased.lease.name()).collect();
            assert!(leased.is_subset(&unfinished), "{leased:?} of {unfinished:?}");
            if unfinished.is_empty() {
                return;
            }
            // What was in hand when a process died comes back one after the other.
            assert!(!leased.is_empty(), "{unfinished:?}");
            for holder in std::mem::take(&mut self.holders) {
                let is_image = matches!(holder.leased.unit, Unit::Image(_));
                let outcome = if is_image { Ended::Warm } else { Ended::Resolved { root: 1 } };
                self.settle(holder, outcome).await;
                self.check().await;
            }
        }
        panic!("the queue never comes to rest");
    }
}
