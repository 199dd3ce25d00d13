//! One stage's way back: observe, decide, check, apply, and again where the world moved in between.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use crate::apply::{Applied, apply};
use crate::cloud::{Cloud, CloudError, Write};
use crate::decide::{Call, Decision, Plan, check, decide};
use crate::incident::{self, Opened};
use crate::observe::{Observed, OnRecord, observe, usable};
use crate::pin;
use crate::records::{self, Record};
use crate::release::{Release, StageRef};
use crate::report::{Caller, Outcome, Report};
use crate::run::Run;
use crate::verdict::{Reason, stamp};

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

/// Puts one stage back, if it should be.
pub async fn rollback<C: Cloud>(run: &Run<'_, C>, stage: &StageRef, ask: Ask<'_>, caller: &Caller) -> Report {
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_jitter()
        .build();
    let mut tried = None;
    let mut asked = ask;
    loop {
        let again = match pass(run, stage, asked, caller, &mut tried).await {
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
    tried: &mut Option<Box<Plan>>,
) -> Pass {
    let over = |report| Pass::Over(Box::new(report));
    let alarm = match ask.call {
        Call::Alarm { name, .. } => Some(name),
        Call::Operator { .. } | Call::Imagined => None,
    };
    let observed = match observe(run.cloud, run.config, stage, ask.version, alarm).await {
        Ok(observed) => without_our_change(observed, tried.as_deref()),
        Err(error) => return over(run.failed(caller, &error)),
    };
    let terms = run.config.terms.under(&observed.on_record.policy);
    let plan = match (decide(ask.call, &observed, &terms, run.now), tried.take()) {
        // An earlier call of this run had its effect, and only its answer was lost.
        (Decision::Hold(Reason::AlreadyKnownGood { .. }), Some(plan)) => {
            return over(healed(run, &plan, ask, &observed.on_record, caller).await);
        }
        (Decision::Hold(reason), _) => return held(run, caller, &reason, &observed),
        (Decision::Act(plan), _) => plan,
    };
    if let Err(broken) = check(&plan, &observed) {
        return over(run.report(caller, Outcome::NeedsHuman, broken).with_plan(&plan));
    }
    if ask.dry {
        let message = format!("{stage} would be put back: {plan}");
        return over(run.report(caller, Outcome::WouldRollBack, message).with_plan(&plan));
    }
    match apply(run.cloud, &plan).await {
        Applied::Done => over(healed(run, &plan, ask, &observed.on_record, caller).await),
        Applied::Again(error) => {
            *tried = Some(plan);
            Pass::Again(error)
        }
        Applied::DeploymentGone => {
            let reason = Reason::KnownGoodMissing {
                deployment: plan.to.deployment.clone(),
                parameter: run.config.names.known_good(stage),
                version: plan.version,
                why: "does not exist any more, and no older version serves".to_owned(),
            };
            held(run, caller, &reason, &observed)
        }
        Applied::Failed(error) => over(run.failed(caller, &error)),
        Applied::Unlike { live, error } => {
            let message = format!(
                "{stage} was to be put back: {plan}; it shows deployment `{}` with {} stage variables{}",
                live.release.deployment,
                live.release.variables.len(),
                error.map(|error| format!("; {error}")).unwrap_or_default()
            );
            let report = run.report(caller, Outcome::NeedsHuman, message).with_plan(&plan);
            over(Report { after: Some(live.release), ..report })
        }
    }
}

/// Where this run took the canary off and got no further, the stage's last change is ours: it must not look
/// like somebody's fix that came after the alarm.
fn without_our_change(mut observed: Observed, tried: Option<&Plan>) -> Observed {
    if let (Some(plan), Some(live)) = (tried, observed.live.as_mut()) {
        let half_way = Release { canary: None, ..plan.from.clone() };
        if plan.from.canary.is_some() && live.release == half_way {
            live.updated_at = None;
        }
    }
    observed
}

fn held<C: Cloud>(run: &Run<'_, C>, caller: &Caller, reason: &Reason, observed: &Observed) -> Pass {
    let live = observed.live.as_ref().map(|live| live.release.clone());
    let report = Box::new(Report { before: live.clone(), after: live, ..run.no(caller, reason) });
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
            && run.cloud.deployment(&stage.api, &record.release.deployment).await?.is_some();
        if serves {
            return Ok(Some(one.version));
        }
        if record.irreversible {
            break;
        }
    }
    Ok(None)
}

/// The stage is back. All that is left is to put it on record; who comes second reports that there was
/// nothing left to do.
async fn healed<C: Cloud>(
    run: &Run<'_, C>,
    plan: &Plan,
    ask: Ask<'_>,
    on_record: &OnRecord,
    caller: &Caller,
) -> Report {
    let parameter = run.config.names.incident(&plan.stage, &plan.from.fingerprint());
    let mut warnings = Vec::new();
    match incident::open(run, plan, on_record, caller).await {
        Ok(Opened::Ours) => {}
        Ok(Opened::Rival(rival)) => {
            let reason = Reason::AlreadyKnownGood {
                deployment: plan.to.deployment.clone(),
                version: plan.version,
                by: Some(format!("run {} put it back at {}", rival.run, stamp(rival.at))),
            };
            let report = run.no(caller, &reason).with_plan(plan);
            return Report { incident: Some(parameter), ..report };
        }
        Err(why) => warnings.push(why),
    }
    // An older version that was gone back to is the known-good release from now on.
    if let (Some(_), Some((_, record))) = (ask.version, on_record.good()) {
        warnings.extend(renew(run, plan, record).await);
    }
    let message = format!("{} is back: {plan}", plan.stage);
    let report = run.report(caller, Outcome::RolledBack, message).with_plan(plan);
    Report { next: advice(plan, caller), incident: Some(parameter), warnings, ..report }
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
