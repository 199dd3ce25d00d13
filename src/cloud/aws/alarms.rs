//! The port's alarms over the SDK, and their conversion from the SDK's types.

use std::sync::atomic::Ordering;

use aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput;
use aws_sdk_cloudwatch::operation::describe_alarms::builders::DescribeAlarmsFluentBuilder;
use aws_sdk_cloudwatch::types::{
    self as sdk, AlarmMuteRuleStatus, AlarmType, CompositeAlarm, Dimension, HistoryItemType, LogAlarm,
    MetricAlarm, MetricDataQuery, MetricDataResult, MetricStat, StateValue,
};
use aws_smithy_types::DateTime as SdkTime;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::Aws;
use super::call::{not_understood, pages};
use super::datapoints::{self, Watched};
use super::requests;
use super::stages::time;
use crate::cloud::Alarms;
use crate::model::alarm::AlarmNow;
use crate::model::alarm::{Alarm, Metric, State, Watches, name_of, names_in_rule};
use crate::model::alarm_setup::{AlarmSetup, Comparison, Operator};
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::datapoint::Datapoint;
use crate::model::traffic::{Bucket, Counter};
use crate::signal::{self, reason_data};

/// The window of an alarm that does not say it: the longest that CloudWatch allows for periods below an hour
/// (`PutMetricAlarm`).
const LONGEST_WINDOW: TimeDelta = TimeDelta::days(1);

