//! The port's verbs for alarms and their metrics (CloudWatch).

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::alarm::{AlarmNow, Metric, State};
use crate::model::cloud_error::CloudError;
use crate::model::datapoint::Datapoint;
use crate::model::traffic::{Bucket, Counter};

/// Alarms and their metrics (CloudWatch).
///
/// # Errors
/// Each verb fails if CloudWatch refuses the call or does not answer before the deadline.
pub trait Alarms: Sync {
    /// Reads metric, composite and log alarms by name, at most 100 (`DescribeAlarms`). Leaves out alarms that do not exist.
    fn alarms(&self, names: &[String]) -> impl Future<Output = Result<Vec<AlarmNow>, CloudError>> + Send;

    /// Reads every alarm of the account and Region that has an action whose ARN begins with `action`
    /// (`DescribeAlarms`, every page).
    fn alarms_acting(&self, action: &str) -> impl Future<Output = Result<Vec<AlarmNow>, CloudError>> + Send;

    /// Reads every alarm of the account and Region (`DescribeAlarms`, every page).
    fn all_alarms(&self) -> impl Future<Output = Result<Vec<AlarmNow>, CloudError>> + Send;

    /// Returns a mute rule that mutes this alarm's actions now, by name (`ListAlarmMuteRules`, every page). An endpoint that
    /// does not know mute rules has none.
    fn muted_by(&self, alarm: &str) -> impl Future<Output = Result<Option<String>, CloudError>> + Send;

    /// Reads the datapoints of an alarm from `since` until `until`, compared with its threshold: by its own metrics, metric
    /// math, anomaly bands and queries (`DescribeAlarms`, `GetMetricData`, every page). Returns `None` if its datapoints
    /// cannot be had by `GetMetricData`, as for a log alarm or `PromQL`.
    fn datapoints(
        &self,
        alarm: &str,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> impl Future<Output = Result<Option<Vec<Datapoint>>, CloudError>> + Send;

    /// Reads every state that an alarm left or entered since `since`, in the order of time (`DescribeAlarmHistory`, every page).
    fn states_since(
        &self,
        alarm: &str,
        since: DateTime<Utc>,
    ) -> impl Future<Output = Result<Vec<State>, CloudError>> + Send;

    /// Counts the samples of all these metrics together from `since` until `until` (`GetMetricData`, statistic
    /// `SampleCount`, every page).
    fn samples(
        &self,
        metrics: &[Metric],
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> impl Future<Output = Result<f64, CloudError>> + Send;

    /// Counts requests by period from `since` until `until`: the buckets of each counter, in the order of time, without the
    /// periods that had no requests (`GetMetricData`, every page). Fails if CloudWatch answers a query only in part.
    fn requests(
        &self,
        counters: &[&Counter],
        period: TimeDelta,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> impl Future<Output = Result<Vec<Vec<Bucket>>, CloudError>> + Send;
}
