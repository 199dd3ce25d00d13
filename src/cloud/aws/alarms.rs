//! The port's alarms over the SDK, and their conversion from the SDK's types.

use aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput;
use aws_sdk_cloudwatch::operation::describe_alarms::builders::DescribeAlarmsFluentBuilder;
use aws_sdk_cloudwatch::types::{
    self as sdk, AlarmType, CompositeAlarm, Dimension, HistoryItemType, MetricAlarm, MetricDataQuery,
    MetricDataResult, MetricStat, StateValue,
};
use aws_smithy_types::DateTime as SdkTime;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::Aws;
use super::call::pages;
use super::stages::time;
use crate::cloud::Alarms;
use crate::model::alarm::AlarmNow;
use crate::model::alarm::{Alarm, Metric, Origin, State, Watches, names_in_rule};
use crate::model::cloud_error::CloudError;
use crate::signal;

/// The window of an alarm that does not say it: the longest that CloudWatch allows for periods below an hour
/// (`PutMetricAlarm`).
const LONGEST_WINDOW: TimeDelta = TimeDelta::days(1);

impl Alarms for Aws {
    async fn alarms(&self, names: &[String]) -> Result<Vec<AlarmNow>, CloudError> {
        // A page has 50 alarms unless asked otherwise, and a call accepts 100 names.
        let page = self.describe_alarms().set_alarm_names(Some(names.to_vec()));
        self.all_pages_of_alarms(&names.join(", "), page).await
    }

    async fn alarms_acting(&self, action: &str) -> Result<Vec<AlarmNow>, CloudError> {
        let all = self.all_pages_of_alarms(action, self.describe_alarms().action_prefix(action)).await?;
        // Emulators ignore the prefix and return every alarm.
        let acts = |now: &AlarmNow| now.actions.iter().any(|arn| arn.starts_with(action));
        Ok(all.into_iter().filter(acts).collect())
    }

    async fn all_alarms(&self) -> Result<Vec<AlarmNow>, CloudError> {
        self.all_pages_of_alarms("all", self.describe_alarms()).await
    }

    async fn states_since(&self, alarm: &str, since: DateTime<Utc>) -> Result<Vec<State>, CloudError> {
        let page = self
            .clients
            .cloudwatch
            .describe_alarm_history()
            .alarm_name(alarm)
            .set_alarm_types(Some(vec![AlarmType::MetricAlarm, AlarmType::CompositeAlarm]))
            .history_item_type(HistoryItemType::StateUpdate)
            .start_date(SdkTime::from_secs(since.timestamp()));
        let items = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("DescribeAlarmHistory", alarm, || page.clone().send()).await?;
                Ok((answer.alarm_history_items.unwrap_or_default(), answer.next_token))
            }
        })
        .await?;
        Ok(items.iter().filter_map(|item| item.history_data()).flat_map(states_in_history).collect())
    }

    async fn samples(
        &self,
        metrics: &[Metric],
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<f64, CloudError> {
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        let names = &names.join(", ");
        let page = self
            .clients
            .cloudwatch
            .get_metric_data()
            .set_metric_data_queries(Some(metrics.iter().enumerate().map(sample_count).collect()))
            .start_time(SdkTime::from_secs(since.timestamp()))
            .end_time(SdkTime::from_secs(until.timestamp()));
        let results = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("GetMetricData", names, || page.clone().send()).await?;
                Ok((answer.metric_data_results.unwrap_or_default(), answer.next_token))
            }
        })
        .await?;
        Ok(results.iter().flat_map(MetricDataResult::values).sum())
    }
}

impl Aws {
    async fn all_pages_of_alarms(
        &self,
        subject: &str,
        page: DescribeAlarmsFluentBuilder,
    ) -> Result<Vec<AlarmNow>, CloudError> {
        pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("DescribeAlarms", subject, || page.clone().send()).await?;
                Ok(from_page(answer))
            }
        })
        .await
    }

    fn describe_alarms(&self) -> DescribeAlarmsFluentBuilder {
        // By default CloudWatch returns only metric alarms.
        let types = vec![AlarmType::MetricAlarm, AlarmType::CompositeAlarm];
        self.clients.cloudwatch.describe_alarms().set_alarm_types(Some(types))
    }
}

