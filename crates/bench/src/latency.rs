//! Durations of many requests, and what is told of them.

use std::time::Duration;

/// Durations, in no order until they are asked about.
#[derive(Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The nearest-rank percentile in milliseconds; 0 of nothing.
    pub(crate) fn percentile_ms(&mut self, percent: usize) -> f64 {
        self.0.sort_unstable();
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).map_or(0.0, |duration| duration.as_secs_f64() * 1e3)
    }
}

/// The one in the middle; of an even count the lower one; 0 of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::half(50, 100.0)]
    #[case::nearly_all(99, 198.0)]
    #[case::all(100, 200.0)]
    fn percentiles_are_of_the_nearest_rank(#[case] percent: usize, #[case] want: f64) {
        let mut latencies = Latencies::default();
        (1..=200).rev().for_each(|ms| latencies.add(Duration::from_millis(ms)));
        assert!((latencies.percentile_ms(percent) - want).abs() < 1e-9);
    }

    #[rstest]
    #[case::odd(vec![3.0, 1.0, 2.0], 2.0)]
    #[case::even(vec![4.0, 1.0, 2.0, 3.0], 2.0)]
    #[case::none(vec![], 0.0)]
    fn the_median_is_in_the_middle(#[case] values: Vec<f64>, #[case] want: f64) {
        assert!((median(values) - want).abs() < 1e-9);
    }
}
