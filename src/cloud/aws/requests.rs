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

#[cfg(test)]
mod tests {
    use aws_sdk_cloudwatch::types::MessageData;
    use aws_smithy_types::DateTime as SdkTime;

    use super::*;
    use crate::model::alarm::Metric;

    fn result(id: &str, points: &[(i64, f64)], status: StatusCode) -> MetricDataResult {
        let times = points.iter().map(|(at, _)| SdkTime::from_secs(*at)).collect();
        let values = points.iter().map(|(_, value)| *value).collect();
        let message = MessageData::builder().code("c").value("try again").build();
        MetricDataResult::builder()
            .id(id)
            .set_timestamps(Some(times))
            .set_values(Some(values))
            .status_code(status)
            .messages(message)
            .build()
    }

    /// Describes the buckets of two counters: the second of the beginning, the requests, the failed and the slow ones.
    fn described(results: &[MetricDataResult]) -> String {
        let of = |buckets: &Vec<Bucket>| {
            let one = |one: &Bucket| {
                let Bucket { begins, requests, failed, slow } = one;
                format!("{}:{requests}/{failed}/{slow}", begins.timestamp())
            };
            buckets.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        match buckets(2, results) {
            Ok(all) => all.iter().map(of).collect::<Vec<_>>().join("; "),
            Err(why) => why,
        }
    }

    #[test]
    fn numbers_are_put_together_by_counter_and_time() {
        let complete = |id: &str, points: &[(i64, f64)]| result(id, points, StatusCode::Complete);
        for (case, results, expected) in [
            ("nothing", vec![], "; "),
            (
                "out of order, with a page for each part",
                vec![
                    result("c0r0", &[(20, 5.0)], StatusCode::PartialData),
                    complete("c0f0", &[(20, 2.0)]),
                    complete("c0r0", &[(10, 4.0)]),
                    complete("c0s0", &[(10, 1.0)]),
                ],
                "10:4/0/1 20:5/2/0; ",
            ),
            (
                "told twice",
                vec![complete("c0r0", &[(10, 4.0), (10, 4.0)]), complete("c0r0", &[(10, 4.0)])],
                "10:4/0/0; ",
            ),
            ("failures without requests", vec![complete("c0f0", &[(10, 4.0)])], "; "),
            (
                "two metrics add up",
                vec![
                    complete("c1r0", &[(10, 4.0)]),
                    complete("c1f0", &[(10, 1.0)]),
                    complete("c1f1", &[(10, 2.0)]),
                ],
                "; 10:4/3/0",
            ),
            (
                "odd numbers",
                vec![complete("c0r0", &[(10, f64::NAN), (20, -1.0), (30, 1e300), (40, 0.6)])],
                "40:1/0/0; ",
            ),
            (
                "a query that failed",
                vec![complete("c0r0", &[(10, 4.0)]), result("c0f0", &[], StatusCode::InternalError)],
                "a metric was answered with InternalError try again",
            ),
            (
                "a query that is forbidden",
                vec![result("c0r0", &[], StatusCode::Forbidden)],
                "a metric was answered with Forbidden try again",
            ),
        ] {
            assert_eq!(described(&results), expected, "{case}");
        }
    }

    #[test]
    fn each_number_of_each_counter_is_a_query() {
        let of = |name: &str, statistic: &str| {
            let metric =
                Metric { namespace: "n".into(), name: name.into(), dimensions: vec![], account: None };
            vec![Statistic { metric, statistic: statistic.into() }]
        };
        let log = Counter {
            requests: of("Status", "SampleCount"),
            failed: of("Status", "TC(499:599)"),
            slow: of("Latency", "TC(800:)"),
        };
        let own = Counter { requests: of("Count", "Sum"), failed: of("5XXError", "Sum"), slow: vec![] };
        let described = queries(&[&log, &own], TimeDelta::seconds(10))
            .iter()
            .map(|query| {
                let stat = query.metric_stat().unwrap();
                let name = stat.metric().and_then(|metric| metric.metric_name());
                format!(
                    "{} {} {} {}",
                    query.id().unwrap(),
                    name.unwrap(),
                    stat.stat().unwrap(),
                    stat.period().unwrap()
                )
            })
            .collect::<Vec<_>>();
        assert_eq!(
            described,
            [
                "c0r0 Status SampleCount 10",
                "c0f0 Status TC(499:599) 10",
                "c0s0 Latency TC(800:) 10",
                "c1r0 Count Sum 10",
                "c1f0 5XXError Sum 10",
            ]
        );
    }
}
