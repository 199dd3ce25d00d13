//! Reads the datapoints that made an alarm change its state, from CloudWatch's `StateReasonData`. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::text;
use crate::model::alarm::time;
use crate::model::datapoint::{Datapoint, Reading};

/// The version of the format that is read.
const VERSION: &str = "1.0";

/// The most datapoints that are read: an alarm evaluates at most one for each minute of a day (`PutMetricAlarm`).
const MAX_DATAPOINTS: usize = 1_440;

/// Returns the evaluated datapoints in the order of their time. `read` compares a value with the threshold, and `period`
/// is the alarm's own.
///
/// Empty if the text is not JSON, has another version, or says no period: then the times of the alarm and the stage decide.
/// A datapoint without a readable time, or from after the evaluation, is left out.
#[must_use]
pub fn evaluated(data: &str, period: Option<TimeDelta>, read: impl Fn(f64) -> Reading) -> Vec<Datapoint> {
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    let told = data.get("period").and_then(Value::as_i64).filter(|seconds| (1..=604_800).contains(seconds));
    let Some(period) = told.map(TimeDelta::seconds).or(period) else { return vec![] };
    if text(&data, "version").is_some_and(|version| version != VERSION) {
        return vec![];
    }
    let evaluated_at = text(&data, "queryDate").and_then(time);
    let points = data.get("evaluatedDatapoints").and_then(Value::as_array);
    let points = points.into_iter().flatten().take(MAX_DATAPOINTS).filter_map(|point| {
        let begins = text(point, "timestamp").and_then(time)?;
        let ends = begins.checked_add_signed(period)?;
        let reading = point.get("value").and_then(Value::as_f64).map_or(Reading::Missing, &read);
        evaluated_at.is_none_or(|at| begins <= at).then_some(Datapoint { begins, ends, reading })
    });
    let mut points: Vec<Datapoint> = points.collect();
    points.sort_by_key(|point| point.begins);
    points
}

/// Returns when the alarm was evaluated and changed its state.
#[must_use]
pub fn evaluated_at(data: &str) -> Option<DateTime<Utc>> {
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    text(&data, "queryDate").and_then(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prints the datapoints: the minute, the length in seconds, and the reading.
    fn described(data: &str) -> String {
        let minute = Some(TimeDelta::minutes(1));
        let read = |value| if value > 0.1 { Reading::Breaching } else { Reading::Within };
        let points = evaluated(data, minute, read);
        let described = points.iter().map(|point| {
            let seconds = (point.ends - point.begins).num_seconds();
            format!("{} {seconds} {:?}", point.begins.format("%H:%M"), point.reading)
        });
        described.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_evaluated_datapoints_are_read_and_anything_odd_is_left_out() {
        let point = |minute: u32, value: &str| {
            format!(r#"{{"timestamp":"2026-11-20T10:{minute:02}:00.000+0000"{value}}}"#)
        };
        let data = |rest: &str, points: &[String]| {
            format!(r#"{{"version":"1.0"{rest},"evaluatedDatapoints":[{}]}}"#, points.join(","))
        };
        let one = point(3, r#","sampleCount":60.0,"value":0.4"#);
        let evaluated_at = r#","queryDate":"2026-11-20T10:05:12.345+0000""#;
        for (what, data, expected) in [
            ("one", data("", std::slice::from_ref(&one)), "10:03 60 Breaching"),
            ("its own period", data(r#","period":300"#, std::slice::from_ref(&one)), "10:03 300 Breaching"),
            (
                "a period that is none",
                data(r#","period":-1"#, std::slice::from_ref(&one)),
                "10:03 60 Breaching",
            ),
            (
                "newest first, one missing, one within",
                data(evaluated_at, &[point(4, ""), one.clone(), point(2, r#","value":0.0"#)]),
                "10:02 60 Within, 10:03 60 Breaching, 10:04 60 Missing",
            ),
            (
                "the future",
                data(evaluated_at, &[one.clone(), point(6, r#","value":1"#)]),
                "10:03 60 Breaching",
            ),
            ("a value that is no number", data("", &[point(3, r#","value":"1""#)]), "10:03 60 Missing"),
            (
                "a time that is none",
                data("", &[r#"{"timestamp":"now","value":1}"#.to_owned(), "1".into()]),
                "",
            ),
            (
                "a time before all others",
                data("", &[r#"{"timestamp":"-262143-01-01T00:00:00.000+0000","value":1}"#.to_owned()]),
                "",
            ),
            ("no version", r#"{"evaluatedDatapoints":[]}"#.into(), ""),
            ("another version", data("", std::slice::from_ref(&one)).replace("1.0", "2.0"), ""),
            ("a composite alarm", r#"{"triggeringAlarms":[]}"#.into(), ""),
            ("a log alarm", r#"{"version":"1.0","results":[{"value":142.0}]}"#.into(), ""),
            ("no list", r#"{"version":"1.0","evaluatedDatapoints":1}"#.into(), ""),
            ("no JSON", "Threshold Crossed".into(), ""),
            ("nothing", String::new(), ""),
        ] {
            assert_eq!(described(&data), expected, "{what}");
        }
        assert!(evaluated(&data("", &[one]), None, |_| Reading::Breaching).is_empty());
    }

    #[test]
    fn the_time_of_the_evaluation_is_read_or_unknown() {
        for (case, data, expected) in [
            (
                "CloudWatch's format",
                r#"{"version":"1.0","queryDate":"2026-11-20T10:05:12.345+0000"}"#,
                Some("2026-11-20T10:05:12.345+00:00"),
            ),
            ("no time", r#"{"version":"1.0"}"#, None),
            ("a time that is none", r#"{"queryDate":"now"}"#, None),
            ("a time before all others", r#"{"queryDate":"-262143-01-01T00:00:00.000+0000"}"#, None),
            ("no JSON", "Threshold Crossed", None),
        ] {
            assert_eq!(evaluated_at(data).map(|at| at.to_rfc3339()).as_deref(), expected, "{case}");
        }
    }
}
