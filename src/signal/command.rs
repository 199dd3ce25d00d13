//! Commands that an operator, a pipeline or the schedule sends to the function directly.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::model::component::{AliasRef, MAX_COMPONENTS};
use crate::model::percent::Percent;
use crate::model::plain;
use crate::model::reason::Reason;
use crate::model::trigger::Verb;
use crate::signal::target::is_stage_name;

/// The longest text field of a command, in bytes.
const MAX_TEXT: usize = 500;

/// A command, read from its JSON event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// What to do.
    #[serde(rename = "command")]
    pub verb: Verb,
    /// The stage. Every command except `sweep` needs one.
    pub stage: Option<StageArg>,
    /// The version of the record to roll back to, instead of the newest.
    pub to: Option<i64>,
    /// Whether to roll back even a release that is marked irreversible.
    pub force: Option<bool>,
    /// The reason, for the records.
    pub reason: Option<String>,
    /// A readable name of the release, for example `v1.4.2`.
    pub label: Option<String>,
    /// A note for the changelog.
    pub note: Option<String>,
    /// `false` marks the release irreversible, for example after a data migration: alarms do not roll it back.
    pub reversible: Option<bool>,
    /// The time at which a hold ends automatically.
    pub until: Option<DateTime<Utc>>,
    /// The fingerprint of the release to take out of quarantine.
    pub incident: Option<String>,
    /// The deployment to roll out as a canary.
    pub deployment: Option<String>,
    /// The versions to roll out by the weights of their aliases. Without these and a deployment, whatever the stage's canary or
    /// its aliases give some of the traffic.
    pub aliases: Option<BTreeMap<AliasRef, String>>,
    /// The steps of a rollout, in percent of the traffic.
    pub steps: Option<Vec<Percent>>,
    /// How long each step of a rollout lasts, in seconds.
    pub bake_seconds: Option<u32>,
    /// How many requests the new release must have answered in each step of a rollout.
    pub min_requests: Option<u64>,
    /// The sender's name, for the records. The function cannot find it out from the event.
    pub who: Option<String>,
}

/// Every field of which some commands accept none.
const FIELDS: [&str; 13] = [
    "to",
    "force",
    "reason",
    "label",
    "note",
    "reversible",
    "until",
    "incident",
    "deployment",
    "aliases",
    "steps",
    "bake_seconds",
    "min_requests",
];

/// The fields that a command requires, then those it accepts. `stage` and `who` are not listed.
fn fields_of(verb: Verb) -> (&'static [&'static str], &'static [&'static str]) {
    match verb {
        Verb::Record | Verb::Announce => (&[], &["label", "note", "reversible"]),
        Verb::Rollback | Verb::Plan => (&[], &["to", "force", "reason"]),
        Verb::Hold => (&["until"], &["reason"]),
        Verb::Lift => (&["incident"], &["reason"]),
        Verb::RolloutStart => {
            (&[], &["deployment", "aliases", "steps", "bake_seconds", "min_requests", "label", "note"])
        }
        Verb::RolloutPause => (&[], &["reason"]),
        Verb::Promote
        | Verb::Status
        | Verb::History
        | Verb::ReleaseHold
        | Verb::RolloutStatus
        | Verb::RolloutResume
        | Verb::RolloutPromote
        | Verb::RolloutAbort
        | Verb::Advance
        | Verb::Sweep => (&[], &[]),
    }
}

/// A stage, as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageArg {
    /// The API's id or name.
    pub api: String,
    /// The stage's name.
    pub name: String,
}

