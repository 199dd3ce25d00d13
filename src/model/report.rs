//! The report: the one value in which every run ends. The log line and the JSON answer are built from it.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use crate::model::cloud_error::CloudError;
use crate::model::guilt::Finding;
use crate::model::observed::OnRecord;
use crate::model::plain;
use crate::model::plan::Plan;
use crate::model::reason::{Kind, Reason};
use crate::model::release::Release;
use crate::model::sibling::BadRelease;
use crate::model::stage::StageRef;
use crate::model::status::{HistoryEntry, RolloutStatus, StageStatus};
use crate::model::trigger::TriggeredBy;

/// The outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// The run rolled the stage back.
    RolledBack,
    /// `plan`: a `rollback` would roll the stage back.
    WouldRollBack,
    /// `record`: the run recorded the live release as known-good.
    Recorded,
    /// `status`: the details contain the facts.
    Status,
    /// The sweep or `promote`: the live release is now known-good.
    Promoted,
    /// The alarm is OK again after a rollback.
    Recovered,
    /// A rollout began.
    RolloutStarted,
    /// The canary of a rollout got its next share of the traffic.
    RolloutStep,
    /// A rollout waits until an operator resumes or aborts it.
    RolloutPaused,
    /// A rollout is complete: the stage serves the new release.
    RolloutPromoted,
    /// A rollout ended without its release.
    RolloutAborted,
    /// The sweep is complete. Each of its actions has a report of its own.
    Swept,
    /// The run carried out a command.
    Done,
    /// A rollback would fail, or did not help: an operator must check the stage.
    Attention,
    /// A rollback was possible, but the run did not carry it out.
    Held,
    /// The signal or command can never have an effect.
    Rejected,
    /// Nothing needs to be done.
    Ignored,
    /// AWS refused a call or did not answer. A retry may help.
    Failed,
    /// The stage has neither its old nor its intended state: an operator must act.
    NeedsHuman,
}

impl Outcome {
    /// Returns the word for it in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled-back",
            Self::WouldRollBack => "would-roll-back",
            Self::Recorded => "recorded",
            Self::Status => "status",
            Self::Promoted => "promoted",
            Self::Recovered => "recovered",
            Self::RolloutStarted => "rollout-started",
            Self::RolloutStep => "rollout-step",
            Self::RolloutPaused => "rollout-paused",
            Self::RolloutPromoted => "rollout-promoted",
            Self::RolloutAborted => "rollout-aborted",
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

    /// Returns whether Lambda is to treat the run as failed, for its retries and the dead-letter queue.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::NeedsHuman)
    }
}

/// The result of one run, and the reason for it.
#[must_use = "every run must be reported"]
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Report {
    /// The report's schema.
    pub schema: u32,
    /// The id of the run: Lambda's request id.
    pub run: String,
    /// The id of the run's trace in X-Ray.
    pub trace: Option<String>,
    /// When the run ended.
    pub at: DateTime<Utc>,
    /// The outcome.
    pub outcome: Outcome,
    /// Why the run did nothing, as a stable code.
    #[serde(serialize_with = "as_code")]
    #[cfg_attr(feature = "cli", schemars(with = "Option<String>"))]
    pub reason: Option<Reason>,
    /// The result, in one sentence.
    pub message: String,
    /// The next steps for an operator.
    pub next: Vec<String>,
    /// The trigger.
    pub signal: TriggeredBy,
    /// The stage, once it is known.
    pub stage: Option<StageRef>,
    /// The name of the stage's API, if known.
    pub api_name: Option<String>,
    /// The Region of the function and of the stages that it protects.
    pub region: Option<String>,
    /// The release before the run.
    pub before: Option<Release>,
    /// The label of the release before the run, if it has one.
    pub before_label: Option<String>,
    /// The release after the run; for a plan, the release after its rollback.
    pub after: Option<Release>,
    /// The label of the release after the run, if it has one.
    pub after_label: Option<String>,
    /// The version of the known-good record that the run used or wrote.
    pub version: Option<i64>,
    /// The parameter with the incident's record.
    pub incident: Option<String>,
    /// Since when the bad release was live; for a recovered stage, the time of the rollback; for a sweep, the time of
    /// the sweep before it.
    pub since: Option<DateTime<Utc>>,
    /// Seconds from the alarm's state change to the end of the run.
    pub seconds_since_alarm: Option<f64>,
    /// Whether another run handled the same incident a moment ago, so that no notification is needed.
    #[serde(skip)]
    pub handled: bool,
    /// The key that reports of the same news share. The function notifies operators once for each key.
    #[serde(skip)]
    pub notification_key: Option<String>,
    /// What only the message for people needs.
    #[serde(skip)]
    pub people: ForPeople,
    /// What the test of guilt found about the requests of the live release, if they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Finding>,
    /// The release that this run found bad, as the functions in other Regions recognize it. Absent if there are none, or if one
    /// of them led to this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad: Option<BadRelease>,
    /// Problems besides the result.
    pub warnings: Vec<String>,
    /// `status`, `history` and the sweep: the facts.
    #[cfg_attr(feature = "cli", schemars(with = "Option<serde_json::Value>"))]
    pub details: Option<Details>,
}

