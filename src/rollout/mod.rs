//! Rollouts: moves a stage's traffic to a new release in steps, and promotes it or removes it.

pub mod operate;
mod record;
mod report;
pub mod start;

use tokio::time::Instant;

use crate::cloud::{Alarms, Cloud, Components, Gateway, Parameters, Seen};
use crate::context::Context;
use crate::decide::guilt::guilt;
use crate::decide::rollout::{Move, RolloutFacts, Waits, next_move};
use crate::decide::rollout_place::place;
use crate::decide::testimony::{Subject, guarding};
use crate::decide::{Trigger, check_shift, check_step};
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::observed::Observed;
use crate::model::plan::StageChange;
use crate::model::reason::Reason;
use crate::model::release::Release;
use crate::model::report::{Outcome, Report};
use crate::model::rollout::{Rollout, RolloutState, Shift};
use crate::model::stage::StageRef;
use crate::model::trigger::TriggeredBy;
use crate::notify;
use crate::observe::{guarding_alarms, observe_for_preview};
use crate::rollback::{RollbackRequest, rollback};
use record::Replaced;

/// The most moves of one run. A step takes three: its record, its change, and the record of the change.
const MOVES: usize = 12;

/// What a run did for a rollout.
#[derive(Debug, Default)]
pub struct Advanced {
    /// The reports of what changed, and of problems.
    pub reports: Vec<Report>,
    /// Where the rollout stands, in a few words.
    pub state: String,
}

/// Moves the rollout of a stage on as far as its evidence allows. Every move rests on a new look at the stage.
///
/// Tells people before of what they may not know yet, because an earlier run died.
pub async fn advance<C: Cloud>(context: &Context<'_, C>, stage: &StageRef) -> Advanced {
    let untold = settle(context, stage).await;
    let mut advanced = go_on(context, stage).await;
    match untold {
        Ok(report) => advanced.reports.splice(0..0, report).for_each(drop),
        Err(error) => advanced.reports.push(context.failed_on(stage, &error)),
    }
    advanced
}

/// Moves a rollout on after this run has recorded an order.
pub async fn go_on<C: Cloud>(context: &Context<'_, C>, stage: &StageRef) -> Advanced {
    let mut advanced = Advanced::default();
    let mut remembered = Remembered::default();
    for _ in 0..MOVES {
        match Box::pin(look_and_move(context, stage, &mut remembered)).await {
            Ok(moved) => {
                let (end, report) = match moved {
                    Moved::On(report) => (None, report),
                    Moved::No(so_far, report) => (Some(so_far), report),
                };
                advanced.reports.extend(report.map(|report| report.on(stage)));
                if let Some(so_far) = end {
                    advanced.state = so_far;
                    return advanced;
                }
            }
            Err(error) => {
                advanced.state = error.to_string();
                advanced.reports.push(context.failed_on(stage, &error));
                return advanced;
            }
        }
        if Instant::now() >= context.deadline {
            break;
        }
    }
    "goes on with the next run".clone_into(&mut advanced.state);
    advanced
}

async fn look_and_move<C: Cloud>(
    context: &Context<'_, C>,
    stage: &StageRef,
    remembered: &mut Remembered,
) -> Result<Moved, CloudError> {
    one_move(context, &look(context, stage).await?, remembered).await
}

/// What a run remembers from one look to the next.
#[derive(Default)]
struct Remembered {
    /// Whether it has sent a step.
    stepped: bool,
    /// A change that API Gateway or Lambda refused: it is taken for certain only after a second look.
    refused: Option<CloudError>,
    /// What somebody else did, which a second look must show, too: the version of the record, and the state that follows. The
    /// stage and the record are read at the same time, so another run may have changed one of them in between.
    others: Option<(i64, RolloutState)>,
}

impl Remembered {
    /// Whether this state follows from what somebody else did, and no look has shown that before.
    fn is_new(&mut self, version: i64, next: &RolloutState) -> bool {
        let is_by_others = matches!(
            next,
            RolloutState::Paused { .. } | RolloutState::Aborted { .. } | RolloutState::Overtaken { .. }
        );
        let seen = Some((version, next.clone()));
        let is_new = is_by_others && self.others != seen;
        self.others = seen;
        is_new
    }
}

