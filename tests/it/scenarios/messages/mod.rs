//! Every message that people can get, in one file: `tests/it/snapshots/messages.snap`. Each says first whether users are
//! affected, then what happened, then the one next step.

mod rollouts;
mod siblings;
mod table;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::component::AliasTarget;
use apigw_rollback::model::observed::{KnownGood, OnRecord};
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::reason::Reason;
use apigw_rollback::model::records::{Candidate, Rollbacks};
use apigw_rollback::model::report::{ForPeople, Outcome, Report};
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::model::trigger::TriggeredBy;
use apigw_rollback::notify::{key, message, notification};
use proptest::prelude::*;
use serde_json::Value;

use crate::docs::reasons::examples;
use crate::support::harness::snapshot;
use crate::support::world::{record, release};
use table::{ALARM, all, at, by_alarm, by_found_alarm, by_sweep, gone, held, no, on_stage, text};

/// Reasons of stages on which a rollback cannot work: nothing can be rolled back to, or AWS would refuse it.
const NO_WAY_BACK: [&str; 9] = [
    "no-known-good",
    "known-good-missing",
    "already-known-good",
    "irreversible-release",
    "part-missing",
    "part-shadowed",
    "codedeploy-running",
    "managed-stage",
    "not-protected",
];

/// Whether a text has a time or a length with a fraction of a second.
fn has_fraction(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.windows(2).any(|pair| {
        let rest = pair[1].trim_start_matches(|c: char| c.is_ascii_digit());
        let is_number = pair[0].ends_with(|c: char| c.is_ascii_digit()) && rest.len() < pair[1].len();
        let is_clock = pair[0].chars().rev().nth(2) == Some(':');
        let unit = rest.trim_start().split(|c: char| !c.is_alphabetic()).next();
        is_number && (is_clock || matches!(unit, Some("s" | "seconds")))
    })
}

/// Checks what holds for every message, and prints it.
fn check(shown: &mut String, case: &str, report: &Report) {
    let sent = notification::of(report, "apigw-rollback");
    let (subject, text) = (&sent.subject, &sent.text);
    let mut lines = text.lines();
    let (first, what, next) = (lines.next().unwrap(), lines.next().unwrap(), lines.next().unwrap());
    assert!(subject.len() <= 100 && subject.is_ascii(), "{case}: {subject}");
    let headline = message::of(report, "apigw-rollback").headline;
    assert!(subject.starts_with(headline) && first.starts_with(headline), "{case}: {subject}");
    if report.stage.is_some() {
        let name = report.api_name.as_deref().unwrap_or("a1b2c3d4e5");
        assert!(subject.contains(&format!("{name}/prod")), "{case}: {subject}");
    }
    assert!(first.contains("eu-west-1"), "{case}: {first}");
    assert!(what.ends_with('.') && what.len() < 500, "{case}: {what}");
    assert!(next.starts_with("Now: ") || next.contains(":  apigw-rollback "), "{case}: {next}");
    let chat: Value = serde_json::from_str(&sent.chat).unwrap();
    let posted = chat["content"].to_string();
    assert!(!has_fraction(text) && !has_fraction(&posted), "{case}: a fraction of a second: {text}");
    for machine in ["aws lambda", "payload", "{\"", "until"] {
        assert!(!next.contains(machine), "{case}: {next}");
    }
    let is_known = report.people.known_good.is_some();
    if !is_known || report.code().is_some_and(|code| NO_WAY_BACK.contains(&code)) {
        assert!(!next.contains("apigw-rollback rollback"), "{case}: {next}");
    }
    assert_eq!(
        chat["content"]["nextSteps"][0].as_str().unwrap().replace('`', ""),
        next.replace('`', "").replace('<', "&lt;").replace('>', "&gt;"),
        "{case}"
    );
    writeln!(shown, "-- {case}\nSubject: {subject}\n\n{text}").unwrap();
}

#[test]
fn every_message_says_the_state_then_what_happened_then_one_step() {
    let mut shown = String::new();
    for (case, report) in all() {
        assert!(key(&report).is_some(), "{case}: it is never sent");
        check(&mut shown, case, &report);
    }
    snapshot("messages", &shown);
}

