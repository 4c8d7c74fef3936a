//! The table that is printed in the end.

use std::fmt::Write as _;

use crate::expectation::{Row, Verdict};

/// The rows as a Markdown table, with a line of counts below.
pub fn print(rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        let mark = match row.verdict {
            Verdict::Agrees => "",
            Verdict::Differs => "DIFFERS",
            Verdict::Skipped => "skipped",
        };
        [&row.scenario, &row.what, &row.expected, &row.seen, mark].map(|cell| cell.replace('|', "\\|"))
    });
    let mut lines = vec![["scenario", "what", "expected", "seen", ""].map(str::to_owned)];
    lines.extend(cells);
    let widths: Vec<usize> =
        (0..5).map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)).collect();
    let mut table = String::new();
    for (place, line) in lines.iter().enumerate() {
        let padded: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        // Writing to a string can't fail.
        let _ = writeln!(table, "| {} |", padded.join(" | "));
        if place == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat((*width).max(3))).collect();
            let _ = writeln!(table, "| {} |", rule.join(" | "));
        }
    }
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let (agree, differ) = (count(Verdict::Agrees), count(Verdict::Differs));
    let _ = writeln!(table, "\n{agree} agree, {differ} differ, {} skipped", count(Verdict::Skipped));
    table
}