/// The codes with which CloudWatch refuses a parameter's value.
const INVALID: [&str; 4] =
    ["ValidationError", "ValidationException", "InvalidParameterValue", "InvalidParameterValueException"];

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
            .history_item_type(HistoryItemType::StateUpdate)
            .start_date(SdkTime::from_secs(since.timestamp()));
        let items = self.with_log_alarms(|types| {
            let page = page.clone().set_alarm_types(Some(types));
            async move {
                pages(|next| {
                    let page = page.clone().set_next_token(next);
                    async move {
                        let answer = self.call("DescribeAlarmHistory", alarm, || page.clone().send()).await?;
                        Ok((answer.alarm_history_items.unwrap_or_default(), answer.next_token))
                    }
                })
                .await
            }
        });
        let mut items = items.await?;
        // CloudWatch lists the newest first, and each type of alarms by itself.
        items.sort_by_key(|item| item.timestamp.map(|at| (at.secs(), at.subsec_nanos())));
        let mut states = Vec::new();
        for item in items {
            let data = item.history_data.unwrap_or_default();
            states.extend(states_in_history(&data).ok_or_else(|| {
                not_understood("DescribeAlarmHistory", alarm, format!("a state change reads `{data}`"))
            })?);
        }
        Ok(states)
    }

    async fn muted_by(&self, alarm: &str) -> Result<Option<String>, CloudError> {
        let page = self
            .clients
            .cloudwatch
            .list_alarm_mute_rules()
            .alarm_name(alarm)
            .statuses(AlarmMuteRuleStatus::Active);
        let rules = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("ListAlarmMuteRules", alarm, || page.clone().send()).await?;
                Ok((answer.alarm_mute_rule_summaries.unwrap_or_default(), answer.next_token))
            }
        });
        let rules = match rules.await {
            Err(error) if has_no_mute_rules(&error) => return Ok(None),
            rules => rules?,
        };
        let active = rules.into_iter().find(|rule| rule.status == Some(AlarmMuteRuleStatus::Active));
        let named = |arn: String| name_of(&arn).to_owned();
        Ok(active.map(|rule| rule.alarm_mute_rule_arn.map_or_else(|| "without a name".to_owned(), named)))
    }

    async fn datapoints(
        &self,
        alarm: &str,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<Vec<Datapoint>>, CloudError> {
        let page = self.describe_alarms().alarm_names(alarm);
        let page = self.call("DescribeAlarms", alarm, || page.clone().send()).await?;
        let found = page.metric_alarms.unwrap_or_default().into_iter().next();
        let Some(watched) = found.as_ref().and_then(Watched::by) else { return Ok(None) };
        let results = self.metric_data(alarm, watched.queries.clone(), watched.range(since, until)).await?;
        Ok(Some(watched.datapoints(&results, until)))
    }

    async fn samples(
        &self,
        metrics: &[Metric],
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<f64, CloudError> {
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        let queries = metrics.iter().enumerate().map(sample_count).collect();
        let results = self.metric_data(&names.join(", "), queries, (since, until)).await?;
        Ok(results.iter().flat_map(MetricDataResult::values).sum())
    }

    async fn requests(
        &self,
        counters: &[&Counter],
        period: TimeDelta,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Vec<Bucket>>, CloudError> {
        let subject = "the requests of the stage";
        let results = self.metric_data(subject, requests::queries(counters, period), (since, until)).await?;
        requests::buckets(counters.len(), &results).map_err(|message| CloudError {
            failure: Failure::Other,
            operation: "GetMetricData",
            subject: subject.to_owned(),
            code: "IncompleteData".to_owned(),
            message,
        })
    }
}

impl Aws {
    /// Reads metrics (`GetMetricData`, every page).
    pub(super) async fn metric_data(
        &self,
        subject: &str,
        queries: Vec<MetricDataQuery>,
        (since, until): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Vec<MetricDataResult>, CloudError> {
        let page = self
            .clients
            .cloudwatch
            .get_metric_data()
            .set_metric_data_queries(Some(queries))
            .start_time(SdkTime::from_secs(since.timestamp()))
            .end_time(SdkTime::from_secs(until.timestamp()));
        pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("GetMetricData", subject, || page.clone().send()).await?;
                Ok((answer.metric_data_results.unwrap_or_default(), answer.next_token))
            }
        })
        .await
    }

    /// Reads metric, composite and log alarms. By default CloudWatch returns only metric alarms.
    async fn all_pages_of_alarms(
        &self,
        subject: &str,
        page: DescribeAlarmsFluentBuilder,
    ) -> Result<Vec<AlarmNow>, CloudError> {
        let read = |types| self.pages_of_alarms(subject, page.clone().set_alarm_types(Some(types)));
        self.with_log_alarms(read).await
    }

    /// Makes a call for all types of alarms. An endpoint that does not know log alarms refuses the call, so it is asked again
    /// without them, and then never again for them.
    async fn with_log_alarms<T, F>(&self, call: impl Fn(Vec<AlarmType>) -> F) -> Result<T, CloudError>
    where
        F: Future<Output = Result<T, CloudError>>,
    {
        let without = [AlarmType::MetricAlarm, AlarmType::CompositeAlarm].to_vec();
        if self.clients.no_log_alarms.load(Ordering::Relaxed) {
            return call(without).await;
        }
        match call([without.clone(), vec![AlarmType::LogAlarm]].concat()).await {
            Err(error) if INVALID.contains(&error.code.as_str()) => {
                let answer = call(without).await?;
                self.clients.no_log_alarms.store(true, Ordering::Relaxed);
                Ok(answer)
            }
            answer => answer,
        }
    }

    async fn pages_of_alarms(
        &self,
        subject: &str,
        page: DescribeAlarmsFluentBuilder,
    ) -> Result<Vec<AlarmNow>, CloudError> {
        pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("DescribeAlarms", subject, || page.clone().send()).await?;
                from_page(answer)
            }
        })
        .await
    }

    fn describe_alarms(&self) -> DescribeAlarmsFluentBuilder {
        self.clients.cloudwatch.describe_alarms()
    }
}

/// Whether an error means that the endpoint has no mute rules, as an older partition or an emulator: it does not know the
/// operation, or refuses the request itself.
fn has_no_mute_rules(error: &CloudError) -> bool {
    let refuses =
        ["HTTP 400", "HTTP 405"].contains(&error.code.as_str()) || INVALID.contains(&error.code.as_str());
    matches!(error.failure, Failure::NoSuchOperation | Failure::Missing) || refuses
}

/// Returns the alarms of a page and the token of the next page.
fn from_page(page: DescribeAlarmsOutput) -> Result<(Vec<AlarmNow>, Option<String>), CloudError> {
    let metric = page.metric_alarms.unwrap_or_default().into_iter().map(from_metric_alarm);
    let composite = page.composite_alarms.unwrap_or_default().into_iter().map(from_composite_alarm);
    let log = page.log_alarms.unwrap_or_default().into_iter().map(from_log_alarm);
    let alarms: Result<_, _> = metric.chain(composite).chain(log).collect();
    Ok((alarms?, page.next_token))
}

