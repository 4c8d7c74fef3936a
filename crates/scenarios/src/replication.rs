//! What arrives at a replication target, by the trigger that sent it.

use std::time::Instant;

use harbor_warmer_core::view::Phase;
use reqwest::Method;
use serde_json::{Value, json};

use crate::content::{Image, Shape};
use crate::error::SiteError;
use crate::expectation::{Row, When};
use crate::site::{Site, Target};
use crate::warmer::{Settings, Warmer};

pub(crate) const BY_TAG: &str = "replication by tag";
pub(crate) const EVENT_BASED: &str = "replication by event";
pub(crate) const WIDE: &str = "replication by a wide policy";
pub(crate) const BY_WARMER: &str = "warmer: replication";

const TAG: &str = "1.0";
/// A tag that moves.
const MOVING: &str = "latest";

const NEEDS_TARGET: &str = "needs a target and an administrator";

/// A tagged image of a few MB reaches a near target.
const ARRIVAL: When = When::Within(0.0, 20.0);

/// Warms an image by hand, replicates it before and after its tag is there, and looks at the target.
pub(crate) async fn by_tag(site: &Site) -> Result<Vec<Row>, SiteError> {
    let Some(target) = &site.options.target else { return Ok(vec![Row::skipped(BY_TAG, NEEDS_TARGET)]) };
    let image = site.push(BY_TAG, Shape::Index(2), &[TAG]).await?;
    let policy = Policy::create(site, target, BY_TAG, "manual", &image, Some(TAG)).await?;
    let rows = replicate_by_tag(site, &policy, &image).await;
    policy.delete().await?;
    rows
}

async fn replicate_by_tag(site: &Site, policy: &Policy<'_>, image: &Image) -> Result<Vec<Row>, SiteError> {
    let since = Instant::now();
    site.warm_by_hand(image, &[TAG]).await?;
    let mut rows = Vec::new();
    let child = &image.children[0];
    while site.artifact(&image.repository, &child.manifest.digest).await?.is_none() && site.seconds_since(since) < 60.0
    {
        site.pause_between_looks().await;
    }
    policy.start().await?;
    site.pause(10.0).await;
    let early = policy.arrived(image, TAG).await;
    let seen = early.as_deref().unwrap_or("no tag");
    rows.push(Row::fact(BY_TAG, "execution before the tag is recorded", "no tag", seen, early.is_none()));

    site.wait_for_tag(image, TAG, 90.0).await?;
    let started = Instant::now();
    let execution = policy.start().await?;
    let end = When::Within(0.0, 60.0);
    let (mut arrived, mut ended) = (None, None);
    let slack = site.options.slack_seconds;
    while site.seconds_since(started) < end.patience(slack) && (arrived.is_none() || ended.is_none()) {
        if arrived.is_none() && policy.arrived(image, TAG).await.is_some() {
            arrived = Some(site.seconds_since(started));
        }
        if ended.is_none() && policy.look_at(&execution).await?["status"] == "Succeed" {
            ended = Some(site.seconds_since(started));
        }
        site.pause_between_looks().await;
    }
    rows.push(Row::moment(BY_TAG, "tag at the target", ARRIVAL, arrived, slack));
    rows.push(Row::moment(BY_TAG, "execution shown as done", end, ended, slack));
    rows.push(index_row(BY_TAG, image, policy.arrived(image, TAG).await));
    Ok(rows)
}

/// Warms an image by hand in a project with an event-based policy, and looks at the target.
pub(crate) async fn event_based(site: &Site) -> Result<Vec<Row>, SiteError> {
    let Some(target) = &site.options.target else { return Ok(vec![Row::skipped(EVENT_BASED, NEEDS_TARGET)]) };
    let image = site.push(EVENT_BASED, Shape::Index(2), &[TAG]).await?;
    let policy = Policy::create(site, target, EVENT_BASED, "event_based", &image, None).await?;
    let rows = watch_events(site, &policy, &image).await;
    policy.delete().await?;
    rows
}

