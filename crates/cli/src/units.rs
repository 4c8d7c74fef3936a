//! Numbers as people read them. Pure.

use std::time::Duration;

use harbor_warmer_protocol::Digest;

/// Bytes with three digits: `512 B`, `3.42 MiB`, `187 MiB`.
pub(super) fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Exactness ends far beyond three digits.
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // 999.5 would be rounded to four digits.
    while value >= 999.5 {
        let Some(next) = units.next() else { break };
        value /= 1024.0;
        unit = next;
    }
    match value {
        value if value < 9.995 => format!("{value:.2} {unit}"),
        value if value < 99.95 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

/// A time span by its largest unit: `now`, `42 s`, `7 min`, `3 h`, `12 d`.
pub(super) fn span_text(span: Duration) -> String {
    match span.as_secs() {
        0 => "now".to_owned(),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// How long ago: as [`span_text`], with `ago`.
pub(super) fn ago_text(span: Duration) -> String {
    match span_text(span) {
        now if now == "now" => now,
        span => format!("{span} ago"),
    }
}

/// `1 image`, `3 images`.
pub(super) fn count_text(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// The first 12 characters of the hex form: enough for a person to tell digests apart.
pub(super) fn short(digest: &Digest) -> String {
    digest.to_string().trim_start_matches("sha256:").chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;

    use super::{ago_text, bytes_text, span_text};

    #[rstest]
    #[case(0, "0 B")]
    #[case(1023, "1023 B")]
    #[case(1024, "1.00 KiB")]
    #[case(10_235, "10.0 KiB")]
    #[case(102_348, "99.9 KiB")]
    #[case(1_023_487, "999 KiB")]
    #[case(1_023_488, "0.98 MiB")]
    #[case(196_083_712, "187 MiB")]
    #[case(u64::MAX, "16384 PiB")]
    fn bytes_have_three_digits(#[case] bytes: u64, #[case] text: &str) {
        assert_eq!(bytes_text(bytes), text);
    }

    #[rstest]
    #[case(0, "now")]
    #[case(119, "119 s")]
    #[case(120, "2 min")]
    #[case(7_200, "2 h")]
    #[case(172_800, "2 d")]
    fn spans_have_one_unit(#[case] seconds: u64, #[case] text: &str) {
        assert_eq!(span_text(Duration::from_secs(seconds)), text);
    }

    #[test]
    fn nothing_is_now_ago() {
        assert_eq!(ago_text(Duration::from_millis(300)), "now");
        assert_eq!(ago_text(Duration::from_secs(5)), "5 s ago");
    }
}
