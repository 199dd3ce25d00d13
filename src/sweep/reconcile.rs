//! Carries out the sweep's actions for one stage, each with the code that also serves events and commands.

use chrono::TimeDelta;

use crate::cloud::{Cloud, Parameters, Write};
use crate::context::Context;
use crate::decide::Trigger;
use crate::decide::rollout_begin::Asked;
use crate::decide::upkeep::{Accusation, Action, StageFacts, Upkeep, upkeep};
use crate::model::cloud_error::CloudError;
use crate::model::observed::OnRecord;
use crate::model::reason::{Reason, stamp};
use crate::model::records::{self, Candidate, Incident};
use crate::model::report::{ForPeople, Outcome, Report};
use crate::model::stage::StageRef;
use crate::model::trigger::TriggeredBy;
use crate::rollback::{RollbackRequest, incident, pin, rollback};
use crate::rollout::start::start;
use crate::rollout::{Advanced, advance};
use crate::sweep::promote::promote;

/// The result of the sweep for one stage.
#[derive(Clone, Debug, Default)]
pub struct Reconciled {
    /// The reports of actions and of problems.
    pub reports: Vec<Report>,
    /// The state of the stage, in a few words.
    pub state: String,
}

/// Decides the actions for a stage from its facts, and carries them out. A rollback and a promotion observe the stage
/// again.
pub async fn reconcile<C: Cloud>(context: &Context<'_, C>, facts: &StageFacts<'_>) -> Reconciled {
    let Upkeep { actions, state } = upkeep(facts, context.config, context.now);
    let mut reconciled = Reconciled { reports: vec![], state };
    let actions = match up_to_date(context, facts, actions).await {
        Ok(actions) => actions,
        Err(error) => {
            reconciled.reports.extend(worth_reporting(context.failed_on(facts.stage, &error)));
            reconciled.state = error.to_string();
            return reconciled;
        }
    };
    let mut not_pinned = None;
    for action in actions {
        let moves_pin = matches!(action, Action::MovePin { .. });
        if matches!(action, Action::Adopt | Action::Advance) {
            let Advanced { reports, state: so_far } = Box::pin(roll_out(context, facts.stage, &action)).await;
            reconciled.reports.extend(reports.into_iter().filter_map(worth_reporting));
            // What the sweep found itself says more than the end of a rollout.
            if reconciled.state.is_empty() {
                reconciled.state = so_far;
            }
            continue;
        }
        let judges = matches!(action, Action::RollBack(_) | Action::Promote(_));
        let is_note = matches!(action, Action::Note(_));
        match carry_out(context, facts.stage, action).await {
            Ok(Some(report)) if judges => {
                reconciled.state.clone_from(&report.message);
                reconciled.reports.extend(worth_reporting(report));
            }
            Ok(report) => {
                not_pinned =
                    not_pinned.or(report.as_ref().filter(|_| moves_pin).map(|one| one.message.clone()));
                reconciled.reports.extend(report);
            }
            Err(error) => {
                reconciled.reports.push(context.failed(&error).on(facts.stage));
                if is_note {
                    // Without a stored candidate, the release is not judged either.
                    reconciled.state = error.to_string();
                    break;
                }
            }
        }
    }
    // The state says it, too, because `doctor` shows what the last sweep met.
    reconciled.state.extend(not_pinned.map(|why| format!("; {why}")));
    reconciled
}

/// Leaves out the actions that would overwrite what somebody else has written since the sweep read it (`GetParameters`), such as
/// an announcement. The next sweep decides anew.
async fn up_to_date<'a, C: Parameters>(
    context: &Context<'_, C>,
    facts: &StageFacts<'_>,
    mut actions: Vec<Action<'a>>,
) -> Result<Vec<Action<'a>>, CloudError> {
    let overwrites =
        |action: &Action<'_>| matches!(action, Action::Close(_) | Action::List { .. } | Action::Note(_));
    if !actions.iter().any(overwrites) {
        return Ok(actions);
    }
    let (stage, names, before) = (facts.stage, &context.config.names, facts.on_record);
    let found = context.cloud.parameters(&[names.candidate(stage), names.rollbacks(stage)]).await?;
    let now = context.config.on_record(stage, &found);
    let is_readable = now.unreadable.is_none() || before.unreadable.is_some();
    actions.retain(|action| match action {
        Action::Close(_) | Action::List { .. } => is_readable && now.rollbacks == before.rollbacks,
        Action::Note(_) => is_readable && now.candidate == before.candidate,
        Action::Report(_)
        | Action::Fail(_)
        | Action::MovePin { .. }
        | Action::RollBack(_)
        | Action::Promote(_)
        | Action::Adopt
        | Action::Advance => true,
    });
    Ok(actions)
}

