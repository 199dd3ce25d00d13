//! The datapoints of a metric alarm: those that made it change its state, and those that `GetMetricData` returns for its own
//! metrics, each compared with its threshold.

use aws_sdk_cloudwatch::types::{
    self as sdk, ComparisonOperator, MetricAlarm, MetricDataQuery, MetricDataResult, MetricStat,
};
use chrono::{DateTime, TimeDelta, Utc};

use super::stages::time;
use crate::model::datapoint::{Datapoint, Reading};
use crate::signal::reason_data;

/// The id of the only query of an alarm on one metric.
const ONLY: &str = "m";

/// Returns the period of an alarm in seconds: of its metric, or the longest of its metrics and queries.
pub(super) fn period(alarm: &MetricAlarm) -> Option<i32> {
    let stat = |entry: &MetricDataQuery| entry.metric_stat().and_then(MetricStat::period);
    let entries = alarm.metrics().iter().filter_map(|entry| stat(entry).or(entry.period()));
    alarm.period.or_else(|| entries.max()).filter(|period| *period > 0)
}

/// Reads the datapoints that made the alarm change its state (`StateReasonData`).
pub(super) fn evaluated(alarm: &MetricAlarm) -> Vec<Datapoint> {
    let period = period(alarm).map(|seconds| TimeDelta::seconds(seconds.into()));
    let read = |value| match (alarm.threshold, alarm.comparison_operator.as_ref()) {
        (Some(threshold), Some(operator)) => compared(operator, value, threshold, threshold),
        _ => Reading::Unknown,
    };
    reason_data::evaluated(alarm.state_reason_data().unwrap_or_default(), period, read)
}

/// Whether the alarm is in ALARM only because missing datapoints count as breaching: the others are fewer than it takes.
pub(super) fn only_missing_data(alarm: &MetricAlarm, evaluated: &[Datapoint]) -> bool {
    let counts =
        |readings: &[Reading]| evaluated.iter().filter(|one| readings.contains(&one.reading)).count();
    let to_alarm = alarm.datapoints_to_alarm.or(alarm.evaluation_periods).unwrap_or(1);
    alarm.treat_missing_data.as_deref() == Some("breaching")
        && counts(&[Reading::Missing]) > 0
        && counts(&[Reading::Breaching, Reading::Unknown]) < usize::try_from(to_alarm).unwrap_or(1)
}

/// What an alarm compares, as queries for `GetMetricData`.
pub(super) struct Watched<'a> {
    pub(super) queries: Vec<MetricDataQuery>,
    /// The id of the query whose values are compared.
    values: &'a str,
    /// The id of the anomaly band with which they are compared, instead of a threshold.
    band: Option<&'a str>,
    threshold: f64,
    operator: &'a ComparisonOperator,
    period: TimeDelta,
}

impl<'a> Watched<'a> {
    /// Returns `None` for an alarm that has no metric to read, or none with a period.
    pub(super) fn by(alarm: &'a MetricAlarm) -> Option<Self> {
        let operator = alarm.comparison_operator.as_ref()?;
        let period = TimeDelta::seconds(period(alarm)?.into());
        let band = alarm.threshold_metric_id.as_deref();
        let threshold = if band.is_some() { f64::NAN } else { alarm.threshold? };
        if alarm.metric_name.is_some() {
            let queries = vec![only_query(alarm)?];
            return Some(Self { queries, values: ONLY, band, threshold, operator, period });
        }
        let is_compared =
            |entry: &&MetricDataQuery| entry.return_data.unwrap_or(true) && entry.id.as_deref() != band;
        let values = alarm.metrics().iter().find(is_compared)?.id.as_deref()?;
        Some(Self { queries: alarm.metrics().to_vec(), values, band, threshold, operator, period })
    }

    /// Returns the range from the beginning of a whole period.
    pub(super) fn range(&self, since: DateTime<Utc>, until: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let into = since.timestamp().rem_euclid(self.period.num_seconds());
        (since - TimeDelta::seconds(into), until)
    }

    /// Compares the results. A query may return several series: a datapoint breaches if it does so in one of them. A period
    /// that is not over at `until` is left out.
    pub(super) fn datapoints(&self, results: &[MetricDataResult], until: DateTime<Utc>) -> Vec<Datapoint> {
        let of = |id: &str| -> Vec<(DateTime<Utc>, f64)> {
            let series = results.iter().filter(|result| result.id() == Some(id));
            let points = series.flat_map(|one| one.timestamps().iter().zip(one.values()));
            points.filter_map(|(at, value)| Some((time(at)?, *value))).collect()
        };
        let band = self.band.map(of).unwrap_or_default();
        let mut points: Vec<Datapoint> = Vec::new();
        for (begins, value) in
            of(self.values).into_iter().filter(|(begins, _)| *begins + self.period <= until)
        {
            let reading = self.read(begins, value, &band);
            let known = points.iter_mut().find(|point| point.begins == begins);
            if let Some(known) = known {
                known.reading = if reading == Reading::Breaching { reading } else { known.reading };
            } else {
                points.push(Datapoint { begins, ends: begins + self.period, reading });
            }
        }
        points.sort_by_key(|point| point.begins);
        points
    }

    fn read(&self, begins: DateTime<Utc>, value: f64, band: &[(DateTime<Utc>, f64)]) -> Reading {
        if self.band.is_none() {
            return compared(self.operator, value, self.threshold, self.threshold);
        }
        // A band has two series: its lower and its upper edge.
        let edges = band.iter().filter(|(at, _)| *at == begins).map(|(_, edge)| *edge);
        let (low, high) =
            edges.fold((f64::NAN, f64::NAN), |(low, high), edge| (low.min(edge), high.max(edge)));
        compared(self.operator, value, low, high)
    }
}

fn only_query(alarm: &MetricAlarm) -> Option<MetricDataQuery> {
    let metric = sdk::Metric::builder()
        .set_namespace(alarm.namespace.clone())
        .set_metric_name(alarm.metric_name.clone())
        .set_dimensions(alarm.dimensions.clone())
        .build();
    let statistic = alarm.statistic.as_ref().map(|statistic| statistic.as_str().to_owned());
    let stat = MetricStat::builder()
        .metric(metric)
        .set_period(alarm.period)
        .stat(statistic.or_else(|| alarm.extended_statistic.clone())?)
        .set_unit(alarm.unit.clone())
        .build();
    Some(MetricDataQuery::builder().id(ONLY).metric_stat(stat).build())
}

/// Compares a value with a threshold, or with the edges of a band.
fn compared(operator: &ComparisonOperator, value: f64, low: f64, high: f64) -> Reading {
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return Reading::Unknown;
    }
    let breaches = match operator.as_str() {
        "GreaterThanOrEqualToThreshold" => value >= high,
        "GreaterThanThreshold" | "GreaterThanUpperThreshold" => value > high,
        "LessThanOrEqualToThreshold" => value <= low,
        "LessThanThreshold" | "LessThanLowerThreshold" => value < low,
        "LessThanLowerOrGreaterThanUpperThreshold" => value < low || value > high,
        _ => return Reading::Unknown,
    };
    if breaches { Reading::Breaching } else { Reading::Within }
}
