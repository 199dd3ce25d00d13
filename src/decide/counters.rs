//! Which metrics count the requests of a release, and from when on they are about it. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::testimony::{COUNTED_LATE, went_live};
use crate::model::access_log::{self, Counted};
use crate::model::alarm::{CLOCK_SKEW, Metric};
use crate::model::component::AliasRef;
use crate::model::observed::OnRecord;
use crate::model::protocol::Protocol;
use crate::model::records::LastSweep;
use crate::model::rollout::Rollout;
use crate::model::stage::{LiveStage, StageRef};
use crate::model::target::metric_name;
use crate::model::traffic::{Bucket, Counter, Source, Statistic, Traffic};
use crate::signal::target::NAMESPACE;

/// CloudWatch keeps data with a resolution of seconds for three hours.
pub const KEPT: TimeDelta = TimeDelta::hours(3);

/// How long before a release its predecessor's requests say whether it was in trouble.
const BEFORE: TimeDelta = TimeDelta::minutes(15);

/// How long API Gateway takes to serve a new deployment everywhere.
const SPREADS: TimeDelta = TimeDelta::seconds(10);

/// The statistic that counts the status codes 500 to 599. CloudWatch excludes the lower bound.
const SERVER_ERRORS: &str = "TC(499:599)";

/// When a release went live, and how certain that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Began {
    /// The time.
    pub at: DateTime<Utc>,
    /// Whether API Gateway's clock says so, which also dates the requests. Otherwise the function saw the release at that time.
    pub certain: bool,
}

/// Returns when the live release went live; `None` if nothing says so.
#[must_use]
pub fn began(on_record: &OnRecord, live: &LiveStage) -> Option<Began> {
    if let Some(at) = went_live(on_record, live) {
        return Some(Began { at, certain: true });
    }
    if let Some(rollout) = of_weights(on_record) {
        return rollout.live_since.map(|at| Began { at, certain: false });
    }
    let candidate = on_record.candidate_for(&live.release).filter(|candidate| !candidate.gone)?;
    let candidate = candidate.clone().unchanged_since(live.updated_at);
    Some(Began { at: candidate.first_seen, certain: false })
}

/// The requests to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The source.
    pub source: Source,
    /// How to count those of the live release.
    pub live: Counter,
    /// How to count those of its canary, if it has one.
    pub canary: Option<Counter>,
    /// How to count those of the known-good deployment, if it is another one.
    pub before: Option<Counter>,
}

impl Wanted {
    /// The requests of a whole stage.
    #[must_use]
    pub fn of_stage(source: Source, counter: Counter) -> Self {
        Self { source, live: counter, canary: None, before: None }
    }
}

/// Returns what to read from the access log of a stage; `None` if it does not count requests.
#[must_use]
pub fn of_access_log(
    stage: &StageRef,
    live: &LiveStage,
    on_record: &OnRecord,
    latency: Option<u32>,
) -> Option<Wanted> {
    let counted = live.access_log.as_ref()?.counted()?;
    let release = &live.release;
    let good = on_record.good().map(|(_, record)| record.release.deployment.as_str());
    let canary = release.canary.as_ref().and_then(|canary| canary.deployment.as_deref());
    let other = good.filter(|good| *good != release.deployment);
    let of = |deployment: Option<&str>| from_access_log(stage, deployment, latency);
    // Releases with one deployment differ by their variables or components only, which no line names.
    if counted == Counted::ByStage || (other.is_none() && canary.is_none()) {
        return Some(Wanted::of_stage(Source::AccessLog, of(None)));
    }
    Some(Wanted {
        source: Source::Deployments,
        live: of(Some(&release.deployment)),
        canary: canary.map(|canary| of(Some(canary))),
        before: other.map(|other| of(Some(other))),
    })
}

/// Returns the running rollout, if it moves aliases.
fn of_weights(on_record: &OnRecord) -> Option<&Rollout> {
    on_record.running().filter(|rollout| rollout.canary.is_none())
}

/// Returns what to read while a rollout moves aliases: the requests of the new versions, and those of the versions before.
#[must_use]
pub fn of_versions(on_record: &OnRecord) -> Option<Wanted> {
    let rollout = of_weights(on_record)?;
    let base = rollout.base.aliases.iter().map(|(alias, target)| (alias, &target.version));
    Some(Wanted {
        source: Source::Versions,
        live: from_lambda(base),
        canary: Some(from_lambda(rollout.versions.iter())),
        before: None,
    })
}

/// Counts the invocations of versions by their aliases. Lambda counts the errors of a function, not the answers with a status of
/// 5xx that it returns.
fn from_lambda<'a>(versions: impl Iterator<Item = (&'a AliasRef, &'a String)>) -> Counter {
    let mut counter = Counter::default();
    for (alias, version) in versions {
        let dimensions = [
            ("FunctionName", alias.name().to_owned()),
            ("Resource", format!("{}:{}", alias.name(), alias.alias)),
            ("ExecutedVersion", version.clone()),
        ];
        let dimensions = dimensions.map(|(name, value)| (name.to_owned(), value));
        let of = |name: &str| {
            let (namespace, dimensions) = ("AWS/Lambda".to_owned(), dimensions.clone().into());
            let metric = Metric { namespace, name: name.to_owned(), dimensions, account: None };
            Statistic { metric, statistic: "Sum".to_owned() }
        };
        counter.requests.push(of("Invocations"));
        counter.failed.push(of("Errors"));
    }
    counter
}

