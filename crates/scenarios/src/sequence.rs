//! Orders of requests by hand, and when Harbor has what after them.

use std::time::Instant;

use crate::content::{Child, Image, Shape};
use crate::error::SiteError;
use crate::expectation::{Row, When};
use crate::site::Site;
use crate::watch::Watch;

/// The tags of an image of a sequence; the second is pushed everywhere and asked for in some.
const TAGS: [&str; 2] = ["1.0", "latest"];

/// How long something is waited for that should never come: longer than the 600 s in which Harbor tries to record a
/// tag after its HEAD.
const NEVER: When = When::Never(660.0);

/// A request, or a pause.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// HEAD of the first or second tag.
    Head(usize),
    /// GET of what the tag names, by digest.
    GetRoot,
    /// GET of what the tag names, by tag.
    GetByTag,
    /// GET of what the tag names, by digest, through the other project.
    ResolveRoot,
    /// GET of platform manifests by digest.
    GetChildren(Children),
    /// GET of the blobs.
    Fetch(Children, How),
    /// Harbor's seconds.
    Pause(f64),
}

/// Which platforms.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Children {
    /// The first.
    First,
    /// All of them.
    All,
}

/// How blobs are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// Closed after the first bytes.
    Touch,
    /// Read to the end.
    Drain,
}

/// An order of requests and what comes of it. Seconds count from the first GET of a platform manifest.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) name: &'static str,
    shape: Shape,
    steps: &'static [Step],
    blobs: When,
    artifact: When,
    tag: When,
    second_tag: Option<When>,
}

use Children::{All, First};
use How::{Drain, Touch};
use Step::{Fetch, GetByTag, GetChildren, GetRoot, Head, Pause, ResolveRoot};

/// The copy of a few MB from a near upstream.
const SOON: When = When::Within(0.0, 15.0);
/// Harbor looks whether the blobs are there 20 s after the manifest's GET, for the first time.
const FIRST_LOOK: When = When::Within(19.0, 30.0);
/// Harbor looks at an index's children every 20 s; the second look finds them all, the next try of the tag is 10 s
/// after that at the latest.
const COMPLETE: When = When::Within(30.0, 60.0);
/// Harbor's deadline for an index that stays incomplete, and the next try of the tag.
const INCOMPLETE: When = When::Within(390.0, 425.0);

pub(crate) const ONE_PLATFORM: &str = "one platform of two, touched";
pub(crate) const ALL_PLATFORMS: &str = "every platform, touched";
pub(crate) const SINGLE: &str = "single manifest";
pub(crate) const FOREIGN_LAYER: &str = "platform with a layer that is not distributable";
pub(crate) const RESOLVED: &str = "index through the other project first";

/// All of them.
pub(crate) const SEQUENCES: &[Sequence] = &[
    Sequence {
        name: ONE_PLATFORM,
        shape: Shape::Index(2),
        steps: &[Head(0), GetRoot, GetChildren(First), Fetch(First, Touch)],
        blobs: SOON,
        artifact: FIRST_LOOK,
        tag: INCOMPLETE,
        second_tag: None,
    },
    Sequence {
        name: "one platform of two, read to the end",
        shape: Shape::Index(2),
        steps: &[Head(0), GetRoot, GetChildren(First), Fetch(First, Drain)],
        blobs: SOON,
        artifact: FIRST_LOOK,
        tag: INCOMPLETE,
        second_tag: None,
    },
    Sequence {
        name: ALL_PLATFORMS,
        shape: Shape::Index(2),
        steps: &[Head(0), GetRoot, GetChildren(All), Fetch(All, Touch)],
        blobs: SOON,
        artifact: FIRST_LOOK,
        tag: COMPLETE,
        second_tag: None,
    },
    Sequence {
        name: "index of one platform",
        shape: Shape::Index(1),
        steps: &[Head(0), GetRoot, GetChildren(First), Fetch(First, Touch)],
        blobs: SOON,
        artifact: FIRST_LOOK,
        tag: COMPLETE,
        second_tag: None,
    },
    Sequence {
        name: SINGLE,
        shape: Shape::Single,
        steps: &[Head(0), GetRoot, Fetch(First, Touch)],
        blobs: SOON,
        artifact: FIRST_LOOK,
        tag: When::Within(19.0, 42.0),
        second_tag: None,
    },
    Sequence {
        name: "single manifest, second tag asked for later",
        shape: Shape::Single,
        steps: &[Head(0), GetRoot, Fetch(First, Touch), Pause(5.0), Head(1)],
        blobs: SOON,
        artifact: FIRST_LOOK,
        tag: When::Within(19.0, 42.0),
        second_tag: Some(When::Within(19.0, 42.0)),
    },
    Sequence {
        name: RESOLVED,
        shape: Shape::Index(2),
        steps: &[ResolveRoot, GetChildren(All), Fetch(All, Touch), Pause(2.0), Head(0), GetRoot],
        blobs: SOON,
        artifact: FIRST_LOOK,
        tag: When::Within(20.0, 45.0),
        second_tag: None,
    },
    Sequence {
        name: FOREIGN_LAYER,
        shape: Shape::ForeignLayer,
        steps: &[Head(0), GetRoot, GetChildren(All), Fetch(All, Touch)],
        blobs: SOON,
        artifact: FIRST_LOOK,
        tag: INCOMPLETE,
        second_tag: None,
    },
    Sequence {
        name: "GET of the index by tag first",
        shape: Shape::Index(2),
        steps: &[GetByTag, GetChildren(All), Fetch(All, Touch)],
        blobs: SOON,
        artifact: FIRST_LOOK,
        tag: NEVER,
        second_tag: None,
    },
    Sequence {
        name: "GET by tag, GET of a child, no blob",
        shape: Shape::Index(2),
        steps: &[GetByTag, GetChildren(First)],
        blobs: When::Within(195.0, 225.0),
        artifact: When::Within(195.0, 225.0),
        tag: NEVER,
        second_tag: None,
    },
    Sequence {
        name: "index read by digest, tag asked for afterwards",
        shape: Shape::Index(2),
        steps: &[GetRoot, GetChildren(All), Fetch(All, Touch), Head(0)],
        blobs: SOON,
        artifact: FIRST_LOOK,
        tag: NEVER,
        second_tag: None,
    },
    Sequence {
        name: "second tag of an index that was read",
        shape: Shape::Index(2),
        steps: &[Head(0), GetRoot, GetChildren(All), Fetch(All, Touch), Pause(5.0), Head(1)],
        blobs: SOON,
        artifact: FIRST_LOOK,
        tag: COMPLETE,
        second_tag: Some(NEVER),
    },
    Sequence {
        name: "both tags asked for before the index",
        shape: Shape::Index(2),
        steps: &[Head(0), Head(1), GetRoot, GetChildren(All), Fetch(All, Touch)],
        blobs: SOON,
        artifact: FIRST_LOOK,
        tag: COMPLETE,
        second_tag: Some(COMPLETE),
    },
];

