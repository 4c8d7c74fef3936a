//! What happens and when, drawn from the seed before anything runs.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng as _};

use crate::catalogue::{COMPLETED, Naming, Release, Repository, Shape};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The clusters by name, each with its nodes' platforms.
pub const CLUSTERS: [(&str, &str); 5] = [
    ("berlin", "linux/amd64"),
    ("lyon", "linux/arm64"),
    ("oslo", "linux/amd64"),
    ("porto", "linux/amd64,linux/arm64"),
    ("turin", "linux/amd64"),
];

/// After this, nothing is admitted any more, and what was admitted last has this long to get warm.
pub const TAIL: Duration = Duration::from_secs(3 * 3_600);

/// A tag that moved is not asked for again sooner than the warmer looks it up again (`recheckAfter`, 10 min).
const BEFORE_A_MOVE: Duration = Duration::from_secs(15 * 60);

/// How large and how long a soak is.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Simulated days.
    pub days: u32,
    /// Images that are published.
    pub images: usize,
    /// Everything is drawn from it.
    pub seed: u64,
    /// Whether the second Harbor's largest image, with a layer of 10 GB, is among the others.
    pub giant: bool,
}

/// All that happens.
#[derive(Debug)]
pub struct Script {
    /// Who publishes.
    pub repositories: Vec<Repository>,
    /// What is published.
    pub releases: Vec<Release>,
    /// In the order of time.
    pub events: Vec<(Duration, Event)>,
    /// When it is over.
    pub end: Duration,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The upstream publishes a release, and its moving tag moves there.
    Publish(usize),
    /// A cluster admits a workload.
    Admit(Admission),
    /// Harbor's retention runs, then its garbage collection.
    Night,
    /// Harbor's core restarts.
    Restart,
    /// The upstream is unreachable from now on, or is back.
    UpstreamDown(bool),
    /// A gateway answers 503 for Harbor from now on, or Harbor is back.
    HarborDown(bool),
    /// The second Harbor takes requests and answers none from now on, or answers again.
    AsideHangs(bool),
    /// The upstream gives each stream so many bytes a second from now on.
    UpstreamRate(u64),
    /// A day is over.
    Midnight(u32),
}

/// A workload with one image comes to a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// Which of [`CLUSTERS`].
    pub cluster: usize,
    /// Which release it means.
    pub release: usize,
    /// What it writes.
    pub written: Written,
    /// The platforms of the nodes that it may run on.
    pub platforms: &'static str,
}

/// What a workload writes behind the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// `:tag`
    Tag(String),
    /// `@digest`
    Digest,
    /// `:tag@digest`
    Both(String),
}

/// Bytes a second and stream on an ordinary day.
pub const USUAL_RATE: u64 = 4_000_000;

/// The line of the second Harbor, always.
pub const ASIDE_RATE: u64 = 1_000_000;

/// What makes the second Harbor's draws others than the first's.
const ASIDE_STREAM: u64 = 0xa51d_e000;

/// The same when the upstream is slow: a little faster than what the warmer takes for broken.
const SLOW_RATE: u64 = 270_000;

impl Script {
    /// Draws a script.
    pub fn draw(scale: Scale) -> Self {
        let mut random = StdRng::seed_from_u64(scale.seed);
        let end = DAY * scale.days;
        let open = end - TAIL;
        let repositories: Vec<_> =
            (0..scale.images.div_ceil(5)).map(|number| Repository::draw(number, &mut random)).collect();
        let mut published: Vec<Vec<Duration>> = vec![Vec::new(); repositories.len()];
        for number in 0..scale.images {
            let place = if number < repositories.len() { number } else { random.random_range(0..repositories.len()) };
            published[place].push(random.random_range(MINUTE..open - 6 * HOUR));
        }
        let mut script = Self { repositories, releases: Vec::new(), events: Vec::new(), end };
        for (repository, mut times) in published.into_iter().enumerate() {
            times.sort();
            for place in 1..times.len() {
                times[place] = times[place].max(times[place - 1] + HOUR);
            }
            let pause = *[6 * HOUR, DAY, 3 * DAY].choose(&mut random).expect("there are some");
            for (number, at) in times.iter().enumerate() {
                let release = script.repositories[repository].release(repository, number, &mut random);
                script.releases.push(release);
                let next = times.get(number + 1).copied();
                script.use_release(script.releases.len() - 1, *at, next, pause, open, &mut random);
            }
        }
        script.disturb(scale.days, open, &mut random);
        script.draw_aside(scale, open);
        // Stable: what was drawn first happens first.
        script.events.sort_by_key(|(at, _)| *at);
        script
    }