/// What only the message for people needs, and programs find elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForPeople {
    /// The known-good release on record, by its name; `None` if there is none, if it is live, or if the run did not read it.
    pub known_good: Option<String>,
    /// When the stage was rolled back, for a rollback and for a recovery.
    pub rolled_back_at: Option<DateTime<Utc>>,
    /// Whether the sweep makes the report, because the run that rolled the stage back died before it could.
    pub is_late: bool,
    /// The alarm that a recovery is about.
    pub alarm: Option<String>,
    /// The live release by its name, if an alarm accused it and the run could not roll it back.
    pub live: Option<String>,
    /// What a sweep looks after, for a report that is about no single stage.
    pub scope: Option<String>,
    /// The rollout that the report is about, by the id of the run that started it.
    pub rollout: Option<String>,
    /// Whether the rollout was ended for its own sake: nobody overtook it, and no rollback ended it.
    pub is_abort: bool,
    /// Whether the report of a sibling led to the rollback.
    pub by_sibling: bool,
}

/// The facts that a report carries.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Details {
    /// `status`.
    Status(Box<StageStatus>),
    /// `history`, newest first.
    History(Vec<HistoryEntry>),
    /// The sweep, and `advance`: the state of each stage.
    Sweep(Vec<SweptStage>),
    /// `rollout-status`.
    Rollout(Box<RolloutStatus>),
}

/// The state of a stage after a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SweptStage {
    /// The stage.
    pub stage: String,
    /// The state, in a few words.
    pub state: String,
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn as_code<S: Serializer>(reason: &Option<Reason>, serializer: S) -> Result<S::Ok, S::Error> {
    reason.as_ref().map(Reason::code).serialize(serializer)
}

/// The longest message, in characters. It quotes AWS and events, and must fit into a notification (`Publish` and
/// `PutEvents` accept 256 KB).
const MAX_MESSAGE: usize = 4_000;

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE) {
        text.truncate(end);
        text.push_str(" (truncated)");
    }
    text
}

impl Report {
    /// Builds a report with this outcome, for the caller to complete.
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
            message: cut(plain::into_line(message)),
            next: vec![],
            signal: signal.clone(),
            stage: None,
            api_name: None,
            region: None,
            before: None,
            before_label: None,
            after: None,
            after_label: None,
            version: None,
            incident: None,
            since: None,
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of minutes fit a float exactly")]
            seconds_since_alarm: since.map(|since| since.num_milliseconds() as f64 / 1000.0),
            handled: false,
            notification_key: None,
            people: ForPeople::default(),
            test: None,
            bad: None,
            warnings: vec![],
            details: None,
        }
    }

    /// Builds the report of a run that did nothing, for this reason.
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

    /// Builds the report of a run in which a call failed.
    pub fn failed(run: &str, at: DateTime<Utc>, signal: &TriggeredBy, error: &CloudError) -> Self {
        Self {
            next: Some(error.advice().to_owned()).filter(|advice| !advice.is_empty()).into_iter().collect(),
            ..Self::new(run, at, signal, Outcome::Failed, error.to_string())
        }
    }

    fn because(self, reason: Reason) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// Returns the code of the reason, if the run did nothing.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        self.reason.as_ref().map(Reason::code)
    }

    /// Sets the stage.
    pub fn on(self, stage: &StageRef) -> Self {
        Self { stage: Some(stage.clone()), ..self }
    }

    /// Sets the stage, the releases and the version of a plan.
    pub fn with_plan(self, plan: &Plan) -> Self {
        Self {
            before: Some(plan.from.clone()),
            after: Some(plan.to.clone()),
            version: Some(plan.version),
            ..self.on(&plan.stage)
        }
    }

    /// Names the API and the releases by what is on record.
    pub fn named(mut self, on_record: &OnRecord) -> Self {
        let label = |release: &Option<Release>| on_record.label(release.as_ref()?).map(str::to_owned);
        self.before_label = self.before_label.take().or_else(|| label(&self.before));
        self.after_label = self.after_label.take().or_else(|| label(&self.after));
        if let Some((_, record)) = on_record.good() {
            self.api_name = self.api_name.take().or_else(|| record.api_name.clone());
            let is_live = self.before.as_ref().is_some_and(|live| record.release.over(live) == *live);
            let name = release_name(&record.release, record.label.as_deref());
            self.people.known_good = Some(name).filter(|_| !is_live);
        }
        self
    }

    /// Returns the JSON schema of reports, as the function sends them to queues, functions and event buses.
    #[cfg(feature = "cli")]
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

/// Returns the name of a release for people: its label where it has one, and its deployment.
#[must_use]
pub fn release_name(release: &Release, label: Option<&str>) -> String {
    let Release { deployment, .. } = release;
    label.map_or_else(|| format!("deployment {deployment}"), |label| format!("{label} ({deployment})"))
}
