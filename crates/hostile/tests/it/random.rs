//! Shapes and faults drawn at random: it ends, within a bound of requests; what can be had is warm, nothing else is.
//!
//! The cases are drawn first and played at once, as rows are: a case is mostly waiting. They don't shrink, and each
//! is small enough to be read.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::http::{Answer, Framing, Request};
use crate::registry::{OCI_LAYER, Registry};
use crate::row::{End, Row, row};

/// Enough for a run of CI; `HOSTILE_CASES` plays more.
const CASES: usize = 32;

/// Where the wanted platform is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    There,
    /// Its entry stands in the index, the manifest is gone.
    Gone,
    Absent,
}

/// An entry beside it.
#[derive(Debug, Clone, Copy)]
enum Beside {
    Whole,
    Gone,
    Attestation,
    Blob,
    Index,
    UnknownType,
    NoPlatform,
}

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Status(u16),
    Nothing,
    Cut(usize),
    Short,
    Rubbish,
}

#[derive(Debug, Clone)]
struct Case {
    wanted: Wanted,
    beside: Vec<Beside>,
    wanted_first: bool,
    layers: usize,
    /// By the number of the request that they meet.
    faults: Vec<(usize, Fault)>,
}

fn cases() -> impl Strategy<Value = Case> {
    let wanted = prop_oneof![4 => Just(Wanted::There), 1 => Just(Wanted::Gone), 1 => Just(Wanted::Absent)];
    let beside = prop_oneof![
        Just(Beside::Whole),
        Just(Beside::Gone),
        Just(Beside::Attestation),
        Just(Beside::Blob),
        Just(Beside::Index),
        Just(Beside::UnknownType),
        Just(Beside::NoPlatform),
    ];
    let fault = prop_oneof![
        prop::sample::select(vec![429, 502, 503, 504]).prop_map(Fault::Status),
        Just(Fault::Nothing),
        (0..200_usize).prop_map(Fault::Cut),
        Just(Fault::Short),
        Just(Fault::Rubbish),
    ];
    let faults = prop::collection::vec((0..25_usize, fault), 0..4);
    (wanted, prop::collection::vec(beside, 1..5), any::<bool>(), 0..7_usize, faults).prop_map(
        |(wanted, beside, wanted_first, layers, faults)| Case { wanted, beside, wanted_first, layers, faults },
    )
}

impl Case {
    fn into_row(self, name: String) -> Row {
        let end = if self.wanted == Wanted::There { End::Warm } else { End::NotWarm(&[]) };
        let faults = self.faults.clone();
        row(name, move |request, registry| {
            let (_, fault) = faults.iter().find(|(number, _)| *number == request.number)?;
            Some(fault.spoil(request, registry))
        })
        .content(move |registry| self.fill(registry))
        .ends(end)
        // Twenty to forty for a good image; each fault costs a few more.
        .at_most(150)
    }

    fn fill(&self, registry: &mut Registry) {
        let mut entries: Vec<Value> =
            self.beside.iter().enumerate().map(|(number, beside)| beside.entry(registry, number)).collect();
        if self.wanted != Wanted::Absent {
            let config = registry.add_config("linux", "amd64");
            let layers: Vec<_> =
                (0..self.layers).map(|number| registry.add_blob(OCI_LAYER, format!("layer {number}"))).collect();
            let mut amd64 = registry.add_image(&config, &layers);
            registry.want(&amd64);
            amd64["platform"] = json!({"os": "linux", "architecture": "amd64"});
            if self.wanted == Wanted::Gone {
                registry.manifests.remove(amd64["digest"].as_str().unwrap_or_default());
            }
            entries.insert(if self.wanted_first { 0 } else { entries.len() }, amd64);
        }
        let index = registry.add_index(&entries);
        registry.tag(&index);
    }
}

impl Beside {
    fn entry(self, registry: &mut Registry, number: usize) -> Value {
        let architecture = format!("cpu{number}");
        let mut entry = registry.add_platform("linux", &architecture);
        match self {
            Self::Whole => {}
            Self::Gone => {
                registry.manifests.remove(entry["digest"].as_str().unwrap_or_default());
            }
            Self::Attestation => entry["platform"] = json!({"os": "unknown", "architecture": "unknown"}),
            Self::Blob => entry = registry.add_blob(OCI_LAYER, format!("listed {number}")),
            Self::Index => entry = registry.add_index(&[entry]),
            Self::UnknownType => entry["mediaType"] = json!("application/x-unknown"),
            Self::NoPlatform => {
                entry.as_object_mut().map(|entry| entry.remove("platform"));
            }
        }
        entry
    }
}

impl Fault {
    fn spoil(self, request: &Request, registry: &Registry) -> Answer {
        let answer = registry.would_answer(request);
        match self {
            Self::Status(status) => Answer::page(status),
            Self::Nothing => Answer::nothing(),
            Self::Cut(kept) => answer.cut_after(kept.min(answer_len(request, registry).saturating_sub(1))),
            Self::Short => answer.framed(Framing::Claimed("1000000".to_owned())).cut_after(usize::MAX),
            Self::Rubbish => Answer { version: "SSH-2.0-OpenSSH_9.6", ..Answer::page(200) }.cut_after(0),
        }
    }
}

fn answer_len(request: &Request, registry: &Registry) -> usize {
    registry.would_answer(request).body.len()
}

/// Rows of cases that are drawn from the seed.
pub(crate) fn rows() -> Vec<Row> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("HOSTILE_SEED").unwrap_or(1);
    let count = number("HOSTILE_CASES").and_then(|count| usize::try_from(count).ok()).unwrap_or(CASES);
    println!("seed {seed} (HOSTILE_SEED sets it)");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let strategy = cases();
    (0..count)
        .map(|place| {
            let case = strategy.new_tree(&mut runner).expect("every case can be drawn").current();
            let name = format!("case {place} of seed {seed}: {case:?}");
            case.into_row(name)
        })
        .collect()
}
