//! The table: what a rollback must come to, written from the documents without the engine's types.
//!
//! It knows a case only by sentences that are true or false. How times, records and alarms make them so is the matter of
//! each space.

use super::facts::values;

values! {
    /// Who asks for the rollback.
    By {
        /// An alarm.
        Alarm,
        /// An operator.
        Operator,
        /// An operator who says that even an irreversible release is to be rolled back.
        Forced,
        /// A rollout whose canary the requests convict.
        Rollout,
        /// A sibling, which found the live release bad in another Region.
        Sibling,
        /// Nobody: what would an alarm do?
        Nobody,
    }

    /// What the requests of the live release say.
    Verdict {
        /// They were not read, or could not be.
        Unread,
        /// It fails more often than is tolerated.
        Convicted,
        /// The known-good release failed as often.
        Acquitted,
        /// Too few of them fail or succeed.
        Undecided,
    }
}

/// The outcome of a case that changes the stage.
pub(crate) const ACTS: &str = "rolls back";

/// What is true of a case.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each sentence is true or false by itself")]
pub(crate) struct Truth {
    /// Who asks.
    pub(crate) by: By,
    /// The stage is listed or recorded, and it is not a parked one.
    pub(crate) is_protected: bool,
    /// Why the alarm may not accuse, whatever the requests say; `None` if it may.
    pub(crate) alarm_says: Option<&'static str>,
    /// The alarm watches nothing but the metrics of access logs.
    pub(crate) alarm_is_fast: bool,
    /// The alarm and the test of guilt measure the same.
    pub(crate) alarm_is_tested: bool,
    /// CloudWatch does not say whether a mute rule mutes the alarm.
    pub(crate) may_be_muted: bool,
    /// What the requests say.
    pub(crate) verdict: Verdict,
    /// The breach began before the release was live, and the release was live when the alarm fired.
    pub(crate) began_before: bool,
    /// The alarm's name for the API can mean another one.
    pub(crate) is_ambiguous: bool,
    /// The stage exists.
    pub(crate) exists: bool,
    /// An operator holds it, or a parameter that could say so cannot be read.
    pub(crate) is_held: bool,
    /// There is a usable record.
    pub(crate) has_record: bool,
    /// The stage serves what the record says, as far as it can be restored.
    pub(crate) serves_it: bool,
    /// The rollback would change the stage itself.
    pub(crate) changes_stage: bool,
    /// The rollback would change the stage's deployment.
    pub(crate) changes_deployment: bool,
    /// The stage changed after the alarm fired, or may have, and no data has accused the change since: with this reason.
    pub(crate) changed_after: Option<&'static str>,
    /// The release has been live for longer than the rollback window.
    pub(crate) is_outside_window: bool,
    /// The release is marked irreversible, or one since the record.
    pub(crate) is_irreversible: bool,
    /// The recorded release is in quarantine, or its deployment cannot be served.
    pub(crate) is_gone: bool,
    /// A component is missing, and the policy holds then.
    pub(crate) lacks_component: bool,
    /// `CodeDeploy` moves an alias that the rollback would move.
    pub(crate) is_moving: bool,
    /// Routing rules come before a mapping that the rollback would move.
    pub(crate) is_overridden: bool,
    /// API Gateway manages the stage.
    pub(crate) is_managed: bool,
    /// `AutoDeploy` is on, and the policy holds then.
    pub(crate) deploys_itself: bool,
    /// Alarms rolled the stage back a moment ago, or too often.
    pub(crate) too_often: bool,
    /// The function only observes.
    pub(crate) only_observes: bool,
}

impl Truth {
    /// A case in which nothing prevents the rollback.
    pub(crate) const FREE: Self = Self {
        by: By::Alarm,
        is_protected: true,
        alarm_says: None,
        alarm_is_fast: false,
        alarm_is_tested: true,
        may_be_muted: false,
        verdict: Verdict::Unread,
        began_before: false,
        is_ambiguous: false,
        exists: true,
        is_held: false,
        has_record: true,
        serves_it: false,
        changes_stage: true,
        changes_deployment: true,
        changed_after: None,
        is_outside_window: false,
        is_irreversible: false,
        is_gone: false,
        lacks_component: false,
        is_moving: false,
        is_overridden: false,
        is_managed: false,
        deploys_itself: false,
        too_often: false,
        only_observes: false,
    };

    /// Returns the reason for doing nothing, or [`ACTS`]: the first rule that applies.
    pub(crate) fn outcome(&self) -> &'static str {
        self.rules().into_iter().find(|(applies, _)| *applies).map_or(ACTS, |(_, code)| code)
    }

    /// Returns the rules in their order: whether each applies, and its reason.
    pub(crate) fn rules(&self) -> [(bool, &'static str); 24] {
        let by_alarm = self.by == By::Alarm;
        let automatic = matches!(self.by, By::Alarm | By::Rollout | By::Sibling | By::Nobody);
        // A rollout knows what it brought and when.
        let limited = automatic && self.by != By::Rollout;
        // Requests can only be those of a stage that exists.
        let convicted = self.exists && self.verdict == Verdict::Convicted;
        let acquitted = self.exists && self.verdict == Verdict::Acquitted && self.alarm_is_tested;
        [
            (!self.is_protected, "not-protected"),
            (by_alarm && self.alarm_says.is_some(), self.alarm_says.unwrap_or_default()),
            (by_alarm && acquitted, "not-this-release"),
            (by_alarm && self.alarm_is_fast && !convicted, "not-decided"),
            (by_alarm && self.began_before && !convicted, "began-before-release"),
            (by_alarm && self.may_be_muted, "alarm-unreadable"),
            (by_alarm && self.is_ambiguous, "ambiguous-target"),
            (self.by == By::Rollout && !convicted, "rollout-waits"),
            (!self.exists, "no-stage"),
            (self.by == By::Sibling && self.verdict == Verdict::Acquitted, "sibling-incident"),
            (automatic && self.is_held, "held-by-operator"),
            (!self.has_record, "no-known-good"),
            (self.serves_it, "already-known-good"),
            (
                by_alarm && self.changes_stage && self.changed_after.is_some() && !convicted,
                self.changed_after.unwrap_or_default(),
            ),
            (limited && self.is_outside_window, "outside-window"),
            (self.by != By::Forced && self.is_irreversible, "irreversible-release"),
            (self.is_gone, "known-good-missing"),
            (self.lacks_component, "part-missing"),
            (self.is_moving, "codedeploy-running"),
            (self.is_overridden, "part-shadowed"),
            (self.changes_stage && self.is_managed, "managed-stage"),
            (self.changes_deployment && self.deploys_itself, "auto-deploy"),
            (limited && self.too_often, "cooldown"),
            (automatic && self.only_observes, "observe-mode"),
        ]
    }
}
