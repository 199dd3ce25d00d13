//! A report for each message about an incident in another Region.

use apigw_rollback::model::reason::Reason;
use apigw_rollback::model::report::Report;
use apigw_rollback::model::sibling::{BadRelease, Deed, SiblingIncident};
use apigw_rollback::model::trigger::TriggeredBy;

use super::table::{at, live, no, on_stage, rolled_back, somewhere};

/// What a function is told by its siblings, and what it does about that.
pub(super) fn siblings() -> Vec<(&'static str, Report)> {
    let incident = SiblingIncident {
        bad: BadRelease {
            region: "us-east-1".into(),
            function: "apigw-rollback".into(),
            id: "ffd97f169067 2026-11-20T10:04:00Z".into(),
            label: Some("v1.4.2".into()),
            contents: None,
        },
        deed: Deed::RolledBack,
        at: at("2026-11-20T10:04:00Z"),
        here: None,
        cleared: false,
    };
    let by = TriggeredBy::sibling(&incident);
    let heard = |reason: Reason| Report {
        notification_key: Some("us-east-1 x".to_owned()),
        ..live(on_stage(no(&by, reason)))
    };
    let told = |what: &str| format!("{incident}; {what}");
    vec![
        (
            "another Region found a release bad that this stage serves",
            heard(Reason::SiblingIncident(told(
                "this stage serves it as well, and its policy `siblings` is `tell`",
            ))),
        ),
        ("a stage follows another Region", rolled_back(&by)),
        (
            "a stage cannot follow another Region",
            heard(Reason::Cooldown(
                "the stage was rolled back at 2026-11-20T10:02:00Z, and the cooldown is 300 s".into(),
            )),
        ),
        (
            "another Region found a release bad that is known-good here",
            heard(Reason::SiblingKnownGood(told("it is known-good on this stage, so it stays"))),
        ),
        (
            "nothing says whether this stage serves what another Region found bad",
            heard(Reason::SiblingUnmatched(told(
                "neither a label nor the description of a deployment says whether this stage serves it",
            ))),
        ),
        (
            "a Region that is no sibling reports an incident",
            somewhere(no(
                &by,
                Reason::NotASibling(
                    "a report about another Region's incident comes from Region `us-east-1`, which SIBLINGS does not list".into(),
                ),
            )),
        ),
    ]
}
