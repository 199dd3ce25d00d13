//! Commands: what a person, a pipeline or the schedule asks of the function directly.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::model::reason::Reason;
use crate::model::trigger::Verb;
use crate::signal::target::is_stage_name;

/// The longest text of a command, in bytes.
const MAX_TEXT: usize = 500;

/// A command, as its JSON event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// What to do.
    #[serde(rename = "command")]
    pub verb: Verb,
    /// With which stage; every command but `sweep` is about one.
    pub stage: Option<StageArg>,
    /// To this version of the record instead of the newest.
    pub to: Option<i64>,
    /// Go back even from a release that is marked as not reversible.
    pub force: Option<bool>,
    /// Why, for the records.
    pub reason: Option<String>,
    /// The release's name for people, for example `v1.4.2`.
    pub label: Option<String>,
    /// A note for the changelog.
    pub note: Option<String>,
    /// `false` marks the release as one that cannot be left by going back, as after a data migration.
    pub reversible: Option<bool>,
    /// When a hold ends by itself.
    pub until: Option<DateTime<Utc>>,
    /// The fingerprint of the release to take out of quarantine.
    pub incident: Option<String>,
    /// Who asks, for the records; the function cannot tell by itself.
    pub who: Option<String>,
}

/// The fields that go with it, beside `stage` and `who`; those it cannot do without come first.
fn fields_of(verb: Verb) -> (&'static [&'static str], &'static [&'static str]) {
    match verb {
        Verb::Record | Verb::Announce => (&[], &["label", "note", "reversible"]),
        Verb::Rollback | Verb::Plan => (&[], &["to", "force", "reason"]),
        Verb::Hold => (&["until"], &["reason"]),
        Verb::Lift => (&["incident"], &["reason"]),
        Verb::Promote | Verb::Status | Verb::History | Verb::ReleaseHold | Verb::Sweep => (&[], &[]),
    }
}

/// A stage as a person names it.
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
    for field in ["to", "force", "reason", "label", "note", "reversible", "until", "incident"] {
        if given(field) && !needed.contains(&field) && !allowed.contains(&field) {
            return refuse(format!("the command `{word}` has `{field}`, which does not go with it"));
        }
    }
    if let Some(field) = needed.iter().find(|field| !given(field)) {
        return refuse(format!("the command `{word}` needs `{field}`"));
    }
    if given("stage") == (command.verb == Verb::Sweep) {
        return refuse(format!(
            "the command `{word}` {} stage",
            if given("stage") { "takes no" } else { "needs a" }
        ));
    }
    if let Some(stage) = &command.stage
        && (stage.api.is_empty() || !is_stage_name(&stage.name))
    {
        return refuse("`stage` is an API's id or name, and the name of a stage".to_owned());
    }
    let Command { reason, label, note, incident, who, .. } = &command;
    for text in [reason, label, note, incident, who].into_iter().flatten() {
        // 8 KB must do for the whole record.
        if text.len() > MAX_TEXT {
            return refuse(format!("a text of a command may have at most {MAX_TEXT} bytes"));
        }
    }
    if command.to.is_some_and(|version| version < 1) {
        return refuse("`to` is a version of the record: 1 or more".to_owned());
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 8] = ["to", "force", "reason", "label", "note", "reversible", "until", "incident"];

    fn value(field: &str) -> Value {
        match field {
            "to" => 1.into(),
            "force" | "reversible" => true.into(),
            "until" => "2026-11-20T12:00:00Z".into(),
            _ => "text".into(),
        }
    }

    fn described(command: &Value) -> String {
        read(command).map_or_else(|reason| reason.to_string(), |command| command.verb.word().to_owned())
    }

    #[test]
    fn a_command_takes_its_own_fields_and_no_others() {
        for (word, needs, may) in [
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
            ("sweep", "", ""),
        ] {
            let mut command = serde_json::json!({"command": word, "who": "me"});
            if word != "sweep" {
                assert_eq!(described(&command), told_of_fields(word, needs, "needs a stage"));
                command["stage"] = serde_json::json!({"api": "a", "name": "prod"});
            }
            if !needs.is_empty() {
                assert_eq!(described(&command), format!("the command `{word}` needs `{needs}`"));
                command[needs] = value(needs);
            }
            assert_eq!(described(&command), word);
            for field in ALL.into_iter().filter(|field| *field != needs) {
                let mut command = command.clone();
                command[field] = value(field);
                let taken = may.split(' ').any(|one| one == field);
                let refused = format!("the command `{word}` has `{field}`, which does not go with it");
                assert_eq!(described(&command), if taken { word.to_owned() } else { refused });
                command[field] = Value::Null;
                assert_eq!(described(&command), word, "`{field}` is null");
            }
        }
    }

    fn told_of_fields(word: &str, needs: &str, otherwise: &str) -> String {
        let lacks = if needs.is_empty() { otherwise.to_owned() } else { format!("needs `{needs}`") };
        format!("the command `{word}` {lacks}")
    }

    #[test]
    fn a_command_that_cannot_be_meant_is_refused_with_its_reason() {
        let stage = serde_json::json!({"api": "a", "name": "prod"});
        let no_stage = "`stage` is an API's id or name, and the name of a stage";
        for (word, field, value, expected) in [
            ("sweep", "stage", stage, "the command `sweep` takes no stage"),
            ("status", "stage", serde_json::json!({"api": "", "name": "prod"}), no_stage),
            ("status", "stage", serde_json::json!({"api": "a", "name": "a/b"}), no_stage),
            ("status", "stage", serde_json::json!({"api": "a", "name": ""}), no_stage),
            ("status", "stage", serde_json::json!({"api": "a", "name": "$default"}), "status"),
            ("rollback", "to", 0.into(), "`to` is a version of the record: 1 or more"),
            ("rollback", "to", (-1).into(), "`to` is a version of the record: 1 or more"),
            ("rollback", "to", 1.into(), "rollback"),
            ("rollback", "reason", "x".repeat(500).into(), "rollback"),
            ("rollback", "reason", "x".repeat(501).into(), "a text of a command may have at most 500 bytes"),
            ("record", "label", "x".repeat(501).into(), "a text of a command may have at most 500 bytes"),
            ("record", "who", "x".repeat(501).into(), "a text of a command may have at most 500 bytes"),
        ] {
            let mut command = serde_json::json!({"command": word, "stage": {"api": "a", "name": "prod"}});
            command[field] = value;
            assert_eq!(described(&command), expected, "{command:.200}");
        }
        let unknown = described(&serde_json::json!({"command": "status", "stages": []}));
        assert!(unknown.starts_with("the command cannot be read: unknown field `stages`"), "{unknown}");
    }
}
