//! What each reason means for the users of a stage, and the one next step that works for it. Pure.

use super::message::Service;
use crate::model::reason::Reason;

/// What a message says about a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The state of the service.
    pub(super) state: Service,
    /// What follows from the reason, as sentences; empty if the reason says it.
    pub(super) follows: &'static str,
    /// The next step.
    pub(super) step: Step,
}

/// The one next step. Each text is a clause that continues "Now: ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Roll the stage back now.
    GoBack,
    /// Finish a rollback that stopped half-way.
    Finish,
    /// Roll the stage back under this condition, which ends before "go back". If the run did not see a known-good release
    /// that is not live, do the second thing.
    GoBackIf(&'static str, &'static str),
    /// Do this; the status shows more.
    Status(&'static str),
    /// Record the live release under this condition.
    Record(&'static str),
    /// Do this; the doctor shows more.
    Doctor(&'static str),
    /// Do this with this command for rollouts.
    Rollout(&'static str, &'static str),
    /// Do this, without a command of the tool.
    Do(&'static str),
}

const ERRORS: &str = "if users get errors,";
const BACKEND: &str = "check the API's backend; to see the stage and its alarms";
const CHECK: &str = "check whether users get errors";
const DEPLOY: &str = "deploy the last good version with your pipeline";
const NOTHING: &str = "nothing needs to be done";
const CORRECT_IT: &str = "Until this is corrected, alarms cannot roll the stage back.";
const NO_WAY_BACK: &str = "So there is no release to go back to.";
const NOT_THE_CAUSE: &str = "So the release is probably not the cause.";

/// Returns the row of a reason. `fired` says whether an alarm about the stage is the trigger; otherwise the sweep found a
/// problem that does not touch the users.
#[must_use]
#[expect(clippy::too_many_lines, reason = "a table with a row for each reason")]
pub(super) fn row(reason: &Reason, fired: bool) -> Row {
    use Service::{NotAffected, StillBad, Unknown};
    use Step::{Do, Doctor, GoBack, GoBackIf, Record, Rollout, Status};
    let row = |state, follows, step| Row { state, follows, step };
    // These reasons come after CloudWatch has confirmed that the alarm accuses the live release.
    let hurt = if fired { StillBad } else { NotAffected };
    let or = |with_alarm: Step, without: Step| if fired { with_alarm } else { without };
    let until_then = if fired { "" } else { CORRECT_IT };
    match reason {
        Reason::Malformed(_) => row(Unknown, "", Do("find the source that sends this event, and correct it")),
        Reason::NotAnAlarm(_) => row(NotAffected, "", Do("subscribe the function to alarms only")),
        Reason::NotAStateChange(_)
        | Reason::NotInAlarm(_)
        | Reason::NotApiGateway(_)
        | Reason::AlarmCleared { .. }
        | Reason::NotProven(_)
        | Reason::SiblingElsewhere(_) => row(NotAffected, "", Do(NOTHING)),
        Reason::Suppressed(_) | Reason::Muted(_) => row(Unknown, "", Do(NOTHING)),
        Reason::NoStage(_) => row(
            Unknown,
            "",
            or(
                Do("check that the stage exists, and that the alarm names it"),
                Do("create the stage again, or take it out of the function's settings"),
            ),
        ),
        Reason::AmbiguousTarget(_) => row(
            if fired { Unknown } else { NotAffected },
            until_then,
            Do("write `rollback-target: <api id>/<stage>` into the alarm's description"),
        ),
        Reason::WrongAccount { .. } => {
            row(Unknown, "", Do("deploy the function in the account of the API and its alarm"))
        }
        Reason::WrongRegion { .. } => {
            row(Unknown, "", Do("deploy the function in the Region of the API and its alarm"))
        }
        Reason::NoDatapoints => {
            row(Unknown, "", GoBackIf(ERRORS, "find out why the alarm's metric has no data"))
        }
        Reason::Stale { .. } => {
            row(Unknown, "", GoBackIf(ERRORS, "check in CloudWatch whether the alarm is still in ALARM"))
        }
        Reason::AlarmUnreadable { .. } => {
            let correct = "correct the alarm's rule, or the function's permissions";
            let step = or(GoBackIf(ERRORS, correct), Do(correct));
            row(Unknown, "So it neither accuses nor proves a release.", step)
        }
        Reason::AlarmUnknown { .. } => {
            row(Unknown, "", GoBackIf(ERRORS, "find out which system sent this message"))
        }
        Reason::AlarmActionsDisabled { .. } => {
            row(Unknown, "", Do("enable the alarm's actions when the work is done"))
        }
        Reason::AlarmNotWired { .. } => row(
            Unknown,
            "To let it act, add the function's alarm topic to its actions.",
            GoBackIf(ERRORS, CHECK),
        ),
        Reason::AlarmNotAllowed { .. } => row(
            Unknown,
            "To let it act, add the beginning of its name to AlarmPrefixes.",
            GoBackIf(ERRORS, CHECK),
        ),
        Reason::NotProtected(_) => row(
            Unknown,
            "So the function does nothing.",
            Record("check the API; when it serves a good release, protect it"),
        ),
        Reason::NoKnownGood { .. } => row(hurt, NO_WAY_BACK, Do(DEPLOY)),
        Reason::ChangedAfterAlarm { .. } => row(
            Unknown,
            "The change may be the fix.",
            GoBackIf("if users still get errors,", "check whether the change is the fix"),
        ),
        Reason::AlreadyKnownGood { .. } | Reason::BeganBeforeRelease { .. } => {
            row(hurt, NOT_THE_CAUSE, Status(BACKEND))
        }
        Reason::NotThisRelease { .. } => row(hurt, NOT_THE_CAUSE, Status(BACKEND)),
        Reason::NotDecided { .. } => row(Unknown, "Slower alarms may still decide.", GoBackIf(ERRORS, CHECK)),
        Reason::OutsideWindow { .. } => row(
            hurt,
            NOT_THE_CAUSE,
            GoBackIf(
                "check the API's backend first; if the release is the cause,",
                "check the API's backend",
            ),
        ),
        Reason::IrreversibleRelease { .. } => row(hurt, "", Do("deploy a fix with your pipeline")),
        Reason::HeldByOperator(_) => {
            row(hurt, until_then, or(GoBack, Do("correct the parameter, or delete it")))
        }
        Reason::Cooldown(_) => {
            row(hurt, "Automatic rollback waits until that is over; the sweep tries again.", GoBack)
        }
        Reason::PartMissing(_) => row(
            hurt,
            until_then,
            or(Do(DEPLOY), Do("create the missing component, or take it out of the stage's list")),
        ),
        Reason::PartShadowed(_) => row(
            hurt,
            until_then,
            or(
                Do("point the routing rule at the last good stage by hand"),
                Do("route the path by the mapping alone, or take the mapping out of the stage's list"),
            ),
        ),
        Reason::CodeDeployRunning(_) => {
            row(hurt, "", Do("stop the CodeDeploy deployment, so that CodeDeploy rolls the alias back"))
        }
        Reason::AutoDeploy(_) => row(
            hurt,
            until_then,
            or(
                GoBackIf("switch AutoDeploy of the stage off; then", DEPLOY),
                Do("switch AutoDeploy off, or set `auto_deploy` to `switch-off` in the stage's policy"),
            ),
        ),
        Reason::ManagedStage(_) => {
            row(hurt, until_then, or(Do(DEPLOY), Do("create a stage of your own, and map the traffic to it")))
        }
        Reason::NotPinned(why) if is_full(why) => row(
            NotAffected,
            "All stages of the API are used. The next deploy may delete the deployment to go back to.",
            Do("delete a stage of this API that nobody uses"),
        ),
        Reason::NotPinned(_) => row(
            NotAffected,
            "The next deploy may delete the deployment to go back to.",
            Doctor("remove the obstacle; to check again"),
        ),
        Reason::NotRecovered { .. } => {
            row(StillBad, "The release was not the cause, or not the only one.", Status(BACKEND))
        }
        Reason::KnownGoodMissing { .. } => {
            row(hurt, NO_WAY_BACK, or(Do(DEPLOY), Record("if the live release is good, record it")))
        }
        Reason::NotRecordable(_) => row(
            hurt,
            "So the live release cannot become known-good.",
            Do("resolve this; then the next sweep records the release"),
        ),
        Reason::KnownGoodUnusable { fault, .. } => row(hurt, NO_WAY_BACK, or(Do(DEPLOY), Do(fault.advice()))),
        Reason::StageMissing(_) => row(
            Unknown,
            CORRECT_IT,
            Do("create the stage again, or correct the function's settings (PROTECTED_STAGES)"),
        ),
        Reason::Unwatched(_) => row(
            NotAffected,
            "If a release goes bad, nothing calls the function.",
            Doctor("correct the alarms; to follow the way from them to the function"),
        ),
        Reason::AlarmsWithFaults(_) => {
            row(NotAffected, "", Doctor("correct the alarms; to see the setting to change for each"))
        }
        Reason::ParametersNearlyFull { .. } => {
            row(NotAffected, "", Do("lower IncidentsKeptDays, or have the quota of Parameter Store raised"))
        }
        Reason::ObserveMode { .. } => row(hurt, "", GoBack),
        Reason::CannotRollOut(_) => {
            row(NotAffected, "So no rollout began.", Do("resolve this, and start the rollout again"))
        }
        Reason::RolloutRunning(_) | Reason::NoRollout(_) => {
            row(NotAffected, "", Rollout("to see the rollout", "status"))
        }
        Reason::RolloutWaits(_) => row(
            NotAffected,
            "Traffic does not move until there is enough evidence.",
            Rollout("wait for more requests, or end the rollout; to remove the new release", "abort"),
        ),
        Reason::NotASibling(_) => row(
            NotAffected,
            "",
            Do("list the Region in Siblings, or find out who puts such events on the bus"),
        ),
        Reason::SiblingIncident(_) => row(
            Unknown,
            "",
            GoBackIf("if the release is bad here as well,", "check the release in this Region"),
        ),
        Reason::SiblingKnownGood(_) | Reason::SiblingUnmatched(_) => {
            row(Unknown, "So nothing was changed.", Status("compare the two Regions; to see the stage here"))
        }
    }
}

/// Whether the parked stage was refused because the API can have no more stages.
fn is_full(why: &str) -> bool {
    why.contains("CreateStage") && why.contains("LimitExceededException")
}
