//! The settings of an alarm that decide whether it fires when users get errors, and whether its events arrive. Pure.

use std::fmt;

use chrono::TimeDelta;

use super::alarm::Metric;

/// The metrics of API Gateway whose datapoints are 1 for a request with an error and 0 for any other request.
const ERRORS: [&str; 7] =
    ["4XXError", "5XXError", "4xx", "5xx", "ClientError", "ExecutionError", "IntegrationError"];

/// The metrics of API Gateway that get worse when they rise.
const LATENCIES: [&str; 2] = ["Latency", "IntegrationLatency"];

/// The statistics of an error metric that can exceed 1: the number of errors, and the number of requests.
const COUNTS: [&str; 2] = ["Sum", "SampleCount"];

/// The settings of an alarm besides its name, its state and its actions for ALARM.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlarmSetup {
    /// The ARNs that it notifies or invokes when it goes back to OK.
    pub ok_actions: Vec<String>,
    /// Whether missing data counts as breaching.
    pub missing_breaches: bool,
    /// How long its data must breach before it fires; `None` if it does not say so, as a composite alarm.
    pub takes: Option<TimeDelta>,
    /// What it compares; `None` unless it compares one metric with one number.
    pub compares: Option<Comparison>,
}

/// The comparison of one statistic of a metric with a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The statistic in CloudWatch's spelling: `Sum`, `Average`, `p99` and so on.
    pub statistic: String,
    /// How the statistic must relate to the number for the alarm to fire.
    pub operator: Operator,
    /// The number.
    pub threshold: f64,
}

/// How a statistic relates to a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `GreaterThanThreshold`.
    Above,
    /// `GreaterThanOrEqualToThreshold`.
    AtLeast,
    /// `LessThanThreshold`.
    Below,
    /// `LessThanOrEqualToThreshold`.
    AtMost,
}

impl Operator {
    /// Parses CloudWatch's spelling. Returns `None` for the operators of anomaly detection.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "GreaterThanThreshold" => Some(Self::Above),
            "GreaterThanOrEqualToThreshold" => Some(Self::AtLeast),
            "LessThanThreshold" => Some(Self::Below),
            "LessThanOrEqualToThreshold" => Some(Self::AtMost),
            _ => None,
        }
    }

    /// Whether the alarm fires when the statistic falls.
    #[must_use]
    pub fn is_low(self) -> bool {
        matches!(self, Self::Below | Self::AtMost)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.statistic, self.operator, self.threshold)
    }
}

impl Comparison {
    /// Whether the alarm cannot fire while at least one request succeeds: every statistic of an error metric other than
    /// [`COUNTS`] is a share of the requests, at most 1.
    #[must_use]
    pub fn is_out_of_reach(&self, metric: &Metric) -> bool {
        let is_share = is_error(metric) && !COUNTS.contains(&self.statistic.as_str());
        is_share && !self.operator.is_low() && self.threshold >= 1.0
    }

    /// Whether the alarm fires while the stage is well: an error metric or a latency that is low is good.
    #[must_use]
    pub fn is_inverted(&self, metric: &Metric) -> bool {
        self.operator.is_low() && (is_error(metric) || LATENCIES.contains(&metric.name.as_str()))
    }

    /// Whether it counts all requests instead of the errors.
    #[must_use]
    pub fn counts_requests(&self, metric: &Metric) -> bool {
        is_error(metric) && self.statistic == "SampleCount"
    }
}

fn is_error(metric: &Metric) -> bool {
    ERRORS.contains(&metric.name.as_str())
}
