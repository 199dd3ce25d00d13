//! Records the live release as the known-good release, for the `record` command and for promotions.

use crate::cloud::{Alarms, Components, Gateway, Parameters, Write, Written};
use crate::context::Context;
use crate::decide::Trigger;
use crate::decide::recording::{Known, is_still_due, recordable};
use crate::model::cloud_error::CloudError;
use crate::model::guilt::Terms;
use crate::model::normal::Normal;
use crate::model::observed::{KnownGood, Observed, OnRecord};
use crate::model::policy::{AutoDeploy, StagePolicy};
use crate::model::reason::Reason;
use crate::model::records::{self, Candidate, NameIndex, Record, SCHEMA};
use crate::model::report::{Outcome, Report};
use crate::model::stage::{Deployment, LiveStage, StageRef};
use crate::model::target::metric_name;
use crate::model::traffic::Source;
use crate::observe::components::stray_mappings;
use crate::observe::observe;
use crate::rollback::incident;
use crate::rollback::pin;

/// The data that is recorded with the release.
#[derive(Clone, Debug)]
pub struct Recording<'a> {
    /// A readable name of the release; `None` keeps the announced one.
    pub label: Option<String>,
    /// A note on the release; `None` keeps the announced one.
    pub note: Option<String>,
    /// The operator or trigger that records the release.
    pub who: Option<String>,
    /// Whether the release is irreversible: alarms do not roll it back. `None` keeps the mark that it has.
    pub irreversible: Option<bool>,
    /// The proven candidate: nothing else is recorded. `None` records the live release, whatever it is.
    pub expected: Option<&'a Candidate>,
    /// The outcome to report.
    pub outcome: Outcome,
}

/// Records the live release of a stage (`PutParameter`), indexes its API's name, and pins its deployment.
pub async fn record<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
    recording: Recording<'_>,
) -> Report {
    match try_record(context, stage, recording).await {
        Ok(report) => report.on(stage),
        Err(error) => context.failed_on(stage, &error),
    }
}

async fn try_record<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
    recording: Recording<'_>,
) -> Result<Report, CloudError> {
    let observed = observe(context, stage, None, Trigger::Imagined).await?;
    let (deployment, quarantine, stray_mappings, api_name) = tokio::join!(
        async {
            match &observed.live {
                Some(live) => context.cloud.deployment(stage, &live.release.deployment).await,
                None => Ok(None),
            }
        },
        async {
            match &observed.live {
                Some(live) => {
                    let rollbacks = &observed.on_record.rollbacks;
                    incident::quarantine(context, stage, rollbacks, &live.release.fingerprint()).await
                }
                None => Ok(None),
            }
        },
        stray_mappings(context.cloud, context.config, stage, &observed.components),
        api_name(context, stage),
    );
    let stray_components = stray_mappings?.into_iter().chain(foreign_component(context, &observed)).collect();
    let known = Known { deployment: deployment?, quarantine: quarantine?, stray_components };
    let policy = context.config.policy.under(&observed.on_record.policy);
    let (live, deployment) = match accepted(context, &observed, known, recording.expected, &policy) {
        Ok(good) => good,
        Err(reason) => return Ok(context.no(reason)),
    };
    let on_record = &observed.on_record;
    let record = Record {
        schema: SCHEMA,
        stage: stage.clone(),
        region: context.config.region.clone(),
        api_name: api_name?,
        release: live.release.clone(),
        created: deployment.created,
        recorded_at: context.now,
        pinned: context.config.pin,
        label: recording.label.or_else(|| on_record.label(&live.release).map(str::to_owned)),
        note: recording.note.or_else(|| on_record.note(&live.release).map(str::to_owned)),
        who: recording.who,
        irreversible: recording.irreversible.unwrap_or_else(|| on_record.keeps_mark(&live.release)),
        normal: normal(&observed, &policy),
    };
    let mut warnings = Vec::new();
    // A run that dies must not leave the only way back unpinned. An older known-good release keeps its pin until the
    // new one is recorded.
    let is_first = matches!(observed.on_record.known_good, KnownGood::None { .. });
    if context.config.pin
        && is_first
        && let Err(why) = pin_before(context, &record, &mut warnings).await
    {
        return Ok(context.no(Reason::NotRecordable(why)));
    }
    let (version, is_new) = match store(context, &record, &observed.on_record).await? {
        Ok(stored) => stored,
        Err(why) => return Ok(context.no(Reason::NotRecordable(why))),
    };
    if let Some(name) = &record.api_name {
        warnings.extend(index(context, name, &stage.api).await.err());
    }
    warnings.extend(pin_after(context, &record, version, is_first).await);
    if live.auto_deploy && policy.auto_deploy == AutoDeploy::Hold {
        warnings.push(format!("alarms will not roll back to it: {}", Reason::AutoDeploy(stage.to_string())));
    }
    let as_before = if is_new { "" } else { ", as before" };
    let message = format!("{stage}: {} is known-good version {version}{as_before}", record.release);
    let report = context.report(recording.outcome, message);
    let release = Some(record.release);
    Ok(Report { before: release.clone(), after: release, version: Some(version), warnings, ..report })
}

