//! Simulated time: it stands still while anything is being done, and jumps to the next timer when nothing is.
//!
//! Everything runs on one thread under tokio's paused clock, which by itself would also jump while bytes lie in a
//! socket or the queue's thread writes, since neither is a task that can run. So before the runtime idles it is made
//! to look again ([`Time::before_idle`]), until what is watched has stood still for several looks in a row. Then every
//! timer of Harbor's and the warmer's fires at its own moment, in order, however slow the machine is.
//!
//! A chain of causes that is longer than those looks without a byte at Harbor or a change in the queue would see the
//! clock jump. None comes near it; if one did, an answer would seem to be a timer late, which every party must bear.

use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use harbor_warmer::clock;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_simulator::Traffic;
use harbor_warmer_store::Store;
use tokio::time::Instant;

/// The simulation begins on 2026-01-05, a Monday, at midnight.
const BEGINNING: Timestamp = Timestamp::from_millis(1_767_571_200_000);

/// Looks in a row without a sign of life before time goes on. From a byte that leaves Harbor to the next that arrives
/// there, or to a change in the queue, it takes three: the client reads, connects anew, and Harbor reads.
const QUIET_LOOKS: u32 = 4;

/// About as long as a change of the queue takes where no disk is waited for.
const WRITING_TAKES: Duration = Duration::from_micros(20);

/// The simulated time of one runtime.
#[derive(Clone, Default)]
pub struct Time(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The future that the runtime runs: waking it makes the runtime look for I/O instead of idling.
    main: OnceLock<Waker>,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    traffic: Vec<Traffic>,
    queue: Option<Store>,
    bytes: u64,
    quiet_looks: u32,
}

impl Time {
    /// Runs `simulation` in simulated time, on this thread.
    ///
    /// # Errors
    /// What the simulation returns, or the runtime can't be built.
    ///
    /// # Panics
    /// If the simulation does.
    pub fn run<F>(simulation: impl FnOnce(Self) -> F) -> anyhow::Result<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let time = Self::default();
        let watching = time.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .on_thread_park(move || watching.before_idle())
            .build()?;
        clock::follow(now);
        Ok(runtime.block_on(async {
            let mut simulation = pin!(tokio::spawn(simulation(time.clone())));
            let ended = std::future::poll_fn(|context| {
                time.0.main.get_or_init(|| context.waker().clone());
                match simulation.as_mut().poll(context) {
                    Poll::Ready(ended) => Poll::Ready(ended),
                    Poll::Pending => Poll::Pending,
                }
            });
            ended.await.expect("the simulation does not panic")
        }))
    }

    /// Time stands still while bytes go to or from this Harbor.
    pub fn watch_harbor(&self, traffic: Traffic) {
        self.watched().traffic.push(traffic);
    }

    /// Time stands still while this queue is being written.
    pub fn watch_queue(&self, queue: Store) {
        self.watched().queue = Some(queue);
    }

    /// No task can run. Wakes the main future, so that the runtime looks at its sockets and does not let time go on,
    /// unless all has been quiet for long enough.
    fn before_idle(&self) {
        let mut watched = self.watched();
        let bytes = watched.traffic.iter().map(Traffic::bytes).sum();
        let writing = watched.queue.as_ref().is_some_and(|queue| queue.changes_under_way() > 0);
        if writing || bytes != watched.bytes {
            watched.bytes = bytes;
            watched.quiet_looks = 0;
        }
        if watched.quiet_looks == QUIET_LOOKS {
            watched.quiet_looks = 0;
            return;
        }
        watched.quiet_looks += 1;
        drop(watched);
        if writing {
            // The writer's thread may need this processor.
            std::thread::sleep(WRITING_TAKES);
        }
        if let Some(main) = self.0.main.get() {
            main.wake_by_ref();
        }
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, Watched> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The simulated moment.
pub fn now() -> Timestamp {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    BEGINNING + STARTED.get_or_init(Instant::now).elapsed()
}