/// Returns the alarms of a page and the token of the next page. Leaves out alarms without a name or with an unknown
/// state, as if they did not exist.
pub(super) fn from_page(page: DescribeAlarmsOutput) -> (Vec<AlarmNow>, Option<String>) {
    let metric = page.metric_alarms.unwrap_or_default().into_iter().filter_map(from_metric_alarm);
    let composite = page.composite_alarms.unwrap_or_default().into_iter().filter_map(from_composite_alarm);
    (metric.chain(composite).collect(), page.next_token)
}

fn from_metric_alarm(mut alarm: MetricAlarm) -> Option<AlarmNow> {
    let why = alarm.state_reason.take().unwrap_or_default();
    let metrics = alarm.metrics.take().unwrap_or_default();
    let window = window(&alarm, &metrics);
    let to_alarm = alarm.datapoints_to_alarm.or(alarm.evaluation_periods).and_then(|n| n.try_into().ok());
    let single = alarm.namespace.map(|namespace| Metric {
        namespace,
        name: alarm.metric_name.unwrap_or_default(),
        dimensions: dimensions(alarm.dimensions),
        account: None,
    });
    let entries = metrics.into_iter().filter_map(|entry| {
        let metric = entry.metric_stat?.metric?;
        Some(Metric {
            namespace: metric.namespace?,
            name: metric.metric_name.unwrap_or_default(),
            dimensions: dimensions(metric.dimensions),
            account: entry.account_id,
        })
    });
    Some(AlarmNow {
        actions_enabled: alarm.actions_enabled.unwrap_or(true),
        actions: alarm.alarm_actions.unwrap_or_default(),
        window,
        alarm: Alarm {
            name: alarm.alarm_name?,
            arn: alarm.alarm_arn,
            claimed: Origin::default(),
            description: alarm.alarm_description,
            state: state(alarm.state_value.as_ref())?,
            changed_at: alarm
                .state_transitioned_timestamp
                .or(alarm.state_updated_timestamp)
                .as_ref()
                .and_then(time),
            only_missing_data: signal::is_by_missing_data(&why, to_alarm),
            why,
            suppressed_by: None,
            watches: Watches::Metrics(entries.chain(single).collect()),
        },
    })
}

/// Returns how far back one evaluation looks: the longest period, of a metric or of a query, times the evaluation
/// periods. A `PromQL` alarm has no periods, but the time that its query must hold or not hold.
fn window(alarm: &MetricAlarm, metrics: &[MetricDataQuery]) -> TimeDelta {
    let stat = |entry: &MetricDataQuery| entry.metric_stat().and_then(MetricStat::period);
    let period =
        alarm.period.or_else(|| metrics.iter().filter_map(|entry| stat(entry).or(entry.period())).max());
    let by_periods =
        period.map(|period| i64::from(period) * i64::from(alarm.evaluation_periods.unwrap_or(1)));
    let prom_ql = alarm.evaluation_criteria.as_ref().and_then(|criteria| criteria.as_prom_ql_criteria().ok());
    let by_query = prom_ql.map(|criteria| {
        let held = criteria.pending_period.max(criteria.recovery_period).unwrap_or(0);
        i64::from(held) + i64::from(alarm.evaluation_interval.unwrap_or(0))
    });
    by_periods.or(by_query).map_or(LONGEST_WINDOW, TimeDelta::seconds)
}

fn from_composite_alarm(alarm: CompositeAlarm) -> Option<AlarmNow> {
    Some(AlarmNow {
        actions_enabled: alarm.actions_enabled.unwrap_or(true),
        actions: alarm.alarm_actions.unwrap_or_default(),
        window: TimeDelta::zero(),
        alarm: Alarm {
            name: alarm.alarm_name?,
            arn: alarm.alarm_arn,
            claimed: Origin::default(),
            description: alarm.alarm_description,
            state: state(alarm.state_value.as_ref())?,
            changed_at: alarm
                .state_transitioned_timestamp
                .or(alarm.state_updated_timestamp)
                .as_ref()
                .and_then(time),
            why: alarm.state_reason.unwrap_or_default(),
            only_missing_data: false,
            suppressed_by: alarm.actions_suppressed_by.map(|by| by.as_str().to_owned()),
            watches: Watches::Alarms(names_in_rule(alarm.alarm_rule.as_deref().unwrap_or_default())),
        },
    })
}

