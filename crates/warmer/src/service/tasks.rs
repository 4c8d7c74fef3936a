//! The tasks that run as long as the service does, by name.
//!
//! None of them ends before a shutdown. One that does, by a panic or by a fault in its loop, leaves a service that looks
//! well and does half of its work; so whoever waits for [`Tasks::first_to_end`] ends the process, and whoever started it
//! starts another. Short tasks, such as one connection or one image, are none of these: their panics cost only themselves.

use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::task::JoinSet;

/// The tasks.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<Ended>,
    #[cfg(test)]
    handles: Vec<(&'static str, tokio::task::AbortHandle)>,
}

/// A task, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Which.
    pub(super) name: &'static str,
    /// By a panic, whose words are in the log.
    pub(super) panicked: bool,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.panicked { "panicked" } else { "ended" };
        write!(f, "the task `{}` {how}, which it never should while the service runs", self.name)
    }
}

impl Tasks {
    /// Starts a task.
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let guarded = async move {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            Ended { name, panicked: ended.is_err() }
        };
        let _handle = self.set.spawn(guarded);
        #[cfg(test)]
        self.handles.push((name, _handle));
    }

    /// The first task that ends from now on. Waits for ever where there is none.
    pub(super) async fn first_to_end(&mut self) -> Ended {
        match self.set.join_next().await {
            Some(Ok(ended)) => ended,
            // Only a test aborts one, and a panic was caught.
            Some(Err(_)) => Ended { name: "unknown", panicked: true },
            None => std::future::pending().await,
        }
    }

    /// Waits until all have ended.
    pub(super) async fn wait(&mut self) {
        while self.set.join_next().await.is_some() {}
    }

    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.handles.iter().map(|(name, _)| *name).collect()
    }

    #[cfg(test)]
    pub(super) fn abort(&self, name: &str) {
        self.handles.iter().filter(|(known, _)| *known == name).for_each(|(_, handle)| handle.abort());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_returns_or_panics_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("steady", std::future::pending());
        tasks.spawn("brief", async {});
        assert_eq!(tasks.first_to_end().await, Ended { name: "brief", panicked: false });
        tasks.spawn("broken", async { panic!("a test has it panic") });
        let ended = tasks.first_to_end().await;
        assert_eq!(ended, Ended { name: "broken", panicked: true });
        assert_eq!(ended.to_string(), "the task `broken` panicked, which it never should while the service runs");
    }
}
