//! One stage's way back: observe, decide, check, apply, and again where the world moved in between.

pub mod apply;
pub mod hook;
pub mod incident;

use std::pin::pin;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::cloud::{Cache, Cloud, CloudError, Deployment, Failure, Write};
use crate::config::Terms;
use crate::context::Run;
use crate::decide::{Call, Decision, check, decide};
use crate::model::plan::Plan;
use crate::model::reason::{Reason, stamp};
use crate::model::records::{self, Incident, Record};
use crate::model::release::StageRef;
use crate::model::report::{Caller, Outcome, Report};
use crate::observe::{Observed, OnRecord, observe, usable};
use crate::rollback::apply::{Applied, Refusal, apply};
use crate::rollback::incident::Opened;
use crate::sweep::pin;

/// What is asked of a stage.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Who asks.
    pub call: Call<'a>,
    /// To this version of the record instead of the newest.
    pub version: Option<i64>,
    /// Say it, do not do it.
    pub dry: bool,
}

/// How one pass ended.
enum Pass {
    /// The run is over.
    Over(Box<Report>),
    /// The world moved or is unknown: read it again.
    Again(CloudError),
    /// The known-good release of this version serves no more; an older one may.
    NoWayBack(i64, Box<Report>),
}

/// What earlier passes of a run did.
#[derive(Default)]
struct Way {
    /// The first plan whose steps were begun; its whole way is what is reported.
    first: Option<Box<Plan>>,
    /// The incident of that plan.
    opened: Option<Opened>,
    /// The incident of another run, for whose end this one waits.
    rival: Option<Box<Incident>>,
    /// Whether the hook was called.
    hooked: bool,
    /// What went wrong beside the main thing.
    warnings: Vec<String>,
}

/// Puts one stage back, if it should be.
pub async fn rollback<C: Cloud>(run: &Run<'_, C>, stage: &StageRef, ask: Ask<'_>, caller: &Caller) -> Report {
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_jitter()
        .build();
    let mut way = Way::default();
    let mut asked = ask;
    loop {
        let again = match pass(run, stage, asked, caller, &mut way).await {
            Pass::Over(report) => return report.on(stage),
            Pass::NoWayBack(_, report) if ask.version.is_some() => return report.on(stage),
            Pass::NoWayBack(version, report) => match older(run, stage, version).await {
                Ok(Some(older)) => {
                    asked.version = Some(older);
                    continue;
                }
                Ok(None) => return report.on(stage),
                Err(error) => error,
            },
            Pass::Again(error) => error,
        };
        let wait = waits.next().unwrap_or_default();
        if Instant::now() + wait >= run.deadline {
            return run.failed(caller, &again).on(stage);
        }
        tokio::time::sleep(wait).await;
    }
}

async fn pass<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    ask: Ask<'_>,
    caller: &Caller,
    way: &mut Way,
) -> Pass {
    let over = |report| Pass::Over(Box::new(report));
    let alarm = match ask.call {
        Call::Alarm { name, .. } => Some(name),
        Call::Operator { .. } | Call::Imagined => None,
    };
    let mut observed = match observe(run.cloud, run.config, stage, ask.version, alarm).await {
        Ok(observed) => without_our_change(observed, way.first.as_deref()),
        Err(error) => return over(run.failed(caller, &error)),
    };
    let rival = way.rival.take();
    if let Some(rival) = rival.as_ref().filter(|rival| is_half_done(rival, &observed, run.clock())) {
        way.rival = Some(rival.clone());
        return Pass::Again(waiting_for(run, rival));
    }
    let terms = run.config.terms.under(&observed.on_record.policy);
    // What is begun is finished, also if the alarm has cleared because of the first step.
    let call = if is_begun(way, &observed) { Call::Operator { force: true } } else { ask.call };
    let decision = decided(run, call, &mut observed, &terms).await;
    let plan = match (decision, way.first.take(), rival) {
        // An earlier call of this run had its effect, and only its answer was lost.
        (Decision::Hold(Reason::AlreadyKnownGood { .. }), Some(plan), _) => {
            return over(healed(run, &plan, ask, &observed, caller, way).await);
        }
        (Decision::Hold(Reason::AlreadyKnownGood { .. }), None, Some(rival)) => {
            return over(done_by(run, &rival, caller, std::mem::take(&mut way.warnings)));
        }
        (Decision::Hold(reason), _, _) => {
            abandon(run, way).await;
            return held(run, caller, &reason, &observed);
        }
        (Decision::Act(plan), first, _) => {
            way.first = first;
            plan
        }
    };
    if let Err(broken) = check(&plan, &observed) {
        return over(run.report(caller, Outcome::NeedsHuman, broken).with_plan(&plan));
    }
    if ask.dry {
        let message = format!("{stage} would be put back: {plan}");
        return over(run.report(caller, Outcome::WouldRollBack, message).with_plan(&plan));
    }
    if !std::mem::replace(&mut way.hooked, true) {
        way.warnings.extend(hook::before(run, &plan, caller).await);
    }
    // Where an earlier pass of this run did some of the way, the whole way is what happened.
    let whole = way.first.take().filter(|first| first.to == plan.to && first.is_on_its_way(&plan.from));
    if whole.is_none() {
        abandon(run, way).await;
    }
    let opened = way.opened.take();
    let whole = whole.unwrap_or_else(|| plan.clone());
    let since = observed.live.as_ref().and_then(|live| live.updated_at);
    let open = async {
        match opened {
            Some(opened) => opened,
            None => incident::open(run, &whole, incident::of(run, &whole, since, caller)).await,
        }
    };
    let (opened, applied) = match claim_and_apply(run, &plan, open).await {
        Ok(done) => done,
        Err(rival) => {
            let error = waiting_for(run, &rival);
            way.rival = Some(rival);
            return Pass::Again(error);
        }
    };
    way.opened = Some(opened);
    concluded(run, ask, &observed, caller, way, whole, applied).await
}

