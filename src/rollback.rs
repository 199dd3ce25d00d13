//! One stage's run: observe, decide, check, apply, and again where the world moved in between.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::apply::{Applied, apply};
use crate::cloud::{Cloud, CloudError, Write, Written};
use crate::config::Config;
use crate::decide::{Call, Decision, Plan, check, decide};
use crate::observe::{Observed, observe};
use crate::release::{self, Incident, SCHEMA, StageRef};
use crate::report::{Caller, Outcome, Report};
use crate::verdict::Reason;

/// Two runs of one incident are seconds apart: duplicate deliveries, or two alarms of one bad release. An
/// older incident of the same release means that somebody brought the release back.
const SAME_INCIDENT: TimeDelta = TimeDelta::minutes(10);

/// What every part of a run needs.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a, C> {
    /// The port.
    pub cloud: &'a C,
    /// The settings.
    pub config: &'a Config,
    /// Lambda's request id.
    pub id: &'a str,
    /// The account the function runs in, where known.
    pub account: Option<&'a str>,
    /// The time the run began.
    pub now: DateTime<Utc>,
    /// The same moment on the clock that cannot be set.
    pub began: Instant,
    /// When the run must have ended.
    pub deadline: Instant,
}

impl<C: Cloud> Run<'_, C> {
    /// The time now, for reports: decisions use [`Run::now`].
    #[must_use]
    pub fn clock(&self) -> DateTime<Utc> {
        self.now + TimeDelta::from_std(self.began.elapsed()).unwrap_or_default()
    }

    /// A report about nothing done.
    pub fn no(&self, caller: &Caller, reason: &Reason) -> Report {
        Report::no(self.id, self.clock(), caller, reason)
    }

    /// A report about a failed call.
    pub fn failed(&self, caller: &Caller, error: &CloudError) -> Report {
        Report::failed(self.id, self.clock(), caller, error)
    }

    /// A report of an outcome.
    pub fn report(&self, caller: &Caller, outcome: Outcome, message: String) -> Report {
        Report::new(self.id, self.clock(), caller, outcome, message)
    }
}

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

/// Puts one stage back, if it should be.
pub async fn rollback<C: Cloud>(run: &Run<'_, C>, stage: &StageRef, ask: Ask<'_>, caller: &Caller) -> Report {
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_jitter()
        .build();
    let mut tried = None;
    loop {
        let again = match attempt(run, stage, ask, caller, &mut tried).await {
            Ok(report) => return report.on(stage),
            Err(error) => error,
        };
        let wait = waits.next().unwrap_or_default();
        if Instant::now() + wait >= run.deadline {
            return run.failed(caller, &again).on(stage);
        }
        tokio::time::sleep(wait).await;
    }
}

/// One pass. An error means: the world moved or is unknown, read it again.
async fn attempt<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    ask: Ask<'_>,
    caller: &Caller,
    tried: &mut Option<Box<Plan>>,
) -> Result<Report, CloudError> {
    let alarm = match ask.call {
        Call::Alarm { name, .. } => Some(name),
        Call::Operator | Call::Imagined => None,
    };
    let observed = match observe(run.cloud, run.config, stage, ask.version, alarm).await {
        Ok(observed) => observed,
        Err(error) => return Ok(run.failed(caller, &error)),
    };
    let plan = match (decide(ask.call, &observed, run.config.mode), tried.take()) {
        // An earlier call of this run had its effect, and only its answer was lost.
        (Decision::Hold(Reason::AlreadyKnownGood { .. }), Some(plan)) => {
            return Ok(healed(run, &plan, caller).await);
        }
        (Decision::Hold(reason), _) => return Ok(held(run, caller, &reason, &observed)),
        (Decision::Act(plan), _) => plan,
    };
    if let Err(broken) = check(&plan, &observed) {
        return Ok(run.report(caller, Outcome::NeedsHuman, broken).with_plan(&plan));
    }
    if ask.dry {
        let message = format!("{stage} would be put back: {plan}");
        return Ok(run.report(caller, Outcome::WouldRollBack, message).with_plan(&plan));
    }
    match apply(run.cloud, &plan).await {
        Applied::Done => Ok(healed(run, &plan, caller).await),
        Applied::Again(error) => {
            *tried = Some(plan);
            Err(error)
        }
        Applied::DeploymentGone => {
            let reason = Reason::KnownGoodMissing {
                deployment: plan.to.deployment.clone(),
                parameter: run.config.names.known_good(stage),
                version: plan.version,
            };
            Ok(held(run, caller, &reason, &observed))
        }
        Applied::Failed(error) => Ok(run.failed(caller, &error)),
        Applied::Unlike { live, error } => {
            let message = format!(
                "{stage} was to be put back: {plan}; it shows deployment `{}` with {} stage variables{}",
                live.release.deployment,
                live.release.variables.len(),
                error.map(|error| format!("; {error}")).unwrap_or_default()
            );
            let report = run.report(caller, Outcome::NeedsHuman, message).with_plan(&plan);
            Ok(Report { after: Some(live.release), ..report })
        }
    }
}