pub(super) fn read(event: &Value) -> Result<Command, Reason> {
    let command = Command::deserialize(event).map_err(|error| {
        Reason::Malformed(format!(
            "the command cannot be read: {error}; \
             a command looks like {{\"command\":\"status\",\"stage\":{{\"api\":\"a1b2c3d4e5\",\"name\":\"prod\"}}}}"
        ))
    })?;
    let refuse = |why: String| Err(Reason::Malformed(why));
    let word = command.verb.word();
    let (needed, allowed) = fields_of(command.verb);
    let given = |field: &str| event.get(field).is_some_and(|value| !value.is_null());
    for field in FIELDS {
        if given(field) && !needed.contains(&field) && !allowed.contains(&field) {
            return refuse(format!("the command `{word}` does not accept `{field}`"));
        }
    }
    if let Some(field) = needed.iter().find(|field| !given(field)) {
        return refuse(format!("the command `{word}` needs `{field}`"));
    }
    if given("stage") == matches!(command.verb, Verb::Sweep | Verb::Advance) {
        return refuse(format!(
            "the command `{word}` {} stage",
            if given("stage") { "takes no" } else { "needs a" }
        ));
    }
    if let Some(stage) = &command.stage
        && (stage.api.is_empty() || !is_stage_name(&stage.name))
    {
        return refuse(
            "`stage` must have the id or name of an API (`api`) and the name of a stage (`name`)".to_owned(),
        );
    }
    let terms = [given("steps"), given("bake_seconds"), given("min_requests")];
    if terms.contains(&true) && terms.contains(&false) {
        return refuse(
            "a rollout needs `steps`, `bake_seconds` and `min_requests`, or none of them".to_owned(),
        );
    }
    let Command { reason, label, note, incident, who, deployment, .. } = &command;
    for text in [reason, label, note, incident, who, deployment].into_iter().flatten() {
        // The whole record must fit into a parameter of 8 KB.
        if text.len() > MAX_TEXT {
            return refuse(format!("a text field of a command may have at most {MAX_TEXT} bytes"));
        }
    }
    let versions = command.aliases.iter().flatten().map(|(_, version)| version);
    if command.aliases.as_ref().is_some_and(|aliases| aliases.len() > MAX_COMPONENTS)
        || versions.clone().any(|version| version.len() > MAX_TEXT)
    {
        return refuse(format!("`aliases` may have at most {MAX_COMPONENTS} aliases, each with a version"));
    }
    if command.to.is_some_and(|version| version < 1) {
        return refuse("`to` must be a version of the known-good record, 1 or higher".to_owned());
    }
    let plain = |text: Option<String>| text.map(|text| plain::line(&text));
    Ok(Command {
        reason: plain(command.reason),
        label: plain(command.label),
        note: plain(command.note),
        who: plain(command.who),
        ..command
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(field: &str) -> Value {
        match field {
            "to" => 1.into(),
            "force" | "reversible" => true.into(),
            "until" => "2026-11-20T12:00:00Z".into(),
            "steps" => serde_json::json!([5, 25.5, 100]),
            "bake_seconds" | "min_requests" => 60.into(),
            "aliases" => serde_json::json!({"orders:live": "8"}),
            _ => "text".into(),
        }
    }

    fn described(command: &Value) -> String {
        read(command).map_or_else(|reason| reason.to_string(), |command| command.verb.word().to_owned())
    }

    #[test]
    fn a_command_accepts_only_its_own_fields() {
        for (word, needs, accepts) in [
            ("record", "", "label note reversible"),
            ("announce", "", "label note reversible"),
            ("promote", "", ""),
            ("rollback", "", "to force reason"),
            ("plan", "", "to force reason"),
            ("status", "", ""),
            ("history", "", ""),
            ("hold", "until", "reason"),
            ("release-hold", "", ""),
            ("lift", "incident", "reason"),
            ("rollout-start", "", "deployment aliases steps bake_seconds min_requests label note"),
            ("rollout-status", "", ""),
            ("rollout-pause", "", "reason"),
            ("rollout-resume", "", ""),
            ("rollout-promote", "", ""),
            ("rollout-abort", "", ""),
            ("advance", "", ""),
            ("sweep", "", ""),
        ] {
            let mut command = serde_json::json!({"command": word, "who": "me"});
            if !["sweep", "advance"].contains(&word) {
                assert_eq!(described(&command), field_error(word, needs, "needs a stage"));
                command["stage"] = serde_json::json!({"api": "a", "name": "prod"});
            }
            if !needs.is_empty() {
                assert_eq!(described(&command), format!("the command `{word}` needs `{needs}`"));
                command[needs] = value(needs);
            }
            assert_eq!(described(&command), word);
            for field in FIELDS.into_iter().filter(|field| *field != needs) {
                let mut command = command.clone();
                command[field] = value(field);
                if ["steps", "bake_seconds", "min_requests"].contains(&field) && word == "rollout-start" {
                    let all = ["steps", "bake_seconds", "min_requests"];
                    let refused =
                        "a rollout needs `steps`, `bake_seconds` and `min_requests`, or none of them";
                    assert_eq!(described(&command), refused);
                    for field in all {
                        command[field] = value(field);
                    }
                    assert_eq!(described(&command), word);
                    continue;
                }
                let accepted = accepts.split(' ').any(|one| one == field);
                let refused = format!("the command `{word}` does not accept `{field}`");
                assert_eq!(described(&command), if accepted { word.to_owned() } else { refused });
                command[field] = Value::Null;
                assert_eq!(described(&command), word, "`{field}` is null");
            }
        }
    }

    fn field_error(word: &str, needs: &str, otherwise: &str) -> String {
        let error = if needs.is_empty() { otherwise.to_owned() } else { format!("needs `{needs}`") };
        format!("the command `{word}` {error}")
    }

    #[test]
    fn an_invalid_command_is_refused_with_a_reason() {
        let stage = serde_json::json!({"api": "a", "name": "prod"});
        let no_stage = "`stage` must have the id or name of an API (`api`) and the name of a stage (`name`)";
        for (word, field, value, expected) in [
            ("sweep", "stage", stage, "the command `sweep` takes no stage"),
            ("status", "stage", serde_json::json!({"api": "", "name": "prod"}), no_stage),
            ("status", "stage", serde_json::json!({"api": "a", "name": "a/b"}), no_stage),
            ("status", "stage", serde_json::json!({"api": "a", "name": ""}), no_stage),
            ("status", "stage", serde_json::json!({"api": "a", "name": "$default"}), "status"),
            ("rollback", "to", 0.into(), "`to` must be a version of the known-good record, 1 or higher"),
            ("rollback", "to", (-1).into(), "`to` must be a version of the known-good record, 1 or higher"),
            ("rollback", "to", 1.into(), "rollback"),
            ("rollback", "reason", "x".repeat(500).into(), "rollback"),
            (
                "rollback",
                "reason",
                "x".repeat(501).into(),
                "a text field of a command may have at most 500 bytes",
            ),
            (
                "record",
                "label",
                "x".repeat(501).into(),
                "a text field of a command may have at most 500 bytes",
            ),
            ("record", "who", "x".repeat(501).into(), "a text field of a command may have at most 500 bytes"),
        ] {
            let mut command = serde_json::json!({"command": word, "stage": {"api": "a", "name": "prod"}});
            command[field] = value;
            assert_eq!(described(&command), expected, "{command:.200}");
        }
        let unknown = described(&serde_json::json!({"command": "status", "stages": []}));
        assert!(unknown.starts_with("the command cannot be read: unknown field `stages`"), "{unknown}");
    }

    #[test]
    fn the_aliases_of_a_rollout_and_their_versions_have_limits() {
        let refused = "`aliases` may have at most 100 aliases, each with a version";
        for (case, aliases, bytes, expected) in [
            ("as many aliases as are allowed", 100, 1, "rollout-start"),
            ("one alias more", 101, 1, refused),
            ("a version as long as is allowed", 1, 500, "rollout-start"),
            ("a version that is one byte longer", 1, 501, refused),
        ] {
            let version = "8".repeat(bytes);
            let aliases: BTreeMap<String, &str> =
                (0..aliases).map(|number| (format!("orders:live{number}"), version.as_str())).collect();
            let command = serde_json::json!({
                "command": "rollout-start", "stage": {"api": "a", "name": "prod"}, "aliases": aliases,
            });
            assert_eq!(described(&command), expected, "{case}");
        }
    }

    #[test]
    fn a_text_for_the_records_becomes_one_line() {
        for (case, word, field) in [
            ("the reason of a rollback", "rollback", "reason"),
            ("the label of a release", "record", "label"),
            ("the note about a release", "record", "note"),
            ("the name of the sender", "status", "who"),
        ] {
            let mut command = serde_json::json!({"command": word, "stage": {"api": "a", "name": "prod"}});
            command[field] = "two\nlines".into();
            let Command { reason, label, note, who, .. } = read(&command).unwrap();
            let texts: Vec<String> = [reason, label, note, who].into_iter().flatten().collect();
            assert_eq!(texts, ["two lines"], "{case}");
        }
    }
}
