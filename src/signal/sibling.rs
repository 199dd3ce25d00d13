//! The reports that siblings, the functions of the same name in other Regions, forward about bad releases. Pure.

use serde::Deserialize;
use serde_json::Value;

use super::{Signal, malformed, not_an_alarm, owned, text};
use crate::model::alarm::{Origin, time};
use crate::model::reason::Reason;
use crate::model::sibling::{BadRelease, Deed, SOURCE, SiblingIncident, SiblingReport};
use crate::model::stage::StageRef;
use crate::model::target::{ApiRef, Target};

/// The schema of reports that this version reads.
const SCHEMA: u64 = 1;

/// The longest text of a report that is kept, in bytes: the limit of a label.
const MAX_TEXT: usize = 500;

/// Reads the report in an event. Account and Region come from EventBridge itself, so nobody else can set them.
pub(super) fn read(event: &Value) -> Signal {
    match text(event, "source").unwrap_or_default() {
        SOURCE => {}
        other => {
            return not_an_alarm(format!("the EventBridge event comes from `{other}`, not from `{SOURCE}`"));
        }
    }
    let (Some(account), Some(region)) = (owned(event, "account"), owned(event, "region")) else {
        return malformed("the EventBridge event has no account or Region");
    };
    let detail = event.get("detail").unwrap_or(&Value::Null);
    match incident(detail, &region) {
        Ok((stage, incident)) => Signal::Sibling(Box::new(SiblingReport {
            account,
            region,
            api_name: owned(detail, "api_name"),
            protocol: stage.protocol,
            stage: stage.stage,
            incident,
        })),
        Err(reason) => Signal::RefusedReport { region, reason },
    }
}

/// Reads the incident in a report of a Region, and its stage.
fn incident(detail: &Value, region: &str) -> Result<(StageRef, SiblingIncident), Reason> {
    let malformed = |why: String| Reason::Malformed(format!("the report of Region {region} {why}"));
    match detail.get("schema").and_then(Value::as_u64) {
        Some(SCHEMA) => {}
        // There was no schema before the first one.
        Some(0) | None => return Err(malformed("has no valid schema".to_owned())),
        Some(newer) => {
            return Err(malformed(format!(
                "has schema {newer}, but this version reads schema {SCHEMA}: update the function"
            )));
        }
    }
    let Some(deed) = detail.get("outcome").and_then(|outcome| Deed::deserialize(outcome).ok()) else {
        let why = format!("the report of Region {region} is not about a bad release");
        return Err(Reason::NotAnAlarm(why));
    };
    let Some(bad) = detail.get("bad").filter(|bad| !bad.is_null()) else {
        let why = "names no bad release: another Region's report led to it, or its function has no Siblings";
        return Err(Reason::NotASibling(format!("the report of Region {region} {why}")));
    };
    let Ok(bad) = BadRelease::deserialize(bad) else {
        return Err(malformed("has no valid bad release".to_owned()));
    };
    let texts = [Some(&bad.region), Some(&bad.id), bad.label.as_ref(), bad.contents.as_ref()];
    if texts.into_iter().flatten().any(|text| text.len() > MAX_TEXT || text.is_empty()) {
        return Err(malformed("has a text that is empty or too long".to_owned()));
    }
    let stage = detail.get("stage").map(StageRef::deserialize);
    let (Some(Ok(stage)), Some(at)) = (stage, text(detail, "at").and_then(time)) else {
        return Err(malformed("names no stage or no time".to_owned()));
    };
    Ok((stage, SiblingIncident { bad, deed, at, here: None, cleared: false }))
}

/// Checks that a report comes from a sibling: from this account, from a listed Region, about that Region, and from the function
/// with our name.
///
/// # Errors
/// [`Reason::NotASibling`].
pub fn is_welcome(
    report: &SiblingReport,
    home: &Origin,
    function: &str,
    siblings: &[String],
) -> Result<(), Reason> {
    let SiblingReport { account, region, incident, .. } = report;
    let no =
        |why: String| Err(Reason::NotASibling(format!("a report about another Region's incident {why}")));
    match &home.account {
        Some(ours) if ours == account => {}
        Some(ours) => return no(format!("comes from account `{account}`, not from `{ours}`")),
        None => return no("cannot be judged: this function does not know its account".to_owned()),
    }
    if home.region.as_ref() == Some(region) {
        return no(format!("comes from this Region, `{region}`"));
    }
    if !siblings.contains(region) {
        return no(format!("comes from Region `{region}`, which SIBLINGS does not list"));
    }
    if incident.bad.region != *region {
        return no(format!("comes from Region `{region}`, but it is about Region `{}`", incident.bad.region));
    }
    if incident.bad.function != function {
        return no(format!("comes from the function `{}`, not from `{function}`", incident.bad.function));
    }
    Ok(())
}