impl Sequence {
    /// Plays it and watches.
    pub(crate) async fn run(&self, site: &Site) -> Result<Vec<Row>, SiteError> {
        if self.steps.iter().any(|step| matches!(step, ResolveRoot)) && site.options.resolve_project.is_none() {
            return Ok(vec![Row::skipped(self.name, "needs a second project of the same endpoint")]);
        }
        let image = site.push(self.name, self.shape, &TAGS).await?;
        let since = self.play(site, &image).await?;

        let slack = site.options.slack_seconds;
        let moments = [Some(self.blobs), Some(self.artifact), Some(self.tag), self.second_tag];
        let patience = moments.iter().flatten().map(|when| when.patience(slack)).fold(0.0, f64::max);
        let tags = if self.second_tag.is_some() { &TAGS[..] } else { &TAGS[..1] };
        let fetches_all = self.steps.iter().any(|step| matches!(step, Fetch(All, _)));
        let watched = chosen(&image, if fetches_all { All } else { First });
        let blobs = watched.iter().flat_map(|child| &child.blobs).map(|blob| blob.digest.as_str()).collect();
        let seen = Watch { image: &image, blobs, tags, since, patience }.run(site).await?;

        let row = |what, when, seen| Row::moment(self.name, what, when, seen, slack);
        let mut rows = vec![row("blobs local", self.blobs, seen.blobs)];
        rows.push(row("artifact recorded", self.artifact, seen.artifact));
        rows.push(row("tag recorded", self.tag, seen.tags[0].as_ref().map(|tag| tag.after)));
        if let Some(when) = self.second_tag {
            rows.push(row("second tag recorded", when, seen.tags[1].as_ref().map(|tag| tag.after)));
        }
        if let (Some(index), Some(tag)) = (&image.index, &seen.tags[0]) {
            let differs = tag.digest != index.digest;
            let told = if differs { "another than upstream's" } else { "upstream's" };
            rows.push(Row::fact(self.name, "digest of the recorded index", "another than upstream's", told, differs));
        }
        Ok(rows)
    }

    /// Makes the requests. Returns when the first platform manifest was asked for.
    async fn play(&self, site: &Site, image: &Image) -> Result<Instant, SiteError> {
        let project = site.options.project.as_str();
        let root = &image.root().digest;
        let mut since = None;
        for step in self.steps {
            match *step {
                Head(tag) => {
                    site.head_manifest(image, TAGS[tag]).await?.success()?;
                }
                GetRoot => {
                    if image.index.is_none() {
                        since.get_or_insert_with(Instant::now);
                    }
                    site.get_manifest(project, image, root).await?.success()?;
                }
                GetByTag => {
                    site.get_manifest(project, image, TAGS[0]).await?.success()?;
                }
                ResolveRoot => {
                    let other = site.options.resolve_project.as_deref().unwrap_or(project);
                    site.get_manifest(other, image, root).await?.success()?;
                }
                GetChildren(which) => {
                    since.get_or_insert_with(Instant::now);
                    for child in chosen(image, which) {
                        site.get_manifest(project, image, &child.manifest.digest).await?.success()?;
                    }
                }
                Fetch(which, how) => {
                    for blob in chosen(image, which).iter().flat_map(|child| &child.blobs) {
                        match how {
                            Touch => site.touch_blob(image, &blob.digest).await?,
                            Drain => site.drain_blob(image, &blob.digest).await?,
                        }
                    }
                }
                Pause(seconds) => site.pause(seconds).await,
            }
        }
        Ok(since.unwrap_or_else(Instant::now))
    }
}

fn chosen(image: &Image, which: Children) -> &[Child] {
    match which {
        First => &image.children[..1],
        All => &image.children,
    }
}
