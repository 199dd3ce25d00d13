//! The numbers of requests that `GetMetricData` returns, by period.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{MetricDataQuery, MetricDataResult, StatusCode};
use chrono::{DateTime, TimeDelta, Utc};

use super::alarms::statistic;
use super::stages::time;
use crate::model::traffic::{Bucket, Counter, Statistic};

/// The three numbers of a counter, by the letter in the ids of their queries.
type Number = (&'static str, fn(&Counter) -> &[Statistic]);
const NUMBERS: [Number; 3] =
    [("r", |counter| &counter.requests), ("f", |counter| &counter.failed), ("s", |counter| &counter.slow)];

/// Builds the queries of all counters. The id of each says to which number of which counter it adds.
pub(super) fn queries(counters: &[&Counter], period: TimeDelta) -> Vec<MetricDataQuery> {
    let of_number = |nth: usize, letter: &str, statistics: &[Statistic]| -> Vec<MetricDataQuery> {
        let query = |(which, one): (usize, &Statistic)| {
            statistic(&format!("c{nth}{letter}{which}"), &one.metric, &one.statistic, period)
        };
        statistics.iter().enumerate().map(query).collect()
    };
    let of_counter = |(nth, counter): (usize, &&Counter)| -> Vec<MetricDataQuery> {
        NUMBERS.iter().flat_map(|(letter, of)| of_number(nth, letter, of(counter))).collect()
    };
    counters.iter().enumerate().flat_map(of_counter).collect()
}

/// Returns the buckets of each counter, in the order of time.
///
/// # Errors
/// Why CloudWatch could not answer a query in full. A missing number would otherwise count as zero.
pub(super) fn buckets(counters: usize, results: &[MetricDataResult]) -> Result<Vec<Vec<Bucket>>, String> {
    if let Some(broken) = results.iter().find(|result| is_broken(result)) {
        let why =
            broken.messages().iter().filter_map(|message| message.value()).collect::<Vec<_>>().join("; ");
        let status = broken.status_code().map_or("Unknown", StatusCode::as_str);
        return Err(format!("a metric was answered with {status} {why}").trim_end().to_owned());
    }
    let of_counter = |nth: usize| {
        let numbers = NUMBERS.map(|(letter, _)| sums(results, &format!("c{nth}{letter}")));
        let [requests, failed, slow] = &numbers;
        let number = |of: &BTreeMap<DateTime<Utc>, u64>, at| of.get(&at).copied().unwrap_or_default();
        let bucket = |(begins, requests): (&DateTime<Utc>, &u64)| Bucket {
            begins: *begins,
            requests: *requests,
            failed: number(failed, *begins),
            slow: number(slow, *begins),
        };
        requests.iter().map(bucket).collect()
    };
    Ok((0..counters).map(of_counter).collect())
}

/// The results of a query with more than one page come in parts, all but the last of them with `PartialData`.
fn is_broken(result: &MetricDataResult) -> bool {
    !matches!(result.status_code(), None | Some(StatusCode::Complete | StatusCode::PartialData))
}

/// Adds up the results whose id begins like this, by the beginning of their period. A value that is told twice counts once.
fn sums(results: &[MetricDataResult], id: &str) -> BTreeMap<DateTime<Utc>, u64> {
    let mut by_query: BTreeMap<&str, BTreeMap<DateTime<Utc>, u64>> = BTreeMap::new();
    for result in results {
        let Some(query) = result.id().filter(|query| query.starts_with(id)) else { continue };
        let values = by_query.entry(query).or_default();
        for (at, value) in result.timestamps().iter().zip(result.values()) {
            if let (Some(at), Some(value)) = (time(at), whole(*value)) {
                values.insert(at, value);
            }
        }
    }
    let mut sums = BTreeMap::new();
    for (at, value) in by_query.into_values().flatten() {
        let sum: &mut u64 = sums.entry(at).or_default();
        *sum = sum.saturating_add(value);
    }
    sums
}

/// Converts a count. CloudWatch has only floats.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn whole(value: f64) -> Option<u64> {
    const MOST: f64 = 9e15;
    (0.0..MOST).contains(&value).then(|| value.round() as u64)
}