/// Counts the lines of an access log: of one deployment, or of the whole stage.
fn from_access_log(stage: &StageRef, deployment: Option<&str>, latency: Option<u32>) -> Counter {
    let mut dimensions = vec![
        (access_log::API.to_owned(), stage.api.clone()),
        (access_log::STAGE.to_owned(), stage.stage.clone()),
    ];
    dimensions.extend(deployment.map(|id| (access_log::DEPLOYMENT.to_owned(), id.to_owned())));
    let of = |name: &str, statistic: String| {
        let (namespace, dimensions) = (access_log::NAMESPACE.to_owned(), dimensions.clone());
        let metric = Metric { namespace, name: name.to_owned(), dimensions, account: None };
        vec![Statistic { metric, statistic }]
    };
    let latency = latency.filter(|_| stage.protocol != Protocol::WebSocket);
    Counter {
        requests: of(access_log::STATUS, "SampleCount".to_owned()),
        failed: of(access_log::STATUS, SERVER_ERRORS.to_owned()),
        slow: latency.map(|latency| of(access_log::LATENCY, format!("TC({latency}:)"))).unwrap_or_default(),
    }
}

/// Counts the requests of a stage by API Gateway's own metrics. Those of a REST API have its name; `None` if that is not known.
#[must_use]
pub fn of_own_metrics(stage: &StageRef, api_names: &[String], latency: Option<u32>) -> Option<Counter> {
    let api = match (stage.protocol, api_names) {
        (Protocol::Rest, [name, ..]) => ("ApiName", metric_name(name, &stage.api).into_owned()),
        (Protocol::Rest, []) => return None,
        (Protocol::Http | Protocol::WebSocket, _) => ("ApiId", stage.api.clone()),
    };
    let of = |name: &str, statistic: &str| {
        let dimensions =
            [(api.0, api.1.as_str()), ("Stage", &stage.stage)].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let metric = Metric {
            namespace: NAMESPACE.to_owned(),
            name: name.to_owned(),
            dimensions: dimensions.into(),
            account: None,
        };
        Statistic { metric, statistic: statistic.to_owned() }
    };
    let slow = latency.map(|latency| of("Latency", &format!("TC({latency}:)")));
    let (requests, failed, slow) = match stage.protocol {
        Protocol::Rest => (vec![of("Count", "Sum")], vec![of("5XXError", "Sum")], slow),
        Protocol::Http => (vec![of("Count", "Sum")], vec![of("5xx", "Sum")], slow),
        Protocol::WebSocket => (
            vec![of("MessageCount", "Sum")],
            vec![of("IntegrationError", "Sum"), of("ExecutionError", "Sum")],
            None,
        ),
    };
    Some(Counter { requests, failed, slow: slow.into_iter().collect() })
}

/// Keeps of the requests that were read those of the live release, and those of the known-good release before it. Nothing before
/// the known-good release itself acquits it, because that is its own trouble. Returns `None` if nothing says when the live
/// release went live.
#[must_use]
pub fn of_release(
    read: &Traffic,
    live: &LiveStage,
    on_record: &OnRecord,
    known_good_seen: Option<DateTime<Utc>>,
) -> Option<Traffic> {
    let began = began(on_record, live)?;
    let source = read.source;
    // A line names the deployment that answered, but not the components. API Gateway's own metrics count late. Lambda's say when
    // the request began.
    let from = match source {
        Source::Deployments | Source::Versions => began.at - source.period() + TimeDelta::milliseconds(1),
        Source::AccessLog => began.at + SPREADS,
        Source::OwnMetrics => began.at + COUNTED_LATE,
    };
    let from = if began.certain { from } else { from + CLOCK_SKEW };
    let since = |of: &[Bucket]| of.iter().filter(|bucket| bucket.begins >= from).copied().collect();
    let names_release = matches!(source, Source::Deployments | Source::Versions);
    let before = if names_release { &read.before } else { &read.live };
    // A sweep before the record was written saw another known-good release.
    let good = on_record.good().map(|(_, record)| record);
    let is_known_good = good.is_some_and(|good| good.release.over(&live.release) == live.release);
    let recorded_at = good.filter(|_| !is_known_good).map(|good| good.recorded_at);
    let seen = known_good_seen.filter(|seen| recorded_at.is_some_and(|recorded| recorded <= *seen));
    let known_good_until = seen.map(|seen| (seen - CLOCK_SKEW).min(began.at));
    // If only the function's clock says when the release went live, it may have been live before.
    let until = if began.certain { Some(began.at) } else { known_good_until };
    let is_before = |bucket: &&Bucket| {
        let ends = bucket.begins + source.period();
        began.at - BEFORE <= bucket.begins && until.is_some_and(|until| ends <= until)
    };
    Some(Traffic {
        source,
        live: since(&read.live),
        canary: since(&read.canary),
        before: before.iter().filter(is_before).copied().collect(),
        known_good_until,
    })
}

/// Returns when a sweep last saw the stage serve its known-good release, if the last one did.
#[must_use]
pub fn known_good_seen(last_sweep: Option<&LastSweep>, stage: &StageRef) -> Option<DateTime<Utc>> {
    let name = stage.to_string();
    last_sweep.filter(|last| last.known_good.contains(&name)).map(|last| last.at)
}
