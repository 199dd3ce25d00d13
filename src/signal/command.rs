//! Commands: what a person or a pipeline asks of the function directly.

use serde::Deserialize;
use serde_json::Value;

use crate::verdict::Reason;

/// A command, as its JSON event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// What to do.
    #[serde(rename = "command")]
    pub verb: Verb,
    /// With which stage.
    pub stage: StageArg,
    /// `rollback`, `plan`: to this version of the record instead of the newest.
    pub to: Option<i64>,
    /// `rollback`, `plan`: why, for the incident's record.
    pub reason: Option<String>,
    /// `record`: the release's name for people, for example `v1.4.2`.
    pub label: Option<String>,
    /// `record`: a note for the changelog.
    pub note: Option<String>,
    /// Who asks, for the records; the function cannot tell by itself.
    pub who: Option<String>,
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Store the live release as known-good, and pin it.
    Record,
    /// Put the stage back.
    Rollback,
    /// Say what `rollback` would do; write nothing.
    Plan,
    /// Say what is live, what is known-good, and what an alarm would do right now; write nothing.
    Status,
}

impl Verb {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Rollback => "rollback",
            Self::Plan => "plan",
            Self::Status => "status",
        }
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
    let goes_with = |ok: bool, field: &str, given: bool| {
        if ok || !given {
            return Ok(());
        }
        Err(Reason::Malformed(format!("the command has `{field}`, which does not go with it")))
    };
    let rolls = matches!(command.verb, Verb::Rollback | Verb::Plan);
    goes_with(rolls, "to", command.to.is_some())?;
    goes_with(rolls, "reason", command.reason.is_some())?;
    goes_with(command.verb == Verb::Record, "label", command.label.is_some())?;
    goes_with(command.verb == Verb::Record, "note", command.note.is_some())?;
    for text in [&command.label, &command.note, &command.who, &command.reason].into_iter().flatten() {
        // SSM refuses values that hold its own reference syntax, and 8 KB must do for the whole record.
        if text.contains("{{") || text.len() > 500 {
            return Err(Reason::Malformed(
                "label, note, reason and who may each have at most 500 bytes and no `{{`".into(),
            ));
        }
    }
    if command.to.is_some_and(|version| version < 1) {
        return Err(Reason::Malformed("`to` is a version of the record: 1 or more".into()));
    }
    Ok(command)
}