/// Returns the states in one history item of an alarm: the state it left and the state it entered.
pub(super) fn states_in_history(data: &str) -> Vec<State> {
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    let states =
        ["oldState", "newState"].map(|key| data.get(key)?.get("stateValue")?.as_str().and_then(State::parse));
    states.into_iter().flatten().collect()
}

/// Builds the query that counts the samples of a metric. `nth` becomes its id.
pub(super) fn sample_count((nth, metric): (usize, &Metric)) -> MetricDataQuery {
    let dimension = |(name, value): &(String, String)| Dimension::builder().name(name).value(value).build();
    let named = sdk::Metric::builder()
        .namespace(&metric.namespace)
        .metric_name(&metric.name)
        .set_dimensions(Some(metric.dimensions.iter().map(dimension).collect()))
        .build();
    // 300 s is the finest period that CloudWatch retains for the longest bake time.
    let stat = MetricStat::builder().metric(named).period(300).stat("SampleCount").build();
    MetricDataQuery::builder()
        .id(format!("q{nth}"))
        .metric_stat(stat)
        .set_account_id(metric.account.clone())
        .build()
}

fn state(value: Option<&StateValue>) -> Option<State> {
    value.and_then(|value| State::parse(value.as_str()))
}

fn dimensions(list: Option<Vec<Dimension>>) -> Vec<(String, String)> {
    let pair = |one: sdk::Dimension| Some((one.name?, one.value?));
    list.unwrap_or_default().into_iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudwatch::types::builders::MetricAlarmBuilder;
    use aws_sdk_cloudwatch::types::{AlarmPromQlCriteria, EvaluationCriteria};

    use super::*;

    fn query(period: i32) -> MetricDataQuery {
        MetricDataQuery::builder().id("q").expression("SELECT 1").period(period).build()
    }

    fn with_stat(period: i32) -> MetricDataQuery {
        let metric = sdk::Metric::builder().namespace("n").metric_name("m").build();
        let stat = MetricStat::builder().metric(metric).period(period).stat("Sum").build();
        MetricDataQuery::builder().id("m").metric_stat(stat).build()
    }

    #[test]
    fn the_window_of_an_alarm_is_its_periods_or_those_of_its_query() {
        let alarm = MetricAlarm::builder;
        let prom_ql = |recovery| {
            let criteria =
                AlarmPromQlCriteria::builder().query("q").pending_period(60).recovery_period(recovery);
            let criteria = EvaluationCriteria::PromQlCriteria(criteria.build());
            MetricAlarm::builder().evaluation_criteria(criteria).evaluation_interval(30)
        };
        let rows: [(&str, MetricAlarmBuilder, i64); 7] = [
            ("one metric", alarm().period(60).evaluation_periods(2), 120),
            ("a period alone", alarm().period(60), 60),
            (
                "several metrics",
                alarm().metrics(with_stat(60)).metrics(with_stat(300)).evaluation_periods(2),
                600,
            ),
            ("an expression over a metric", alarm().metrics(with_stat(60)).metrics(query(300)), 300),
            ("a query", alarm().metrics(query(300)).evaluation_periods(3), 900),
            ("PromQL", prom_ql(600), 630),
            ("nothing that says it", alarm().evaluation_periods(3), 86_400),
        ];
        for (case, alarm, seconds) in rows {
            let alarm = alarm.alarm_name("a").state_value(StateValue::Ok).build();
            assert_eq!(from_metric_alarm(alarm).unwrap().window, TimeDelta::seconds(seconds), "{case}");
        }
    }

    #[test]
    fn an_alarm_counts_the_datapoints_that_it_takes() {
        let why = "Threshold Crossed: 1 datapoint was received for 3 periods and 2 missing datapoints were treated as [Breaching].";
        for (to_alarm, expected) in [(Some(2), true), (Some(1), false), (None, true), (Some(-1), false)] {
            let alarm =
                MetricAlarm::builder().alarm_name("a").state_value(StateValue::Alarm).state_reason(why);
            let alarm = alarm.evaluation_periods(3).set_datapoints_to_alarm(to_alarm).build();
            assert_eq!(from_metric_alarm(alarm).unwrap().alarm.only_missing_data, expected, "{to_alarm:?}");
        }
    }
}