fn held<C: Cloud>(run: &Run<'_, C>, caller: &Caller, reason: &Reason, observed: &Observed) -> Report {
    let live = observed.live.as_ref().map(|live| live.release.clone());
    Report { before: live.clone(), after: live, ..run.no(caller, reason) }
}

/// The stage is back. The incident's record is created only now, and by one run only; who comes second
/// reports that there was nothing left to do.
async fn healed<C: Cloud>(run: &Run<'_, C>, plan: &Plan, caller: &Caller) -> Report {
    let parameter = run.config.names.incident(&plan.stage, &plan.from.fingerprint());
    let incident = Incident {
        schema: SCHEMA,
        stage: plan.stage.clone(),
        bad: plan.from.clone(),
        good: plan.to.clone(),
        version: plan.version,
        at: run.clock(),
        by: caller.name.clone().unwrap_or_else(|| "operator".to_owned()),
        alarm_at: caller.changed_at,
        // A reason can be long; the record must fit.
        why: caller.why.as_deref().unwrap_or_default().replace("{{", "{ {").chars().take(500).collect(),
        run: run.id.to_owned(),
    };
    let message = format!("{} is back: {plan}", plan.stage);
    let report = run.report(caller, Outcome::RolledBack, message).with_plan(plan);
    let report = Report { next: advice(plan, caller), incident: Some(parameter.clone()), ..report };
    match claim(run, &parameter, &incident).await {
        Ok(None) => report,
        Ok(Some(rival)) => {
            let reason = Reason::AlreadyKnownGood {
                deployment: plan.to.deployment.clone(),
                version: plan.version,
                by: Some(format!("run {} put it back at {}", rival.run, crate::verdict::stamp(rival.at))),
            };
            let report = run.no(caller, &reason).with_plan(plan);
            Report { incident: Some(parameter), ..report }
        }
        Err(why) => Report { warnings: vec![why], ..report },
    }
}

/// Creates the incident's record. `Some` is the rival that created it first.
async fn claim<C: Cloud>(
    run: &Run<'_, C>,
    name: &str,
    incident: &Incident,
) -> Result<Option<Incident>, String> {
    let told = |error: CloudError| format!("the incident is not on record: {error}");
    let value = release::print(incident)?;
    if let Written::Version(_) = run.cloud.put_parameter(name, &value, Write::Create).await.map_err(told)? {
        return Ok(None);
    }
    let found = run.cloud.parameters(&[name.to_owned()]).await.map_err(told)?;
    let earlier = found.first().and_then(|found| release::parse::<Incident>(&found.value).ok());
    match earlier {
        Some(rival) if incident.at.signed_duration_since(rival.at).abs() < SAME_INCIDENT => Ok(Some(rival)),
        _ => run.cloud.put_parameter(name, &value, Write::Overwrite).await.map_err(told).map(|_| None),
    }
}

fn advice(plan: &Plan, caller: &Caller) -> Vec<String> {
    let stack = format!(
        "the stack or pipeline still describes the release that was taken off (deployment `{}`): its next deploy \
         brings it back, so fix or revert the change first",
        plan.from.deployment
    );
    let then = if caller.changed_at.is_some() {
        "watch the alarm: if it stays in ALARM, the release was not the cause"
    } else {
        "if this release is to stay the known-good one, send a `record` command: an alarm goes by the newest record"
    };
    vec![stack, then.to_owned()]
}