/// Returns an alarm by its name and state. An alarm whose state is unknown may be in ALARM, so leaving it out would make it
/// quiet.
fn known(name: Option<String>, state: Option<&StateValue>) -> Result<Alarm, CloudError> {
    let name = name.ok_or_else(|| not_understood("DescribeAlarms", "", "an alarm has no name".to_owned()))?;
    let text = state.map_or("", StateValue::as_str);
    let Some(state) = State::parse(text) else {
        return Err(not_understood("DescribeAlarms", &name, format!("the alarm's state is `{text}`")));
    };
    Ok(Alarm::new(name, state))
}

/// Returns when an alarm's state changed. If an answer does not say so, the earlier one of two other times: that of the last
/// update of the state, which may have been later, and that of the evaluation that changed it.
fn changed_at(
    transitioned: Option<SdkTime>,
    updated: Option<SdkTime>,
    reason_data: Option<&str>,
) -> Option<DateTime<Utc>> {
    let others = || {
        let updated = updated.as_ref().and_then(time);
        updated.into_iter().chain(reason_data.and_then(reason_data::evaluated_at)).min()
    };
    transitioned.as_ref().and_then(time).or_else(others)
}

fn from_metric_alarm(mut alarm: MetricAlarm) -> Result<AlarmNow, CloudError> {
    let why = alarm.state_reason.take().unwrap_or_default();
    let (window, evaluated, setup) = (window(&alarm), datapoints::evaluated(&alarm), setup(&alarm));
    let changed_at = changed_at(
        alarm.state_transitioned_timestamp,
        alarm.state_updated_timestamp,
        alarm.state_reason_data.as_deref(),
    );
    let only_missing = datapoints::only_missing_data(&alarm, &evaluated);
    let metrics = alarm.metrics.take().unwrap_or_default();
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
    Ok(AlarmNow {
        actions_enabled: alarm.actions_enabled.unwrap_or(true),
        actions: alarm.alarm_actions.unwrap_or_default(),
        window,
        evaluated,
        setup,
        alarm: Alarm {
            arn: alarm.alarm_arn,
            description: alarm.alarm_description,
            changed_at,
            only_missing_data: only_missing || signal::is_by_missing_data(&why, to_alarm),
            why,
            watches: Watches::Metrics(entries.chain(single).collect()),
            ..known(alarm.alarm_name, alarm.state_value.as_ref())?
        },
    })
}

/// Returns how far back one evaluation looks: the periods that it evaluates, and one more because they begin at a whole
/// period. A `PromQL` alarm has no periods, but the time that its query must hold or not hold.
fn window(alarm: &MetricAlarm) -> TimeDelta {
    let by_periods = datapoints::period(alarm)
        .map(|period| i64::from(period) * (i64::from(alarm.evaluation_periods.unwrap_or(1).max(1)) + 1));
    let prom_ql = alarm.evaluation_criteria.as_ref().and_then(|criteria| criteria.as_prom_ql_criteria().ok());
    let by_query = prom_ql.map(|criteria| {
        let held = criteria.pending_period.max(criteria.recovery_period).unwrap_or(0);
        i64::from(held) + 2 * i64::from(alarm.evaluation_interval.unwrap_or(0))
    });
    by_periods.or(by_query).map_or(LONGEST_WINDOW, TimeDelta::seconds)
}

/// Returns the settings of a metric alarm that decide whether it fires when users get errors.
fn setup(alarm: &MetricAlarm) -> AlarmSetup {
    let operator = alarm.comparison_operator.as_ref().and_then(|operator| Operator::parse(operator.as_str()));
    let simple = alarm.statistic.as_ref().map(|statistic| statistic.as_str().to_owned());
    let statistic = simple.or_else(|| alarm.extended_statistic.clone());
    let compares = match (statistic, operator, alarm.threshold) {
        (Some(statistic), Some(operator), Some(threshold)) => {
            Some(Comparison { statistic, operator, threshold })
        }
        _ => None,
    };
    let to_alarm = alarm.datapoints_to_alarm.or(alarm.evaluation_periods).map(i64::from);
    let takes = datapoints::period(alarm).zip(to_alarm).map(|(period, number)| i64::from(period) * number);
    AlarmSetup {
        ok_actions: alarm.ok_actions.clone().unwrap_or_default(),
        missing_breaches: alarm.treat_missing_data.as_deref() == Some("breaching"),
        takes: takes.map(TimeDelta::seconds),
        compares,
    }
}

