//! The one value that every run ends in. The log line and the JSON answer are both made from it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::cloud::CloudError;
use crate::model::alarm::Alarm;
use crate::model::plan::Plan;
use crate::model::reason::{Kind, Reason};
use crate::model::release::{Release, StageRef};

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
    /// The code of the verdict, where nothing was done.
    pub reason: Option<&'static str>,
    /// What happened, in one sentence.
    pub message: String,
    /// What a person does next.
    pub next: Vec<String>,
    /// What called.
    pub signal: Caller,
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
    pub news: Option<String>,
    /// What went wrong beside the main thing.
    pub warnings: Vec<String>,
    /// `status`: the facts.
    pub details: Option<Value>,
}

/// What called.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Caller {
    /// `alarm`, the command's word, or `unknown`.
    pub kind: String,
    /// The alarm's name, or who sent the command.
    pub name: Option<String>,
    /// The alarm's ARN.
    pub arn: Option<String>,
    /// When the alarm changed its state.
    pub changed_at: Option<DateTime<Utc>>,
    /// CloudWatch's or the person's reason.
    pub why: Option<String>,
}

impl Caller {
    /// An alarm.
    #[must_use]
    pub fn alarm(alarm: &Alarm) -> Self {
        Self {
            kind: "alarm".to_owned(),
            name: Some(alarm.name.clone()),
            arn: alarm.arn.clone(),
            changed_at: alarm.changed_at,
            why: Some(alarm.why.clone()).filter(|why| !why.is_empty()),
        }
    }

    /// Whether an alarm led here, by its event or found by the sweep; else a person did.
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        self.kind == "alarm" || self.kind == "sweep"
    }

    /// Something unreadable.
    #[must_use]
    pub fn unknown() -> Self {
        Self { kind: "unknown".to_owned(), ..Self::default() }
    }
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
    pub fn new(run: &str, at: DateTime<Utc>, signal: &Caller, outcome: Outcome, message: String) -> Self {
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
            news: None,
            warnings: vec![],
            details: None,
        }
    }

    /// The report of doing nothing, for a reason.
    pub fn no(run: &str, at: DateTime<Utc>, signal: &Caller, reason: &Reason) -> Self {
        let outcome = match reason.kind() {
            Kind::Ignore => Outcome::Ignored,
            Kind::Reject => Outcome::Rejected,
            Kind::Hold | Kind::Lookup | Kind::Act => Outcome::Held,
        };
        Self {
            reason: Some(reason.code()),
            next: Some(reason.advice().to_owned()).filter(|advice| !advice.is_empty()).into_iter().collect(),
            ..Self::new(run, at, signal, outcome, reason.to_string())
        }
    }

    /// The report of a call that failed.
    pub fn failed(run: &str, at: DateTime<Utc>, signal: &Caller, error: &CloudError) -> Self {
        Self {
            next: Some(error.advice().to_owned()).filter(|advice| !advice.is_empty()).into_iter().collect(),
            ..Self::new(run, at, signal, Outcome::Failed, error.to_string())
        }
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

    /// Writes the run's one log line: the few fields to search by, and the whole as JSON.
    pub fn log(&self) {
        // The command-line tool prints its reports itself.
        if !tracing::enabled!(tracing::Level::ERROR) {
            return;
        }
        let whole = serde_json::to_string(self).unwrap_or_else(|error| error.to_string());
        let outcome = serde_json::to_value(self.outcome).unwrap_or_default();
        let outcome = outcome.as_str().unwrap_or_default();
        let stage = self.stage.as_ref().map(ToString::to_string).unwrap_or_default();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (alarm, trace, incident) = (text(&self.signal.name), text(&self.trace), text(&self.incident));
        let reason = self.reason.unwrap_or_default();
        let Self { run, message: what, .. } = self;
        if self.outcome.is_failure() {
            tracing::error!(
                outcome,
                reason,
                stage,
                alarm,
                incident,
                run,
                trace,
                what,
                report = whole,
                "report"
            );
        } else {
            tracing::info!(
                outcome,
                reason,
                stage,
                alarm,
                incident,
                run,
                trace,
                what,
                report = whole,
                "report"
            );
        }
    }
}
