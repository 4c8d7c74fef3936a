//! Durations as people write them in Kubernetes: `500ms`, `10m`, `1h30m`, `7d`.

use std::fmt;
use std::time::Duration;

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationError;

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration is a whole number with its unit (ms, s, m, h or d), such as 500ms, 10m or 1h30m")
    }
}

impl std::error::Error for DurationError {}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads one duration, the larger units first.
///
/// # Errors
/// Anything else, a number without a unit included: nobody should have to guess whether it counts seconds.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let mut millis: u64 = 0;
    let mut rest = text;
    let mut units = UNITS.iter();
    while !rest.is_empty() || rest.len() == text.len() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        // The iterator moves on: a unit can't come twice, nor after a smaller one.
        let (_, scale) = units.find(|(name, _)| *name == unit).ok_or(DurationError)?;
        let number: u64 = number.parse().map_err(|_| DurationError)?;
        millis = number.checked_mul(*scale).and_then(|part| millis.checked_add(part)).ok_or(DurationError)?;
        rest = tail;
    }
    Ok(Duration::from_millis(millis))
}

/// Prints what [`parse_duration`] reads, to the millisecond.
pub fn duration_text(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, scale) in UNITS {
        if millis >= scale {
            text.push_str(&format!("{}{unit}", millis / scale));
            millis %= scale;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rstest::rstest;

    use super::{DurationError, duration_text, parse_duration};

    #[rstest]
    #[case::milliseconds("500ms", 500)]
    #[case::minutes("10m", 600_000)]
    #[case::mixed("1h30m", 5_400_000)]
    #[case::days("7d", 604_800_000)]
    #[case::zero("0s", 0)]
    fn reads_a_duration(#[case] text: &str, #[case] millis: u64) {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
    }

    #[rstest]
    #[case::empty("")]
    #[case::no_unit("10")]
    #[case::no_number("m")]
    #[case::fraction("1.5h")]
    #[case::negative("-1s")]
    #[case::space("10 m")]
    #[case::unknown_unit("3w")]
    #[case::wrong_order("30m1h")]
    #[case::twice("1m1m")]
    #[case::too_large("99999999999999d")]
    fn refuses_what_is_none(#[case] text: &str) {
        assert_eq!(parse_duration(text), Err(DurationError));
    }

    proptest! {
        #[test]
        fn reads_what_it_prints(millis in 0..10_000_000_000u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&duration_text(duration)), Ok(duration));
        }
    }
}
