//! A report for each message about a rollout.

use apigw_rollback::model::reason::Reason;
use apigw_rollback::model::release::{Canary, Release};
use apigw_rollback::model::report::{Outcome, Report};
use apigw_rollback::model::trigger::{TriggeredBy, Verb};

use super::table::{at, found, live, on_stage, rolled_back};
use crate::support::world::release;

/// The beginning, a pause and the ends of rollouts, and why one does not begin or go on.
pub(super) fn rollouts() -> Vec<(&'static str, Report)> {
    let by = TriggeredBy::command(Verb::RolloutStart, Some("on call".to_owned()), None);
    let told = |outcome, by: &TriggeredBy, message: &str| {
        let report = Report::new("run-1", at("2026-11-20T10:05:13.100Z"), by, outcome, message.to_owned());
        Report { notification_key: Some("run-1 x".to_owned()), ..live(on_stage(report)) }
    };
    let moved = TriggeredBy::command(Verb::Advance, None, None);
    let convicted = TriggeredBy::rollout(
        "rollout to v1.4.2 (d2): deployment d2: 212 of 240 requests failed (88 %) since 2026-11-20T10:04:10Z; tolerated 2 %"
            .to_owned(),
    );
    let off = rolled_back(&convicted);
    let base = Release { canary: Some(canary()), ..release("d1", &[("release", "1")]) };
    vec![
        (
            "a rollout begins",
            told(
                Outcome::RolloutStarted,
                &by,
                "rest/a1b2c3d4e5/prod: a rollout to v1.4.2 (d2) begins: 5 %, 50 % of the traffic, for 600 s and at least 500 requests each",
            ),
        ),
        (
            "a rollout is paused",
            told(
                Outcome::RolloutPaused,
                &moved,
                "rest/a1b2c3d4e5/prod: the rollout to v1.4.2 (d2) is paused at 5 % (step 1 of 2): somebody set the canary to 60 % of the traffic; this rollout had set 5 %",
            ),
        ),
        (
            "a rollout is complete",
            told(
                Outcome::RolloutPromoted,
                &moved,
                "rest/a1b2c3d4e5/prod: v1.4.2 (d2) gets all traffic; its bake time begins",
            ),
        ),
        (
            "a rollout has ended",
            told(
                Outcome::RolloutAborted,
                &moved,
                "rest/a1b2c3d4e5/prod: the rollout to v1.4.2 (d2) has ended (step 1 of 2): somebody else, or a run that died, removed the canary",
            ),
        ),
        ("a rollout takes its canary off", Report { before: Some(base), before_label: None, ..off }),
        (
            "a rollout waits",
            found(Reason::RolloutWaits(
                "v1.4.2 (d2): step 1 of 2: the canary answered 72 of the 500 requests that the step needs"
                    .into(),
            )),
        ),
        (
            "a canary cannot be rolled out",
            found(Reason::CannotRollOut("the stage is in observe mode".into())),
        ),
        (
            "another rollout is running",
            found(Reason::RolloutRunning("a rollout to v1.4.2 (d2) is running".into())),
        ),
        (
            "the record of a rollout cannot be read",
            found(Reason::NoRollout(
                "the parameter `/apigw-rollback/stages/a1b2c3d4e5/prod/rollout` contains no rollout".into(),
            )),
        ),
    ]
}

fn canary() -> Canary {
    Canary {
        deployment: Some("d2".to_owned()),
        percent: "5".to_owned(),
        overrides: [].into(),
        uses_cache: false,
    }
}