async fn carry_out<C: Cloud>(
    context: &Context<'_, C>,
    stage: &StageRef,
    action: Action<'_>,
) -> Result<Option<Report>, CloudError> {
    match action {
        Action::Report(reason) => Ok(Some(attention(context, stage, reason))),
        Action::Fail(error) => Err(error),
        Action::Close(closing) => Ok(Some(incident::close(context, stage, &closing).await)),
        Action::List { incident, on_record, report } => {
            Ok(list(context, stage, incident, &on_record).await.filter(|_| report))
        }
        Action::MovePin { deployment, version } => {
            let moved = pin::move_to(context, stage, (&deployment, version)).await;
            Ok(moved.err().map(|why| attention(context, stage, Reason::NotPinned(why.to_string()))))
        }
        Action::Note(candidate) => note(context, stage, &candidate).await.map(|()| None),
        Action::RollBack(accusations) => Ok(roll_back(context, stage, accusations).await),
        Action::Promote(candidate) => Ok(Some(promote(context, stage, &candidate).await)),
        Action::Adopt | Action::Advance => Ok(None),
    }
}

/// Moves a rollout on, and begins it before if the stage's policy asks for that.
async fn roll_out<C: Cloud>(context: &Context<'_, C>, stage: &StageRef, action: &Action<'_>) -> Advanced {
    if !matches!(action, Action::Adopt) {
        return advance(context, stage).await;
    }
    let asked = Asked { who: Some("the stage's policy".to_owned()), ..Asked::default() };
    match start(context, stage, asked).await {
        Ok(report) if report.outcome == Outcome::RolloutStarted => {
            let mut advanced = advance(context, stage).await;
            advanced.reports.insert(0, report.on(stage));
            advanced
        }
        Ok(report) => {
            let why = report.message.clone();
            Advanced { state: why, reports: vec![Report { outcome: Outcome::Attention, ..report }.on(stage)] }
        }
        Err(error) => Advanced { state: error.to_string(), reports: vec![context.failed(&error).on(stage)] },
    }
}

fn attention<C>(context: &Context<'_, C>, stage: &StageRef, reason: Reason) -> Report {
    Report { outcome: Outcome::Attention, ..context.no(reason).on(stage) }
}

/// Lists a rollback whose run died before it could list it, and makes the report that the run could not make.
async fn list<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    incident: &Incident,
    on_record: &OnRecord,
) -> Option<Report> {
    let warnings = incident::list(context, on_record, incident).await.err().into_iter().collect();
    let by = TriggeredBy {
        kind: context.trigger.kind,
        name: Some(incident.by.clone()),
        arn: None,
        changed_at: incident.alarm_at,
        why: Some(incident.why.clone()),
    };
    let message = format!(
        "{stage} was rolled back to {} (known-good version {}): run {} did so at {}, but could not report it",
        incident.good.release,
        incident.version,
        incident.run,
        stamp(incident.at)
    );
    let fingerprint = incident.bad.fingerprint();
    Some(Report {
        before: Some(incident.bad.release.clone()),
        after: Some(incident.good.release.clone()),
        version: Some(incident.version),
        incident: Some(context.config.names.incident(stage, &fingerprint)),
        since: incident.since,
        notification_key: Some(incident::notification_key(&fingerprint, incident.at)),
        people: ForPeople {
            rolled_back_at: Some(incident.at),
            is_late: true,
            by_sibling: incident.sibling.is_some(),
            ..ForPeople::default()
        },
        warnings,
        ..context.triggered_by(&by).report(Outcome::RolledBack, message).on(stage)
    })
}

