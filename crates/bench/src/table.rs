//! What was measured, beside what it should be.

/// One number and its target.
pub(crate) struct Row {
    what: String,
    target: String,
    seen: String,
    met: Option<bool>,
}

/// All of them, each printed as soon as it is known.
pub(crate) struct Table(Vec<Row>);

impl Row {
    /// A number that has a target.
    pub(crate) fn new(what: impl Into<String>, target: impl Into<String>, seen: impl Into<String>, met: bool) -> Self {
        Self { what: what.into(), target: target.into(), seen: seen.into(), met: Some(met) }
    }

    /// A number that is worth knowing and has none.
    pub(crate) fn without_target(what: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { what: what.into(), target: String::new(), seen: seen.into(), met: None }
    }

    fn seen(&self) -> String {
        match self.met {
            Some(false) => format!("**{}**", self.seen),
            Some(true) | None => self.seen.clone(),
        }
    }
}

impl Table {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Prints the row and keeps it.
    pub(crate) fn add(&mut self, row: Row) {
        let verdict = if row.met == Some(false) { "  (missed)" } else { "" };
        println!("{} | {} | {}{verdict}", row.what, row.target, row.seen);
        self.0.push(row);
    }

    /// Adds what a measurement brought. One that fails is told and doesn't end the others.
    pub(crate) fn measure(&mut self, what: &str, rows: anyhow::Result<Vec<Row>>) {
        match rows {
            Ok(rows) => rows.into_iter().for_each(|row| self.add(row)),
            Err(error) => self.add(Row::without_target(what, format!("not measured: {error:#}"))),
        }
    }

    /// For docs/benchmarks.md; misses are in bold.
    pub(crate) fn markdown(&self) -> String {
        let rows = self.0.iter().map(|row| format!("| {} | {} | {} |", row.what, row.target, row.seen()));
        ["| what | target | seen |".to_owned(), "|---|---|---|".to_owned()]
            .into_iter()
            .chain(rows)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// A count as a number to calculate with. Past 2^53 digits get lost, which no number here comes near.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
pub(crate) fn lossy(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_stands_out_and_the_rest_does_not() {
        let mut table = Table::new();
        table.add(Row::new("size", "≤ 1 MB", "2 MB", false));
        table.add(Row::new("speed", "≥ 1 /s", "2 /s", true));
        table.measure("memory", Err(anyhow::anyhow!("no /proc here")));
        let lines: Vec<_> = table.markdown().lines().map(str::to_owned).collect();
        assert_eq!(
            lines[2..],
            [
                "| size | ≤ 1 MB | **2 MB** |",
                "| speed | ≥ 1 /s | 2 /s |",
                "| memory |  | not measured: no /proc here |"
            ]
        );
    }
}
