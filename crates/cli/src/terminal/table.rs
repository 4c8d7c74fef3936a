//! Text tables that fit the terminal. Pure.

use crate::terminal::screen::{Screen, Tone};

/// Columns are two spaces apart.
const GAP: usize = 2;

/// No column that can shrink gets narrower than this.
const NARROWEST: usize = 12;

/// One cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Option<Tone>,
}

/// How a column takes part in the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Flush left, never cut.
    Left,
    /// Flush right, never cut: numbers.
    Right,
    /// Flush left, and cut where the terminal is too narrow; the last such column first.
    Shrinking,
    /// The same for images: their end, which has the tag, says most.
    ShrinkingImage,
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Column)>,
    rows: Vec<Vec<Cell>>,
}

impl Cell {
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone: Some(tone) }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: None }
    }
}

impl Table {
    pub(crate) fn new(columns: impl IntoIterator<Item = (&'static str, Column)>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row, a cell for each column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().map(one_line).collect());
    }

    /// The table, each line indented by `indent` spaces and ended.
    pub(crate) fn render(&self, screen: &Screen, indent: usize) -> String {
        let widths = self.widths(screen.width.map(|width| width.saturating_sub(indent)));
        let headings = self.columns.iter().map(|(heading, _)| Cell::toned(*heading, Tone::Heading)).collect();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = " ".repeat(indent);
            // Trailing blanks would wrap in a narrow terminal.
            let used = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
            for (index, ((cell, width), (_, column))) in
                row.iter().zip(&widths).zip(&self.columns).take(used).enumerate()
            {
                let cut = match column {
                    Column::ShrinkingImage => cut_start(&cell.text, *width),
                    _ => console::truncate_str(&cell.text, *width, "…").into_owned(),
                };
                let blanks = " ".repeat(width.saturating_sub(console::measure_text_width(&cut)));
                let painted = cell.tone.map_or_else(|| cut.clone(), |tone| screen.paint(&cut, tone));
                let is_last = index + 1 == used;
                match column {
                    Column::Right => line.extend([blanks.as_str(), &painted]),
                    _ if is_last => line.push_str(&painted),
                    _ => line.extend([painted.as_str(), &blanks]),
                }
                if !is_last {
                    line.push_str(&" ".repeat(GAP));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn widths(&self, available: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, (heading, _))| {
                let cells = self.rows.iter().filter_map(|row| row.get(index));
                cells.map(|cell| console::measure_text_width(&cell.text)).max().unwrap_or(0).max(heading.len())
            })
            .collect();
        let Some(available) = available else { return widths };
        let gaps = GAP * self.columns.len().saturating_sub(1);
        for (index, (_, column)) in self.columns.iter().enumerate().rev() {
            let excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(available);
            let shrinks = matches!(column, Column::Shrinking | Column::ShrinkingImage);
            if let Some(width) = widths.get_mut(index).filter(|_| shrinks) {
                *width = width.saturating_sub(excess).max(NARROWEST.min(*width));
            }
        }
        widths
    }
}

/// The end of a text that is too long. An image has one column a character.
fn cut_start(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    std::iter::once('…').chain(text.chars().skip(length + 1 - width)).collect()
}

/// Reasons come from elsewhere: a line break or an escape sequence in one must not reach the terminal.
fn one_line(cell: Cell) -> Cell {
    let text = cell.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Cell { text, ..cell }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Column, Table};
    use crate::terminal::screen::{Screen, Tone};

    fn table() -> Table {
        let mut table =
            Table::new([("NAME", Column::ShrinkingImage), ("SIZE", Column::Right), ("WHY", Column::Shrinking)]);
        table.row(["a".into(), "12".into(), "short".into()]);
        table.row([
            "main/hub/library/nginx:1.27".into(),
            "7".into(),
            Cell::toned("a reason that\ngoes on for much too long", Tone::Bad),
        ]);
        table
    }

    #[test]
    fn a_pipe_has_as_many_columns_as_needed() {
        insta::assert_snapshot!(table().render(&Screen::default(), 0), @r"
        NAME                         SIZE  WHY
        a                              12  short
        main/hub/library/nginx:1.27     7  a reason that goes on for much too long
        ");
    }

    #[test]
    fn the_last_column_is_cut_first() {
        let screen = Screen { width: Some(60), colour: false };
        insta::assert_snapshot!(table().render(&screen, 0), @r"
        NAME                         SIZE  WHY
        a                              12  short
        main/hub/library/nginx:1.27     7  a reason that goes on fo…
        ");
    }

    #[test]
    fn a_narrow_terminal_cuts_every_column_that_can_shrink() {
        let screen = Screen { width: Some(30), colour: false };
        insta::assert_snapshot!(table().render(&screen, 0), @r"
        NAME          SIZE  WHY
        a               12  short
        …/nginx:1.27     7  a reason th…
        ");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let screen = Screen { width: None, colour: true };
        let coloured = table().render(&screen, 2);
        assert!(coloured.contains("\u{1b}[31ma reason"), "{coloured:?}");
        let plain = console::strip_ansi_codes(&coloured).into_owned();
        assert_eq!(plain, table().render(&Screen::default(), 2));
    }
}
