//! Percentiles, and the numbers of a column of the table.

use serde::Serialize;

use crate::measure::Sample;

/// The middle and the bad case of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the values are at most this.
    pub p50: f64,
    /// Nine of ten are.
    pub p90: f64,
}

impl Spread {
    /// Whether it is of things that are counted and were the same in every run.
    pub fn is_a_count(self) -> bool {
        self.p50.fract().abs() < f64::EPSILON && (self.p90 - self.p50).abs() < f64::EPSILON
    }

    /// Of these values, of which there is at least one.
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

/// What a candidate showed in one pass.
#[derive(Clone, Debug, Serialize)]
pub struct Column {
    /// Exec to the first request for an event, in milliseconds.
    pub init: Spread,
    /// First event to answer.
    pub first: Spread,
    /// First event to the stage being back.
    pub first_healed: Spread,
    /// Exec to the stage being back.
    pub healed: Spread,
    /// Exec to answer.
    pub total: Spread,
    /// Later event to answer.
    pub warm: Spread,
    /// Later event to the stage being back.
    pub warm_healed: Spread,
    /// Peak memory in MiB.
    pub memory: Spread,
    /// Calls of the first invocation, the most of all processes.
    pub calls: usize,
    /// Connections until the first answer, the most of all processes.
    pub connections: u32,
    /// The calls until the stage was back, as the last process made them.
    pub calls_to_heal: Vec<String>,
    /// The round trips that these took, the most of all processes.
    pub steps_to_heal: usize,
}

impl Column {
    /// Of these processes, of which there is at least one.
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
    fn half_and_nine_of_ten_values_are_at_most_the_percentiles() {
        let spread = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0, 10.0, 9.0, 8.0, 7.0, 6.0].into_iter());
        assert_eq!(spread, Spread { p50: 5.0, p90: 9.0 });
        assert_eq!(Spread::of([7.0].into_iter()), Spread { p50: 7.0, p90: 7.0 });
    }
}