    /// How a release is published and admitted: by several clusters at once, now and then until the next one comes,
    /// and sometimes long after that.
    fn use_release(
        &mut self,
        release: usize,
        at: Duration,
        next: Option<Duration>,
        pause: Duration,
        open: Duration,
        random: &mut impl Rng,
    ) {
        self.events.push((at, Event::Publish(release)));
        let mut first = true;
        for _ in 0..random.random_range(1..=4) {
            let cluster = self.draw_cluster(release, random);
            let rollout = at + random.random_range(Duration::from_secs(1)..10 * MINUTE);
            let rollout = if std::mem::take(&mut first) { at + Duration::from_secs(1) } else { rollout };
            for _ in 0..random.random_range(1..=3) {
                let pod = rollout + random.random_range(Duration::ZERO..MINUTE);
                self.admit(release, cluster, rollout.max(pod.min(open)), random);
            }
        }
        if self.naming(release) == Naming::Both {
            // Two workloads of one rollout name it differently; Harbor records no tag that comes later.
            let (cluster, repository) = (self.draw_cluster(release, random), self.releases[release].repository);
            let tags = [self.releases[release].version.clone(), "stable".to_owned()];
            let platforms = self.platforms(repository, cluster);
            for tag in tags {
                let admission = Admission { cluster, release, written: Written::Tag(tag), platforms };
                self.events.push((at + Duration::from_millis(500), Event::Admit(admission)));
            }
        }
        let until = next.map_or(open, |next| next - BEFORE_A_MOVE.min(next - at));
        let mut again = at + HOUR;
        loop {
            again += random.random_range(pause / 4..pause * 2);
            if again >= until {
                break;
            }
            let cluster = self.draw_cluster(release, random);
            self.admit(release, cluster, again, random);
        }
        // A rollback or a forgotten cron job: after Harbor has let go of it.
        let long_after = at + 9 * DAY;
        if long_after < open && random.random_bool(0.3) && self.naming(release) != Naming::Moving {
            let cluster = self.draw_cluster(release, random);
            let written = Written::Tag(self.releases[release].version.clone());
            let platforms = self.platforms(self.releases[release].repository, cluster);
            let at = random.random_range(long_after..open);
            self.events.push((at, Event::Admit(Admission { cluster, release, written, platforms })));
        }
    }

    fn admit(&mut self, release: usize, cluster: usize, at: Duration, random: &mut impl Rng) {
        let version = self.releases[release].version.clone();
        let written = match self.naming(release) {
            Naming::Version => Written::Tag(version),
            Naming::Moving => Written::Tag("stable".to_owned()),
            Naming::Both => Written::Tag(if random.random_bool(0.5) { version } else { "stable".to_owned() }),
            Naming::Digest if random.random_bool(0.5) => Written::Digest,
            Naming::Digest => Written::Both(version),
        };
        let platforms = self.platforms(self.releases[release].repository, cluster);
        self.events.push((at, Event::Admit(Admission { cluster, release, written, platforms })));
    }

    fn naming(&self, release: usize) -> Naming {
        self.repositories[self.releases[release].repository].naming
    }

