//! Recording: the live release becomes the known-good one, for the `record` command and for promotions.

use crate::cloud::{Cloud, CloudError, Deployment, LiveStage, Write, Written};
use crate::config::AutoDeploy;
use crate::context::Run;
use crate::model::reason::Reason;
use crate::model::records::{self, NameIndex, Record, SCHEMA};
use crate::model::release::{Release, StageRef};
use crate::model::report::{Caller, Outcome, Report};
use crate::observe::{KnownGood, Observed, observe, strayed};
use crate::rollback::incident;
use crate::sweep::pin;

/// What is written with the release.
#[derive(Clone, Debug)]
pub struct Recording<'a> {
    /// The release's name for people.
    pub label: Option<String>,
    /// The changelog's note.
    pub note: Option<String>,
    /// Who records.
    pub who: Option<String>,
    /// Whether the release cannot be left by going back.
    pub irreversible: bool,
    /// The release that was proven; nothing else is recorded. `None` takes what is live.
    pub expected: Option<&'a Release>,
    /// The outcome that is reported.
    pub outcome: Outcome,
}

/// Records the live release of a stage, indexes its API's name, and pins its deployment.
pub async fn record<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    recording: Recording<'_>,
    caller: &Caller,
) -> Report {
    match try_record(run, stage, recording, caller).await {
        Ok(report) => report.on(stage),
        Err(error) => run.failed(caller, &error).on(stage),
    }
}

async fn try_record<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    recording: Recording<'_>,
    caller: &Caller,
) -> Result<Report, CloudError> {
    let observed = observe(run.cloud, run.config, stage, None, None).await?;
    let (deployment, quarantine, strayed, api_name) = tokio::join!(
        async {
            match &observed.live {
                Some(live) => run.cloud.deployment(stage, &live.release.deployment).await,
                None => Ok(None),
            }
        },
        async {
            match &observed.live {
                Some(live) => incident::quarantine(run, stage, &live.release.fingerprint()).await,
                None => Ok(None),
            }
        },
        strayed(run.cloud, stage, &observed.parts),
        api_name(run, stage),
    );
    let known = Known { deployment: deployment?, quarantine: quarantine?, strayed: strayed? };
    let (live, deployment) = match recordable(&observed, known, recording.expected) {
        Ok(good) => good,
        Err(reason) => return Ok(run.no(caller, &reason)),
    };
    let record = Record {
        schema: SCHEMA,
        stage: stage.clone(),
        region: run.config.region.clone(),
        api_name: api_name?,
        release: live.release.clone(),
        created: deployment.created,
        recorded_at: run.now,
        pinned: run.config.pin,
        label: recording.label,
        note: recording.note,
        who: recording.who,
        irreversible: recording.irreversible,
    };
    let (version, is_new) = match store(run, &record, &observed.on_record.known_good).await? {
        Ok(stored) => stored,
        Err(why) => return Ok(run.no(caller, &Reason::NotRecordable(why))),
    };
    let mut warnings = Vec::new();
    if let Some(name) = &record.api_name {
        warnings.extend(index(run, name, &stage.api).await.err());
    }
    if run.config.pin {
        warnings.extend(pin::move_to(run.cloud, stage, &record.release.deployment).await.err());
    } else {
        warnings.push("pinning is off: a deploy may delete the known-good deployment".to_owned());
    }
    let terms = run.config.terms.under(&observed.on_record.policy);
    if live.auto_deploy && terms.auto_deploy == AutoDeploy::Hold {
        warnings.push(format!("an alarm will not go back to it: {}", Reason::AutoDeploy(stage.to_string())));
    }
    let message = format!(
        "{stage}: {} is known-good version {version}{}",
        record.release,
        if is_new { "" } else { ", as it was already" }
    );
    let report = run.report(caller, recording.outcome, message);
    let release = Some(record.release);
    Ok(Report { before: release.clone(), after: release, version: Some(version), warnings, ..report })
}

/// What only recording asks for.
struct Known {
    deployment: Option<Deployment>,
    quarantine: Option<String>,
    strayed: Vec<String>,
}

