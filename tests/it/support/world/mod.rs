//! The in-memory twin of the port: API Gateway, Parameter Store and CloudWatch as far as the engine
//! sees them. Any call can be made to fail, before or after its effect, and the world can change in between.

mod cloud;
mod ledger;
mod many;
mod network;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apigw_rollback::cloud::Notification;
use apigw_rollback::model::alarm::AlarmNow;
use apigw_rollback::model::alarm::{Alarm, Metric, Origin, State, Watches, time};
use apigw_rollback::model::cloud_error::{CloudError, Failure};
use apigw_rollback::model::component::{AliasRef, MappingRef};
use apigw_rollback::model::component::{LiveAlias, LiveMapping};
use apigw_rollback::model::observed::usable;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::{Record, SCHEMA, print};
use apigw_rollback::model::release::Release;
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::model::stage::{Api, LiveStage};
use chrono::{DateTime, TimeDelta, Utc};

pub(crate) use ledger::{Change, LedgerWrite, Move};
pub(crate) use network::{Clock, FaultModel, Gate, Network, Transit, hash};

pub(crate) const API: &str = "a1b2c3d4e5";
pub(crate) const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:apigw-rollback-alarms";
pub(crate) const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:apigw-rollback";
pub(crate) const NOW: &str = "2026-11-20T10:06:00Z";

/// What goes wrong with one call.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It fails and has no effect.
    Before(CloudError),
    /// It has its effect, and the answer is lost.
    After(CloudError),
    /// Before the call, the world changes by other hands.
    World(fn(&mut Facts)),
    /// The run dies before the call has its effect.
    DieBefore,
    /// The run dies after the call has had its effect.
    DieAfter,
    /// It is answered from the world as it was at first; a write is not affected.
    Stale,
    /// It reaches AWS twice, and the second answer comes back: the SDK's own retry after a lost answer.
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
    /// The states that alarms left or reached, with the time.
    pub(crate) transitions: Vec<(String, DateTime<Utc>, State)>,
    /// When an alarm's actions were switched on or off.
    pub(crate) switched: Vec<(String, DateTime<Utc>, bool)>,
    /// How many samples any metric has had.
    pub(crate) samples: f64,
    /// Whether API Gateway refuses to remove a canary, or to switch AutoDeploy off, and to set another deployment
    /// in one call.
    pub(crate) goes_alone: bool,
    /// Where API Gateway answers a change with something else than it was asked for.
    pub(crate) stage_shows: Option<Release>,
    /// Where an alias or a mapping that was moved shows this version or stage instead.
    pub(crate) parts_show: Option<&'static str>,
    /// Deployments of HTTP and WebSocket APIs that are not deployed, with their status.
    pub(crate) undeployed: Vec<(String, String)>,
    pub(crate) aliases: BTreeMap<AliasRef, LiveAlias>,
    /// The versions that functions do not have.
    pub(crate) lost_versions: Vec<(String, String)>,
    /// What CodeDeploy is moving: functions and their aliases.
    pub(crate) moving: Vec<(String, String)>,
    pub(crate) mappings: BTreeMap<MappingRef, LiveMapping>,
    /// Whether an authorizer keeps its decisions.
    pub(crate) caches_decisions: bool,
    /// What people were told.
    pub(crate) described: Vec<Notification>,
    /// How long the user's hook takes.
    pub(crate) hook_takes: Duration,
    /// Whether the call that is going on reaches AWS twice.
    pub(crate) twice: bool,
    /// Who makes the call that is going on.
    pub(crate) caller: String,
    /// Every change of a stage, by a run or by other hands.
    pub(crate) changes: Vec<Change>,
    /// Every move of an alias, likewise.
    pub(crate) moves: Vec<Move>,
    /// Every release that was recorded as known-good: when, by whom, and the value.
    pub(crate) records: Vec<(DateTime<Utc>, String, String)>,
    /// Everything that was written to Parameter Store.
    pub(crate) writes: Vec<LedgerWrite>,
    /// The minutes in which there was traffic, where somebody counts.
    pub(crate) traffic: Option<Vec<DateTime<Utc>>>,
}

