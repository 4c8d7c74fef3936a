//! Where text goes: how wide the terminal is, and whether it shows colours.

use std::io::Write as _;

use console::Term;

/// What is known of the place that text is printed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// Columns of the terminal; none where it is a file or a pipe, which has as many as needed.
    pub width: Option<usize>,
    /// Whether colours are shown.
    pub colour: bool,
}

/// What a colour means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Reached.
    Good,
    /// Needs a person.
    Bad,
    /// Worth a look.
    Warning,
    /// Beside the point.
    Faint,
    /// Heads a table.
    Heading,
}

impl Screen {
    /// Standard output.
    pub fn stdout() -> Self {
        Self::of(&Term::stdout())
    }

    fn of(term: &Term) -> Self {
        let is_terminal = term.features().is_attended();
        let width = is_terminal.then(|| usize::from(term.size().1)).filter(|width| *width > 0);
        // https://no-color.org: present and not empty, whatever its value.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { width, colour: is_terminal && !refused && term.features().colors_supported() }
    }

    /// The text in a tone, or as it is where colours aren't shown.
    pub fn paint(&self, text: &str, tone: Tone) -> String {
        let style = console::Style::new().force_styling(self.colour);
        let style = match tone {
            Tone::Good => style.green(),
            Tone::Bad => style.red(),
            Tone::Warning => style.yellow(),
            Tone::Faint => style.dim(),
            Tone::Heading => style.bold(),
        };
        style.apply_to(text).to_string()
    }

    /// Prints to standard output.
    pub fn print(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A reader such as `head` may have gone; the exit code still tells what became of the work.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// Prints a line to standard error. What is no longer read is no reason to stop, as `eprintln!` would.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
