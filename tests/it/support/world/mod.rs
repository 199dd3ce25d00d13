//! The in-memory twin of the port: API Gateway, Parameter Store and CloudWatch as the engine sees them.
//! A test can make any call fail before or after its effect, and can change the world between calls.

mod calls;
mod change;
mod cloud;
mod ledger;
mod many;
mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apigw_rollback::cloud::Notification;
use apigw_rollback::model::alarm::AlarmNow;
use apigw_rollback::model::alarm::{Alarm, Metric, State, Watches, time};
use apigw_rollback::model::alarm_setup::AlarmSetup;
use apigw_rollback::model::cloud_error::{CloudError, Failure};
use apigw_rollback::model::component::{AliasRef, MappingRef};
use apigw_rollback::model::component::{LiveAlias, LiveMapping};
use apigw_rollback::model::datapoint::Datapoint;
use apigw_rollback::model::observed::usable;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::{Record, SCHEMA, print};
use apigw_rollback::model::release::Release;
use apigw_rollback::model::routing::Routing;
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::model::stage::{Api, LiveStage};
use apigw_rollback::model::traffic::Bucket;
use apigw_rollback::model::wiring::{Subscription, TopicNow};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

pub(crate) use ledger::{Change, LedgerWrite, Move};
pub(crate) use network::{Clock, FaultModel, Gate, Network, Transit, hash};

pub(crate) const API: &str = "a1b2c3d4e5";
const REGION: &str = "eu-west-1";
pub(crate) const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:apigw-rollback-alarms";
pub(crate) const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:apigw-rollback";
pub(crate) const NOW: &str = "2026-11-20T10:06:00Z";

/// How long after a change AWS may still answer with the state before it. Recorded answers show it only right after a write.
const STALE_FOR: TimeDelta = TimeDelta::seconds(30);

/// A fault of one call.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The call fails and has no effect.
    Before(CloudError),
    /// The call fails and has no effect if its subject contains this text.
    BeforeAbout(&'static str, CloudError),
    /// The call takes effect, but its answer is lost.
    After(CloudError),
    /// Something else changes the world before the call.
    World(fn(&mut Facts)),
    /// The run dies before the call takes effect.
    DieBefore,
    /// The run dies after the call has taken effect.
    DieAfter,
    /// A read is answered from an earlier state of the world; a write is not affected.
    Stale,
    /// The call reaches AWS twice and gets the second answer, as after the SDK's own retry of a lost answer.
    Twice,
}