/// The world, and what one hand asked of it.
pub(crate) struct World {
    facts: Arc<Mutex<Facts>>,
    /// Whose hand it is.
    hand: Mutex<String>,
    /// What calls go through on their way.
    network: Network,
    calls: Mutex<Vec<String>>,
    /// When each call began, since the world began.
    began: Mutex<Vec<(&'static str, tokio::time::Instant)>>,
    faults: Mutex<Vec<(&'static str, usize, Fault)>>,
    /// Faults by the number of the call since the calls were last taken, from 1.
    strikes: Mutex<Vec<(usize, Fault)>>,
    /// Whether the run that is going on has died: none of its calls has an effect any more.
    dead: AtomicBool,
    /// The world as it was at first, or some time ago: what a stale answer shows.
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
        region: "eu-west-1".to_owned(),
        api_name: Some("orders-api".to_owned()),
        release,
        created: time("2026-11-01T08:00:00Z"),
        recorded_at: time("2026-11-02T08:00:00Z").unwrap(),
        pinned: true,
        label: Some("v1.4.1".to_owned()),
        note: None,
        who: Some("release pipeline".to_owned()),
        irreversible: false,
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
        alarm: Alarm {
            name: name.to_owned(),
            arn: Some(format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{name}")),
            claimed: Origin::default(),
            description: None,
            state,
            changed_at: time("2026-11-20T10:05:12.345Z"),
            why: "Threshold Crossed".to_owned(),
            only_missing_data: false,
            suppressed_by: None,
            watches: Watches::Metrics(vec![metric]),
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
            switched: vec![],
            samples: 1.0,
            goes_alone: false,
            stage_shows: None,
            parts_show: None,
            undeployed: vec![],
            aliases: BTreeMap::new(),
            lost_versions: vec![],
            moving: vec![],
            mappings: BTreeMap::new(),
            caches_decisions: false,
            described: vec![],
            hook_takes: Duration::ZERO,
            twice: false,
            caller: String::new(),
            changes: vec![],
            moves: vec![],
            records: vec![],
            writes: vec![],
            traffic: None,
        }
    }

    /// What a parameter held at that moment, as far as it was written by a run.
    pub(crate) fn written(&self, name: &str, before: DateTime<Utc>) -> Option<&LedgerWrite> {
        self.writes.iter().rfind(|write| write.name == name && write.at < before)
    }

    /// How many samples the stage's metrics had in that time.
    pub(crate) fn samples_between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
        let Some(traffic) = &self.traffic else { return self.samples };
        let minutes = traffic.iter().filter(|at| from <= **at && **at <= to).count();
        f64::from(u32::try_from(minutes).unwrap())
    }

    /// The recorded releases of a stage, every version that can be read.
    pub(crate) fn recorded(&self, stage: &StageRef) -> Vec<Record> {
        let versions = self.parameters.get(&ParameterNames::under("/apigw-rollback").known_good(stage));
        let usable = |value: &String| usable(value, stage, "eu-west-1").ok();
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
            hand: Mutex::new("run".to_owned()),
            network: Network::Still,
            calls: Mutex::default(),
            began: Mutex::default(),
            faults: Mutex::default(),
            strikes: Mutex::default(),
            dead: AtomicBool::new(false),
        }
    }

    /// The same world for another run, whose calls go through this air.
    pub(crate) fn hand(&self, hand: String, network: Network) -> Self {
        Self {
            facts: Arc::clone(&self.facts),
            past: Arc::clone(&self.past),
            hand: Mutex::new(hand),
            network,
            calls: Mutex::default(),
            began: Mutex::default(),
            faults: Mutex::default(),
            strikes: Mutex::default(),
            dead: AtomicBool::new(false),
        }
    }

    /// The name under which the world sees the calls of this hand.
    pub(crate) fn whose(&self) -> String {
        self.hand.lock().unwrap().clone()
    }

    /// From now on the calls are another run's.
    pub(crate) fn pass_to(&self, hand: &str) {
        hand.clone_into(&mut self.hand.lock().unwrap());
    }

    /// What the world is now is what a stale answer shows from now on.
    pub(crate) fn remember(&self) {
        let now = self.facts();
        *self.past.lock().unwrap() = now;
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.facts.lock().unwrap().now
    }

    /// Makes these calls of the next run meet faults.
    pub(crate) fn strike(&self, strikes: &[(usize, Fault)]) {
        *self.strikes.lock().unwrap() = strikes.to_vec();
    }

