//! The reasons why a run did not act, with the facts behind them.
//!
//! One enum covers the signal and the observed state, so reports, `explain` and the documents use the same codes.

mod kind;
mod text;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};

use crate::model::alarm::State;
use crate::model::record_fault::RecordFault;

use kind::entry;
pub use kind::{Entry, Kind};

/// Why an alarm is unknown: CloudWatch does not have it. Its name may be made up.
pub const NO_SUCH_ALARM: &str = "does not exist in this account and Region";

const NO_STAGE: &str = "The alarm names no stage, or the stage does not exist.";
const NO_KNOWN_GOOD: &str = "There is no known-good record, or it is unusable: then the report says why, and what to do. It names the parameter.";

/// Why a run does not act, with the facts. `Display` prints one sentence without its full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is documented, and its field names speak for themselves")]
pub enum Reason {
    /// The event, a record or message in it, or a command is invalid.
    Malformed(String),
    /// The event is valid, but it is neither an alarm nor a command.
    NotAnAlarm(String),
    /// EventBridge reports a change of the alarm's configuration or of one contributor, not of its own state.
    NotAStateChange(String),
    /// The alarm's actions are suppressed by this alarm or period.
    Suppressed(String),
    /// This mute rule mutes the alarm's actions.
    Muted(String),
    /// The alarm is in this state, which is not ALARM.
    NotInAlarm(State),
    /// The alarm watches metrics of these namespaces and names no stage.
    NotApiGateway(Vec<String>),
    /// The signal names no stage, or the stage does not exist.
    NoStage(String),
    /// The signal could mean more than one stage.
    AmbiguousTarget(String),
    /// The alarm, or a metric of API Gateway that it watches, belongs to another account.
    WrongAccount { theirs: String, ours: String },
    /// The alarm belongs to another Region.
    WrongRegion { theirs: String, ours: String },
    /// The alarm is in ALARM only because missing data counts as breaching.
    NoDatapoints,
    /// The state change is too old, lies in the future, or has no readable time.
    Stale { changed_at: Option<DateTime<Utc>>, now: DateTime<Utc>, max_age_seconds: i64 },
    /// The alarm is now in this state, which is not ALARM.
    AlarmCleared { alarm: String, state: State },
    /// CloudWatch has no such alarm, or the alarm does not watch this stage.
    AlarmUnknown { alarm: String, why: String },
    /// A guarding alarm cannot be resolved down to the alarms that watch data.
    AlarmUnreadable { alarm: String, why: String },
    /// The alarm's actions are disabled.
    AlarmActionsDisabled { alarm: String },
    /// The alarm neither notifies the function's topic nor invokes the function.
    AlarmNotWired { alarm: String },
    /// This list does not allow the alarm's name.
    AlarmNotAllowed { alarm: String, list: &'static str },
    /// The stage is neither configured nor recorded.
    NotProtected(String),
    /// There is no usable record of a known-good release.
    NoKnownGood { parameter: String, why: String },
    /// The stage already serves its known-good release.
    AlreadyKnownGood { deployment: String, version: i64, by: Option<String> },
    /// The stage changed after the alarm fired: the change may be the fix.
    ChangedAfterAlarm { changed_at: DateTime<Utc>, alarm_at: DateTime<Utc> },
    /// The breach began before the release went live.
    BeganBeforeRelease { alarm: String, began: DateTime<Utc>, live_since: DateTime<Utc> },
    /// By its requests, the live release fails no more often than the known-good release. The finding is a sentence.
    NotThisRelease { alarm: String, finding: String },
    /// A fast alarm fired, and the requests do not convict the live release. The finding is a sentence.
    NotDecided { alarm: String, finding: Option<String> },
    /// The release has been live for longer than the rollback window.
    OutsideWindow { live_since: DateTime<Utc>, window_seconds: i64 },
    /// The live release, or one since the last record, is marked irreversible.
    IrreversibleRelease { deployment: String },
    /// An operator holds the stage, or one of its parameters cannot be read.
    HeldByOperator(String),
    /// The stage was rolled back a moment ago, or too often.
    Cooldown(String),
    /// The known-good deployment is missing or in quarantine, and no older version can serve.
    KnownGoodMissing { deployment: String, parameter: String, version: i64, why: String },
    /// Components of the release do not exist.
    PartMissing(Vec<String>),
    /// Routing rules of the custom domain override mappings that the rollback would move.
    PartShadowed(Vec<String>),
    /// A running CodeDeploy deployment moves an alias that the rollback would move.
    CodeDeployRunning(Vec<String>),
    /// AutoDeploy is on, so API Gateway accepts no other deployment.
    AutoDeploy(String),
    /// API Gateway manages the stage (quick create), so it cannot be changed.
    ManagedStage(String),
    /// `promote` and the sweep: the live release is not proven yet.
    NotProven(String),
    /// The sweep: the known-good deployment cannot be pinned.
    NotPinned(String),
    /// The sweep: the alarm is still in ALARM long after the rollback.
    NotRecovered { alarm: String, rolled_back_at: DateTime<Utc> },
    /// `record`: the live release cannot become the known-good release.
    NotRecordable(String),
    /// The known-good record is unusable, for this reason.
    KnownGoodUnusable { parameter: String, fault: RecordFault },
    /// `PROTECTED_STAGES` names this stage, but API Gateway does not have it.
    StageMissing(String),
    /// The sweep: no alarm would call the function for the stage. A clause for each cause.
    Unwatched(Vec<String>),
    /// The sweep: alarms are of less use than their owner may think. A clause for each.
    AlarmsWithFaults(Vec<String>),
    /// The sweep: the account can soon hold no more parameters.
    ParametersNearlyFull { used: usize, most: usize },
    /// The function or the stage is in observe mode.
    ObserveMode { deployment: String },
    /// A rollout cannot begin.
    CannotRollOut(String),
    /// The stage has a running rollout already.
    RolloutRunning(String),
    /// The stage has no rollout that the command could be about.
    NoRollout(String),
    /// A rollout does not move on, because it lacks evidence.
    RolloutWaits(String),
    /// A report about an incident in another Region is not from a sibling, or is not its own finding.
    NotASibling(String),
    /// A sibling found a release bad that this stage serves.
    SiblingIncident(String),
    /// A sibling found a release bad that is the known-good release of this stage.
    SiblingKnownGood(String),
    /// A sibling found a release bad, and nothing says whether this stage serves it.
    SiblingUnmatched(String),
    /// A sibling found a release bad that this stage does not serve.
    SiblingElsewhere(String),
}

impl Reason {
    /// Returns the fixed texts of this reason: a row for each code.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a table with a row for each reason")]
    pub fn entry(&self) -> Entry {
        match self {
            Self::Malformed(_) => entry(
                "malformed",
                Kind::Reject,
                "The event, a record in it, or a command is invalid.",
                "correct the command, or find the source that sends this event",
            ),
            Self::NotAnAlarm(_) => entry(
                "not-an-alarm",
                Kind::Reject,
                "The event is valid, but it is neither an alarm nor a command.",
                "subscribe the function to alarms only, or send a valid command",
            ),
            Self::NotAStateChange(_) => entry(
                "not-a-state-change",
                Kind::Ignore,
                "EventBridge reports a change of the alarm's configuration or of one of its contributors. The alarm's own change of state is another event.",
                "",
            ),
            Self::Suppressed(_) => {
                entry("suppressed", Kind::Ignore, "The composite alarm's actions are suppressed.", "")
            }
            Self::Muted(_) => entry(
                "muted",
                Kind::Ignore,
                "A mute rule of CloudWatch mutes the alarm's actions. When its window ends and the alarm is still in ALARM, the alarm is judged anew.",
                "",
            ),
            Self::NotInAlarm(State::InsufficientData) => {
                entry("insufficient-data", Kind::Ignore, "The alarm has too little data to have a state.", "")
            }
            Self::NotInAlarm(State::Ok | State::Alarm) => entry(
                "ok",
                Kind::Ignore,
                "The alarm is OK. If this alarm caused a rollback, the function closes the incident.",
                "",
            ),
            Self::NotApiGateway(_) => entry(
                "not-api-gateway",
                Kind::Ignore,
                "The alarm watches no API Gateway metric, and its description has no `rollback-target` directive.",
                "",
            ),
            Self::NoStage(_) => entry(
                "no-stage",
                Kind::Reject,
                NO_STAGE,
                "check that the stage exists; the alarm must name it by the dimensions Stage and ApiName or ApiId, or by `rollback-target: <api>/<stage>` in its description",
            ),
            Self::AmbiguousTarget(_) => entry(
                "ambiguous-target",
                Kind::Reject,
                "The alarm could mean more than one stage, or two APIs have the same name.",
                "add `rollback-target: <api id>/<stage>` to the alarm's description",
            ),
            Self::WrongAccount { .. } => entry(
                "wrong-account",
                Kind::Reject,
                "The alarm, or a metric of API Gateway that it watches, belongs to another account.",
                "deploy the function in the account of the API and its alarm",
            ),
            Self::WrongRegion { .. } => entry(
                "wrong-region",
                Kind::Reject,
                "The alarm belongs to another Region.",
                "deploy the function in the Region of the API and its alarm",
            ),
            Self::NoDatapoints => entry(
                "no-datapoints",
                Kind::Hold,
                "The alarm is in ALARM only because missing data counts as breaching.",
                "set TreatMissingData to notBreaching, and find out why the metric has no data",
            ),
            Self::Stale { .. } => entry(
                "stale",
                Kind::Hold,
                "The state change is older than `MaxAlarmAgeSeconds`, lies in the future, or has no readable time.",
                "check the alarm; if it is still in ALARM, send a `rollback` command",
            ),
            Self::AlarmCleared { .. } => {
                entry("alarm-cleared", Kind::Hold, "The alarm left ALARM after the message was sent.", "")
            }
            Self::AlarmUnreadable { .. } => entry(
                "alarm-unreadable",
                Kind::Hold,
                "A guarding alarm cannot be read in full: its rule or its mute rules cannot be resolved, or it names no stage. So it may be about this stage. It blocks promotions and accuses nobody.",
                "correct the rule of the composite alarm or the function's permissions, or write `rollback-target: <api>/<stage>` into the description of each alarm below it",
            ),
            Self::AlarmUnknown { .. } => entry(
                "alarm-unknown",
                Kind::Hold,
                "CloudWatch has no such alarm, or the alarm does not watch this stage.",
                "check which system published this message, and whether the alarm still exists",
            ),
            Self::AlarmActionsDisabled { .. } => entry(
                "alarm-actions-disabled",
                Kind::Hold,
                "The alarm's actions are disabled.",
                "when the work is done, enable the alarm's actions",
            ),
            Self::AlarmNotWired { .. } => entry(
                "alarm-not-wired",
                Kind::Hold,
                "By CloudWatch's own answer, the alarm neither notifies the function's alarm topic nor invokes the function. So nobody has wired it to roll stages back.",
                "to let the alarm act, add the alarm topic to its actions for ALARM and OK; if a rule of EventBridge or a queue delivers it, add the beginning of its name to UnwiredAlarmPrefixes",
            ),
            Self::AlarmNotAllowed { .. } => entry(
                "alarm-not-allowed",
                Kind::Hold,
                "The settings or the stage's policy list the alarms that may act on the stage, and this alarm is not among them. It also proves no release.",
                "to let the alarm act, add the beginning of its name to AlarmPrefixes, and to `alarm_prefixes` of the stage's policy if that is set",
            ),
            Self::NotProtected(_) => entry(
                "not-protected",
                Kind::Hold,
                "The stage is not listed in the settings, and it has no known-good record.",
                "to protect the stage, add it to PROTECTED_STAGES or send a `record` command",
            ),
            Self::NoKnownGood { .. } => entry(
                "no-known-good",
                Kind::Hold,
                NO_KNOWN_GOOD,
                "wait until a release has baked, or bring the stage to a good release and send a `record` command",
            ),
            Self::AlreadyKnownGood { .. } => entry(
                "already-known-good",
                Kind::Hold,
                "The stage already serves its known-good release. Another run may have rolled it back a moment ago.",
                "if the alarm stays in ALARM, the release is not the cause: check the API's backend",
            ),
            Self::ChangedAfterAlarm { .. } => entry(
                "changed-after-alarm",
                Kind::Hold,
                "The stage changed after the alarm fired. The change may be the fix.",
                "check whether the change fixes the problem; if not, send a `rollback` command",
            ),
            Self::BeganBeforeRelease { .. } => entry(
                "began-before-release",
                Kind::Hold,
                "The datapoints that made the alarm fire began to breach before the live release went live, so the release is not the cause.",
                "check the API's backend and the release before this one; if this release is the cause, send a `rollback` command",
            ),
            Self::NotThisRelease { .. } => entry(
                "not-this-release",
                Kind::Hold,
                "By its requests, the live release fails no more often than the known-good release did just before it, or than the base of its canary. So it is not the cause, and a rollback would not help.",
                "check the API's backend; if this release is the cause, send a `rollback` command",
            ),
            Self::NotDecided { .. } => entry(
                "not-decided",
                Kind::Ignore,
                "A fast alarm fired, but within DecideSeconds the requests of the live release did not prove that it is the cause. A fast alarm convicts nobody by itself: the slower alarms and the sweep decide. If it stays in ALARM for minutes, the sweep reports that.",
                "if users get errors, send a `rollback` command",
            ),
            Self::OutsideWindow { .. } => entry(
                "outside-window",
                Kind::Hold,
                "The release has been live for longer than the rollback window, so it is probably not the cause.",
                "check the API's backend first; if the release is the cause, send a `rollback` command",
            ),
            Self::IrreversibleRelease { .. } => entry(
                "irreversible-release",
                Kind::Hold,
                "The live release, or one since the last record, is marked irreversible.",
                "deploy a fix; send a `rollback` command with `force` only if a rollback is safe",
            ),
            Self::HeldByOperator(_) => entry(
                "held-by-operator",
                Kind::Hold,
                "An operator holds the stage, or one of its parameters (`hold`, `policy`, `candidate`, `rollbacks`) cannot be read.",
                "if a parameter cannot be read: update the function if its schema is newer, else correct or delete it; otherwise send a `release-hold` command when the work is done",
            ),
            Self::Cooldown(_) => entry(
                "cooldown",
                Kind::Hold,
                "The stage was rolled back a moment ago, or too often in 24 hours.",
                "find out why the earlier rollback did not help; a `rollback` command is not subject to this limit",
            ),
            Self::PartMissing(_) => entry(
                "part-missing",
                Kind::Hold,
                "A component of the release (alias, function version, domain or mapping) does not exist.",
                "correct the stage's list of aliases and mappings, or set `missing_parts` to `skip` in its policy to roll back without them",
            ),
            Self::PartShadowed(_) => entry(
                "part-shadowed",
                Kind::Hold,
                "Routing rules of the custom domain come before a mapping of the release, so moving the mapping would not move its requests.",
                "route the path by the mapping alone, or take the mapping out of the stage's list and roll the rule back by hand",
            ),
            Self::CodeDeployRunning(_) => entry(
                "codedeploy-running",
                Kind::Hold,
                "A running CodeDeploy deployment moves an alias of the release.",
                "let the CodeDeploy deployment finish, or stop it so that CodeDeploy rolls the alias back",
            ),
            Self::AutoDeploy(_) => entry(
                "auto-deploy",
                Kind::Hold,
                "AutoDeploy is on, so API Gateway accepts no other deployment.",
                "deploy the API's last good version, or switch AutoDeploy off; to let rollbacks do that, set `auto_deploy` to `switch-off` in the stage's policy",
            ),
            Self::ManagedStage(_) => entry(
                "managed-stage",
                Kind::Hold,
                "API Gateway manages the stage (quick create), so it cannot be changed.",
                "create a stage of your own and map the traffic to it",
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
                "remove the obstacle: until then, a deploy may delete the known-good deployment",
            ),
            Self::NotRecovered { .. } => entry(
                "not-recovered",
                Kind::Hold,
                "The alarm is still in ALARM long after the rollback.",
                "the release was not the cause, or not the only one: check the API's backend",
            ),
            Self::KnownGoodMissing { .. } => entry(
                "known-good-missing",
                Kind::Hold,
                "The known-good deployment is missing or in quarantine, and no older version can serve.",
                "deploy the last good version again and record it; keep pinning on so that no deploy deletes it",
            ),
            Self::NotRecordable(_) => entry(
                "not-recordable",
                Kind::Reject,
                "`record` and the sweep: the live release has a canary or an alias with weights, its deployment does not exist, or the record does not fit into a parameter.",
                "resolve the problem: finish or remove a canary, give an alias one version; then the next sweep or a `record` command records the release",
            ),
            // These two have the code of a more general reason, and advice of their own.
            Self::KnownGoodUnusable { fault, .. } => Entry {
                code: "no-known-good",
                kind: Kind::Hold,
                meaning: NO_KNOWN_GOOD,
                advice: fault.advice(),
            },
            Self::StageMissing(_) => Entry {
                code: "no-stage",
                kind: Kind::Reject,
                meaning: NO_STAGE,
                advice: "correct PROTECTED_STAGES: the stack's parameters ApiId and StageName; if the stage was deleted for good, remove it there",
            },
            Self::Unwatched(_) => entry(
                "unwatched",
                Kind::Hold,
                "The sweep: no alarm would call the function for the stage, so only the sweep itself could find a bad release, and only with an alarm.",
                "let at least one alarm name the stage, notify the alarm topic and have its actions enabled; `apigw-rollback doctor` follows the whole way",
            ),
            Self::AlarmsWithFaults(_) => entry(
                "alarms-with-faults",
                Kind::Hold,
                "The sweep: some alarms would not call the function, or say less than their owner may think. The report names each.",
                "correct them: `apigw-rollback doctor` names the setting to change for each; an alarm that must not act says `rollback-target: none` in its description",
            ),
            Self::ParametersNearlyFull { .. } => entry(
                "parameters-nearly-full",
                Kind::Hold,
                "The sweep: the function's records use most of the parameters that an account can have in a Region.",
                "lower IncidentsKeptDays, delete parameters that nobody needs, or have the quota of Parameter Store raised",
            ),
            Self::ObserveMode { .. } => entry(
                "observe-mode",
                Kind::Hold,
                "The mode is `observe`: the function only reports what it would do.",
                "to let the function act, set MODE or the `mode` of the stage's policy to enforce",
            ),
            Self::CannotRollOut(_) => entry(
                "cannot-roll-out",
                Kind::Reject,
                "A rollout cannot begin: the report says what it lacks.",
                "resolve this, and start the rollout again",
            ),
            Self::RolloutRunning(_) => entry(
                "rollout-running",
                Kind::Reject,
                "A rollout is running or paused on the stage, and there can be only one.",
                "wait for it with `apigw-rollback rollout wait`, or end it with `apigw-rollback rollout abort`",
            ),
            Self::NoRollout(_) => entry(
                "no-rollout",
                Kind::Reject,
                "The stage has no rollout that the command could be about, or its record cannot be read.",
                "see `apigw-rollback rollout status`; delete a record that cannot be read when no rollout is running",
            ),
            Self::RolloutWaits(_) => entry(
                "rollout-waits",
                Kind::Hold,
                "A step of a rollout is over, and too few requests speak for the new release, or they cannot be counted. Traffic never moves forward without evidence.",
                "wait for more requests, or end the rollout: `apigw-rollback rollout promote` skips the rest of it, `abort` removes the new release",
            ),
            Self::NotASibling(_) => entry(
                "not-a-sibling",
                Kind::Reject,
                "A report about an incident in another Region comes from another account or from a Region that `SIBLINGS` does not list, or it is not that Region's own finding.",
                "list the Region in Siblings, or find out who puts such events on the bus",
            ),
            Self::SiblingIncident(_) => entry(
                "sibling-incident",
                Kind::Hold,
                "The function in another Region found a release bad that this stage serves, too. The stage's policy `siblings` says what follows; the report says what did.",
                "check the release here: roll it back if it is bad; if it is good and the stage is held, `apigw-rollback release-hold` lets it go on",
            ),
            Self::SiblingKnownGood(_) => entry(
                "sibling-known-good",
                Kind::Hold,
                "The function in another Region found a release bad that is known-good here. A report of another Region never rolls a known-good release back.",
                "compare the two Regions; if the release is bad here as well, roll back to an older version with `apigw-rollback rollback` and its option `--to`",
            ),
            Self::SiblingUnmatched(_) => entry(
                "sibling-unmatched",
                Kind::Hold,
                "The function in another Region found a release bad, and neither a label nor the description of a deployment says whether this stage serves it.",
                "check which release this stage serves; give releases labels with `announce`, `record` or a rollout",
            ),
            Self::SiblingElsewhere(_) => entry(
                "sibling-elsewhere",
                Kind::Ignore,
                "The function in another Region found a release bad that this stage does not serve.",
                "",
            ),
        }
    }

    /// Returns the stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.entry().code
    }

    /// Returns the effect.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.entry().kind
    }

    /// Returns the next step for an operator; empty if there is none.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        self.entry().advice
    }
}

/// Prints a time for people in RFC 3339, in UTC, to the millisecond, with fractions of a second only if there are any.
#[must_use]
pub fn stamp(time: DateTime<Utc>) -> String {
    time.trunc_subsecs(3).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