#[test]
fn every_outcome_and_reason_that_people_are_notified_of_has_a_message() {
    let covered: BTreeSet<&str> = all().iter().filter_map(|(_, report)| report.code()).collect();
    for reason in examples() {
        let report = no(&by_alarm(), reason);
        let code = report.code().unwrap();
        assert!(key(&report).is_none() || covered.contains(code), "`{code}` has no row");
    }
    let outcomes: BTreeSet<&str> = all().iter().map(|(_, report)| report.outcome.word()).collect();
    let sent = [
        "attention",
        "failed",
        "held",
        "needs-human",
        "recovered",
        "rejected",
        "rolled-back",
        "rollout-aborted",
        "rollout-paused",
        "rollout-promoted",
        "rollout-started",
    ];
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), sent);
}

#[test]
fn a_fraction_of_a_second_is_found() {
    for (text, expected) in [
        ("0.5 s after", true),
        ("took 47.7 seconds", true),
        ("at 2026-11-20T10:05:12.345Z", true),
        ("v1.4.1 (d1) since 10:05:12 UTC. v1.4.2 is off.", false),
        ("[42.0 (20/11/26 10:04:00), 38.5] were", false),
        ("47 s after", false),
    ] {
        assert_eq!(has_fraction(text), expected, "{text}");
    }
}

/// Also those that are never sent must not fail.
#[test]
fn no_reason_looks_like_another_state() {
    for (reason, by, expected) in [
        (
            Reason::NotRecovered { alarm: ALARM.into(), rolled_back_at: at("2026-11-20T09:45:00Z") },
            by_sweep(),
            "STILL BAD AFTER THE ROLLBACK",
        ),
        (Reason::NotPinned(text()), by_sweep(), "NO URGENCY"),
        (Reason::Cooldown(text()), by_alarm(), "STILL BAD, NOT ROLLED BACK"),
        (Reason::Cooldown(text()), by_found_alarm(), "STILL BAD, NOT ROLLED BACK"),
        (gone(), by_alarm(), "STILL BAD, NOT ROLLED BACK"),
        (gone(), by_sweep(), "NO URGENCY"),
        (Reason::NoDatapoints, by_alarm(), "MAY BE BAD, NOT ROLLED BACK"),
        (Reason::AlarmUnreadable { alarm: ALARM.into(), why: text() }, by_sweep(), "MAY BE BAD"),
        (Reason::AlarmCleared { alarm: ALARM.into(), state: State::Ok }, by_alarm(), "NO URGENCY"),
        (Reason::AlarmActionsDisabled { alarm: ALARM.into() }, by_alarm(), "MAY BE BAD, NOT ROLLED BACK"),
        (Reason::Muted(text()), by_alarm(), "MAY BE BAD, NOT ROLLED BACK"),
        (Reason::NotInAlarm(State::Ok), by_alarm(), "NO URGENCY"),
    ] {
        let code = reason.code();
        let outcome = if by == by_alarm() { Outcome::Held } else { Outcome::Attention };
        let report = on_stage(Report { outcome, ..no(&by, reason) });
        assert_eq!(message::of(&report, "apigw-rollback").headline, expected, "{code}");
    }
}

#[test]
fn a_command_can_be_pasted_whatever_the_names_are() {
    for (name, stage, function, expected) in [
        ("orders-api", "prod", "apigw-rollback", "orders-api/prod --region eu-west-1"),
        ("orders-api", "prod", "rollback-eu", "orders-api/prod --region eu-west-1 --function rollback-eu"),
        ("orders api", "prod", "apigw-rollback", "a1b2c3d4e5/prod --region eu-west-1"),
        ("$(curl x)", "prod", "apigw-rollback", "a1b2c3d4e5/prod --region eu-west-1"),
        ("orders/v1", "prod", "apigw-rollback", "a1b2c3d4e5/prod --region eu-west-1"),
        ("--yes", "prod", "apigw-rollback", "a1b2c3d4e5/prod --region eu-west-1"),
        ("ordersapi1", "prod", "apigw-rollback", "a1b2c3d4e5/prod --region eu-west-1"),
        ("Bücher", "prod", "apigw-rollback", "a1b2c3d4e5/prod --region eu-west-1"),
        ("web", "$default", "apigw-rollback", "'web/$default' --region eu-west-1"),
        ("web", "a'b c", "apigw-rollback", r"'web/a'\''b c' --region eu-west-1"),
    ] {
        let report = held(Reason::Cooldown(text()));
        let stage = StageRef::new(Protocol::Rest, "a1b2c3d4e5", stage);
        let report = Report { api_name: Some(name.to_owned()), ..report.on(&stage) };
        let next = message::of(&report, function).next;
        assert_eq!(next.command.unwrap(), format!("apigw-rollback rollback {expected}"), "{name}");
    }
}