/// The state of the world.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) now: DateTime<Utc>,
    pub(crate) stages: BTreeMap<StageRef, LiveStage>,
    pub(crate) deployments: Vec<(String, String)>,
    pub(crate) apis: Vec<Api>,
    pub(crate) parameters: BTreeMap<String, Vec<String>>,
    pub(crate) alarms: Vec<AlarmNow>,
    /// The states that alarms left or entered, with the time.
    pub(crate) transitions: Vec<(String, DateTime<Utc>, State)>,
    /// The alarms that a mute rule mutes, each with the rule.
    pub(crate) muted: BTreeMap<String, String>,
    /// The times at which a mute rule or a suppressor of an alarm began or ended.
    pub(crate) mutes: Vec<(String, DateTime<Utc>, bool)>,
    /// Every minute of the alarms' metrics, told or not.
    pub(crate) history: BTreeMap<String, Vec<Datapoint>>,
    /// The datapoints of an alarm's metrics; `None` for an alarm without metrics that can be read.
    pub(crate) datapoints: BTreeMap<String, Vec<Datapoint>>,
    /// The times at which an alarm's actions were switched on or off.
    pub(crate) switched: Vec<(String, DateTime<Utc>, bool)>,
    /// The number of samples of every metric.
    pub(crate) samples: f64,
    /// Whether API Gateway refuses a new deployment in the call that removes a canary or switches AutoDeploy off.
    pub(crate) refuses_combined_change: bool,
    /// The release that API Gateway answers with instead of the requested one, if any.
    pub(crate) stage_shows: Option<Release>,
    /// The version or stage that a moved alias or mapping shows instead of the requested one, if any.
    pub(crate) components_show: Option<&'static str>,
    /// Deployments of HTTP and WebSocket APIs whose status is not `DEPLOYED`, with that status.
    pub(crate) undeployed: Vec<(String, String)>,
    pub(crate) aliases: BTreeMap<AliasRef, LiveAlias>,
    /// The function versions that no longer exist.
    pub(crate) lost_versions: Vec<(String, String)>,
    /// The functions and aliases that CodeDeploy is moving.
    pub(crate) moving: Vec<(String, String)>,
    pub(crate) mappings: BTreeMap<MappingRef, LiveMapping>,
    /// The routing of the custom domains that do not route by their mappings alone.
    pub(crate) routing: BTreeMap<String, Routing>,
    /// Whether an authorizer caches its decisions.
    pub(crate) caches_decisions: bool,
    /// The subscriptions to each topic.
    pub(crate) topics: BTreeMap<String, Vec<Subscription>>,
    /// The alarm topic's policy and key.
    pub(crate) alarm_topic: TopicNow,
    /// The function's resource-based policy.
    pub(crate) policy: Option<String>,
    /// The answer to reads of the topics and of the policy, if they are refused.
    pub(crate) wiring_refused: Option<CloudError>,
    /// The notifications that were sent.
    pub(crate) notifications: Vec<Notification>,
    /// The events that were put on the bus.
    pub(crate) events: Vec<String>,
    /// The descriptions of deployments.
    pub(crate) descriptions: BTreeMap<String, String>,
    /// The duration of the user's hook.
    pub(crate) hook_takes: Duration,
    /// Whether the current call reaches AWS twice.
    pub(crate) twice: bool,
    /// The Region of the world.
    pub(crate) region: String,
    /// The run that makes the current call, or `others`.
    pub(crate) caller: String,
    /// When each run last looked at a stage, or changed it.
    pub(crate) looks: BTreeMap<(String, String), DateTime<Utc>>,
    /// The runs of which a call about a parked stage failed.
    pub(crate) refused_pins: BTreeSet<String>,
    /// Every change of a stage, by a run or by others.
    pub(crate) changes: Vec<Change>,
    /// Every move of an alias or mapping, by a run or by others.
    pub(crate) moves: Vec<Move>,
    /// Every known-good record that was written: its time, its author and its value.
    pub(crate) records: Vec<(DateTime<Utc>, String, String)>,
    /// Every write to Parameter Store.
    pub(crate) writes: Vec<LedgerWrite>,
    /// The minutes with traffic, if the test counts them.
    pub(crate) traffic: Option<Vec<DateTime<Utc>>>,
    /// The requests that metrics count: by deployment, by `version 8` of a function, `the access log` of the stage, or API Gateway's
    /// `own metrics` of it.
    pub(crate) requests: BTreeMap<String, Vec<Bucket>>,
}