/// Returns the stage that a report means here: that of the API with the same name.
///
/// # Errors
/// [`Reason::SiblingUnmatched`] if the report does not name the API.
pub fn target(report: &SiblingReport) -> Result<Target, Reason> {
    let Some(name) = report.api_name.clone() else {
        let why = "does not name its API, and ids differ by Region";
        return Err(Reason::SiblingUnmatched(format!("the report of Region {} {why}", report.region)));
    };
    Ok(Target {
        api: ApiRef::Name(name),
        stage: report.stage.clone(),
        canary: false,
        protocol: Some(report.protocol),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::sibling::DETAIL_TYPE;

    fn event() -> Value {
        json!({
            "source": SOURCE, "detail-type": DETAIL_TYPE, "account": "123456789012", "region": "us-east-1",
            "detail": {
                "schema": 1, "outcome": "rolled-back", "at": "2026-11-20T10:06:00Z", "api_name": "orders-api",
                "stage": {"protocol": "rest", "api": "z9y8x7w6v5", "stage": "prod"},
                "bad": {"region": "us-east-1", "function": "f", "id": "ffd97f169067 x", "label": "v2", "contents": null},
            },
        })
    }

    /// Returns what becomes of the event with one value changed, for a function in eu-west-1 that lists us-east-1.
    fn described(path: &str, value: Value) -> String {
        let mut event = event();
        *event.pointer_mut(path).unwrap() = value;
        let report = match read(&event) {
            Signal::Sibling(report) => report,
            Signal::Unreadable(reason) | Signal::RefusedReport { reason, .. } => {
                return format!("{}: {reason}", reason.code());
            }
            other @ (Signal::Alarm(_) | Signal::Command(_)) => return format!("{other:?}"),
        };
        let home = Origin { account: Some("123456789012".into()), region: Some("eu-west-1".into()) };
        let siblings = ["us-east-1".to_owned(), "eu-west-1".to_owned()];
        match is_welcome(&report, &home, "f", &siblings).and_then(|()| target(&report)) {
            Ok(target) => format!("{}/{}: {}", target.api.text(), target.stage, report.incident),
            Err(reason) => format!("{}: {reason}", reason.code()),
        }
    }

    #[test]
    fn a_report_is_welcome_only_from_a_listed_region_of_this_account_about_itself() {
        let heard = "orders-api/prod: Region us-east-1 rolled the release `v2` back at 2026-11-20T10:06:00Z";
        let refused = "not-a-sibling: a report about another Region's incident";
        for (path, value, expected) in [
            ("/detail/schema", json!(1), heard.to_owned()),
            ("/source", json!("com.evil"), "not-an-alarm: the EventBridge event comes from `com.evil`, not from `apigw-rollback`".into()),
            ("/account", json!("999999999999"), format!("{refused} comes from account `999999999999`, not from `123456789012`")),
            ("/account", json!(1), "malformed: the EventBridge event has no account or Region".into()),
            ("/region", json!("ap-south-1"), format!("{refused} comes from Region `ap-south-1`, which SIBLINGS does not list")),
            ("/region", json!("eu-west-1"), format!("{refused} comes from this Region, `eu-west-1`")),
            ("/detail/bad/region", json!("ap-south-1"), format!("{refused} comes from Region `us-east-1`, but it is about Region `ap-south-1`")),
            (
                "/detail/bad/function",
                json!("g"),
                format!("{refused} comes from the function `g`, not from `f`"),
            ),
            ("/detail/schema", json!(2), "malformed: the report of Region us-east-1 has schema 2, but this version reads schema 1: update the function".into()),
            ("/detail/schema", json!(null), "malformed: the report of Region us-east-1 has no valid schema".into()),
            ("/detail/outcome", json!("held"), "not-an-alarm: the report of Region us-east-1 is not about a bad release".into()),
            (
                "/detail/outcome",
                json!("rollout-aborted"),
                "orders-api/prod: Region us-east-1 ended the rollout of the release `v2` at 2026-11-20T10:06:00Z".into(),
            ),
            (
                "/detail/bad",
                json!(null),
                "not-a-sibling: the report of Region us-east-1 names no bad release: another Region's report led to it, or its function \
                 has no Siblings"
                    .into(),
            ),
            ("/detail/bad", json!({"region": 1}), "malformed: the report of Region us-east-1 has no valid bad release".into()),
            ("/detail/bad/label", json!("x".repeat(501)), "malformed: the report of Region us-east-1 has a text that is empty or too long".into()),
            ("/detail/bad/id", json!(""), "malformed: the report of Region us-east-1 has a text that is empty or too long".into()),
            (
                "/detail/bad/label",
                json!(null),
                "orders-api/prod: Region us-east-1 rolled a release without a label back at 2026-11-20T10:06:00Z".into(),
            ),
            ("/detail/stage", json!("prod"), "malformed: the report of Region us-east-1 names no stage or no time".into()),
            ("/detail/at", json!("yesterday"), "malformed: the report of Region us-east-1 names no stage or no time".into()),
            ("/detail/api_name", json!(null), "sibling-unmatched: the report of Region us-east-1 does not name its API, and ids differ by Region".into()),
        ] {
            assert_eq!(described(path, value.clone()), expected, "{path} {value:.60}");
        }
    }

    #[test]
    fn without_an_account_of_its_own_a_function_trusts_no_report() {
        let Signal::Sibling(report) = read(&event()) else { panic!("it is read") };
        let home = Origin { account: None, region: Some("eu-west-1".into()) };
        let refused = is_welcome(&report, &home, "f", &["us-east-1".to_owned()]).unwrap_err();
        assert_eq!(refused.code(), "not-a-sibling");
    }

    #[test]
    fn a_report_is_read_from_the_first_schema_on_and_up_to_the_longest_text() {
        let longest = "x".repeat(500);
        for (case, path, value, expected) in [
            (
                "a schema before the first",
                "/detail/schema",
                json!(0),
                "malformed: the report of Region us-east-1 has no valid schema".to_owned(),
            ),
            (
                "a label as long as is allowed",
                "/detail/bad/label",
                json!(longest),
                format!(
                    "orders-api/prod: Region us-east-1 rolled the release `{longest}` back at 2026-11-20T10:06:00Z"
                ),
            ),
        ] {
            assert_eq!(described(path, value), expected, "{case}");
        }
    }
}
