//! Alarms and their metrics (CloudWatch).

use chrono::{DateTime, Utc};

use crate::model::alarm::{AlarmNow, Metric, State};
use crate::model::cloud_error::CloudError;

/// Alarms and their metrics (CloudWatch).
pub trait Alarms: Sync {
    /// `DescribeAlarms` by name, metric and composite alarms alike; unknown ones are left out.
    fn alarms(&self, names: &[String]) -> impl Future<Output = Result<Vec<AlarmNow>, CloudError>> + Send;

    /// `DescribeAlarms`, every alarm of the account and region one of whose actions begins with this ARN.
    fn alarms_acting(&self, action: &str) -> impl Future<Output = Result<Vec<AlarmNow>, CloudError>> + Send;

    /// `DescribeAlarms`, every alarm of the account and region.
    fn all_alarms(&self) -> impl Future<Output = Result<Vec<AlarmNow>, CloudError>> + Send;

    /// `DescribeAlarmHistory`: every state that an alarm left or reached since then.
    fn states_since(
        &self,
        alarm: &str,
        since: DateTime<Utc>,
    ) -> impl Future<Output = Result<Vec<State>, CloudError>> + Send;

    /// `GetMetricData`: how many samples these metrics had in that time, all together.
    fn samples(
        &self,
        metrics: &[Metric],
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> impl Future<Output = Result<f64, CloudError>> + Send;
}
