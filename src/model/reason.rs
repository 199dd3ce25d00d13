//! The words of every "no": why a run did not act, with the facts that decided it.
//!
//! One enum serves the signal and the observed world alike, so that a report, `explain` and the README
//! speak of the same reasons under the same codes.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::model::alarm::State;

/// What a reason leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing to do, and nothing wrong.
    Ignore,
    /// The signal can never lead to a rollback; somebody should know.
    Reject,
    /// A rollback was possible and was not done.
    Hold,
}

impl Kind {
    /// The word for it in reports and in `explain`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Reject => "reject",
            Self::Hold => "hold",
        }
    }
}

/// What is fixed about a reason. `docs/reasons.md` is generated from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The stable code in reports and in `explain`.
    pub code: &'static str,
    /// What it leads to.
    pub kind: Kind,
    /// What it means, in sentences.
    pub meaning: &'static str,
    /// What an operator does about it; empty if there is nothing to do.
    pub advice: &'static str,
}

/// Why nothing is done, with the facts. `Display` is one sentence without a full stop at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is documented, and its facts are named for what they are")]
pub enum Reason {
    /// The event, a record in it or a message in it cannot be read.
    Malformed(String),
    /// It can be read, and is something else than an alarm or a command.
    NotAnAlarm(String),
    /// EventBridge tells of an alarm's configuration, not of its state.
    NotAStateChange(String),
    /// The alarm's actions are suppressed, by this suppressor or period.
    Suppressed(String),
    /// The alarm is in this state, which is not ALARM.
    NotInAlarm(State),
    /// The alarm watches these namespaces and names no stage.
    NotApiGateway(Vec<String>),
    /// The stage cannot be told, or there is no such stage.
    NoStage(String),
    /// More than one stage could be meant.
    AmbiguousTarget(String),
    /// The alarm or its metric belongs to another account.
    WrongAccount { theirs: String, ours: String },
    /// The alarm belongs to another region.
    WrongRegion { theirs: String, ours: String },
    /// In ALARM only because missing data counts as breaching.
    NoDatapoints,
    /// The state change is too old, in the future, or at an unreadable time.
    Stale { changed_at: Option<DateTime<Utc>>, now: DateTime<Utc>, max_age_seconds: i64 },
    /// By now the alarm is in this state.
    AlarmCleared { alarm: String, state: State },
    /// CloudWatch does not know the alarm, or knows it as one that does not watch this stage.
    AlarmUnknown { alarm: String, why: String },
    /// Somebody switched the alarm's actions off.
    AlarmActionsDisabled { alarm: String },
    /// The stage is neither configured nor recorded.
    NotProtected(String),
    /// There is no usable record of a known-good release.
    NoKnownGood { parameter: String, why: String },
    /// The stage serves its known-good release.
    AlreadyKnownGood { deployment: String, version: i64, by: Option<String> },
    /// The stage was changed after the alarm fired: the new release may be the fix.
    ChangedAfterAlarm { changed_at: DateTime<Utc>, alarm_at: DateTime<Utc> },
    /// The release has been live for too long for the alarm to be about it.
    OutsideWindow { live_since: DateTime<Utc>, window_seconds: i64 },
    /// The live release was recorded or announced as one that cannot be left by going back.
    IrreversibleRelease { deployment: String },
    /// An operator holds the stage, or one of its parameters cannot be read.
    HeldByOperator(String),
    /// The stage was put back a moment ago, or too often.
    Cooldown(String),
    /// The known-good deployment is gone or in quarantine, and no older version serves.
    KnownGoodMissing { deployment: String, parameter: String, version: i64, why: String },
    /// Something that belongs to the release beside its stage does not exist.
    PartMissing(Vec<String>),
    /// CodeDeploy moves an alias that the rollback would move.
    CodeDeployRunning(Vec<String>),
    /// API Gateway deploys every change of the API by itself, and takes no deployment from anybody.
    AutoDeploy(String),
    /// API Gateway manages the stage itself (quick create).
    ManagedStage(String),
    /// `promote` and the sweep: the live release is not proven.
    NotProven(String),
    /// The sweep: the known-good deployment is not kept from being deleted.
    NotPinned(String),
    /// The sweep: the alarm is still in ALARM long after the rollback.
    NotRecovered { alarm: String, rolled_back_at: DateTime<Utc> },
    /// `record`: the live release cannot be a known-good one.
    NotRecordable(String),
    /// The function is set to observe only.
    ObserveMode { deployment: String },
}