/// Decides. Where a change of the stage after the alarm is in the way, a run may have undone its steps: to API Gateway
/// that is a change, but it is nobody's fix, and the stage is as the alarm found it.
async fn decided<C: Cloud>(
    run: &Run<'_, C>,
    call: Call<'_>,
    observed: &mut Observed,
    terms: &Terms,
) -> Decision {
    let decision = decide(call, observed, terms, run.now);
    if let Decision::Hold(Reason::ChangedAfterAlarm { changed_at, .. }) = &decision
        && let Some(live) = &mut observed.live
        && let Some(since) =
            incident::live_before_undoing(run, &observed.stage, &live.release, *changed_at).await
    {
        live.updated_at = Some(since);
        return decide(call, observed, terms, run.now);
    }
    decision
}

/// What the steps that were made lead to.
async fn concluded<C: Cloud>(
    run: &Run<'_, C>,
    ask: Ask<'_>,
    observed: &Observed,
    caller: &Caller,
    way: &mut Way,
    whole: Box<Plan>,
    applied: Applied,
) -> Pass {
    match applied {
        Applied::Done => Pass::Over(Box::new(healed(run, &whole, ask, observed, caller, way).await)),
        Applied::Again(error) => {
            way.first = Some(whole);
            Pass::Again(error)
        }
        Applied::Refused { why, undone } => {
            abandon(run, way).await;
            refused(run, caller, observed, &whole, why, &undone)
        }
        Applied::Broken(what) => {
            let message = format!("{} was to be put back: {whole}; {what}", whole.stage);
            let report = run.report(caller, Outcome::NeedsHuman, message).with_plan(&whole);
            Pass::Over(Box::new(Report { after: None, next: vec![HALF_WAY.to_owned()], ..report }))
        }
    }
}

/// How long a release of several parts waits for its claim. Users come first, also where its record is slow to write.
const HEAD_START: Duration = Duration::from_secs(1);

/// The incident's request goes out first, so that a change without an incident is next to impossible; neither waits for
/// the other. Only where several steps lead there, one run goes at a time: if one of its steps is refused, it undoes
/// those before, and must not undo what another has counted on. The error is the incident of the run that is at it.
async fn claim_and_apply<C: Cloud>(
    run: &Run<'_, C>,
    plan: &Plan,
    open: impl Future<Output = Opened>,
) -> Result<(Opened, Applied), Box<Incident>> {
    let mut open = pin!(open);
    if (plan.steps.len() > 1 || plan.is_half_gone())
        && let Ok(opened) = tokio::time::timeout(HEAD_START, &mut open).await
    {
        return match opened {
            Opened::Rival(rival) if incident::is_under_way(&rival, run.clock()) => Err(rival),
            Opened::Ours(_) | Opened::Rival(_) | Opened::No(..) => Ok((opened, apply(run.cloud, plan).await)),
        };
    }
    Ok(tokio::join!(biased; open, apply(run.cloud, plan)))
}

/// Whether the stage shows another run's way half-done: nothing to judge, and nothing to go on with while that run may
/// be at it.
fn is_half_done(rival: &Incident, observed: &Observed, now: DateTime<Utc>) -> bool {
    let Some(live) = &observed.live else { return false };
    live.release != rival.bad
        && live.release != rival.good
        && incident::is_under_way(rival, now)
        && incident::way(rival).is_on_its_way(&live.release)
}