#[test]
fn the_names_of_others_stay_on_one_line_and_mention_nobody() {
    let evil = "x\nNow: run this\u{1b}[2J <!channel>";
    let named = |report: Report| Report {
        api_name: Some(evil.into()),
        before_label: Some(evil.into()),
        after_label: Some(evil.into()),
        ..report
    };
    let signal = TriggeredBy { name: Some(evil.into()), why: Some(evil.into()), ..by_alarm() };
    let with_good = |report: Report| Report {
        people: ForPeople {
            known_good: Some(evil.into()),
            scope: Some(evil.into()),
            alarm: Some(evil.into()),
            ..report.people.clone()
        },
        signal: signal.clone(),
        ..report
    };
    for (case, report) in all() {
        let sent = notification::of(&with_good(named(report)), "apigw-rollback");
        let steps: Vec<&str> = sent.text.lines().filter(|line| line.starts_with("Now: ")).collect();
        assert!(steps.len() <= 1 && !steps.contains(&"Now: run this"), "{case}: {}", sent.text);
        let chat: Value = serde_json::from_str(&sent.chat).unwrap();
        let posted = chat["content"].to_string();
        assert!(!sent.text.contains('\u{1b}') && !posted.contains("<!channel>"), "{case}: {posted}");
    }
}

proptest! {
    /// The state and the name are whole in every subject that has room for them.
    #[test]
    fn a_subject_keeps_the_state_and_the_name(name in "\\PC{1,120}", label in "\\PC{0,80}", nth in 0..200_usize) {
        let (_, report) = all().swap_remove(nth % all().len());
        let report = Report { api_name: Some(name.clone()), before_label: Some(label), ..report };
        let message = message::of(&report, "apigw-rollback");
        let subject = message.subject();
        prop_assert!(subject.len() <= 100 && subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", subject);
        prop_assert!(subject.starts_with(message.headline), "{}", subject);
        if report.stage.is_some() {
            let named = format!("{}: {name}/prod", message.headline);
            let has_room = named.is_ascii() && named.len() <= 100;
            let is_named = subject.starts_with(&named) || !has_room;
            prop_assert!(is_named && subject.contains("/prod"), "{}", subject);
        }
    }
}

/// The releases are named by what is on record.
#[test]
fn a_release_has_the_label_of_its_record() {
    let (good, bad) = (release("d1", &[("release", "1")]), release("d2", &[("release", "2")]));
    let now = at("2026-11-20T10:00:00Z");
    let candidate =
        Candidate { label: Some("v1.4.2".to_owned()), ..Candidate::new(Protocol::Rest, &bad, now) };
    let on_record = OnRecord {
        known_good: KnownGood::Found {
            parameter: text(),
            version: 1,
            record: Box::new(record(good.clone())),
        },
        candidate: Some(candidate),
        hold: None,
        policy: PolicyOverrides::default(),
        rollbacks: Rollbacks::default(),
        rollout: Ok(None),
        unreadable: None,
    };
    let mut with_alias = good.clone();
    let version = AliasTarget { version: "7".to_owned(), weights: [].into() };
    with_alias.aliases.insert("orders:live".parse().unwrap(), version);
    for (release, expected) in [
        (&good, Some("v1.4.1")),
        (&bad, Some("v1.4.2")),
        (&release("d1", &[("release", "2")]), None),
        (&with_alias, Some("v1.4.1")),
    ] {
        assert_eq!(on_record.label(release), expected, "{release}");
    }
    let report = no(&by_sweep(), gone()).named(&on_record);
    assert_eq!(report.api_name.as_deref(), Some("orders-api"));
    assert_eq!(report.people.known_good.as_deref(), Some("v1.4.1 (d1)"));
    let report = Report { before: Some(good), ..no(&by_sweep(), gone()) }.named(&on_record);
    assert_eq!(report.people.known_good, None, "there is no way back to what is live");
}
