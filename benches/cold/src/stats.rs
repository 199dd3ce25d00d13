//! Percentiles, and the numbers in a column of the table.

use serde::Serialize;

use crate::measure::Sample;

/// The median and the 90th percentile of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the values are at most this.
    pub p50: f64,
    /// Nine tenths of the values are at most this.
    pub p90: f64,
}

impl Spread {
    /// Whether the values are counts that were the same in every run.
    pub fn is_a_count(self) -> bool {
        self.p50.fract().abs() < f64::EPSILON && (self.p90 - self.p50).abs() < f64::EPSILON
    }

    /// Computes the percentiles of these values, at least one.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or(f64::NAN)
        };
        Self { p50: at(50), p90: at(90) }
    }
}

/// The measurements of one candidate in one pass. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Column {
    /// From exec to the first request for an event.
    pub init: Spread,
    /// From the first event to its answer.
    pub first: Spread,
    /// From the first event to the rolled-back stage.
    pub first_healed: Spread,
    /// From exec to the rolled-back stage.
    pub healed: Spread,
    /// From exec to the answer.
    pub total: Spread,
    /// From a later event to its answer.
    pub warm: Spread,
    /// From a later event to the rolled-back stage.
    pub warm_healed: Spread,
    /// Peak memory in MiB.
    pub memory: Spread,
    /// Calls of the first invocation, the maximum of all processes.
    pub calls: usize,
    /// Connections until the first answer, the maximum of all processes.
    pub connections: u32,
    /// The calls of the last process until the stage was rolled back.
    pub calls_to_heal: Vec<String>,
    /// The round trips of these calls, the maximum of all processes.
    pub steps_to_heal: usize,
}

impl Column {
    /// Summarizes these processes, at least one.
    pub fn of(samples: &[Sample]) -> Self {
        let spread = |value: fn(&Sample) -> f64| Spread::of(samples.iter().map(value));
        Self {
            init: spread(|sample| sample.init),
            first: spread(|sample| sample.first),
            first_healed: spread(|sample| sample.first_healed),
            healed: spread(|sample| sample.healed),
            total: spread(|sample| sample.total),
            warm: Spread::of(samples.iter().flat_map(|sample| sample.warm.iter().copied())),
            warm_healed: Spread::of(samples.iter().flat_map(|sample| sample.warm_healed.iter().copied())),
            memory: spread(|sample| sample.memory),
            calls: samples.iter().map(|sample| sample.calls.len()).max().unwrap_or(0),
            connections: samples.iter().map(|sample| sample.connections).max().unwrap_or(0),
            calls_to_heal: samples.last().map(|sample| sample.calls_to_heal.clone()).unwrap_or_default(),
            steps_to_heal: samples.iter().map(|sample| sample.steps_to_heal).max().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn half_of_the_values_are_at_most_p50_and_nine_tenths_at_most_p90() {
        let spread = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0, 10.0, 9.0, 8.0, 7.0, 6.0].into_iter());
        assert_eq!(spread, Spread { p50: 5.0, p90: 9.0 });
        assert_eq!(Spread::of([7.0].into_iter()), Spread { p50: 7.0, p90: 7.0 });
    }
}