/// Why this run waits, if it waits in vain.
fn waiting_for<C: Cloud>(run: &Run<'_, C>, rival: &Incident) -> CloudError {
    CloudError {
        failure: Failure::Conflict,
        operation: "PutParameter",
        subject: run.config.names.incident(&rival.stage, &rival.bad.fingerprint()),
        code: "ParameterAlreadyExists".to_owned(),
        message: format!("run {} puts {} back since {}", rival.run, rival.stage, stamp(rival.at)),
    }
}

/// Another run was first.
fn done_by<C: Cloud>(run: &Run<'_, C>, rival: &Incident, caller: &Caller, warnings: Vec<String>) -> Report {
    let reason = Reason::AlreadyKnownGood {
        deployment: rival.good.deployment.clone(),
        version: rival.version,
        by: Some(format!("run {} put it back at {}", rival.run, stamp(rival.at))),
    };
    let incident = Some(run.config.names.incident(&rival.stage, &rival.bad.fingerprint()));
    let report = run.no(caller, &reason).with_plan(&incident::way(rival));
    Report { incident, warnings, handled: true, ..report }
}

/// Nothing came of the incident that this run opened. If that cannot be said, `record` asks for a `lift` first.
async fn abandon<C: Cloud>(run: &Run<'_, C>, way: &mut Way) {
    if let Some(Opened::Ours(incident)) = way.opened.take() {
        way.warnings.extend(incident::withdraw(run, *incident).await);
    }
}

const HALF_WAY: &str = "look at the stage, its aliases and its mappings, and bring them to one release by hand; \
                        `status` shows what is live and what is known-good";

/// What a refusal leads to: an older release where the deployment is gone, else a failed run. Whatever was done
/// before it is undone.
fn refused<C: Cloud>(
    run: &Run<'_, C>,
    caller: &Caller,
    observed: &Observed,
    plan: &Plan,
    why: Refusal,
    undone: &[String],
) -> Pass {
    let warnings: Vec<String> = undone.iter().map(|step| format!("undone: {step}")).collect();
    match why {
        Refusal::DeploymentGone => {
            let reason = Reason::KnownGoodMissing {
                deployment: plan.to.deployment.clone(),
                parameter: run.config.names.known_good(&plan.stage),
                version: plan.version,
                why: "does not exist any more, and no older version serves".to_owned(),
            };
            held(run, caller, &reason, observed)
        }
        Refusal::Error(error) => Pass::Over(Box::new(Report { warnings, ..run.failed(caller, &error) })),
    }
}

/// Whether an earlier pass of this run did a part of the way, and nobody else anything.
fn is_begun(way: &Way, observed: &Observed) -> bool {
    let (Some(first), Some(live)) = (&way.first, &observed.live) else { return false };
    live.release != first.from && first.is_on_its_way(&live.release)
}

/// Where this run did a part of the way, the stage's last change is ours: it must not look like somebody's fix
/// that came after the alarm.
fn without_our_change(mut observed: Observed, tried: Option<&Plan>) -> Observed {
    if let (Some(plan), Some(live)) = (tried, observed.live.as_mut()) {
        let moved = live.release.in_stage() != plan.from.in_stage() && plan.is_on_its_way(&live.release);
        if moved || (plan.stops_auto_deploy() && !live.auto_deploy) {
            live.updated_at = None;
        }
    }
    observed
}

fn held<C: Cloud>(run: &Run<'_, C>, caller: &Caller, reason: &Reason, observed: &Observed) -> Pass {
    let live = observed.live.as_ref().map(|live| live.release.clone());
    let handled = matches!(reason, Reason::AlreadyKnownGood { .. })
        && incident::is_fresh(&observed.on_record.rollbacks, run.now);
    let report = Box::new(Report { before: live.clone(), after: live, handled, ..run.no(caller, reason) });
    if let Reason::KnownGoodMissing { version, .. } = reason {
        return Pass::NoWayBack(*version, report);
    }
    Pass::Over(report)
}

/// The newest version of the record before this one that serves: readable, not in quarantine, its
/// deployment there. What was recorded as not reversible is not gone behind.
async fn older<C: Cloud>(run: &Run<'_, C>, stage: &StageRef, before: i64) -> Result<Option<i64>, CloudError> {
    let history = run.cloud.history(&run.config.names.known_good(stage)).await?;
    let rollbacks = run.cloud.parameters(&[run.config.names.rollbacks(stage)]).await?;
    let rollbacks = OnRecord::of(run.config, stage, &rollbacks).rollbacks;
    let versions = history.iter().rev().filter(|one| one.version <= before);
    for one in versions {
        let Ok(record) = usable(&one.value, stage, &run.config.region) else { continue };
        let serves = one.version < before
            && !rollbacks.quarantines(&record.release)
            && serves(run.cloud.deployment(stage, &record.release.deployment).await?);
        if serves {
            return Ok(Some(one.version));
        }
        if record.irreversible {
            break;
        }
    }
    Ok(None)
}

