//! The one value that every run ends in. The log line and the JSON answer are both made from it.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::model::cloud_error::CloudError;
use crate::model::plan::Plan;
use crate::model::reason::{Kind, Reason};
use crate::model::release::Release;
use crate::model::stage::StageRef;
use crate::model::status::{HistoryEntry, StageStatus};
use crate::model::trigger::TriggeredBy;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// The stage was put back.
    RolledBack,
    /// `plan`: `rollback` would put it back.
    WouldRollBack,
    /// `record`: the release is recorded.
    Recorded,
    /// `status`: see the details.
    Status,
    /// The sweep, or `promote`: the live release is known-good from now on.
    Promoted,
    /// The alarm is OK again after a rollback.
    Recovered,
    /// The sweep went through; what it did is in reports of their own.
    Swept,
    /// A command was carried out.
    Done,
    /// The safety net has a hole, or did not help: somebody must look.
    Attention,
    /// A rollback was thinkable and was not done.
    Held,
    /// The signal can never lead to anything.
    Rejected,
    /// Nothing to do.
    Ignored,
    /// AWS said no or did not answer; trying again may help.
    Failed,
    /// The stage is neither as it was nor as it should be.
    NeedsHuman,
}

impl Outcome {
    /// The word for it in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled-back",
            Self::WouldRollBack => "would-roll-back",
            Self::Recorded => "recorded",
            Self::Status => "status",
            Self::Promoted => "promoted",
            Self::Recovered => "recovered",
            Self::Swept => "swept",
            Self::Done => "done",
            Self::Attention => "attention",
            Self::Held => "held",
            Self::Rejected => "rejected",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
            Self::NeedsHuman => "needs-human",
        }
    }

    /// Whether the run is handed back to Lambda, for its retries and the dead-letter queue.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::NeedsHuman)
    }
}

/// What happened in one run, and why.
#[must_use = "every run is reported"]
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Report {
    /// The report's schema.
    pub schema: u32,
    /// The run: Lambda's request id.
    pub run: String,
    /// The run's trace in X-Ray.
    pub trace: Option<String>,
    /// When the run ended.
    pub at: DateTime<Utc>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why nothing was done, as a stable code.
    #[serde(serialize_with = "as_code")]
    #[cfg_attr(feature = "cli", schemars(with = "Option<String>"))]
    pub reason: Option<Reason>,
    /// What happened, in one sentence.
    pub message: String,
    /// What a person does next.
    pub next: Vec<String>,
    /// What called.
    pub signal: TriggeredBy,
    /// The stage, once it is known.
    pub stage: Option<StageRef>,
    /// The release before the run.
    pub before: Option<Release>,
    /// The release after the run; for a plan, the one there would be.
    pub after: Option<Release>,
    /// The version of the known-good record that was used or written.
    pub version: Option<i64>,
    /// The parameter with the incident's record.
    pub incident: Option<String>,
    /// Since when what the run found has been so: the release that was taken off live, a recovered stage back, the
    /// last sweep over.
    pub since: Option<DateTime<Utc>>,
    /// Seconds from the alarm's state change to the end of the run.
    pub seconds_since_alarm: Option<f64>,
    /// Whether another run dealt with the same a moment ago, so that nobody needs to hear of this one.
    #[serde(skip)]
    pub handled: bool,
    /// What this report has in common with others of the same news, of which people hear once.
    #[serde(skip)]
    pub notification_key: Option<String>,
    /// What went wrong beside the main thing.
    pub warnings: Vec<String>,
    /// `status`, `history` and the sweep: the facts.
    #[cfg_attr(feature = "cli", schemars(with = "Option<Value>"))]
    pub details: Option<Details>,
}

/// The facts that a report carries.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Details {
    /// `status`.
    Status(Box<StageStatus>),
    /// `history`, newest first.
    History(Vec<HistoryEntry>),
    /// The sweep: how each stage stands.
    Sweep(Vec<SweptStage>),
}

/// How a stage stands after a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SweptStage {
    /// The stage.
    pub stage: String,
    /// In a few words, how it stands.
    pub state: String,
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn as_code<S: Serializer>(reason: &Option<Reason>, serializer: S) -> Result<S::Ok, S::Error> {
    reason.as_ref().map(Reason::code).serialize(serializer)
}

/// The longest message, in characters: what AWS and events say goes into it, and people and programs are to get it
/// whole (`Publish` and `PutEvents` take 256 KB).
const MAX_MESSAGE: usize = 4_000;

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE) {
        text.truncate(end);
        text.push_str(" (cut off here)");
    }
    text
}

impl Report {
    /// A report of this outcome, to be filled in.
    pub fn new(
        run: &str,
        at: DateTime<Utc>,
        signal: &TriggeredBy,
        outcome: Outcome,
        message: String,
    ) -> Self {
        let since = signal.changed_at.map(|changed| at.signed_duration_since(changed));
        Self {
            schema: 1,
            run: run.to_owned(),
            trace: None,
            at,
            outcome,
            reason: None,
            message: cut(message),
            next: vec![],
            signal: signal.clone(),
            stage: None,
            before: None,
            after: None,
            version: None,
            incident: None,
            since: None,
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of minutes fit a float exactly")]
            seconds_since_alarm: since.map(|since| since.num_milliseconds() as f64 / 1000.0),
            handled: false,
            notification_key: None,
            warnings: vec![],
            details: None,
        }
    }

    /// The report of doing nothing, for a reason.
    pub fn no(run: &str, at: DateTime<Utc>, signal: &TriggeredBy, reason: Reason) -> Self {
        let outcome = match reason.kind() {
            Kind::Ignore => Outcome::Ignored,
            Kind::Reject => Outcome::Rejected,
            Kind::Hold => Outcome::Held,
        };
        Self {
            next: Some(reason.advice().to_owned()).filter(|advice| !advice.is_empty()).into_iter().collect(),
            ..Self::new(run, at, signal, outcome, reason.to_string())
        }
        .because(reason)
    }

    /// The report of a call that failed.
    pub fn failed(run: &str, at: DateTime<Utc>, signal: &TriggeredBy, error: &CloudError) -> Self {
        Self {
            next: Some(error.advice().to_owned()).filter(|advice| !advice.is_empty()).into_iter().collect(),
            ..Self::new(run, at, signal, Outcome::Failed, error.to_string())
        }
    }

    fn because(self, reason: Reason) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// The code of the reason, where nothing was done.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        self.reason.as_ref().map(Reason::code)
    }

    /// The same, about this stage.
    pub fn on(self, stage: &StageRef) -> Self {
        Self { stage: Some(stage.clone()), ..self }
    }

    /// The same, with what a plan changes.
    pub fn with_plan(self, plan: &Plan) -> Self {
        Self {
            before: Some(plan.from.clone()),
            after: Some(plan.to.clone()),
            version: Some(plan.version),
            ..self.on(&plan.stage)
        }
    }

    /// The JSON schema of reports, as they are sent to queues, functions and event buses.
    #[cfg(feature = "cli")]
    #[must_use]
    pub fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}
