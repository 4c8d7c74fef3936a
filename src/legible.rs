//! Texts of others, made fit for a line of a log or a warning.

/// A text of anybody's as one line of at most `max` characters: no control characters, and the middle left out, since
/// the start tells a registry and the end a tag.
pub(crate) fn legible(text: &str, max: usize) -> String {
    const GAP: &str = "...";
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let length = text.chars().count();
    if length <= max {
        return text.chars().map(clean).collect();
    }
    let kept = max.saturating_sub(GAP.len());
    let tail = kept / 2;
    let head = text.chars().take(kept - tail).map(clean);
    head.chain(GAP.chars()).chain(text.chars().skip(length - tail).map(clean)).collect()
}