const fn entry(code: &'static str, kind: Kind, meaning: &'static str, advice: &'static str) -> Entry {
    Entry { code, kind, meaning, advice }
}

impl Reason {
    /// The one table of reasons: a row for each code.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a table with a row for each reason")]
    pub fn entry(&self) -> Entry {
        match self {
            Self::Malformed(_) => entry(
                "malformed",
                Kind::Reject,
                "The event, a record in it, or a command cannot be read.",
                "find out who sends this to the function",
            ),
            Self::NotAnAlarm(_) => entry(
                "not-an-alarm",
                Kind::Reject,
                "The event is readable, but it is neither an alarm nor a command.",
                "subscribe the function to alarms only, or send a command it knows",
            ),
            Self::NotAStateChange(_) => entry(
                "not-a-state-change",
                Kind::Ignore,
                "EventBridge reports a change of the alarm's configuration, not of its state.",
                "",
            ),
            Self::Suppressed(_) => {
                entry("suppressed", Kind::Ignore, "The actions of the composite alarm are suppressed.", "")
            }
            Self::NotInAlarm(State::InsufficientData) => {
                entry("insufficient-data", Kind::Ignore, "The alarm has too little data to have a state.", "")
            }
            Self::NotInAlarm(State::Ok | State::Alarm) => entry(
                "ok",
                Kind::Ignore,
                "The alarm is OK. If it was rolled back for this alarm, the incident is closed.",
                "",
            ),
            Self::NotApiGateway(_) => entry(
                "not-api-gateway",
                Kind::Ignore,
                "The alarm watches no metric of API Gateway, and its description has no directive.",
                "",
            ),
            Self::NoStage(_) => entry(
                "no-stage",
                Kind::Reject,
                "The alarm names no stage, or the stage does not exist.",
                "see that the alarm names a stage that exists: by the dimensions ApiName and Stage, or by `rollback-target: <api>/<stage>` in its description",
            ),
            Self::AmbiguousTarget(_) => entry(
                "ambiguous-target",
                Kind::Reject,
                "The alarm could mean more than one stage, or two APIs have the same name.",
                "write `rollback-target: <api id>/<stage>` into the alarm's description",
            ),
            Self::WrongAccount { .. } => entry(
                "wrong-account",
                Kind::Reject,
                "The alarm or its metric belongs to another account.",
                "deploy the function in the account of the API and of its alarm",
            ),
            Self::WrongRegion { .. } => entry(
                "wrong-region",
                Kind::Reject,
                "The alarm belongs to another Region.",
                "deploy the function in the region of the API and of its alarm",
            ),
            Self::NoDatapoints => entry(
                "no-datapoints",
                Kind::Hold,
                "Missing data alone put the alarm into ALARM.",
                "set TreatMissingData to notBreaching, and see why the metric has no data",
            ),
            Self::Stale { .. } => entry(
                "stale",
                Kind::Hold,
                "The state change is older than `MaxAlarmAgeSeconds`, in the future, or has no readable time.",
                "look at the alarm; if it is still in ALARM, roll back by hand with the `rollback` command",
            ),
            Self::AlarmCleared { .. } => {
                entry("alarm-cleared", Kind::Hold, "The alarm has left ALARM since the message was sent.", "")
            }
            Self::AlarmUnknown { .. } => entry(
                "alarm-unknown",
                Kind::Hold,
                "CloudWatch does not have the alarm, or has it as an alarm that does not watch this stage.",
                "see who published this message, and that the alarm still exists",
            ),
            Self::AlarmActionsDisabled { .. } => entry(
                "alarm-actions-disabled",
                Kind::Hold,
                "The actions of the alarm are disabled.",
                "enable the alarm's actions when the work on it is done",
            ),
            Self::NotProtected(_) => entry(
                "not-protected",
                Kind::Hold,
                "The stage is neither in the settings nor recorded.",
                "add the stage to PROTECTED_STAGES, or send a `record` command for it, if it is to be protected",
            ),
            Self::NoKnownGood { .. } => entry(
                "no-known-good",
                Kind::Hold,
                "There is no known-good record, or it is unusable. The report names the parameter.",
                "bring the stage to a good release and send a `record` command; a parameter that cannot be used must be deleted first",
            ),
            Self::AlreadyKnownGood { .. } => entry(
                "already-known-good",
                Kind::Hold,
                "The stage serves its known-good release. Another run may have rolled it back a moment ago.",
                "if the alarm stays, the release is not the cause: look at what is behind the API",
            ),
            Self::ChangedAfterAlarm { .. } => entry(
                "changed-after-alarm",
                Kind::Hold,
                "The stage changed after the alarm fired. The change may be the fix.",
                "see whether the new release cures it; if not, send a `rollback` command",
            ),
            Self::OutsideWindow { .. } => entry(
                "outside-window",
                Kind::Hold,
                "The release has been live for longer than the rollback window, so a deployment is not the likely cause.",
                "look behind the API: this release has served for long; send a `rollback` command if it is the cause",
            ),
            Self::IrreversibleRelease { .. } => entry(
                "irreversible-release",
                Kind::Hold,
                "The live release is marked irreversible.",
                "go forward with a fix; only if going back is safe, send a `rollback` command with `force`",
            ),
            Self::HeldByOperator(_) => entry(
                "held-by-operator",
                Kind::Hold,
                "An operator holds the stage, or one of its parameters (`hold`, `policy`, `candidate`, `rollbacks`) cannot be read.",
                "send a `release-hold` command when the work is done; a parameter that cannot be read must be corrected or deleted",
            ),
            Self::Cooldown(_) => entry(
                "cooldown",
                Kind::Hold,
                "The stage was rolled back a moment ago, or too often in 24 hours.",
                "find out why going back did not help; a `rollback` command is not bound by this",
            ),
            Self::PartMissing(_) => entry(
                "part-missing",
                Kind::Hold,
                "A component of the release (alias, function version, domain or mapping) does not exist.",
                "correct the list of aliases and mappings, or let its policy say `missing_parts: skip` to go back without them",
            ),
            Self::CodeDeployRunning(_) => entry(
                "codedeploy-running",
                Kind::Hold,
                "A running CodeDeploy deployment moves an alias of the release.",
                "let CodeDeploy finish, or stop its deployment so that it rolls the alias back itself",
            ),
            Self::AutoDeploy(_) => entry(
                "auto-deploy",
                Kind::Hold,
                "AutoDeploy is on, so API Gateway accepts no other deployment.",
                "deploy the API's last good version, or switch AutoDeploy off; with `auto_deploy: switch-off` in the stage's policy a rollback does that",
            ),
            Self::ManagedStage(_) => entry(
                "managed-stage",
                Kind::Hold,
                "API Gateway manages the stage (quick create), so nobody can change it.",
                "a stage made by quick create cannot be changed: make a stage of your own and map traffic to it",
            ),
            Self::NotProven(_) => entry(
                "not-proven",
                Kind::Hold,
                "`promote` and the sweep: the live release is not proven yet. The report says what is missing.",
                "",
            ),
            Self::NotPinned(_) => entry(
                "not-pinned",
                Kind::Hold,
                "The sweep cannot pin the known-good deployment.",
                "remove what stands in the way: until then a deploy may delete the way back",
            ),
            Self::NotRecovered { .. } => entry(
                "not-recovered",
                Kind::Hold,
                "The alarm is still in ALARM long after the rollback.",
                "the release was not the cause, or not the only one: look behind the API",
            ),
            Self::KnownGoodMissing { .. } => entry(
                "known-good-missing",
                Kind::Hold,
                "The known-good deployment does not exist or is in quarantine, and no older version can serve.",
                "deploy the last good version anew, record it, and keep pinning on so that its deployment stays",
            ),
            Self::NotRecordable(_) => entry(
                "not-recordable",
                Kind::Reject,
                "`record`: the live release has a canary, its deployment does not exist, or the record does not fit a parameter.",
                "bring the stage to a whole release, then record it",
            ),
            Self::ObserveMode { .. } => entry(
                "observe-mode",
                Kind::Hold,
                "`MODE` is `observe`: the function reports what it would do.",
                "set MODE to enforce to let the function act",
            ),
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.entry().code
    }

    /// What it leads to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.entry().kind
    }