/// Rolls the stage back as an alarm's event should have done, under the same decision table. An alarm that does not speak
/// about the live release, or whose budget is used up, leaves the judgement to the next one; the first one's report remains.
async fn roll_back<C: Cloud>(
    context: &Context<'_, C>,
    stage: &StageRef,
    accusations: Vec<Accusation<'_>>,
) -> Option<Report> {
    let mut first: Option<Report> = None;
    for (alarm, target) in accusations {
        let by = TriggeredBy::swept_alarm(&alarm.alarm);
        let trigger = Trigger::Alarm { name: &alarm.alarm.name, target };
        let request = RollbackRequest { trigger, version: None, dry: false };
        let report = rollback(&context.triggered_by(&by), stage, request).await;
        if !report.reason.as_ref().is_some_and(is_about_the_alarm) {
            return Some(report);
        }
        if first.as_ref().is_none_or(|first| !lasts(first) && lasts(&report)) {
            first = Some(report);
        }
    }
    first
}

/// After this time, errors that a fast alarm saw are no burst.
const NO_BURST: TimeDelta = TimeDelta::minutes(5);

/// Whether a fast alarm has fired for long, and the requests do not say why: nothing else may ever decide.
fn stays_undecided(report: &Report) -> bool {
    let is_old = report.signal.changed_at.is_some_and(|fired| report.at - fired > NO_BURST);
    is_old && matches!(report.reason, Some(Reason::NotDecided { .. }))
}

/// Whether a reason is about one alarm and not about the stage, so that another alarm may still act.
fn is_about_the_alarm(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::ChangedAfterAlarm { .. }
            | Reason::BeganBeforeRelease { .. }
            | Reason::NotThisRelease { .. }
            | Reason::NotDecided { .. }
            | Reason::Cooldown(_)
            | Reason::AmbiguousTarget(_)
            | Reason::NoStage(_)
            | Reason::NoDatapoints
            | Reason::Suppressed(_)
            | Reason::Muted(_)
            | Reason::WrongAccount { .. }
            | Reason::AlarmCleared { .. }
            | Reason::AlarmUnknown { .. }
            | Reason::AlarmUnreadable { .. }
            | Reason::AlarmActionsDisabled { .. }
            | Reason::AlarmNotWired { .. }
            | Reason::AlarmNotAllowed { .. }
    )
}

/// Whether a report's reason lasts, so that an operator must be notified.
fn lasts(report: &Report) -> bool {
    if stays_undecided(report) {
        return true;
    }
    matches!(
        report.reason,
        Some(
            Reason::NoKnownGood { .. }
                | Reason::KnownGoodUnusable { .. }
                | Reason::KnownGoodMissing { .. }
                | Reason::Cooldown(_)
                | Reason::IrreversibleRelease { .. }
                | Reason::OutsideWindow { .. }
                | Reason::BeganBeforeRelease { .. }
                | Reason::NotThisRelease { .. }
                | Reason::NotRecordable(_)
        )
    )
}

/// Returns a report that is worth a notification, if any: a hold with a lasting reason becomes `attention`. A hold with
/// a passing reason appears only in the sweep's own report.
fn worth_reporting(report: Report) -> Option<Report> {
    if lasts(&report) {
        return Some(Report { outcome: Outcome::Attention, ..report });
    }
    let passes = matches!(report.outcome, Outcome::Held | Outcome::Rejected | Outcome::Ignored);
    Some(report).filter(|_| !passes)
}

/// Writes the stage's candidate (`PutParameter`).
///
/// # Errors
/// A failed call. A candidate that does not fit into a parameter is not written, and thus never promoted.
pub async fn note<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    candidate: &Candidate,
) -> Result<(), CloudError> {
    if let Ok(value) = records::print(candidate) {
        let name = context.config.names.candidate(stage);
        context.cloud.put_parameter(&name, &value, Write::Overwrite).await?;
    }
    Ok(())
}