/// What a rollout rests on, read in one go.
struct Look {
    observed: Observed,
    alarms: Vec<GuardingAlarm>,
    /// The version of the parameter, and the rollout.
    on_record: Option<(i64, Rollout)>,
}

/// Reads the stage, its records and requests, and every guarding alarm.
async fn look<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
) -> Result<Look, CloudError> {
    let (observed, alarms) = tokio::join!(
        observe_for_preview(context, stage, None, Trigger::Imagined),
        guarding_alarms::read(context)
    );
    let observed = observed?;
    let found = observed.on_record.rollout.as_ref().ok().and_then(Option::as_ref);
    let on_record = found.map(|(version, rollout)| (*version, (**rollout).clone()));
    Ok(Look { alarms: alarms?, on_record, observed })
}

/// Makes sure that people know the state of a rollout: the run that recorded it may have died before it could tell them
/// (`GetParameters`). Returns the report, if they may not know it.
async fn settle<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
) -> Result<Option<Report>, CloudError> {
    let found = context.cloud.parameters(&[context.config.names.rollout(stage)]).await?;
    let Ok(Some((version, rollout))) = context.config.on_record(stage, &found).rollout else {
        return Ok(None);
    };
    if rollout.told || !rollout.state.is_news() {
        return Ok(None);
    }
    let Some(report) = report::of(context, stage, &rollout, &rollout).map(|report| report.on(stage)) else {
        return Ok(None);
    };
    let key = notify::key(&report).filter(|_| context.config.notification_topic.is_some());
    if let Some(key) = key {
        let mark = context.config.names.sent_mark(&key);
        if context.cloud.parameters(&[mark]).await?.is_empty() {
            return Ok(Some(report));
        }
    }
    let told = Rollout { told: true, ..*rollout };
    record::replace(context, stage, version, &told).await.map(|_| None)
}

/// The result of one move.
enum Moved {
    /// Another look follows.
    On(Option<Report>),
    /// Nothing more can be done now. The state in a few words, and what must be reported.
    No(String, Option<Report>),
}

async fn one_move<C: Cloud>(
    context: &Context<'_, C>,
    look: &Look,
    remembered: &mut Remembered,
) -> Result<Moved, CloudError> {
    let Look { observed, alarms, on_record } = look;
    let stage = &observed.stage;
    let Some((version, rollout)) = on_record else {
        return Ok(Moved::No("has no rollout".to_owned(), None));
    };
    let policy = context.config.policy.under(&observed.on_record.policy);
    let guilt = guilt(observed, &policy);
    let guarding = guarding(alarms, Subject::of(observed, &guilt));
    // The decision of a later move rests on a later look.
    let now = observed.at;
    let facts = RolloutFacts {
        rollout,
        observed,
        guarding: &guarding,
        policy: &policy,
        stepped: remembered.stepped,
        now,
    };
    let next = next_move(&facts);
    remembered.stepped |=
        rollout.state == RolloutState::Moving && matches!(next, Move::Change(_) | Move::Shift(_));
    match next {
        Move::Wait(waits) => Ok(waiting(context, rollout, &waits)),
        Move::Record(next) if remembered.is_new(*version, &next.state) => Ok(Moved::On(None)),
        Move::Record(next) => put(context, stage, (*version, rollout), *next).await,
        Move::Change(change) => {
            if let Err(broken) = check_step(&change, rollout, &live_release(observed)) {
                return Ok(Moved::No(broken.clone(), Some(context.report(Outcome::NeedsHuman, broken))));
            }
            changed(context, look, make(context, observed, &change).await, remembered).await
        }
        Move::Shift(shifts) => {
            if let Err(broken) = check_shift(&shifts, rollout) {
                return Ok(Moved::No(broken.clone(), Some(context.report(Outcome::NeedsHuman, broken))));
            }
            changed(context, look, make_shifts(context, &shifts).await, remembered).await
        }
        Move::RollBack => {
            let by = TriggeredBy::rollout(report::conviction(&guilt, rollout));
            let request = RollbackRequest { trigger: Trigger::Rollout, version: None, dry: false };
            let report = rollback(&context.triggered_by(&by), stage, request).await;
            match (report.outcome, &report.reason) {
                (Outcome::RolledBack, _) => return Ok(Moved::On(Some(report))),
                (Outcome::Failed | Outcome::NeedsHuman, _) => {
                    return Ok(Moved::No(report.message.clone(), Some(report)));
                }
                // Another run was quicker, or the evidence has changed. The next run looks again.
                (_, Some(Reason::AlreadyKnownGood { .. } | Reason::RolloutWaits(_))) => {
                    return Ok(Moved::No(report.message, None));
                }
                _ => {}
            }
            give_up(context, look, report.message).await
        }
    }
}