/// Checks whether the live release can be recorded, and whether a promotion is still due.
fn accepted<'a, C>(
    context: &Context<'_, C>,
    observed: &'a Observed,
    known: Known,
    expected: Option<&Candidate>,
    policy: &StagePolicy,
) -> Result<(&'a LiveStage, Deployment), Reason> {
    let good = recordable(observed, known, expected.map(|expected| &expected.release), policy)?;
    if let Some(expected) = expected {
        is_still_due(observed, expected, context.now, context.trigger.is_operator())?;
    }
    Ok(good)
}

/// Returns how the live release has behaved, if its access log shows that.
fn normal(observed: &Observed, policy: &StagePolicy) -> Option<Normal> {
    let Some(Ok(traffic)) = &observed.traffic else { return None };
    let is_by_seconds = matches!(traffic.source, Source::Deployments | Source::AccessLog);
    let Terms { tolerated, latency, .. } = policy.test;
    is_by_seconds.then(|| Normal::learnt(&traffic.live, tolerated, latency))
}

/// Returns a problem if the policy lists a component that is not the stage's.
fn foreign_component<C>(context: &Context<'_, C>, observed: &Observed) -> Option<String> {
    let foreign = context.config.foreign_component(&observed.stage, &observed.on_record.policy)?;
    Some(format!("the stage's policy lists {foreign}, which PROTECTED_STAGES does not list for this stage"))
}

/// Pins a release before its record is written. What fails becomes a warning.
///
/// # Errors
/// A sentence, if another function protects the stage.
async fn pin_before<C: Gateway + Parameters>(
    context: &Context<'_, C>,
    record: &Record,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    match pin::move_to(context, &record.stage, (&record.release.deployment, 0)).await {
        Err(pin::NotPinned::Other(why)) => Err(why),
        moved => {
            warnings.extend(moved.err().map(|why| why.to_string()));
            Ok(())
        }
    }
}

/// Moves the pin to a recorded release, unless it was there before. Returns a warning if the release is not pinned.
async fn pin_after<C: Gateway + Parameters>(
    context: &Context<'_, C>,
    record: &Record,
    version: i64,
    is_first: bool,
) -> Option<String> {
    if !context.config.pin {
        return Some("pinning is off: a deploy may delete the known-good deployment".to_owned());
    }
    if is_first {
        return None;
    }
    let moved = pin::move_to(context, &record.stage, (&record.release.deployment, version)).await;
    moved.err().map(|why| why.to_string())
}

/// Writes the record, unless the newest version is the same. If an irreversible release was announced since, it is written
/// nevertheless: the stage has left that release. The inner error says why it cannot be stored.
async fn store<C: Parameters>(
    context: &Context<'_, C>,
    record: &Record,
    on_record: &OnRecord,
) -> Result<Result<(i64, bool), String>, CloudError> {
    if let Some((version, known)) = on_record.good() {
        let same = Record { recorded_at: known.recorded_at, ..record.clone() };
        if same == *known && on_record.mark_since_record().is_none() {
            return Ok(Ok((version, false)));
        }
    }
    let value = match records::print(record) {
        Ok(value) => value,
        Err(why) => return Ok(Err(why)),
    };
    let name = context.config.names.known_good(&record.stage);
    match context.cloud.put_parameter(&name, &value, Write::Overwrite).await {
        Ok(Written::Version(version)) => Ok(Ok((version, true))),
        Ok(Written::Exists) => {
            Ok(Err(format!("another writer created the parameter `{name}` at the same time")))
        }
        // A write without an answer may have taken effect. Then the release needs its pin now.
        Err(error) => match context.cloud.parameters(std::slice::from_ref(&name)).await {
            Ok(found) => {
                let ours = found.into_iter().find(|found| found.name == name && found.value == value);
                ours.map(|found| Ok((found.version, true))).ok_or(error)
            }
            Err(_) => Err(error),
        },
    }
}

async fn api_name<C: Gateway>(
    context: &Context<'_, C>,
    stage: &StageRef,
) -> Result<Option<String>, CloudError> {
    match context.config.entry(stage) {
        Some(entry) => Ok(Some(entry.api_name.clone())),
        None if stage.protocol.is_v2() => Ok(context.cloud.v2_api(&stage.api).await?.map(|api| api.name)),
        None => Ok(context.cloud.rest_api(&stage.api).await?.map(|api| api.name)),
    }
}

/// Adds the API to the index of its name, so that an alarm's `ApiName` is resolved with one read.
async fn index<C: Parameters>(context: &Context<'_, C>, name: &str, api: &str) -> Result<(), String> {
    let parameter = context.config.names.api_name(&metric_name(name, api));
    let described = |error: CloudError| format!("the API's name was not indexed: {error}");
    let found = context.cloud.parameters(std::slice::from_ref(&parameter)).await.map_err(described)?;
    let known = found.iter().find(|found| found.name == parameter);
    let mut index = match known {
        Some(found) => records::parse::<NameIndex>(&found.value)
            .map_err(|why| format!("the API's name was not indexed: the parameter `{parameter}` {why}"))?,
        None => NameIndex { schema: SCHEMA, apis: vec![] },
    };
    if index.apis.iter().any(|known| known == api) {
        return Ok(());
    }
    index.apis.push(api.to_owned());
    let value = records::print(&index)?;
    context.cloud.put_parameter(&parameter, &value, Write::Overwrite).await.map_err(described).map(|_| ())
}