/// The world, as one run calls it.
pub(crate) struct World {
    facts: Arc<Mutex<Facts>>,
    /// The run that calls the world.
    run_id: Mutex<String>,
    /// The network that the calls pass through.
    network: Network,
    calls: Mutex<Vec<String>>,
    /// The time at which each call began.
    began: Mutex<Vec<(&'static str, tokio::time::Instant)>>,
    faults: Mutex<Vec<(&'static str, usize, Fault)>>,
    /// Faults by the number of the call, counted from 1 since the calls were last taken.
    injected: Mutex<Vec<(usize, Fault)>>,
    /// Whether the current run has died; its calls no longer take effect.
    dead: AtomicBool,
    /// An earlier state of the world, which stale answers show.
    past: Arc<Mutex<Facts>>,
}

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    time(text).unwrap()
}

pub(crate) fn prod() -> StageRef {
    StageRef::rest(API, "prod")
}

pub(crate) fn release(deployment: &str, variables: &[(&str, &str)]) -> Release {
    let variables = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Release { deployment: deployment.to_owned(), variables, ..Release::default() }
}

pub(crate) fn live(release: Release, updated: &str) -> LiveStage {
    LiveStage { release, updated_at: time(updated), ..LiveStage::default() }
}

pub(crate) fn record(release: Release) -> Record {
    Record {
        schema: SCHEMA,
        stage: prod(),
        region: REGION.to_owned(),
        api_name: Some("orders-api".to_owned()),
        release,
        created: time("2026-11-01T08:00:00Z"),
        recorded_at: time("2026-11-02T08:00:00Z").unwrap(),
        pinned: true,
        label: Some("v1.4.1".to_owned()),
        note: None,
        who: Some("release pipeline".to_owned()),
        irreversible: false,
        normal: None,
    }
}

pub(crate) fn alarm(name: &str, state: State, dimensions: &[(&str, &str)]) -> AlarmNow {
    let dimensions = dimensions.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let metric = Metric {
        namespace: "AWS/ApiGateway".to_owned(),
        name: "5XXError".to_owned(),
        dimensions,
        account: None,
    };
    AlarmNow {
        actions_enabled: true,
        actions: vec![TOPIC.to_owned()],
        window: TimeDelta::minutes(2),
        evaluated: vec![],
        setup: AlarmSetup { ok_actions: vec![TOPIC.to_owned()], ..AlarmSetup::default() },
        alarm: Alarm {
            arn: Some(format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{name}")),
            changed_at: time("2026-11-20T10:05:12.345Z"),
            why: "Threshold Crossed".to_owned(),
            watches: Watches::Metrics(vec![metric]),
            ..Alarm::new(name, state)
        },
    }
}

pub(crate) fn error(failure: Failure, code: &str, message: &str) -> CloudError {
    CloudError {
        failure,
        operation: "Call",
        subject: "world".to_owned(),
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

pub(crate) fn conflict() -> CloudError {
    error(
        Failure::Conflict,
        "ConflictException",
        "Unable to complete operation due to concurrent modification",
    )
}

pub(crate) fn lost() -> CloudError {
    error(Failure::NoAnswer, "NoAnswer", "connection reset")
}

pub(crate) fn denied() -> CloudError {
    error(Failure::Other, "AccessDeniedException", "User is not authorized to perform this")
}

pub(crate) fn subscription(protocol: &str, endpoint: &str, confirmed: bool) -> Subscription {
    Subscription { protocol: protocol.to_owned(), endpoint: endpoint.to_owned(), confirmed }
}

/// A statement of the function's policy that lets a service invoke it on behalf of a source.
pub(crate) fn may_invoke(service: &str, source: &str) -> Value {
    json!({"Effect": "Allow", "Principal": {"Service": service}, "Action": "lambda:InvokeFunction",
        "Resource": FUNCTION, "Condition": {"ArnLike": {"AWS:SourceArn": source}}})
}

/// A statement of the alarm topic's policy that lets CloudWatch publish.
fn may_publish() -> Value {
    json!({"Effect": "Allow", "Principal": {"Service": "cloudwatch.amazonaws.com"}, "Action": "sns:Publish",
        "Resource": TOPIC, "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}}})
}

impl Facts {
    /// Release 2 is live and bad, release 1 is known-good, and the alarm has fired.
    pub(crate) fn bad_release() -> Self {
        let names = ParameterNames::under("/apigw-rollback");
        let known_good = print(&record(release("d1", &[("release", "1")]))).unwrap();
        let dimensions = [("ApiName", "orders-api"), ("Stage", "prod")];
        Self {
            now: time(NOW).unwrap(),
            stages: [(prod(), live(release("d2", &[("release", "2")]), "2026-11-20T10:00:00Z"))].into(),
            deployments: ["d1", "d2"].map(|id| (API.to_owned(), id.to_owned())).into(),
            apis: vec![Api { protocol: Protocol::Rest, id: API.to_owned(), name: "orders-api".to_owned() }],
            parameters: [(names.known_good(&prod()), vec![known_good])].into(),
            alarms: vec![
                alarm("orders-prod-5xx", State::Alarm, &dimensions),
                alarm("orders-prod-latency", State::Alarm, &dimensions),
            ],
            transitions: vec![],
            muted: BTreeMap::new(),
            mutes: vec![],
            history: BTreeMap::new(),
            datapoints: BTreeMap::new(),
            switched: vec![],
            samples: 1.0,
            refuses_combined_change: false,
            stage_shows: None,
            components_show: None,
            undeployed: vec![],
            aliases: BTreeMap::new(),
            lost_versions: vec![],
            moving: vec![],
            mappings: BTreeMap::new(),
            routing: BTreeMap::new(),
            caches_decisions: false,
            topics: [(TOPIC.to_owned(), vec![subscription("lambda", FUNCTION, true)])].into(),
            alarm_topic: TopicNow {
                policy: Some(json!({"Statement": [may_publish()]}).to_string()),
                key: None,
            },
            policy: Some(json!({"Statement": [may_invoke("sns.amazonaws.com", TOPIC)]}).to_string()),
            wiring_refused: None,
            notifications: vec![],
            events: vec![],
            descriptions: BTreeMap::new(),
            hook_takes: Duration::ZERO,
            twice: false,
            region: REGION.to_owned(),
            caller: String::new(),
            looks: BTreeMap::new(),
            refused_pins: BTreeSet::new(),
            changes: vec![],
            moves: vec![],
            records: vec![],
            writes: vec![],
            traffic: None,
            requests: BTreeMap::new(),
        }
    }

    /// Returns a parameter's last write before that moment, if a run wrote it.
    pub(crate) fn written(&self, name: &str, before: DateTime<Utc>) -> Option<&LedgerWrite> {
        self.writes.iter().rfind(|write| write.name == name && write.at < before)
    }

    /// Counts the samples of the stage's metrics in that period.
    pub(crate) fn samples_between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
        let Some(traffic) = &self.traffic else { return self.samples };
        let minutes = traffic.iter().filter(|at| from <= **at && **at <= to).count();
        f64::from(u32::try_from(minutes).unwrap())
    }

    /// Returns the alarm that guards by this one: the highest composite alarm above it, or itself.
    pub(crate) fn guardian<'a>(&'a self, now: &'a AlarmNow) -> &'a AlarmNow {
        let is_above = |above: &&AlarmNow| matches!(&above.alarm.watches, Watches::Alarms(below) if below.contains(&now.alarm.name));
        self.alarms.iter().find(is_above).map_or(now, |above| self.guardian(above))
    }

    /// Whether the alarm that guards by this one may act: its actions are on, and nothing silences it.
    pub(crate) fn may_act(&self, now: &AlarmNow) -> bool {
        let guardian = self.guardian(now);
        let silenced =
            self.muted.contains_key(&guardian.alarm.name) || guardian.alarm.suppressed_by.is_some();
        guardian.actions_enabled && !silenced
    }

    /// Returns every readable version of a stage's known-good record.
    pub(crate) fn recorded(&self, stage: &StageRef) -> Vec<Record> {
        let versions = self.parameters.get(&ParameterNames::under("/apigw-rollback").known_good(stage));
        let usable = |value: &String| usable(value, stage, &self.region).ok();
        versions.into_iter().flatten().filter_map(usable).collect()
    }

    pub(crate) fn stage(&mut self) -> &mut LiveStage {
        self.stages.get_mut(&prod()).unwrap()
    }

    pub(crate) fn known_good(&mut self, value: &str) {
        self.parameters
            .insert(ParameterNames::under("/apigw-rollback").known_good(&prod()), vec![value.to_owned()]);
    }
}

impl World {
    pub(crate) fn new(facts: Facts) -> Self {
        Self {
            past: Arc::new(Mutex::new(facts.clone())),
            facts: Arc::new(Mutex::new(facts)),
            run_id: Mutex::new("run".to_owned()),
            network: Network::Direct,
            calls: Mutex::default(),
            began: Mutex::default(),
            faults: Mutex::default(),
            injected: Mutex::default(),
            dead: AtomicBool::new(false),
        }
    }

    /// Returns the same world for another run, whose calls pass through this network.
    pub(crate) fn for_run(&self, run_id: String, network: Network) -> Self {
        Self {
            facts: Arc::clone(&self.facts),
            past: Arc::clone(&self.past),
            run_id: Mutex::new(run_id),
            network,
            calls: Mutex::default(),
            began: Mutex::default(),
            faults: Mutex::default(),
            injected: Mutex::default(),
            dead: AtomicBool::new(false),
        }
    }

    /// Returns the id under which the world logs this run's calls.
    pub(crate) fn run_id(&self) -> String {
        self.run_id.lock().unwrap().clone()
    }

    /// Attributes the calls to another run from now on.
    pub(crate) fn act_as(&self, run_id: &str) {
        run_id.clone_into(&mut self.run_id.lock().unwrap());
    }

    /// Makes stale answers show the current state from now on.
    pub(crate) fn remember(&self, now: DateTime<Utc>) {
        *self.past.lock().unwrap() = Facts { now, ..self.facts() };
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.facts.lock().unwrap().now
    }

    /// Injects faults into these calls of the next run.
    pub(crate) fn inject(&self, injected: &[(usize, Fault)]) {
        *self.injected.lock().unwrap() = injected.to_vec();
    }

    /// Injects a fault into the n-th call of an operation; 1 is the first, 0 means every call.
    pub(crate) fn fault(self, operation: &'static str, nth: usize, fault: Fault) -> Self {
        self.faults.lock().unwrap().push((operation, nth, fault));
        self
    }

    pub(crate) fn facts(&self) -> Facts {
        self.facts.lock().unwrap().clone()
    }

    /// Reads the current state of the world.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Facts) -> T) -> T {
        look(&self.facts.lock().unwrap())
    }

    /// Changes the world as others do.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.facts.lock().unwrap());
    }

    /// Returns when the calls of an operation began, in seconds since the first.
    pub(crate) fn seconds_of(&self, operation: &str) -> Vec<f64> {
        let began = self.began.lock().unwrap();
        let ours: Vec<_> = began.iter().filter(|(one, _)| *one == operation).map(|(_, at)| *at).collect();
        ours.iter().map(|at| at.duration_since(ours[0]).as_secs_f64()).collect()
    }

    fn calls_so_far(&self) -> u64 {
        u64::try_from(self.began.lock().unwrap().len()).unwrap()
    }

    /// Takes the calls so far.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        self.dead.store(false, Ordering::Relaxed);
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}