fn serves(deployment: Option<Deployment>) -> bool {
    deployment.is_some_and(|deployment| deployment.undeployed.is_none())
}

/// The stage is back. All that is left is to put it on record; who comes second reports that there was
/// nothing left to do.
async fn healed<C: Cloud>(
    run: &Run<'_, C>,
    plan: &Plan,
    ask: Ask<'_>,
    observed: &Observed,
    caller: &Caller,
    way: &mut Way,
) -> Report {
    let parameter = run.config.names.incident(&plan.stage, &plan.from.fingerprint());
    let on_record = &observed.on_record;
    let mut warnings = std::mem::take(&mut way.warnings);
    // The stage is served by now, so there is time to try once more.
    let opened = match way.opened.take() {
        Some(Opened::No(incident, _)) => Some(incident::open(run, plan, *incident).await),
        opened => opened,
    };
    let incident = match opened {
        Some(Opened::Rival(rival)) => return done_by(run, &rival, caller, warnings),
        Some(Opened::Ours(incident)) => incident,
        Some(Opened::No(incident, why)) => {
            warnings.push(why);
            incident
        }
        None => Box::new(incident::of(run, plan, None, caller)),
    };
    let (listed, flushed, hooked) = tokio::join!(
        incident::list(run, on_record, &incident),
        flush(run, plan, observed),
        hook::after(run, plan, caller)
    );
    warnings.extend(listed.err().into_iter().chain(flushed).chain(hooked));
    // An older version that was gone back to is the known-good release from now on.
    if let (Some(_), Some((_, record))) = (ask.version, on_record.good()) {
        warnings.extend(renew(run, plan, record).await);
    }
    if plan.stops_auto_deploy() {
        warnings.push(
            "AutoDeploy of the stage is OFF now: edits of the API do not go live by themselves until somebody switches \
             it on again"
                .to_owned(),
        );
    }
    let missing = observed.parts.told();
    if !missing.is_empty() {
        warnings.push(format!("not all of the release is back: {}", missing.join("; ")));
    }
    let message = format!("{} is back: {plan}", plan.stage);
    let report = run.report(caller, Outcome::RolledBack, message).with_plan(plan);
    let live = observed.live.as_ref().and_then(|live| live.updated_at);
    let since = on_record.candidate_for(&plan.from).map(|candidate| candidate.first_seen).or(live);
    let news = Some(incident::news(&incident.bad.fingerprint(), incident.at));
    Report { next: advice(plan, caller), incident: Some(parameter), warnings, since, news, ..report }
}

/// Flushes the caches that are on, if the plan says so. Returns what went wrong.
async fn flush<C: Cloud>(run: &Run<'_, C>, plan: &Plan, observed: &Observed) -> Vec<String> {
    if !plan.flush {
        return vec![];
    }
    let answers = async {
        match &observed.live {
            Some(live) if live.cache => run.cloud.flush(&plan.stage, Cache::Answers).await,
            Some(_) | None => Ok(()),
        }
    };
    let authorizers = async {
        if run.cloud.caches_decisions(&plan.stage.api).await? {
            run.cloud.flush(&plan.stage, Cache::Authorizers).await?;
        }
        Ok(())
    };
    let (answers, authorizers) = tokio::join!(answers, authorizers);
    let told = |error: CloudError| format!("a cache is not flushed: {error}");
    [answers, authorizers].into_iter().filter_map(Result::err).map(told).collect()
}

/// Writes an older version of the record as the newest one, and moves the pin. Returns what went wrong.
async fn renew<C: Cloud>(run: &Run<'_, C>, plan: &Plan, record: &Record) -> Vec<String> {
    let renewed = Record {
        recorded_at: run.now,
        note: Some(format!("put back from version {}", plan.version)),
        ..record.clone()
    };
    let mut warnings = Vec::new();
    match records::print(&renewed) {
        Ok(value) => {
            let name = run.config.names.known_good(&plan.stage);
            let put = run.cloud.put_parameter(&name, &value, Write::Overwrite).await;
            warnings.extend(
                put.err().map(|error| format!("the older release is not the newest record: {error}")),
            );
        }
        Err(why) => warnings.push(why),
    }
    if run.config.pin {
        warnings.extend(pin::move_to(run.cloud, &plan.stage, &plan.to.deployment).await.err());
    }
    warnings
}

fn advice(plan: &Plan, caller: &Caller) -> Vec<String> {
    let stack = format!(
        "the stack or pipeline still describes the release that was taken off (deployment `{}`): its next deploy \
         brings it back, so fix or revert the change first",
        plan.from.deployment
    );
    let watch = "watch the alarm: if it stays in ALARM, the release was not the cause".to_owned();
    std::iter::once(stack).chain(caller.is_alarm().then_some(watch)).collect()
}