async fn watch_events(site: &Site, policy: &Policy<'_>, image: &Image) -> Result<Vec<Row>, SiteError> {
    let slack = site.options.slack_seconds;
    let since = Instant::now();
    site.warm_by_hand(image, &[TAG]).await?;
    let child = &image.children[0].manifest.digest;
    let (untagged, tagged) = (When::Within(19.0, 60.0), When::Never(120.0));
    let (mut child_arrived, mut tag_arrived) = (None, None);
    while site.seconds_since(since) < tagged.patience(slack) {
        if child_arrived.is_none() && policy.arrived(image, child).await.is_some() {
            child_arrived = Some(site.seconds_since(since));
        }
        if tag_arrived.is_none() && policy.arrived(image, TAG).await.is_some() {
            tag_arrived = Some(site.seconds_since(since));
        }
        site.pause_between_looks().await;
    }
    let recorded = site.artifact(&image.repository, TAG).await?.is_some();
    Ok(vec![
        Row::moment(EVENT_BASED, "platform manifest at the target", untagged, child_arrived, slack),
        Row::fact(
            EVENT_BASED,
            "tag in Harbor",
            "recorded",
            if recorded { "recorded" } else { "not recorded" },
            recorded,
        ),
        Row::moment(EVENT_BASED, "tag at the target", tagged, tag_arrived, slack),
    ])
}

/// Two tags are recorded, one of them moves upstream, and a policy without a tag filter is run for the other.
pub(crate) async fn wide(site: &Site) -> Result<Vec<Row>, SiteError> {
    let Some(target) = &site.options.target else { return Ok(vec![Row::skipped(WIDE, NEEDS_TARGET)]) };
    let image = site.push(WIDE, Shape::Index(2), &[TAG, MOVING]).await?;
    site.warm_by_hand(&image, &[TAG, MOVING]).await?;
    for tag in [TAG, MOVING] {
        site.wait_for_tag(&image, tag, 90.0).await?;
    }
    let moved = site.push_again(&image, Shape::Index(2), &[MOVING]).await?;
    let policy = Policy::create(site, target, WIDE, "manual", &image, None).await?;
    let rows = replicate_widely(site, &policy, &image, &moved).await;
    policy.delete().await?;
    rows
}

async fn replicate_widely(
    site: &Site,
    policy: &Policy<'_>,
    image: &Image,
    moved: &Image,
) -> Result<Vec<Row>, SiteError> {
    let slack = site.options.slack_seconds;
    let started = Instant::now();
    policy.start().await?;
    let (mut due, mut other) = (None, None);
    while site.seconds_since(started) < ARRIVAL.patience(slack) && (due.is_none() || other.is_none()) {
        site.pause_between_looks().await;
        if due.is_none() && policy.arrived(image, TAG).await.is_some() {
            due = Some(site.seconds_since(started));
        }
        if other.is_none() && policy.arrived(image, MOVING).await.as_ref() == Some(&moved.root().digest) {
            other = Some(site.seconds_since(started));
        }
    }
    Ok(vec![
        Row::moment(WIDE, "tag at the target", ARRIVAL, due, slack),
        Row::moment(WIDE, "another tag, moved upstream and never pulled, at the target", ARRIVAL, other, slack),
    ])
}

/// Hands an image over that is pulled from the target, and looks at what arrives there.
pub(crate) async fn by_warmer(site: &Site) -> Result<Vec<Row>, SiteError> {
    let Some(target) = &site.options.target else { return Ok(vec![Row::skipped(BY_WARMER, NEEDS_TARGET)]) };
    // The other tag is recorded too, and due nowhere.
    let image = site.push(BY_WARMER, Shape::Index(2), &[TAG, MOVING]).await?;
    let resolve = site.options.resolve_project.is_some();
    let settings = Settings { complete_index: true, resolve, replicate: true, ..Settings::default() };
    let warmer = Warmer::start(site, settings).await?;
    let since = Instant::now();
    warmer.hand_over_tag(site, &image.repository, MOVING).await?;
    let id = warmer.hand_over_for_target(site, &image.repository, TAG).await?;
    let when = When::Within(20.0, 110.0);
    let slack = site.options.slack_seconds;
    let told = warmer.follow(site, &id, Phase::Replicated, since, when.patience(slack)).await?;
    warmer.stop().await;
    let arrived = arrived(site, target, &image, TAG).await;
    let other = self::arrived(site, target, &image, MOVING).await;
    Policy::delete_named(site, target, &Warmer::policy(site)).await?;
    Ok(vec![
        Row::moment(BY_WARMER, "the warmer says replicated", when, told.replicated, slack),
        index_row(BY_WARMER, &image, arrived),
        Row::fact(
            BY_WARMER,
            "another tag of the repository at the target",
            "none",
            other.as_deref().unwrap_or("none"),
            other.is_none(),
        ),
    ])
}

