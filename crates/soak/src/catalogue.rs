//! What the upstream publishes: repositories of several kinds, each with releases, drawn from the seed.

use harbor_warmer_simulator::ImageSpec;
use rand::Rng;
use rand::seq::IndexedRandom as _;

/// The project whose indexes are completed and read through a second project: the recommended way.
pub const COMPLETED: &str = "hub";

/// The second project of [`COMPLETED`]'s endpoint.
pub const RESOLVING: &str = "hub-resolve";

/// The project with the defaults: what is wanted and no more, so that Harbor records a tag after 400 s.
pub const PLAIN: &str = "mirror";

/// The project of the second Harbor: another site's, behind a slow line. It hangs for hours of every day.
pub const ASIDE: &str = "aside";

const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";

/// Layers that many images start from; the sizes in bytes.
const BASES: [(&str, u64); 6] = [
    ("debian", 6 << 20),
    ("alpine", 3 << 20),
    ("distroless", 2 << 20),
    ("ubi", 8 << 20),
    ("busybox", 1 << 20),
    ("jre", 10 << 20),
];

/// A layer that takes longer than Harbor's 200 s when the upstream is slow.
const LARGE_LAYER: u64 = 64 << 20;

/// The largest layer of all: at the second Harbor's line it takes most of three hours.
pub const GIANT_LAYER: u64 = 10_000_000_000;

/// A repository and how it is used.
#[derive(Clone, Debug)]
pub struct Repository {
    /// The proxy project in front of it.
    pub project: &'static str,
    /// Its name in the upstream.
    pub name: String,
    /// What its images are.
    pub shape: Shape,
    /// How workloads name them.
    pub naming: Naming,
    base: Option<(&'static str, u64)>,
}

/// What an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An index of two platforms, with an attestation for each.
    Attested,
    /// An index of two platforms.
    TwoPlatforms,
    /// A manifest list in Docker's format.
    Docker,
    /// One manifest without an index.
    Single,
}

/// How workloads name a repository's images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// By a tag of each release, `1.7`.
    Version,
    /// By a tag that moves with each release, `stable`.
    Moving,
    /// By `1.7` and by `stable`, both from the first moment on.
    Both,
    /// By digest; every other with the tag beside it.
    Digest,
}

/// One image of a repository.
#[derive(Clone, Debug)]
pub struct Release {
    /// Which of the catalogue's repositories.
    pub repository: usize,
    /// The tag that is its alone.
    pub version: String,
    /// How to push it.
    pub spec: ImageSpec,
}

impl Repository {
    /// Draws one.
    pub fn draw(number: usize, random: &mut impl Rng) -> Self {
        let project = if random.random_bool(0.8) { COMPLETED } else { PLAIN };
        let shapes = [Shape::Attested, Shape::TwoPlatforms, Shape::TwoPlatforms, Shape::Docker, Shape::Single];
        let namings = [Naming::Version, Naming::Version, Naming::Moving, Naming::Both, Naming::Digest];
        let shape = *shapes.choose(random).expect("there are some");
        let mut naming = *namings.choose(random).expect("there are some");
        if project == PLAIN && naming == Naming::Digest {
            // Without a second project, a digest reads the index before its tags are asked for.
            naming = Naming::Version;
        }
        let base = BASES.choose(random).copied().filter(|_| random.random_bool(0.8));
        Self { project, name: format!("team-{}/app-{number}", number % 7), shape, naming, base }
    }

    /// Draws one of the second Harbor's.
    pub fn draw_aside(number: usize, random: &mut impl Rng) -> Self {
        let shape = *[Shape::TwoPlatforms, Shape::Docker].choose(random).expect("there are some");
        let name = format!("aside/app-{number}");
        Self { project: ASIDE, name, shape, naming: Naming::Version, base: Some(("debian", 6 << 20)) }
    }

    /// The one of the largest layer.
    pub fn giant() -> Self {
        let name = "aside/giant".to_owned();
        Self { project: ASIDE, name, shape: Shape::Single, naming: Naming::Version, base: None }
    }

    /// Its release.
    pub fn giant_release(&self, repository: usize) -> Release {
        let spec = ImageSpec::new(&self.name, "1.0").platforms([AMD64]).single_manifest();
        Release { repository, version: "1.0".to_owned(), spec: spec.declared_layers([GIANT_LAYER]) }
    }

    /// The platforms of its images.
    pub fn platforms(&self) -> &'static [&'static str] {
        match self.shape {
            Shape::Attested | Shape::TwoPlatforms | Shape::Docker => &[AMD64, ARM64],
            Shape::Single => &[AMD64],
        }
    }

    /// Draws its next release.
    pub fn release(&self, repository: usize, number: usize, random: &mut impl Rng) -> Release {
        let version = format!("1.{number}");
        let layers: Vec<u64> =
            (0..random.random_range(1..=4)).map(|_| random.random_range(200_000..4_000_000)).collect();
        let mut spec = ImageSpec::new(&self.name, &version).platforms(self.platforms().iter().copied());
        if let Some((name, size)) = self.base {
            spec = spec.shared_layer(name, size);
        }
        if random.random_bool(0.02) {
            spec = spec.shared_layer(format!("{}-{version}", self.name), LARGE_LAYER);
        }
        spec = spec.layer_sizes(layers);
        spec = match self.shape {
            Shape::Attested => spec.attestations(),
            Shape::TwoPlatforms => spec,
            Shape::Docker => spec.docker(),
            Shape::Single => spec.single_manifest(),
        };
        Release { repository, version, spec }
    }

    /// The tags that move to each new release.
    pub fn moving_tag(&self) -> Option<&'static str> {
        match self.naming {
            Naming::Moving | Naming::Both => Some("stable"),
            Naming::Version | Naming::Digest => None,
        }
    }
}
