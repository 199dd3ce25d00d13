//! Reads any text as an event, and as a message in each envelope. The parser must not panic, and must return at least
//! one signal. Every stage that an alarm leads to must have a valid name.

#![no_main]

use apigw_rollback_fuzz::model::alarm::{Origin, time};
use apigw_rollback_fuzz::model::datapoint::Reading;
use apigw_rollback_fuzz::signal::target::is_stage_name;
use apigw_rollback_fuzz::signal::triage::{Bounds, Triage, triage};
use apigw_rollback_fuzz::signal::{self, Event, Signal, reason_data};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fn check(event: &Event) {
    assert!(!event.deliveries.is_empty());
    let bounds = Bounds {
        home: Origin { account: Some("123456789012".into()), region: Some("eu-west-1".into()) },
        max_age: Some(chrono::TimeDelta::seconds(900)),
        now: time("2026-11-20T10:06:00Z").unwrap(),
    };
    for delivery in &event.deliveries {
        match &delivery.signal {
            Signal::Alarm(alarm) => {
                assert!(!alarm.name.is_empty() && alarm.name.chars().count() <= 255);
                assert!(alarm.why.chars().count() <= 1_023);
                match triage(alarm, &bounds) {
                    Triage::Targets(targets) => {
                        assert!((1..=100).contains(&targets.len()));
                        let mut names = targets.iter();
                        assert!(names.all(|one| is_stage_name(&one.stage) && !one.api.text().is_empty()));
                    }
                    Triage::Composite => {}
                    Triage::Refused(reason) => {
                        assert!(!reason.to_string().is_empty() && !reason.code().is_empty())
                    }
                }
            }
            Signal::Command(command) => {
                let stage = command.stage.as_ref();
                assert!(stage.is_none_or(|stage| is_stage_name(&stage.name) && !stage.api.is_empty()));
                assert!(command.to.is_none_or(|version| version > 0));
            }
            Signal::Sibling(report) => {
                let target = signal::sibling::target(report);
                assert!(
                    !report.account.is_empty()
                        && !report.region.is_empty()
                        && !report.incident.bad.id.is_empty()
                );
                assert!(target.is_err() || report.api_name.is_some());
            }
            Signal::RefusedReport { region, reason } => {
                assert!(!region.is_empty() && !reason.to_string().is_empty());
            }
            Signal::Unreadable(reason) => assert!(!reason.to_string().is_empty()),
        }
    }
}

fuzz_target!(|text: &str| {
    check(&signal::read(text));
    let minute = chrono::TimeDelta::minutes(1);
    let points = reason_data::evaluated(text, Some(minute), |_| Reading::Breaching);
    assert!(points.len() <= 1_440 && points.iter().all(|point| point.begins < point.ends));
    let sns = json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": text}}]});
    check(&signal::read(&sns.to_string()));
    let sqs = signal::read(
        &json!({"Records": [{"eventSource": "aws:sqs", "messageId": "m", "body": text}]}).to_string(),
    );
    assert!(sqs.from_queue && sqs.deliveries.iter().all(|delivery| delivery.messages == ["m"]));
    check(&sqs);
});