/// What follows the answer to a change: another look, or the end of the run.
async fn changed<C: Parameters>(
    context: &Context<'_, C>,
    look: &Look,
    answer: Result<(), CloudError>,
    remembered: &mut Remembered,
) -> Result<Moved, CloudError> {
    match answer {
        Ok(()) => Ok(Moved::On(None)),
        // The next look shows whether it had an effect.
        Err(error) if matches!(error.failure, Failure::Conflict | Failure::NoAnswer) => Ok(Moved::On(None)),
        Err(error) if error.failure != Failure::Refused => Err(error),
        Err(error) if remembered.refused.is_none() => {
            remembered.refused = Some(error);
            Ok(Moved::On(None))
        }
        Err(error) => give_up(context, look, error.to_string()).await,
    }
}

fn live_release(observed: &Observed) -> Release {
    observed.live.as_ref().map(|live| live.release.in_stage()).unwrap_or_default()
}

/// Sends one change of the canary (`UpdateStage`).
async fn make<C: Gateway>(
    context: &Context<'_, C>,
    observed: &Observed,
    change: &StageChange,
) -> Result<(), CloudError> {
    let what = live_release(observed);
    let seen = Seen { what: &what, at: context.instant(observed.seen_at) };
    context.cloud.change_stage(&observed.stage, change, seen).await.map(|_| ())
}

/// Moves the aliases, one after the other, each if nobody has moved it since it was read (`UpdateAlias`).
async fn make_shifts<C: Components>(context: &Context<'_, C>, shifts: &[Shift]) -> Result<(), CloudError> {
    for Shift { alias, to, revision, .. } in shifts {
        context.cloud.move_alias(alias, to, revision).await?;
    }
    Ok(())
}

fn waiting<C>(context: &Context<'_, C>, rollout: &Rollout, waits: &Waits) -> Moved {
    let state = match waits {
        Waits::Ended => format!("its rollout has ended: {}", rollout.state.word()),
        Waits::Bake(_) | Waits::Operator | Waits::Permission(_) | Waits::Alarm(_) | Waits::Evidence(_) => {
            format!("its rollout to {} {}", rollout.name(), waits.described())
        }
    };
    let report = match waits {
        Waits::Evidence(why) => {
            let why = format!(
                "{}: step {} of {}: {why}",
                rollout.name(),
                rollout.step + 1,
                rollout.terms.steps.len()
            );
            Some(Report { outcome: Outcome::Attention, ..context.no(Reason::RolloutWaits(why)) })
        }
        Waits::Ended | Waits::Bake(_) | Waits::Operator | Waits::Permission(_) | Waits::Alarm(_) => None,
    };
    Moved::No(state, report)
}

/// Lets an operator decide, if the new release may get traffic. Otherwise the rollout has ended.
async fn give_up<C: Parameters>(
    context: &Context<'_, C>,
    look: &Look,
    why: String,
) -> Result<Moved, CloudError> {
    let Some((version, rollout)) = &look.on_record else { return Ok(Moved::No(why, None)) };
    let live = look.observed.live.as_ref();
    let has_traffic = live.is_some_and(|live| place(rollout, &live.release).has_traffic());
    let state =
        if has_traffic { RolloutState::Paused { why, by: None } } else { RolloutState::Aborted { why } };
    let next = Rollout { state, since: context.clock(), ..rollout.clone() };
    put(context, &look.observed.stage, (*version, rollout), next).await
}

/// Records the next state of a rollout, unless another run or an operator was quicker.
async fn put<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    (version, before): (i64, &Rollout),
    next: Rollout,
) -> Result<Moved, CloudError> {
    let next = Rollout { told: false, ..next };
    match record::replace(context, stage, version, &next).await? {
        Replaced::Ours => {
            Ok(Moved::On(report::of(context, stage, before, &next).map(report::unless_rolled_back)))
        }
        Replaced::Theirs => Ok(Moved::On(None)),
        Replaced::TooLong(why) => Ok(Moved::No(why.clone(), Some(context.no(Reason::CannotRollOut(why))))),
    }
}
