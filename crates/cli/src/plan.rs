//! `harbor-warmer plan`.

use super::admin_client::AdminClient;
use super::arguments::PlanArguments;
use super::image_list::{ImageList, image_list};
use super::units::{bytes_text, count_text};
use super::{CommandError, Exit, Printed};
use crate::terminal::screen::{Screen, Tone};
use crate::terminal::table::{Cell, Column, Table};
use harbor_warmer_core::view::plan::{PlanEntry, PlanReplication, PlanRequest, PlanResponse, PlanState};

pub(super) async fn run(arguments: &PlanArguments, screen: &Screen) -> Result<Printed, CommandError> {
    let client = AdminClient::of(&arguments.service)?;
    let ImageList { images, notes } = image_list(&arguments.images)?;
    let plan = client.plan(&PlanRequest { images, read_manifests: arguments.read_manifests }).await?;
    let text = match arguments.json {
        true => serde_json::to_string_pretty(&plan)? + "\n",
        false => render(&plan, screen),
    };
    let refused = plan.images.iter().any(|entry| entry.state == PlanState::Refused);
    Ok(Printed { text, exit: if refused { Exit::Failed } else { Exit::Done }, notes })
}

fn render(plan: &PlanResponse, screen: &Screen) -> String {
    let replicates = plan.images.iter().any(|entry| entry.replication.is_some());
    let mut columns = vec![
        ("IMAGE", Column::ShrinkingImage),
        ("IN HARBOR", Column::ShrinkingImage),
        ("STATE", Column::Left),
        ("MISSING", Column::Right),
        ("BYTES", Column::Right),
        ("OF", Column::Right),
    ];
    if replicates {
        columns.push(("ALL PLATFORMS", Column::Right));
    }
    columns.push(("REASON", Column::Shrinking));
    let mut table = Table::new(columns);
    for entry in &plan.images {
        let mut cells = vec![
            Cell::from(entry.image.clone()),
            Cell::from(entry.place.clone().unwrap_or_else(|| "-".to_owned())),
            state_cell(entry.state),
            Cell::from(missing_text(entry)),
            Cell::from(bytes_cell(entry, entry.bytes_missing)),
            Cell::from(bytes_cell(entry, entry.bytes_total)),
        ];
        if replicates {
            cells.push(Cell::from(entry.replication.as_ref().map_or_else(|| "-".to_owned(), replication_text)));
        }
        cells.push(Cell::from(entry.reason.clone().unwrap_or_default()));
        table.row(cells);
    }
    let mut text = table.render(screen, 0);
    let unknown = plan.images.iter().filter(|entry| entry.state == PlanState::Unknown).count();
    let sum = format!("Harbor lacks {}, {}.", count_text(plan.blobs_missing, "blob"), bytes_text(plan.bytes_missing));
    text.push_str(&screen.paint(&sum, Tone::Heading));
    if unknown > 0 {
        text.push_str(&format!(" Of {} that is not known.", count_text(unknown, "image")));
    }
    text.push('\n');
    if replicates {
        let at_least = plan.images.iter().filter_map(|entry| entry.replication.as_ref()).any(is_partly_unknown);
        let (all, lacking) = (bytes_text(plan.bytes_replicated), bytes_text(plan.bytes_replicated_missing));
        let at_least = if at_least { "at least " } else { "" };
        text.push_str(&format!(
            "Replication copies all platforms of an image: {at_least}{all}, of which Harbor lacks {at_least}{lacking}.\n"
        ));
    }
    text
}

/// Bytes of all platforms; of some at least where not all could be read.
fn replication_text(replication: &PlanReplication) -> String {
    match (replication.bytes_total, is_partly_unknown(replication)) {
        (0, true) => "?".to_owned(),
        (bytes, true) => format!(">= {}", bytes_text(bytes)),
        (bytes, false) => bytes_text(bytes),
    }
}

fn is_partly_unknown(replication: &PlanReplication) -> bool {
    replication.manifests == 0 || replication.manifests_unknown > 0
}

fn state_cell(state: PlanState) -> Cell {
    match state {
        PlanState::Complete => Cell::toned("complete", Tone::Good),
        PlanState::Missing => Cell::toned("missing", Tone::Warning),
        PlanState::Unknown => Cell::from("unknown"),
        PlanState::Refused => Cell::toned("refused", Tone::Bad),
    }
}

