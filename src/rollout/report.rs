//! What people and programs are told about a rollout.

use crate::context::Context;
use crate::decide::guilt::Guilt;
use crate::model::report::{ForPeople, Outcome, Report};
use crate::model::rollout::{Rollout, RolloutState};
use crate::model::stage::StageRef;
use crate::rollback::incident;

/// Returns why the requests convict the new release, as a clause.
pub(super) fn conviction(guilt: &Guilt, rollout: &Rollout) -> String {
    let finding = guilt.conviction().map(ToString::to_string).unwrap_or_default();
    format!("rollout to {}: {finding}", rollout.name())
}

/// Returns the report of a change from one state to the next; `None` if it is not worth one.
pub(super) fn of<C>(
    context: &Context<'_, C>,
    stage: &StageRef,
    before: &Rollout,
    next: &Rollout,
) -> Option<Report> {
    let name = next.name();
    let step = format!("step {} of {}", next.step + 1, next.terms.steps.len());
    let (outcome, message) = match &next.state {
        RolloutState::Baking => {
            let message = format!("{stage}: {name} gets {} % of the traffic ({step})", next.share());
            (Outcome::RolloutStep, message)
        }
        RolloutState::Paused { why, by } => {
            let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            let at = if before.state == RolloutState::Moving { "on its way to" } else { "at" };
            let message = format!(
                "{stage}: the rollout to {name} is paused{by} {at} {} % ({step}): {why}",
                before.share()
            );
            (Outcome::RolloutPaused, message)
        }
        RolloutState::Promoted => {
            (Outcome::RolloutPromoted, format!("{stage}: {name} gets all traffic; its bake time begins"))
        }
        RolloutState::Aborted { why }
        | RolloutState::RolledBack { why, .. }
        | RolloutState::Overtaken { why } => {
            (Outcome::RolloutAborted, format!("{stage}: the rollout to {name} has ended ({step}): {why}"))
        }
        RolloutState::Moving | RolloutState::Promoting | RolloutState::Aborting => return None,
    };
    Some(told(context.report(outcome, message), next))
}

/// Gives a report the key by which people are told once, and the releases.
pub(super) fn told(report: Report, rollout: &Rollout) -> Report {
    let after = if rollout.state == RolloutState::Promoted { rollout.promoted() } else { rollout.in_step() };
    let is_abort = matches!(rollout.state, RolloutState::Aborted { .. });
    let mut people = ForPeople { rollout: Some(rollout.id.clone()), is_abort, ..report.people.clone() };
    let mut key = format!("{} {} {}", rollout.id, rollout.state.word(), rollout.since.timestamp_millis());
    // The same news as that of the rollback.
    if let RolloutState::RolledBack { at, fingerprint, .. } = &rollout.state {
        key = incident::notification_key(fingerprint, *at);
        people.rolled_back_at = Some(*at);
    }
    Report {
        notification_key: Some(key),
        before: Some(rollout.base.clone()),
        after: Some(after),
        after_label: rollout.label.clone(),
        since: Some(rollout.started_at),
        people,
        ..report
    }
}

/// Leaves people to the rollback's own notification. If its run died before, the next run tells them.
pub(super) fn unless_rolled_back(report: Report) -> Report {
    let key = report.notification_key.clone().filter(|_| report.people.rolled_back_at.is_none());
    Report { notification_key: key, ..report }
}