    /// What an operator does about it; empty if there is nothing to do.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        self.entry().advice
    }
}

impl fmt::Display for Reason {
    #[expect(clippy::too_many_lines, reason = "a table with a row for each reason")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what)
            | Self::NotAnAlarm(what)
            | Self::NoStage(what)
            | Self::AmbiguousTarget(what)
            | Self::NotProtected(what)
            | Self::HeldByOperator(what)
            | Self::Cooldown(what)
            | Self::NotProven(what)
            | Self::NotPinned(what)
            | Self::NotRecordable(what) => f.write_str(what),
            Self::PartMissing(what) => write!(f, "not all of the release is there: {}", what.join("; ")),
            Self::CodeDeployRunning(aliases) => {
                write!(f, "a running CodeDeploy deployment moves {}", aliases.join(", "))
            }
            Self::AutoDeploy(stage) => {
                write!(
                    f,
                    "{stage} deploys every change by itself (AutoDeploy), and takes no other deployment"
                )
            }
            Self::ManagedStage(stage) => write!(f, "{stage} is managed by API Gateway (quick create)"),
            Self::NotAStateChange(what) => write!(f, "the event tells of `{what}`, not of a change of state"),
            Self::Suppressed(by) => write!(f, "the alarm's actions are suppressed by `{by}`"),
            Self::NotInAlarm(state) => write!(f, "the alarm is {state}"),
            Self::NotApiGateway(namespaces) => {
                write!(f, "the alarm watches {} and names no stage", namespaces.join(", "))
            }
            Self::WrongAccount { theirs, ours } => {
                write!(f, "the alarm belongs to account `{theirs}`, this function to `{ours}`")
            }
            Self::WrongRegion { theirs, ours } => {
                write!(f, "the alarm belongs to region `{theirs}`, this function to `{ours}`")
            }
            Self::NoDatapoints => f.write_str("the alarm has no datapoints: missing data alone made it fire"),
            Self::Stale { changed_at, now, max_age_seconds } => {
                f.write_str(&stale(*changed_at, *now, *max_age_seconds))
            }
            Self::AlarmCleared { alarm, state } => write!(f, "the alarm `{alarm}` is {state} by now"),
            Self::AlarmUnknown { alarm, why } => write!(f, "the alarm `{alarm}` {why}"),
            Self::AlarmActionsDisabled { alarm } => {
                write!(f, "the actions of the alarm `{alarm}` are disabled")
            }
            Self::NoKnownGood { parameter, why } => write!(f, "the parameter `{parameter}` {why}"),
            Self::AlreadyKnownGood { deployment, version, by } => {
                write!(f, "the stage serves its known-good deployment `{deployment}` (version {version})")?;
                by.as_ref().map_or(Ok(()), |by| write!(f, ": {by}"))
            }
            Self::ChangedAfterAlarm { changed_at, alarm_at } => write!(
                f,
                "the stage was changed at {}, after the alarm fired at {}",
                stamp(*changed_at),
                stamp(*alarm_at)
            ),
            Self::OutsideWindow { live_since, window_seconds } => write!(
                f,
                "the release is live since {}, longer than the rollback window of {window_seconds} s",
                stamp(*live_since)
            ),
            Self::IrreversibleRelease { deployment } => {
                write!(f, "the live release (deployment `{deployment}`) is marked as not reversible")
            }
            Self::NotRecovered { alarm, rolled_back_at } => write!(
                f,
                "the alarm `{alarm}` is still in ALARM, though the stage was put back at {}",
                stamp(*rolled_back_at)
            ),
            Self::KnownGoodMissing { deployment, parameter, version, why } => write!(
                f,
                "the known-good deployment `{deployment}` (parameter `{parameter}`, version {version}) {why}"
            ),
            Self::ObserveMode { deployment } => {
                write!(f, "in enforce mode the stage would be put back on deployment `{deployment}`")
            }
        }
    }
}

fn stale(changed_at: Option<DateTime<Utc>>, now: DateTime<Utc>, max_age_seconds: i64) -> String {
    let Some(at) = changed_at else {
        return "the time of the alarm's state change cannot be read".to_owned();
    };
    let age = now.signed_duration_since(at).num_seconds();
    format!(
        "the alarm changed at {}, {age} s before now ({}); at most {max_age_seconds} s are allowed",
        stamp(at),
        stamp(now)
    )
}

/// A time as people and programs read it: RFC 3339, UTC, whole milliseconds where there are any.
#[must_use]
pub fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
