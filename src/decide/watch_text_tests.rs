//! The tests of what the faults of alarms say.

use chrono::TimeDelta;

use super::watch::{AlarmFault, Fault};
use crate::model::alarm::time;
use crate::model::alarm_setup::{Comparison, Operator};
use crate::model::reason::Reason;

fn compares(statistic: &str, operator: Operator, threshold: f64) -> Comparison {
    Comparison { statistic: statistic.into(), operator, threshold }
}

#[test]
fn a_fault_of_an_alarm_says_what_is_wrong_and_what_to_do() {
    let not_wired = || Reason::AlarmNotWired { alarm: "5xx".into() };
    let low = || compares("Sum", Operator::Below, 1.0);
    for (fault, clause, advice) in [
        (Fault::NotWired, "the alarm `5xx` names the stage, but neither", "add arn:t to its actions for"),
        (Fault::NotAllowed(not_wired()), "", "to let the alarm act, add the alarm topic"),
        (
            Fault::ActionsDisabled,
            "the actions of the alarm `5xx` are disabled",
            "aws cloudwatch enable-alarm-actions --alarm-names 5xx",
        ),
        (
            Fault::InAlarm(time("2026-11-20T11:00:00Z")),
            "the alarm `5xx` is in ALARM since 2026-11-20T11:00:00Z although",
            "find out why it is in ALARM",
        ),
        (Fault::InAlarm(None), "the alarm `5xx` is in ALARM although", "find out why it is in ALARM"),
        (
            Fault::MissingBreaches,
            "the alarm `5xx` treats missing data as breaching",
            "set TreatMissingData to notBreaching",
        ),
        (
            Fault::NoOkAction,
            "the alarm `5xx` has no action of the function for OK",
            "add arn:t to its OKActions",
        ),
        (
            Fault::OutOfReach(compares("p99", Operator::Above, 2.5)),
            "the alarm `5xx` cannot fire while any request succeeds: it fires at p99 > 2.5,",
            "set a Threshold below 1",
        ),
        (
            Fault::Inverted(low()),
            "the alarm `5xx` fires while the stage is well: it fires at Sum < 1",
            "set ComparisonOperator to GreaterThanThreshold",
        ),
        (
            Fault::CountsRequests(low()),
            "the alarm `5xx` counts all requests, not the errors: it fires at Sum < 1",
            "set Statistic to Sum or Average",
        ),
        (
            Fault::Slow(TimeDelta::hours(2)),
            "the alarm `5xx` fires only after its data has breached for 2 hours",
            "lower its Period or DatapointsToAlarm",
        ),
        (Fault::NoData, "the metrics of the alarm `5xx` had no data", "check that its dimensions match"),
        (Fault::InsufficientData, "the alarm `5xx` has insufficient data", "check that its dimensions"),
    ] {
        let clause = if clause.is_empty() { not_wired().to_string() } else { clause.to_owned() };
        let fault = AlarmFault { alarm: "5xx".into(), fault };
        let told = fault.advice(Some("arn:t"));
        assert_eq!(
            (fault.to_string().starts_with(&clause), told.starts_with(advice)),
            (true, true),
            "{fault}: {told}"
        );
    }
    let fault = AlarmFault { alarm: "5xx".into(), fault: Fault::NoOkAction };
    assert_eq!(fault.advice(None), "add the function to its OKActions", "no topic");
}

#[test]
fn a_command_quotes_an_alarms_name_only_if_a_shell_needs_that() {
    for (name, quoted) in [
        ("5xx", "5xx"),
        ("team_a/orders-5xx.v2:prod@x", "team_a/orders-5xx.v2:prod@x"),
        ("orders 5xx", "'orders 5xx'"),
        ("$(x)", "'$(x)'"),
        ("it's", r"'it'\''s'"),
        ("", "''"),
    ] {
        let fault = AlarmFault { alarm: name.into(), fault: Fault::ActionsDisabled };
        let expected = format!("aws cloudwatch enable-alarm-actions --alarm-names {quoted}");
        assert_eq!(fault.advice(None), expected, "{name}");
    }
}

#[test]
fn a_length_has_the_largest_unit_that_keeps_it_whole() {
    for (seconds, expected) in [
        (60, "1 minute"),
        (70, "70 seconds"),
        (1_800, "30 minutes"),
        (1_810, "1810 seconds"),
        (3_600, "1 hour"),
        (3_660, "61 minutes"),
        (5_400, "90 minutes"),
        (7_200, "2 hours"),
        (86_400, "1 day"),
        (86_410, "86410 seconds"),
        (90_000, "25 hours"),
        (172_800, "2 days"),
        (172_860, "2881 minutes"),
    ] {
        let fault = AlarmFault { alarm: "5xx".into(), fault: Fault::Slow(TimeDelta::seconds(seconds)) };
        let clause = format!("the alarm `5xx` fires only after its data has breached for {expected}");
        assert_eq!(fault.to_string(), clause, "{seconds}");
    }
}
