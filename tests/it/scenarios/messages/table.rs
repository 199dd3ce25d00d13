//! A report for each message that people can get.

use apigw_rollback::model::alarm::time;
use apigw_rollback::model::cloud_error::{CloudError, Failure};
use apigw_rollback::model::reason::{NO_SUCH_ALARM, Reason};
use apigw_rollback::model::record_fault::RecordFault;
use apigw_rollback::model::release::Release;
use apigw_rollback::model::report::{ForPeople, Outcome, Report};
use apigw_rollback::model::trigger::{TriggerKind, TriggeredBy, Verb};
use chrono::{DateTime, Utc};

use super::{rollouts, siblings};
use crate::support::world::{prod, release};

pub(super) const ALARM: &str = "orders-prod-5xx";

pub(super) fn at(text: &str) -> DateTime<Utc> {
    time(text).unwrap()
}

pub(super) fn by_alarm() -> TriggeredBy {
    TriggeredBy {
        kind: TriggerKind::Alarm,
        name: Some(ALARM.to_owned()),
        arn: Some(format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{ALARM}")),
        changed_at: time("2026-11-20T10:05:12.345Z"),
        why: Some(
            "Threshold Crossed: 2 datapoints [42.0 (20/11/26 10:04:00), 38.5] were greater than 5.0"
                .to_owned(),
        ),
    }
}

pub(super) fn by_sweep() -> TriggeredBy {
    TriggeredBy::command(Verb::Sweep, None, None)
}

/// An alarm that the sweep found in ALARM.
pub(super) fn by_found_alarm() -> TriggeredBy {
    TriggeredBy { kind: TriggerKind::Command(Verb::Sweep), ..by_alarm() }
}

/// Completes a report about the stage, as a run does that has read its records.
pub(super) fn on_stage(report: Report) -> Report {
    let people = ForPeople { known_good: Some("v1.4.1 (d1)".to_owned()), ..report.people.clone() };
    Report { api_name: Some("orders-api".to_owned()), people, ..somewhere(report).on(&prod()) }
}

/// Completes a report that is about no stage.
pub(super) fn somewhere(report: Report) -> Report {
    Report { region: Some("eu-west-1".to_owned()), ..report }
}

/// Adds the live release.
pub(super) fn live(report: Report) -> Report {
    let (release, label) = (Some(release("d2", &[("release", "2")])), Some("v1.4.2".to_owned()));
    Report {
        before: release.clone(),
        before_label: label.clone(),
        after: release,
        after_label: label,
        ..report
    }
}

pub(super) fn no(by: &TriggeredBy, reason: Reason) -> Report {
    Report::no("run-1", at("2026-11-20T10:05:13.100Z"), by, reason)
}

pub(super) fn held(reason: Reason) -> Report {
    live(on_stage(no(&by_alarm(), reason)))
}

/// A problem that the sweep found without an alarm.
pub(super) fn found(reason: Reason) -> Report {
    on_stage(Report { outcome: Outcome::Attention, ..no(&by_sweep(), reason) })
}

/// A hold that lasts, for an alarm that the sweep found in ALARM.
pub(super) fn lasting(reason: Reason) -> Report {
    Report { outcome: Outcome::Attention, ..live(on_stage(no(&by_found_alarm(), reason))) }
}

/// Nothing is on record.
pub(super) fn unrecorded(report: Report) -> Report {
    Report { people: ForPeople { known_good: None, ..report.people.clone() }, ..report }
}

pub(super) fn rolled_back(by: &TriggeredBy) -> Report {
    let message = "rest/a1b2c3d4e5/prod was rolled back: deployment `d2` -> `d1` (known-good version 1)";
    let report =
        Report::new("run-1", at("2026-11-20T10:05:13.100Z"), by, Outcome::RolledBack, message.into());
    Report {
        after: Some(release("d1", &[("release", "1")])),
        after_label: Some("v1.4.1".to_owned()),
        version: Some(1),
        since: time("2026-11-20T10:00:00Z"),
        incident: Some("/apigw-rollback/stages/a1b2c3d4e5/prod/incidents/ffd97f169067".to_owned()),
        people: ForPeople { rolled_back_at: time("2026-11-20T10:05:12.845Z"), ..ForPeople::default() },
        ..live(on_stage(report))
    }
}

pub(super) fn failed(by: &TriggeredBy, operation: &'static str, subject: &str, code: &str) -> Report {
    let error = CloudError {
        failure: Failure::Other,
        operation,
        subject: subject.to_owned(),
        code: code.to_owned(),
        message: "no".to_owned(),
    };
    somewhere(Report::failed("run-1", at("2026-11-20T10:05:13.100Z"), by, &error))
}

pub(super) fn recovered(by: &TriggeredBy) -> Report {
    let message = "rest/a1b2c3d4e5/prod has recovered: `orders-prod-5xx` is OK; from alarm to rollback 0.5 s, from alarm to \
                   recovery 240 s";
    let report = Report::new("run-2", at("2026-11-20T10:09:12.400Z"), by, Outcome::Recovered, message.into());
    let people = ForPeople {
        alarm: Some(ALARM.to_owned()),
        rolled_back_at: time("2026-11-20T10:05:12.845Z"),
        ..ForPeople::default()
    };
    on_stage(Report { people, ..report })
}

pub(super) fn half_way(after: Option<Release>) -> Report {
    let message = "the rollback of rest/a1b2c3d4e5/prod did not complete: deployment `d2` -> `d1`; the stage serves `d9`";
    let report =
        Report::new("run-1", at("2026-11-20T10:05:13.1Z"), &by_alarm(), Outcome::NeedsHuman, message.into());
    Report { after, ..live(on_stage(report)) }
}

pub(super) fn sweep_scope(report: Report) -> Report {
    let scope = Some("orders-api/prod and 2 more stages".to_owned());
    Report { people: ForPeople { scope, ..report.people.clone() }, ..report }
}

pub(super) fn text() -> String {
    "a text".to_owned()
}

/// The messages about outcomes.
pub(super) fn outcomes() -> Vec<(&'static str, Report)> {
    let operator = TriggeredBy::command(Verb::Rollback, Some("me".into()), Some("checkout fails".into()));
    let with_warning =
        Report { warnings: vec!["a cache was not flushed".to_owned()], ..rolled_back(&by_alarm()) };
    let begun = |report: Report| Report {
        people: ForPeople { live: Some("v1.4.2 (d2)".to_owned()), ..report.people.clone() },
        ..report
    };
    let denied = |by: &TriggeredBy| {
        on_stage(failed(by, "UpdateStage", "rest/a1b2c3d4e5/prod", "AccessDeniedException"))
    };
    let later = rolled_back(&by_found_alarm());
    let later = Report {
        at: at("2026-11-20T10:15:00Z"),
        people: ForPeople { is_late: true, ..later.people.clone() },
        ..later
    };
    let only_variables =
        Report { after: Some(release("d2", &[("release", "1")])), ..rolled_back(&by_alarm()) };
    vec![
        ("rolled back by an alarm", rolled_back(&by_alarm())),
        ("rolled back with a warning", with_warning),
        ("rolled back by the sweep", rolled_back(&by_found_alarm())),
        ("rolled back by a run that died, and told by the sweep", later),
        ("rolled back by an operator", rolled_back(&operator)),
        (
            "rolled back, without labels",
            Report { before_label: None, after_label: None, ..rolled_back(&by_alarm()) },
        ),
        (
            "rolled back in the same deployment",
            Report { before_label: None, after_label: None, ..only_variables },
        ),
        ("recovered", recovered(&by_alarm())),
        ("recovered, as the sweep found", recovered(&by_sweep())),
        ("half way", half_way(None)),
        ("half way without a record", unrecorded(half_way(None))),
        ("the plan was refused by the function's own check", half_way(Some(release("d1", &[])))),
        ("the change of the stage was denied", begun(denied(&by_alarm()))),
        ("the sweep's change of the stage was denied", begun(denied(&by_found_alarm()))),
        (
            "a read failed after an alarm",
            unrecorded(on_stage(failed(&by_alarm(), "GetStage", "rest/a1b2c3d4e5/prod", "NoAnswer"))),
        ),
        (
            "a read failed after the records were read",
            on_stage(failed(&by_alarm(), "GetDeployment", "d1", "NoAnswer")),
        ),
        ("an alarm could not be read", failed(&by_alarm(), "DescribeAlarms", ALARM, "NoAnswer")),
        ("a sweep failed", sweep_scope(failed(&by_sweep(), "GetParametersByPath", "/x", "NoAnswer"))),
        (
            "a sweep was denied",
            sweep_scope(failed(&by_sweep(), "GetParametersByPath", "/x", "AccessDeniedException")),
        ),
        ("a sweep failed on a stage", on_stage(failed(&by_sweep(), "GetDeployment", "d1", "NoAnswer"))),
    ]
}

/// The messages about alarms that cannot act.
pub(super) fn refused_alarms() -> Vec<(&'static str, Report)> {
    let alarm = || ALARM.to_owned();
    let elsewhere = |reason| somewhere(no(&by_alarm(), reason));
    let stale = Reason::Stale {
        changed_at: time("2026-11-20T09:30:00.5Z"),
        now: at("2026-11-20T10:05:13.1Z"),
        max_age_seconds: 900,
    };
    let unreadable_index = Reason::NoKnownGood {
        parameter: "/apigw-rollback/names/orders-api".into(),
        why: "contains no name index".into(),
    };
    let timeless = TriggeredBy { arn: None, changed_at: None, ..by_alarm() };
    let without_time =
        Reason::Stale { changed_at: None, now: at("2026-11-20T10:05:13Z"), max_age_seconds: 900 };
    let without_time = somewhere(no(&timeless, without_time));
    let two = "the name `orders-api` belongs to several APIs: a1b2c3d4e5, b2c3d4e5f6";
    vec![
        (
            "an event cannot be read",
            somewhere(no(&TriggeredBy::default(), Reason::Malformed("the event is no JSON".into()))),
        ),
        (
            "an event is no alarm",
            somewhere(no(&TriggeredBy::default(), Reason::NotAnAlarm("it has no alarm".into()))),
        ),
        ("the alarm names no stage", elsewhere(Reason::NoStage("the alarm names no stage".into()))),
        (
            "the alarm's stage is gone",
            held(Reason::NoStage("API Gateway has no stage `prod` on API `a1b2c3d4e5`".into())),
        ),
        ("the alarm's name means two APIs", elsewhere(Reason::AmbiguousTarget(two.into()))),
        (
            "the alarm is another account's",
            elsewhere(Reason::WrongAccount { theirs: "1".into(), ours: "2".into() }),
        ),
        (
            "the alarm is another Region's",
            elsewhere(Reason::WrongRegion { theirs: "us-east-1".into(), ours: "eu-west-1".into() }),
        ),
        ("the alarm has no data", elsewhere(Reason::NoDatapoints)),
        ("the alarm below has no data", held(Reason::NoDatapoints)),
        ("the alarm is old", elsewhere(stale)),
        ("the alarm has no time", without_time),
        (
            "the alarm does not exist",
            held(Reason::AlarmUnknown { alarm: alarm(), why: NO_SUCH_ALARM.into() }),
        ),
        (
            "the alarm does not exist, and nothing is recorded",
            unrecorded(held(Reason::AlarmUnknown { alarm: alarm(), why: NO_SUCH_ALARM.into() })),
        ),
        ("the alarm is not wired", held(Reason::AlarmNotWired { alarm: alarm() })),
        ("the alarm is not allowed", held(Reason::AlarmNotAllowed { alarm: alarm(), list: "AlarmPrefixes" })),
        (
            "the alarm cannot be read",
            held(Reason::AlarmUnreadable { alarm: alarm(), why: "its rule is too deep".into() }),
        ),
        (
            "the stage is not protected",
            unrecorded(held(Reason::NotProtected(
                "rest/a1b2c3d4e5/prod is neither listed in PROTECTED_STAGES nor recorded".into(),
            ))),
        ),
        ("the index of the API's name cannot be read", elsewhere(unreadable_index)),
        (
            "an API is not protected",
            elsewhere(Reason::NotProtected("no API named `web` is in PROTECTED_STAGES or recorded".into())),
        ),
    ]
}

/// The messages about stages that an alarm did not roll back.
pub(super) fn holds() -> Vec<(&'static str, Report)> {
    let cooldown = "the stage was rolled back at 2026-11-20T10:01:13.2Z, and the cooldown is 300 s";
    let hold = "the stage is held until 2026-11-21T08:00:00Z by me: load test";
    let none = || Reason::NoKnownGood {
        parameter: "/apigw-rollback/stages/a1b2c3d4e5/prod/known-good".into(),
        why: "does not exist: no such release was recorded".into(),
    };
    vec![
        ("nothing is recorded", unrecorded(held(none()))),
        ("nothing is recorded, as the sweep finds", unrecorded(lasting(none()))),
        ("the known-good deployment is gone", held(gone())),
        ("the known-good deployment is gone, as the sweep finds", lasting(gone())),
        (
            "it serves the known-good release",
            held(Reason::AlreadyKnownGood { deployment: "d2".into(), version: 3, by: None }),
        ),
        (
            "it changed after the alarm",
            held(Reason::ChangedAfterAlarm {
                changed_at: at("2026-11-20T10:05:13Z"),
                alarm_at: at("2026-11-20T10:05:12.345Z"),
            }),
        ),
        ("the errors are older", held(older())),
        ("the errors are older, as the sweep finds", lasting(older())),
        ("a fast alarm stays in ALARM, and the requests do not say why", lasting(undecided())),
        ("the release before it failed as often", held(shared())),
        ("the release before it failed as often, as the sweep finds", lasting(shared())),
        (
            "it is live for long",
            held(Reason::OutsideWindow { live_since: at("2026-11-18T10:00:00Z"), window_seconds: 86_400 }),
        ),
        ("it is irreversible", held(Reason::IrreversibleRelease { deployment: "d2".into() })),
        ("it is held", held(Reason::HeldByOperator(hold.into()))),
        ("it is held, and nothing is recorded", unrecorded(held(Reason::HeldByOperator(hold.into())))),
        ("it was rolled back a moment ago", held(Reason::Cooldown(cooldown.into()))),
        ("it was rolled back a moment ago, as the sweep finds", lasting(Reason::Cooldown(cooldown.into()))),
        (
            "a component is missing",
            held(Reason::PartMissing(vec!["the alias `orders:live` does not exist".into()])),
        ),
        (
            "a routing rule comes first",
            held(Reason::PartShadowed(vec!["the mapping `api.example.com` is overridden".into()])),
        ),
        ("CodeDeploy moves it", held(Reason::CodeDeployRunning(vec!["the alias `orders:live`".into()]))),
        ("AutoDeploy is on", held(Reason::AutoDeploy("http/a1b2c3d4e5/prod".into()))),
        ("API Gateway manages it", held(Reason::ManagedStage("http/a1b2c3d4e5/prod".into()))),
        ("the mode is observe", held(Reason::ObserveMode { deployment: "d1".into() })),
        (
            "the release is not proven",
            held(Reason::NotProven("its bake time ends at 2026-11-20T10:30:00.5Z".into())),
        ),
    ]
}

pub(super) fn gone() -> Reason {
    Reason::KnownGoodMissing {
        deployment: "d1".into(),
        parameter: "/apigw-rollback/stages/a1b2c3d4e5/prod/known-good".into(),
        version: 1,
        why: "no longer exists".into(),
    }
}

fn undecided() -> Reason {
    Reason::NotDecided {
        alarm: ALARM.into(),
        finding: Some(
            "deployment d2: 3 of 4 requests failed (75 %) since 2026-11-20T10:04:10Z; tolerated 5 %".into(),
        ),
    }
}

pub(super) fn shared() -> Reason {
    Reason::NotThisRelease {
        alarm: ALARM.into(),
        finding: "deployment d2: 212 of 240 requests failed (88 %) since 2026-11-20T10:04:10Z; tolerated 5 %; for comparison d1: 90 %".into(),
    }
}

pub(super) fn older() -> Reason {
    Reason::BeganBeforeRelease {
        alarm: ALARM.into(),
        began: at("2026-11-20T09:40:00Z"),
        live_since: at("2026-11-20T10:00:00Z"),
    }
}

/// The messages about problems that the sweep found.
pub(super) fn findings() -> Vec<(&'static str, Report)> {
    let full = "the known-good deployment is not pinned: CreateStage on `rest/a1b2c3d4e5/prod-known-good` failed: \
                LimitExceededException: Maximum number of stages for this API has been reached";
    let unreadable = "the parameter `/apigw-rollback/stages/a1b2c3d4e5/prod/hold` contains no hold, so the stage counts as held";
    let of_sweep =
        |reason| Report { outcome: Outcome::Attention, ..sweep_scope(somewhere(no(&by_sweep(), reason))) };
    let nearly = of_sweep(Reason::ParametersNearlyFull { used: 8_012, most: 10_000 });
    let disabled = "the actions of the alarm `orders-prod-5xx` are disabled";
    let nobody =
        "the alarm `orders-5xx` calls the function, but names ordrs-api/prod, which is not protected";
    let newer = || Reason::KnownGoodUnusable {
        parameter: "/apigw-rollback/stages/a1b2c3d4e5/prod/known-good".into(),
        fault: RecordFault::Newer(
            "contains known-good record schema 2, but this version reads schema 1: update the function"
                .into(),
        ),
    };
    let not_recovered =
        Reason::NotRecovered { alarm: ALARM.into(), rolled_back_at: at("2026-11-20T09:45:00.250Z") };
    vec![
        ("the alarm stays after a rollback", found(not_recovered)),
        ("all stages are used", found(Reason::NotPinned(full.into()))),
        (
            "the pin's name is taken",
            found(Reason::NotPinned("the known-good deployment is not pinned: its name is taken".into())),
        ),
        ("the known-good deployment is gone before it is needed", found(gone())),
        ("the stage is gone", unrecorded(found(Reason::StageMissing("rest/a1b2c3d4e5/prod".into())))),
        ("no alarm would call the function", found(Reason::Unwatched(vec![disabled.into()]))),
        ("an alarm has a fault", found(Reason::AlarmsWithFaults(vec![disabled.into()]))),
        ("alarms of no stage have faults", of_sweep(Reason::AlarmsWithFaults(vec![nobody.into()]))),
        ("a newer function wrote the record", unrecorded(found(newer()))),
        ("a newer function wrote the record, and the alarm fired", unrecorded(held(newer()))),
        (
            "another API has the same name",
            found(Reason::AmbiguousTarget("another API is also called `orders-api`".into())),
        ),
        (
            "a guarding alarm cannot be read",
            found(Reason::AlarmUnreadable { alarm: ALARM.into(), why: "its rule is too deep".into() }),
        ),
        ("a parameter cannot be read", found(Reason::HeldByOperator(unreadable.into()))),
        (
            "a component is missing before it is needed",
            found(Reason::PartMissing(vec!["the alias `orders:live` does not exist".into()])),
        ),
        (
            "a routing rule comes first, before it is needed",
            found(Reason::PartShadowed(vec!["the mapping `api.example.com` is overridden".into()])),
        ),
        ("AutoDeploy is on, before it is needed", found(Reason::AutoDeploy("http/a1b2c3d4e5/prod".into()))),
        (
            "API Gateway manages it, before it is needed",
            found(Reason::ManagedStage("http/a1b2c3d4e5/prod".into())),
        ),
        (
            "a release cannot be recorded",
            found(Reason::NotRecordable(
                "the candidate has 9000 bytes, but a parameter holds at most 8192".into(),
            )),
        ),
        ("Parameter Store is nearly full", nearly),
    ]
}

pub(super) fn all() -> Vec<(&'static str, Report)> {
    [outcomes(), refused_alarms(), holds(), findings(), rollouts::rollouts(), siblings::siblings()].concat()
}
