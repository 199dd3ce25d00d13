//! The trigger of a run: an alarm, the report of a sibling, the sweep, or a command.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};

use super::alarm::Alarm;
use super::sibling::SiblingIncident;

/// The words before the Region in the name of a sibling.
const SIBLING: &str = "sibling in ";

/// Returns who rolled a stage back by itself, by the name that the list of rollbacks has.
#[must_use]
pub fn author(name: &str) -> String {
    name.strip_prefix(SIBLING)
        .map_or_else(|| format!("the alarm `{name}`"), |region| format!("a report of Region {region}"))
}

/// The trigger of a run, as reports and records show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct TriggeredBy {
    /// The kind: `alarm`, `sibling`, `sweep`, the command's word, or `unknown`.
    #[cfg_attr(feature = "cli", schemars(with = "String"))]
    pub kind: TriggerKind,
    /// The alarm's name, the sibling, or the sender of the command.
    pub name: Option<String>,
    /// The alarm's ARN.
    pub arn: Option<String>,
    /// When the alarm changed its state.
    pub changed_at: Option<DateTime<Utc>>,
    /// The reason that CloudWatch or the operator gives.
    pub why: Option<String>,
}

/// The kind of a trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TriggerKind {
    /// An alarm's event.
    Alarm,
    /// The report of a sibling: the function of the same name in another Region.
    Sibling,
    /// A command, or the scheduled `sweep`.
    Command(Verb),
    /// An event that is neither.
    #[default]
    Unknown,
}

impl TriggerKind {
    /// Returns the word for it in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Sibling => "sibling",
            Self::Command(verb) => verb.word(),
            Self::Unknown => "unknown",
        }
    }
}

impl Serialize for TriggerKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// The trigger of a run that has not parsed its event yet.
pub static UNKNOWN: TriggeredBy =
    TriggeredBy { kind: TriggerKind::Unknown, name: None, arn: None, changed_at: None, why: None };

impl TriggeredBy {
    /// Builds the trigger for an alarm's event.
    #[must_use]
    pub fn alarm(alarm: &Alarm) -> Self {
        Self {
            kind: TriggerKind::Alarm,
            name: Some(alarm.name.clone()),
            arn: alarm.arn.clone(),
            changed_at: alarm.changed_at,
            why: Some(alarm.why.clone()).filter(|why| !why.is_empty()),
        }
    }

    /// Builds the trigger for an alarm that the sweep found in ALARM.
    #[must_use]
    pub fn swept_alarm(alarm: &Alarm) -> Self {
        Self { kind: TriggerKind::Command(Verb::Sweep), ..Self::alarm(alarm) }
    }

    /// Builds the trigger for the report of a sibling.
    #[must_use]
    pub fn sibling(incident: &SiblingIncident) -> Self {
        Self::of_region(&incident.bad.region, Some(incident.to_string()))
    }

    /// Builds the trigger for a report of a Region's function, with what it says.
    #[must_use]
    pub fn of_region(region: &str, why: Option<String>) -> Self {
        let name = Some(format!("{SIBLING}{region}"));
        Self { kind: TriggerKind::Sibling, name, why, ..Self::default() }
    }

    /// Builds the trigger for a rollout that removes its own canary, for this reason.
    #[must_use]
    pub fn rollout(why: String) -> Self {
        Self::command(Verb::Advance, Some("rollout".to_owned()), Some(why))
    }

    /// Builds the trigger for a command.
    #[must_use]
    pub fn command(verb: Verb, sender: Option<String>, why: Option<String>) -> Self {
        Self { kind: TriggerKind::Command(verb), name: sender, why, ..Self::default() }
    }

    /// Returns whether an alarm or the sweep triggered the run, and not an operator.
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        matches!(self.kind, TriggerKind::Alarm) || self.is_sweep()
    }

    /// Returns whether the report of a sibling triggered the run.
    #[must_use]
    pub fn is_sibling(&self) -> bool {
        self.kind == TriggerKind::Sibling
    }

    /// Returns the Region of the sibling that triggered the run, if one did.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.name.as_deref()?.strip_prefix(SIBLING).filter(|_| self.is_sibling())
    }

    /// Returns whether the sweep triggered the run.
    #[must_use]
    pub fn is_sweep(&self) -> bool {
        self.kind == TriggerKind::Command(Verb::Sweep)
    }

    /// Returns whether a rollout triggered the run: its schedule did, or its evidence.
    #[must_use]
    pub fn is_rollout(&self) -> bool {
        self.kind == TriggerKind::Command(Verb::Advance)
    }

    /// Returns whether an operator or a pipeline sent a command and reads its answer.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        matches!(self.kind, TriggerKind::Command(_)) && !self.is_sweep() && !self.is_rollout()
    }
}

/// The verb of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Record the live release as known-good and pin it.
    Record,
    /// Promote the candidate now if its alarms are quiet and had data.
    Promote,
    /// Give the live release a label and a note, and mark it reversible or irreversible.
    Announce,
    /// Roll the stage back.
    Rollback,
    /// Report the plan of a `rollback` without writing anything.
    Plan,
    /// Report the live release, the known-good release and the effect of an alarm now, without writing anything.
    Status,
    /// List the known-good releases and the rollbacks between them, without writing anything.
    History,
    /// Keep alarms and the sweep from changing the stage until a given time.
    Hold,
    /// End a hold.
    ReleaseHold,
    /// Take a release out of quarantine.
    Lift,
    /// Begin a rollout of a deployment, or of the canary that is on the stage.
    RolloutStart,
    /// Report where the last rollout stands, without writing anything.
    RolloutStatus,
    /// Let a rollout move no traffic until it is resumed.
    RolloutPause,
    /// Let a paused rollout go on.
    RolloutResume,
    /// Skip the remaining steps of a rollout.
    RolloutPromote,
    /// Remove the canary of a rollout.
    RolloutAbort,
    /// Move every running rollout on. The schedule for rollouts sends this command.
    Advance,
    /// Check every protected stage. The schedule sends this command.
    Sweep,
}

impl Verb {
    /// Returns the word for it in commands and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Promote => "promote",
            Self::Announce => "announce",
            Self::Rollback => "rollback",
            Self::Plan => "plan",
            Self::Status => "status",
            Self::History => "history",
            Self::Hold => "hold",
            Self::ReleaseHold => "release-hold",
            Self::Lift => "lift",
            Self::RolloutStart => "rollout-start",
            Self::RolloutStatus => "rollout-status",
            Self::RolloutPause => "rollout-pause",
            Self::RolloutResume => "rollout-resume",
            Self::RolloutPromote => "rollout-promote",
            Self::RolloutAbort => "rollout-abort",
            Self::Advance => "advance",
            Self::Sweep => "sweep",
        }
    }
}