    /// Without index completion every cluster wants every platform: Harbor records an index once, and a platform that
    /// is wanted later never gets into it.
    fn platforms(&self, repository: usize, cluster: usize) -> &'static str {
        if self.repositories[repository].project != COMPLETED { "linux/amd64,linux/arm64" } else { CLUSTERS[cluster].1 }
    }

    fn draw_cluster(&self, release: usize, random: &mut impl Rng) -> usize {
        let repository = &self.repositories[self.releases[release].repository];
        loop {
            let cluster = random.random_range(0..CLUSTERS.len());
            // Nobody runs an image on nodes that it is not made for.
            if repository.shape != Shape::Single || CLUSTERS[cluster].1.contains("amd64") {
                return cluster;
            }
        }
    }

    /// The second Harbor's images, from a stream of their own: beside them everything else stays as it was drawn. It
    /// hangs for five hours of every day, in the midst of which some of them are admitted.
    fn draw_aside(&mut self, scale: Scale, open: Duration) {
        let mut random = StdRng::seed_from_u64(scale.seed ^ ASIDE_STREAM);
        for number in 0..(scale.images / 10).max(2) {
            let repository = Repository::draw_aside(number, &mut random);
            let release = repository.release(self.repositories.len(), 0, &mut random);
            let day = DAY * random.random_range(0..scale.days);
            let at = day + random.random_range(4 * HOUR..12 * HOUR);
            self.publish_aside(repository, release, at, open, &mut random);
        }
        if scale.giant {
            let repository = Repository::giant();
            let release = repository.giant_release(self.repositories.len());
            // It is under way when Harbor begins to hang.
            self.publish_aside(repository, release, 5 * HOUR, open, &mut random);
        }
        for day in 0..scale.days {
            self.events.push((DAY * day + 6 * HOUR, Event::AsideHangs(true)));
            self.events.push((DAY * day + 11 * HOUR, Event::AsideHangs(false)));
        }
    }

    fn publish_aside(
        &mut self,
        repository: Repository,
        release: Release,
        at: Duration,
        open: Duration,
        random: &mut impl Rng,
    ) {
        self.repositories.push(repository);
        self.releases.push(release);
        self.use_release(self.releases.len() - 1, at, None, DAY, open, random);
    }

    fn disturb(&mut self, days: u32, open: Duration, random: &mut impl Rng) {
        self.events.push((Duration::ZERO, Event::UpstreamRate(USUAL_RATE)));
        let admitted: Vec<Duration> =
            self.events.iter().filter(|(_, event)| matches!(event, Event::Admit(_))).map(|(at, _)| *at).collect();
        for day in 0..days {
            let morning = DAY * day;
            self.events.push((morning + 2 * HOUR, Event::Night));
            self.events.push((morning + 13 * HOUR, Event::UpstreamRate(SLOW_RATE)));
            self.events.push((morning + 14 * HOUR, Event::UpstreamRate(USUAL_RATE)));
            self.events.push((morning + DAY, Event::Midnight(day + 1)));
            let mut down_for = |event: fn(bool) -> Event, length: Duration| {
                let at = morning + random.random_range(HOUR..20 * HOUR);
                if at + length < open {
                    self.events.push((at, event(true)));
                    self.events.push((at + length, event(false)));
                }
            };
            if day % 2 == 0 {
                down_for(Event::UpstreamDown, 36 * MINUTE);
            } else {
                down_for(Event::HarborDown, 36 * MINUTE);
            }
            if day % 2 == 1 {
                // In the middle of warming something, where it hurts.
                let today: Vec<_> = admitted.iter().filter(|at| (morning..morning + DAY).contains(*at)).collect();
                if let Some(at) = today.choose(random) {
                    let at = **at + random.random_range(Duration::from_secs(1)..2 * MINUTE);
                    self.events.push((at.min(open), Event::Restart));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORTNIGHT: Scale = Scale { days: 14, images: 500, seed: 1, giant: true };

    #[test]
    fn the_same_seed_draws_the_same_script() {
        let (one, other) = (Script::draw(FORTNIGHT), Script::draw(FORTNIGHT));
        assert_eq!(one.events, other.events);
        assert_ne!(one.events, Script::draw(Scale { seed: 2, ..FORTNIGHT }).events);
    }

    #[test]
    fn every_release_is_published_before_it_is_admitted_and_nothing_is_admitted_in_the_tail() {
        let script = Script::draw(FORTNIGHT);
        let mut published = vec![false; script.releases.len()];
        for (at, event) in &script.events {
            match event {
                Event::Publish(release) => published[*release] = true,
                Event::Admit(admission) => {
                    assert!(published[admission.release], "{admission:?}");
                    assert!(*at <= script.end - TAIL, "{admission:?} at {at:?}");
                }
                _ => {}
            }
        }
        assert!(published.iter().all(|published| *published));
    }

    #[test]
    fn harbor_restarts_every_other_day_and_its_retention_runs_every_night() {
        let script = Script::draw(FORTNIGHT);
        let count = |wanted: &Event| script.events.iter().filter(|(_, event)| event == wanted).count();
        assert_eq!((count(&Event::Restart), count(&Event::Night)), (7, 14));
    }
}