    /// Makes the n-th call of an operation (from 1) meet a fault.
    pub(crate) fn fault(self, operation: &'static str, nth: usize, fault: Fault) -> Self {
        self.faults.lock().unwrap().push((operation, nth, fault));
        self
    }

    pub(crate) fn facts(&self) -> Facts {
        self.facts.lock().unwrap().clone()
    }

    /// Looks at the world as it is now.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Facts) -> T) -> T {
        look(&self.facts.lock().unwrap())
    }

    /// Changes the world by other hands.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.facts.lock().unwrap());
    }

    /// When the calls of an operation began, in seconds since the first of them.
    pub(crate) fn seconds_of(&self, operation: &str) -> Vec<f64> {
        let began = self.began.lock().unwrap();
        let ours: Vec<_> = began.iter().filter(|(one, _)| *one == operation).map(|(_, at)| *at).collect();
        ours.iter().map(|at| at.duration_since(ours[0]).as_secs_f64()).collect()
    }

    fn calls_so_far(&self) -> u64 {
        u64::try_from(self.began.lock().unwrap().len()).unwrap()
    }

    /// The calls so far.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        self.dead.store(false, Ordering::Relaxed);
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// Lets others go first, as a call over a network does, then has its effect at once.
    async fn call<T: std::fmt::Debug>(
        &self,
        operation: &'static str,
        subject: impl std::fmt::Display,
        effect: impl FnOnce(&mut Facts) -> Result<T, CloudError>,
    ) -> Result<T, CloudError> {
        let Transit { fault, back, .. } = self.network.outbound(operation, &subject).await;
        self.began.lock().unwrap().push((operation, tokio::time::Instant::now()));
        let answer = self.call_now(operation, subject, fault, effect);
        self.network.inbound(&answer);
        network::wait(back).await;
        match answer {
            Some(answer) => answer,
            // Whoever is dead gets no answer; the harness lets go of the run.
            None => std::future::pending().await,
        }
    }

    fn call_now<T>(
        &self,
        operation: &'static str,
        subject: impl std::fmt::Display,
        met: Option<Fault>,
        effect: impl FnOnce(&mut Facts) -> Result<T, CloudError>,
    ) -> Option<Result<T, CloudError>> {
        if self.dead.load(Ordering::Relaxed) {
            return None;
        }
        let mut faults = self.faults_of(operation, subject);
        faults.extend(met);
        let dies = |fault: &Fault| matches!(fault, Fault::DieBefore | Fault::DieAfter);
        self.dead.store(faults.iter().any(dies), Ordering::Relaxed);
        let mut facts = self.facts.lock().unwrap();
        facts.caller = self.whose();
        if let Some(now) = self.network.clock() {
            facts.now = now;
        }
        for fault in &faults {
            match fault {
                Fault::World(change) => change(&mut facts),
                Fault::Before(error) => return Some(Err(CloudError { operation, ..error.clone() })),
                Fault::DieBefore => return None,
                Fault::Stale if operation.starts_with("Get") || operation == "DescribeAlarms" => {
                    return Some(effect(&mut self.past.lock().unwrap().clone()));
                }
                Fault::Twice => facts.twice = true,
                Fault::After(_) | Fault::DieAfter | Fault::Stale => {}
            }
        }
        let mut answer = Some(effect(&mut facts));
        facts.twice = false;
        for fault in faults {
            match fault {
                Fault::After(error) => answer = Some(Err(CloudError { operation, ..error })),
                Fault::DieAfter => answer = None,
                Fault::World(_) | Fault::Before(_) | Fault::DieBefore | Fault::Stale | Fault::Twice => {}
            }
        }
        answer
    }

    fn faults_of(&self, operation: &'static str, subject: impl std::fmt::Display) -> Vec<Fault> {
        let mut calls = self.calls.lock().unwrap();
        calls.push(format!("{operation} {subject}"));
        let nth = calls.iter().filter(|call| call.split(' ').next() == Some(operation)).count();
        let number = calls.len();
        drop(calls);
        let faults = self.faults.lock().unwrap();
        let ours = faults.iter().filter(|(o, n, _)| *o == operation && (*n == nth || *n == 0));
        let strikes = self.strikes.lock().unwrap();
        let strikes = strikes.iter().filter(|(n, _)| *n == number);
        ours.map(|(_, _, fault)| fault.clone()).chain(strikes.map(|(_, fault)| fault.clone())).collect()
    }
}
