//! Plays a script against a site, from the first event to the verdict.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use harbor_warmer_core::view::{ImageList, ImageSummary};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::catalogue::{ASIDE, COMPLETED, PLAIN};
use crate::ledger::Ledger;
use crate::outcome::{Counts, Outcome, megabytes, ratio, warm_now};
use crate::policy_server::{self, Admitted};
use crate::script::{Admission, Event, Scale, Script};
use crate::site::Site;
use crate::time::Time;

/// Plays what is drawn at this scale. `told` is called with a line at the end of each simulated day.
///
/// # Errors
/// Something that is no finding about the warmer: it can't start, or a hand-off is not answered.
pub fn run(scale: Scale, told: impl Fn(String) + Send + Sync + 'static) -> anyhow::Result<Outcome> {
    Time::run(move |time| play(scale, time, told))?
}

struct Play {
    site: Site,
    script: Script,
    ledger: Ledger,
    counts: Counts,
    admissions: TaskTracker,
    admitted: Arc<Mutex<Vec<anyhow::Result<Admitted>>>>,
    http: reqwest::Client,
    started: Instant,
}

async fn play(scale: Scale, time: Time, told: impl Fn(String) + Send + Sync) -> anyhow::Result<Outcome> {
    let script = Script::draw(scale);
    let site = Site::start(scale.seed, &time).await?;
    let mut play = Play {
        site,
        script,
        ledger: Ledger::default(),
        counts: Counts::default(),
        admissions: TaskTracker::new(),
        admitted: Arc::default(),
        // As a policy server, a connection for each request: one that is kept may be closed just when it is used again.
        http: reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build()?,
        started: Instant::now(),
    };
    for (at, event) in std::mem::take(&mut play.script.events) {
        tokio::time::sleep_until(play.started + at).await;
        play.happens(event, at, &told).await?;
    }
    tokio::time::sleep_until(play.started + play.script.end).await;
    play.admissions.close();
    play.admissions.wait().await;
    play.take_admitted()?;
    play.counts.failed_requests = play.site.failed_requests();
    let said = play.said().await?;
    let outcome = Outcome::judge(&play.ledger, &play.site.harbors, &said, &play.counts, play.script.end);
    play.site.stop().await;
    Ok(outcome)
}

impl Play {
    async fn happens(
        &mut self,
        event: Event,
        at: Duration,
        told: &(impl Fn(String) + Send + Sync),
    ) -> anyhow::Result<()> {
        let harbors = &self.site.harbors;
        let harbor = &harbors.main;
        match event {
            Event::Publish(release) => {
                let of = &self.script.releases[release];
                let repository = &self.script.repositories[of.repository];
                let harbor = harbors.of(repository.project);
                let image = harbor.upstream().push(of.spec.clone());
                if let Some(tag) = repository.moving_tag() {
                    harbor.upstream().move_tag(&image.repository, tag, &image.digest);
                }
                self.ledger.publish(release, repository, image);
            }
            Event::Admit(admission) => self.admit(admission, at),
            Event::Night => {
                for project in [COMPLETED, PLAIN, ASIDE] {
                    self.counts.retired += harbors.of(project).run_retention(project);
                }
                self.counts.collected += harbor.collect_garbage(false) + harbors.aside.collect_garbage(false);
                self.ledger.collected(harbors, at);
            }
            Event::Restart => {
                harbor.restart().await;
                self.counts.restarts.push(at);
            }
            Event::UpstreamDown(down) => harbor.upstream().set_down(down),
            Event::HarborDown(down) => self.site.set_harbor_down(down),
            Event::AsideHangs(hung) => self.site.set_aside_hung(hung),
            Event::UpstreamRate(rate) => harbor.upstream().rate(Some(rate)),
            Event::Midnight(day) => {
                self.take_admitted()?;
                let harbor = &self.site.harbors.main;
                let (warm, owed) = warm_now(&self.ledger, &self.site.harbors, at);
                let (seen, needed) = (harbor.upstream_stats().bytes(), self.ledger.needed_bytes);
                told(format!(
                    "day {day}: {} admissions; {warm} of {owed} owed images are warm; {} from the upstream, {:.3} of \
                     what is needed",
                    self.counts.admissions,
                    megabytes(seen),
                    ratio(seen, needed),
                ));
            }
        }
        Ok(())
    }

    /// The admission goes its way while others come.
    fn admit(&mut self, admission: Admission, at: Duration) {
        self.ledger.admit(&admission, at);
        self.counts.admissions += 1;
        let published = self.ledger.published(admission.release).clone();
        let (http, warmer) = (self.http.clone(), self.site.service.registry_address);
        let admitted = Arc::clone(&self.admitted);
        self.admissions.spawn(async move {
            let came_to = policy_server::admit(&http, warmer, &admission, &published).await;
            admitted.lock().unwrap_or_else(PoisonError::into_inner).push(came_to);
        });
    }

    fn take_admitted(&mut self) -> anyhow::Result<()> {
        let admitted = std::mem::take(&mut *self.admitted.lock().unwrap_or_else(PoisonError::into_inner));
        for admitted in admitted {
            let admitted = admitted.context("an admission is lost")?;
            self.counts.looked_up += usize::from(admitted.looked_up);
            self.counts.handed_over += usize::from(admitted.handed_over);
        }
        Ok(())
    }

    /// Everything that the warmer says of its images.
    async fn said(&self) -> anyhow::Result<Vec<ImageSummary>> {
        let mut said = Vec::new();
        let mut after = None;
        loop {
            let page = after.map(|after: String| format!("&after={after}")).unwrap_or_default();
            let url = format!("http://{}/api/v1/images?limit=500{page}", self.site.service.admin_address);
            let list: ImageList =
                serde_json::from_slice(&self.http.get(url).send().await?.error_for_status()?.bytes().await?)?;
            said.extend(list.images);
            match list.next {
                Some(next) => after = Some(next),
                None => return Ok(said),
            }
        }
    }
}
