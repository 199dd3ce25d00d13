//! The datapoints of an alarm, each compared with the alarm's threshold.

use chrono::{DateTime, Utc};

/// A datapoint of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datapoint {
    /// The beginning of its period.
    pub begins: DateTime<Utc>,
    /// The end of its period.
    pub ends: DateTime<Utc>,
    /// Its value, compared with the threshold.
    pub reading: Reading,
}

/// The value of a datapoint, compared with the alarm's threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It breaches the threshold.
    Breaching,
    /// It is within the threshold.
    Within,
    /// There is no value.
    Missing,
    /// There is a value, but the threshold is not known.
    Unknown,
}

/// Returns the datapoint with which the breach began: the first breaching one.
#[must_use]
pub fn first_breach(datapoints: &[Datapoint]) -> Option<&Datapoint> {
    datapoints.iter().filter(|point| point.reading == Reading::Breaching).min_by_key(|point| point.begins)
}

/// Returns the datapoint with which the latest breach began: the first breaching one after the last value within the
/// threshold that a breaching one follows.
#[must_use]
pub fn latest_breach(datapoints: &[Datapoint]) -> Option<&Datapoint> {
    let of = |reading| datapoints.iter().filter(move |point| point.reading == reading);
    let last = of(Reading::Breaching).map(|point| point.begins).max()?;
    let recovered = of(Reading::Within).map(|point| point.begins).filter(|begins| *begins < last).max();
    let breach = of(Reading::Breaching).filter(|point| recovered.is_none_or(|at| point.begins > at));
    breach.min_by_key(|point| point.begins)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    /// A minute for each letter: breaching, within, missing or unknown.
    fn minutes(readings: &str) -> Vec<Datapoint> {
        let read = |letter| match letter {
            'B' => Reading::Breaching,
            'W' => Reading::Within,
            'M' => Reading::Missing,
            _ => Reading::Unknown,
        };
        let points = readings.chars().zip(0..).map(|(letter, minute)| {
            let begins = DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
            Datapoint { begins, ends: begins + TimeDelta::minutes(1), reading: read(letter) }
        });
        points.collect()
    }

    #[test]
    fn a_breach_begins_with_its_first_breaching_datapoint() {
        for (readings, first, latest) in [
            ("", None, None),
            ("WMU", None, None),
            ("B", Some(0), Some(0)),
            ("WBB", Some(1), Some(1)),
            ("BWB", Some(0), Some(2)),
            ("BMUB", Some(0), Some(0)),
            ("BBW", Some(0), Some(0)),
            ("BWBBW", Some(0), Some(2)),
            ("BWBWW", Some(0), Some(2)),
        ] {
            let mut points = minutes(readings);
            let minute = |point: Option<&Datapoint>| point.map(|point| point.begins.timestamp() / 60);
            assert_eq!((minute(first_breach(&points)), minute(latest_breach(&points))), (first, latest));
            points.reverse();
            assert_eq!((minute(first_breach(&points)), minute(latest_breach(&points))), (first, latest));
        }
    }
}