/// Whether the live release can be a known-good one; tells all that is wrong with it. Pure.
fn recordable<'a>(
    observed: &'a Observed,
    known: Known,
    expected: Option<&Release>,
) -> Result<(&'a LiveStage, Deployment), Reason> {
    let stage = &observed.stage;
    if stage.is_parked() {
        return Err(Reason::NotRecordable(format!(
            "{stage} is a parked stage: record the stage it is parked for"
        )));
    }
    let Some(live) = &observed.live else {
        return Err(Reason::NoStage(format!(
            "API Gateway has no stage `{}` on API `{}`",
            stage.stage, stage.api
        )));
    };
    if expected.is_some_and(|expected| *expected != live.release) {
        return Err(Reason::NotProven(
            "the stage was changed before the release could be recorded".to_owned(),
        ));
    }
    let mut wrong: Vec<String> = Vec::new();
    if let Some(canary) = &live.release.canary {
        wrong.push(format!(
            "{stage} has a canary with {} % of the traffic: promote or remove it first",
            canary.percent
        ));
    }
    if let Some(why) = known.quarantine {
        wrong.push(format!(
            "{stage} serves a release in quarantine: {why}; if it is good after all, send a `lift` command with the \
             incident `{}` first",
            live.release.fingerprint()
        ));
    }
    let pointed_at =
        |what: &str| format!("{stage} points at deployment `{}`, {what}", live.release.deployment);
    match &known.deployment {
        None => wrong.push(pointed_at("which API Gateway does not find")),
        Some(Deployment { undeployed: Some(status), .. }) => {
            wrong.push(pointed_at(&format!("which has the status {status}")));
        }
        Some(_) => {}
    }
    let missing = observed.parts.missing.iter().filter(|missing| !missing.recorded);
    wrong.extend(missing.map(ToString::to_string).chain(known.strayed));
    for (alias, target) in live.release.aliases.iter().filter(|(_, target)| !target.weights.is_empty()) {
        wrong.push(format!("the alias `{alias}` shares its traffic: version {target}"));
    }
    let moving = observed.parts.moving.iter();
    wrong.extend(moving.map(|alias| format!("a running CodeDeploy deployment moves the alias `{alias}`")));
    let Some(deployment) = known.deployment.filter(|_| wrong.is_empty()) else {
        return Err(Reason::NotRecordable(wrong.join("; ")));
    };
    if let KnownGood::Unusable { parameter, why } = &observed.on_record.known_good {
        return Err(Reason::NoKnownGood { parameter: parameter.clone(), why: why.clone() });
    }
    Ok((live, deployment))
}

/// Writes the record, unless it says the same already. The inner error says why it cannot be stored.
async fn store<C: Cloud>(
    run: &Run<'_, C>,
    record: &Record,
    known_good: &KnownGood,
) -> Result<Result<(i64, bool), String>, CloudError> {
    if let KnownGood::Found { version, record: known, .. } = known_good {
        let same = Record { recorded_at: known.recorded_at, ..record.clone() };
        if same == **known {
            return Ok(Ok((*version, false)));
        }
    }
    let value = match records::print(record) {
        Ok(value) => value,
        Err(why) => return Ok(Err(why)),
    };
    let name = run.config.names.known_good(&record.stage);
    match run.cloud.put_parameter(&name, &value, Write::Overwrite).await? {
        Written::Version(version) => Ok(Ok((version, true))),
        Written::Exists => Ok(Err(format!("the parameter `{name}` was taken while it was written"))),
    }
}

async fn api_name<C: Cloud>(run: &Run<'_, C>, stage: &StageRef) -> Result<Option<String>, CloudError> {
    match run.config.entry(stage) {
        Some(entry) => Ok(Some(entry.api_name.clone())),
        None if stage.protocol.is_v2() => Ok(run.cloud.v2_api(&stage.api).await?.map(|api| api.name)),
        None => Ok(run.cloud.rest_api(&stage.api).await?.map(|api| api.name)),
    }
}

/// Adds the API to the index of its name, so that an alarm's `ApiName` is understood with one read.
async fn index<C: Cloud>(run: &Run<'_, C>, name: &str, api: &str) -> Result<(), String> {
    let parameter = run.config.names.api_name(name);
    let told = |error: CloudError| format!("the API's name is not indexed: {error}");
    let found = run.cloud.parameters(std::slice::from_ref(&parameter)).await.map_err(told)?;
    let known = found.iter().find(|found| found.name == parameter);
    let mut index = match known {
        Some(found) => records::parse::<NameIndex>(&found.value)
            .map_err(|why| format!("the API's name is not indexed: the parameter `{parameter}` {why}"))?,
        None => NameIndex { schema: SCHEMA, apis: vec![] },
    };
    if index.apis.iter().any(|known| known == api) {
        return Ok(());
    }
    index.apis.push(api.to_owned());
    let value = records::print(&index)?;
    run.cloud.put_parameter(&parameter, &value, Write::Overwrite).await.map_err(told).map(|_| ())
}