/// A log alarm has no dimensions, so only a directive in its description names its stages. Nor has it datapoints that
/// `GetMetricData` returns.
fn from_log_alarm(alarm: LogAlarm) -> Result<AlarmNow, CloudError> {
    Ok(AlarmNow {
        actions_enabled: alarm.actions_enabled.unwrap_or(true),
        actions: alarm.alarm_actions.unwrap_or_default(),
        // How far back each query looks is part of its text.
        window: LONGEST_WINDOW,
        evaluated: vec![],
        setup: AlarmSetup { ok_actions: alarm.ok_actions.unwrap_or_default(), ..AlarmSetup::default() },
        alarm: Alarm {
            arn: alarm.alarm_arn,
            description: alarm.alarm_description,
            changed_at: changed_at(alarm.state_transitioned_timestamp, alarm.state_updated_timestamp, None),
            why: alarm.state_reason.unwrap_or_default(),
            ..known(alarm.alarm_name, alarm.state_value.as_ref())?
        },
    })
}

fn from_composite_alarm(alarm: CompositeAlarm) -> Result<AlarmNow, CloudError> {
    Ok(AlarmNow {
        actions_enabled: alarm.actions_enabled.unwrap_or(true),
        actions: alarm.alarm_actions.unwrap_or_default(),
        window: TimeDelta::zero(),
        evaluated: vec![],
        setup: AlarmSetup { ok_actions: alarm.ok_actions.unwrap_or_default(), ..AlarmSetup::default() },
        alarm: Alarm {
            arn: alarm.alarm_arn,
            description: alarm.alarm_description,
            changed_at: changed_at(alarm.state_transitioned_timestamp, alarm.state_updated_timestamp, None),
            why: alarm.state_reason.unwrap_or_default(),
            suppressed_by: alarm.actions_suppressed_by.map(|by| by.as_str().to_owned()),
            watches: Watches::Alarms(names_in_rule(alarm.alarm_rule.as_deref().unwrap_or_default())),
            ..known(alarm.alarm_name, alarm.state_value.as_ref())?
        },
    })
}

/// Returns the states in one history item of an alarm: the state it left, if any, and the state it entered. Returns `None`
/// for anything else.
fn states_in_history(data: &str) -> Option<Vec<State>> {
    let data: Value = serde_json::from_str(data).ok()?;
    let state = |of: &Value| of.get("stateValue")?.as_str().and_then(State::parse);
    let left = data.get("oldState").map(state);
    let entered = data.get("newState").map(state)?;
    left.into_iter().chain([entered]).collect()
}

/// The finest period that CloudWatch retains for the longest bake time.
pub(super) const LASTING: TimeDelta = TimeDelta::seconds(300);

/// Builds the query that counts the samples of a metric. `nth` becomes its id.
pub(super) fn sample_count((nth, metric): (usize, &Metric)) -> MetricDataQuery {
    statistic(&format!("q{nth}"), metric, "SampleCount", LASTING)
}

/// Builds the query for a statistic of a metric.
pub(super) fn statistic(id: &str, metric: &Metric, statistic: &str, period: TimeDelta) -> MetricDataQuery {
    let dimension = |(name, value): &(String, String)| Dimension::builder().name(name).value(value).build();
    let named = sdk::Metric::builder()
        .namespace(&metric.namespace)
        .metric_name(&metric.name)
        .set_dimensions(Some(metric.dimensions.iter().map(dimension).collect()))
        .build();
    let period = i32::try_from(period.num_seconds()).unwrap_or(i32::MAX);
    let stat = MetricStat::builder().metric(named).period(period).stat(statistic).build();
    MetricDataQuery::builder().id(id).metric_stat(stat).set_account_id(metric.account.clone()).build()
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
            ("one metric", alarm().period(60).evaluation_periods(2), 180),
            ("a period alone", alarm().period(60), 120),
            (
                "several metrics",
                alarm().metrics(with_stat(60)).metrics(with_stat(300)).evaluation_periods(2),
                900,
            ),
            ("an expression over a metric", alarm().metrics(with_stat(60)).metrics(query(300)), 600),
            ("a query", alarm().metrics(query(300)).evaluation_periods(3), 1200),
            ("PromQL", prom_ql(600), 660),
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