/// Blobs that Harbor lacks, of those wanted; `-` where none are known.
fn missing_text(entry: &PlanEntry) -> String {
    match entry.blobs.len() {
        0 => "-".to_owned(),
        total => format!("{}/{total}", entry.blobs.iter().filter(|blob| blob.local == Some(false)).count()),
    }
}

fn bytes_cell(entry: &PlanEntry, bytes: u64) -> String {
    if entry.blobs.is_empty() { "-".to_owned() } else { bytes_text(bytes) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::render;
    use crate::fixtures::digest;
    use crate::terminal::screen::Screen;

    #[test]
    fn a_plan_is_a_table_with_its_sum() {
        let plan = serde_json::from_value(json!({
            "images": [
                {"image": "nginx:1.27", "place": "main/hub/library/nginx", "root": digest('a'), "state": "missing",
                 "blobs": [
                     {"digest": digest('b'), "sizeBytes": 2_000_000, "local": true},
                     {"digest": digest('c'), "sizeBytes": 40_000_000, "local": false}
                 ], "bytesTotal": 42_000_000, "bytesMissing": 40_000_000},
                {"image": "quay.io/a/b", "place": "main/quay/a/b", "state": "unknown",
                 "reason": "Harbor has not recorded it; --read-manifests tells more",
                 "blobs": [], "bytesTotal": 0, "bytesMissing": 0},
                {"image": "ghcr.io/a/b", "state": "refused", "reason": "no rule matches it",
                 "blobs": [], "bytesTotal": 0, "bytesMissing": 0}
            ],
            "blobsMissing": 1, "bytesMissing": 40_000_000
        }))
        .unwrap();

        insta::assert_snapshot!(render(&plan, &Screen::default()), @r"
        IMAGE        IN HARBOR               STATE    MISSING     BYTES        OF  REASON
        nginx:1.27   main/hub/library/nginx  missing      1/2  38.1 MiB  40.1 MiB
        quay.io/a/b  main/quay/a/b           unknown        -         -         -  Harbor has not recorded it; --read-manifests tells more
        ghcr.io/a/b  -                       refused        -         -         -  no rule matches it
        Harbor lacks 1 blob, 38.1 MiB. Of 1 image that is not known.
        ");
    }

    #[test]
    fn a_plan_with_a_target_tells_the_bytes_of_all_platforms() {
        let entry = |image: &str, replication: serde_json::Value| {
            json!({"image": image, "place": format!("main/hub/{image}"), "root": digest('a'), "state": "missing",
                   "blobs": [{"digest": digest('c'), "sizeBytes": 40_000_000, "local": false}],
                   "bytesTotal": 40_000_000, "bytesMissing": 40_000_000, "replication": replication})
        };
        let replication = |unknown: usize, total: u64| {
            json!({"target": "prod", "manifests": 4, "manifestsUnknown": unknown, "bytesTotal": total,
                   "bytesMissing": total})
        };
        let plan = serde_json::from_value(json!({
            "images": [
                entry("a:1", replication(0, 160_000_000)),
                entry("b:1", replication(3, 40_000_000)),
                entry("c:1", serde_json::Value::Null),
                entry("d:1", replication(4, 0)),
            ],
            "blobsMissing": 1, "bytesMissing": 40_000_000,
            "bytesReplicated": 200_000_000, "bytesReplicatedMissing": 200_000_000
        }))
        .unwrap();

        insta::assert_snapshot!(render(&plan, &Screen::default()), @r"
        IMAGE  IN HARBOR     STATE    MISSING     BYTES        OF  ALL PLATFORMS  REASON
        a:1    main/hub/a:1  missing      1/1  38.1 MiB  38.1 MiB        153 MiB
        b:1    main/hub/b:1  missing      1/1  38.1 MiB  38.1 MiB    >= 38.1 MiB
        c:1    main/hub/c:1  missing      1/1  38.1 MiB  38.1 MiB              -
        d:1    main/hub/d:1  missing      1/1  38.1 MiB  38.1 MiB              ?
        Harbor lacks 1 blob, 38.1 MiB.
        Replication copies all platforms of an image: at least 191 MiB, of which Harbor lacks at least 191 MiB.
        ");
    }
}