fn index_row(scenario: &str, image: &Image, arrived: Option<String>) -> Row {
    let same = arrived.as_ref() == Some(&image.root().digest);
    let told = match arrived {
        Some(_) if same => "upstream's own",
        Some(_) => "another",
        None => "no tag",
    };
    Row::fact(scenario, "digest of the tag at the target", "upstream's own", told, same)
}

/// The digest that a tag or digest of the image has at the target.
async fn arrived(site: &Site, target: &Target, image: &Image, reference: &str) -> Option<String> {
    (target.look)(format!("{}/{}", site.options.project, image.repository), reference.to_owned()).await
}

const POLICIES: &str = "/api/v2.0/replication/policies";

/// A policy for one repository.
struct Policy<'a> {
    site: &'a Site,
    target: &'a Target,
    id: u64,
}

impl<'a> Policy<'a> {
    async fn create(
        site: &'a Site,
        target: &'a Target,
        scenario: &str,
        trigger: &str,
        image: &Image,
        tag: Option<&str>,
    ) -> Result<Self, SiteError> {
        let administrator = Some(&target.administrator);
        let registries = "/api/v2.0/registries?page_size=100";
        let registries = site.ask_as(administrator, Method::GET, registries, None).await?.success()?.json();
        let named = |registry: &&Value| registry["name"] == target.name.as_str();
        let registry = registries.as_array().and_then(|all| all.iter().find(named)).map(|registry| &registry["id"]);
        let name = json!({"type": "name", "value": format!("{}/{}", site.options.project, image.repository)});
        let tag = tag.map(|tag| json!({"type": "tag", "value": tag}));
        let body = json!({
            "name": site.repository(scenario).replace('/', "-"),
            "dest_registry": {"id": registry},
            "trigger": {"type": trigger},
            "enabled": true,
            "override": true,
            "filters": std::iter::once(name).chain(tag).collect::<Vec<_>>(),
        });
        let answer = site.ask_as(administrator, Method::POST, POLICIES, Some(&body)).await?.success()?;
        let id = answer.header("location").rsplit('/').next().and_then(|id| id.parse().ok());
        let unexpected = || SiteError::Unexpected {
            request: answer.request.clone(),
            status: answer.status,
            body: "no location".to_owned(),
        };
        Ok(Self { site, target, id: id.ok_or_else(unexpected)? })
    }

    /// Starts an execution; returns its path.
    async fn start(&self) -> Result<String, SiteError> {
        let body = json!({"policy_id": self.id});
        let executions = "/api/v2.0/replication/executions";
        let administrator = Some(&self.target.administrator);
        let answer = self.site.ask_as(administrator, Method::POST, executions, Some(&body)).await?.success()?;
        Ok(answer.header("location").to_owned())
    }

    async fn look_at(&self, execution: &str) -> Result<Value, SiteError> {
        Ok(self.site.ask_as(Some(&self.target.administrator), Method::GET, execution, None).await?.json())
    }

    async fn arrived(&self, image: &Image, reference: &str) -> Option<String> {
        arrived(self.site, self.target, image, reference).await
    }

    async fn delete(&self) -> Result<(), SiteError> {
        let path = format!("{POLICIES}/{}", self.id);
        // Harbor keeps a policy while an execution of it is shown as running.
        let started = Instant::now();
        loop {
            let administrator = Some(&self.target.administrator);
            let answer = self.site.ask_as(administrator, Method::DELETE, &path, None).await?;
            if answer.status.is_success() || self.site.seconds_since(started) > 90.0 {
                return answer.success().map(|_| ());
            }
            self.site.pause(5.0).await;
        }
    }

    /// Deletes a policy that somebody else made.
    async fn delete_named(site: &Site, target: &Target, name: &str) -> Result<(), SiteError> {
        let list = format!("{POLICIES}?page_size=100");
        let all = site.ask_as(Some(&target.administrator), Method::GET, &list, None).await?.success()?.json();
        let found = all.as_array().and_then(|all| all.iter().find(|policy| policy["name"] == name));
        match found.and_then(|policy| policy["id"].as_u64()) {
            Some(id) => Policy { site, target, id }.delete().await,
            None => Ok(()),
        }
    }
}
