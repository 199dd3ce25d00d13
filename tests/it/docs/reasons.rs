//! `docs/reasons.md` is generated from `Reason`: the code, the page and a report never disagree.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::reason::{Kind, Reason};
use chrono::DateTime;

/// One example of every reason, in the order of the page.
pub(crate) fn examples() -> Vec<Reason> {
    let text = || "x".to_owned();
    let epoch = DateTime::UNIX_EPOCH;
    vec![
        Reason::Malformed(text()),
        Reason::NotAnAlarm(text()),
        Reason::NotAStateChange(text()),
        Reason::Suppressed(text()),
        Reason::Muted(text()),
        Reason::NotInAlarm(State::Ok),
        Reason::NotInAlarm(State::InsufficientData),
        Reason::NotApiGateway(vec![]),
        Reason::NoStage(text()),
        Reason::AmbiguousTarget(text()),
        Reason::WrongAccount { theirs: text(), ours: text() },
        Reason::WrongRegion { theirs: text(), ours: text() },
        Reason::NoDatapoints,
        Reason::Stale { changed_at: None, now: epoch, max_age_seconds: 0 },
        Reason::NotProtected(text()),
        Reason::AlarmUnknown { alarm: text(), why: text() },
        Reason::AlarmUnreadable { alarm: text(), why: text() },
        Reason::AlarmCleared { alarm: text(), state: State::Ok },
        Reason::AlarmNotWired { alarm: text() },
        Reason::AlarmNotAllowed { alarm: text(), list: "" },
        Reason::AlarmActionsDisabled { alarm: text() },
        Reason::NotThisRelease { alarm: text(), finding: text() },
        Reason::NotDecided { alarm: text(), finding: None },
        Reason::BeganBeforeRelease { alarm: text(), began: epoch, live_since: epoch },
        Reason::NotASibling(text()),
        Reason::SiblingKnownGood(text()),
        Reason::SiblingUnmatched(text()),
        Reason::SiblingElsewhere(text()),
        Reason::SiblingIncident(text()),
        Reason::HeldByOperator(text()),
        Reason::NoKnownGood { parameter: text(), why: text() },
        Reason::AlreadyKnownGood { deployment: text(), version: 1, by: None },
        Reason::ChangedAfterAlarm { changed_at: epoch, alarm_at: epoch },
        Reason::OutsideWindow { live_since: epoch, window_seconds: 0 },
        Reason::IrreversibleRelease { deployment: text() },
        Reason::KnownGoodMissing { deployment: text(), parameter: text(), version: 1, why: text() },
        Reason::PartMissing(vec![]),
        Reason::CodeDeployRunning(vec![]),
        Reason::PartShadowed(vec![]),
        Reason::ManagedStage(text()),
        Reason::AutoDeploy(text()),
        Reason::Cooldown(text()),
        Reason::ParametersNearlyFull { used: 8_000, most: 10_000 },
        Reason::ObserveMode { deployment: text() },
        Reason::NotProven(text()),
        Reason::NotPinned(text()),
        Reason::Unwatched(vec![]),
        Reason::AlarmsWithFaults(vec![]),
        Reason::NotRecovered { alarm: text(), rolled_back_at: epoch },
        Reason::NotRecordable(text()),
        Reason::CannotRollOut(text()),
        Reason::RolloutRunning(text()),
        Reason::NoRollout(text()),
        Reason::RolloutWaits(text()),
    ]
}

fn page() -> String {
    let mut page = String::from(
        "# Reasons\n\n\
         Every report that did nothing gives its reason as a stable code, in the order in which they are checked. This \
         page is generated from `src/model/reason.rs`.\n\n\
         - `ignored`: nothing to do, and nothing is wrong.\n\
         - `rejected`: the event can never lead to a rollback, and an operator should know.\n\
         - `held`: a rollback was possible and was not done. If the sweep finds the reason, the report's outcome is \
         `attention`.\n\n\
         `explain` also gives `composite`: the alarms below a composite alarm must be looked up in CloudWatch.\n\n\
         | code | outcome | meaning | next step |\n\
         |---|---|---|---|\n",
    );
    for reason in examples() {
        let entry = reason.entry();
        let outcome = match entry.kind {
            Kind::Ignore => "ignored",
            Kind::Reject => "rejected",
            Kind::Hold => "held",
        };
        let advice = if entry.advice.is_empty() { "nothing" } else { entry.advice };
        writeln!(page, "| `{}` | {outcome} | {} | {advice} |", entry.code, entry.meaning).unwrap();
    }
    page
}

#[test]
fn the_page_of_reasons_is_that_of_the_code() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let published = fs::read_to_string(root.join("docs/reasons.md")).unwrap_or_default();
    let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reasons.md");
    fs::write(&new, page()).unwrap();
    assert!(published == page(), "the reasons changed: cp {} docs/reasons.md", new.display());
}

/// The rows are counted in the source, so that a new reason cannot be forgotten here.
#[test]
fn every_reason_has_an_example() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let source = fs::read_to_string(root.join("src/model/reason.rs")).unwrap();
    let (_, table) = source.split_once("pub fn entry(&self) -> Entry {").unwrap();
    let (table, _) = table.split_once("\n    }\n").unwrap();
    assert_eq!(table.matches("entry(").count(), examples().len());
    let mut codes: Vec<&str> = examples().iter().map(Reason::code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), examples().len());
}
