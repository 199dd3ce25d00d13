//! Many stages whose alarms fire at once, under API Gateway's limit for the whole account: every stage is rolled back
//! once, and as fast as the limit allows.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apigw_rollback::cloud::FRESH;
use apigw_rollback::cloud::pace::{API_GATEWAY, DESCRIBE_ALARMS, Limit, Pace, limit};
use apigw_rollback::context::Context;
use apigw_rollback::handler::handle;
use apigw_rollback::model::alarm::State;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::{NameIndex, Record, print};
use apigw_rollback::model::stage::Api;
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::model::trigger::UNKNOWN;
use chrono::{DateTime, Utc};
use fastrand::Rng;
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::simulation::weather::{Bucket, too_many};
use crate::support::harness::config;
use crate::support::world::prod;
use crate::support::world::{
    Clock, FUNCTION, Facts, Fault, FaultModel, NOW, Network, TOPIC, Transit, World, alarm, at, record,
    release,
};

/// The function's time-out in the template.
const TIME_OUT: Duration = Duration::from_mins(5);

/// Assumed limits of Parameter Store: AWS publishes no numbers. The first is a number that others quote from the quotas
/// page, the second one from AWS Support; neither source states a burst.
const GET_PARAMETERS: Limit = Limit { burst: 40, a_second: 40 };
const PUT_PARAMETER: Limit = Limit { burst: 3, a_second: 3 };

/// The account's limits.
struct Limits {
    api_gateway: Bucket,
    describe_alarms: Bucket,
    /// Reads and writes of parameters, if Parameter Store is limited.
    parameters: Option<(Bucket, Bucket)>,
}

impl Limits {
    fn full(account: Account, began: Instant) -> Self {
        let parameters = (Bucket::full(GET_PARAMETERS, began), Bucket::full(PUT_PARAMETER, began));
        Self {
            api_gateway: Bucket::full(API_GATEWAY, began),
            describe_alarms: Bucket::full(DESCRIBE_ALARMS, began),
            parameters: Some(parameters).filter(|_| account == Account::WithSlowParameters),
        }
    }

    fn of(&self, operation: &str) -> Option<&Bucket> {
        match (operation, limit(operation)) {
            (_, Some(API_GATEWAY)) => Some(&self.api_gateway),
            (_, Some(_)) => Some(&self.describe_alarms),
            ("PutParameter" | "CreateParameter", None) => self.parameters.as_ref().map(|(_, writes)| writes),
            (name, None) if name.starts_with("GetParameter") => {
                self.parameters.as_ref().map(|(reads, _)| reads)
            }
            _ => None,
        }
    }
}

/// The limits that apply to the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Account {
    /// The limits that AWS has published.
    AsPublished,
    /// Additionally the assumed limits of Parameter Store.
    WithSlowParameters,
}

/// One Lambda process with its own pace, on a network where only the limits delay calls.
struct Process {
    pace: Pace,
    limits: Arc<Limits>,
    clock: Clock,
    rng: Mutex<Rng>,
    /// The time of the last read of a stage, and the longest wait from a read to its change.
    stage_read: Mutex<(Option<Instant>, Duration)>,
}

impl FaultModel for Process {
    fn turn<'a>(&'a self, operation: &'static str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.pace.turn(operation))
    }

    fn first<'a>(&'a self) -> Pin<Box<dyn Future<Output = Option<OwnedMutexGuard<()>>> + Send + 'a>> {
        Box::pin(async { Some(self.pace.first().await) })
    }

    fn is_free(&self) -> bool {
        self.pace.is_free()
    }

    fn transit<'a>(
        &'a self,
        operation: &'static str,
        once: bool,
    ) -> Pin<Box<dyn Future<Output = Transit> + Send + 'a>> {
        Box::pin(async move {
            let taken = match self.limits.of(operation) {
                Some(limit) => limit.take(operation, once, &self.rng, TIME_OUT).await,
                None => true,
            };
            let mut stage_read = self.stage_read.lock().unwrap();
            match operation {
                "GetStage" if taken => stage_read.0 = Some(Instant::now()),
                "UpdateStage" if taken => {
                    stage_read.1 = stage_read.0.map_or(stage_read.1, |at| stage_read.1.max(at.elapsed()));
                }
                _ => {}
            }
            let delay = Duration::from_millis(20);
            let fault = (!taken).then(|| Fault::Before(too_many()));
            Transit { outbound: delay, fault, inbound: delay }
        })
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

fn id(number: usize) -> String {
    format!("api{number:07}")
}

/// Returns an API's name, which its alarms have in their dimensions.
fn name(number: usize) -> String {
    format!("orders-{number}")
}

/// Builds a world with this number of stages on a bad release, each with two alarms in ALARM.
fn world(stages: usize) -> Facts {
    let mut facts = Facts::bad_release();
    let (names, value) =
        (ParameterNames::under("/apigw-rollback"), |text: Result<String, String>| vec![text.unwrap()]);
    let bad = facts.stages.remove(&prod()).unwrap();
    facts.alarms.clear();
    facts.parameters.clear();
    for number in 0..stages {
        let (id, api) = (id(number), name(number));
        let stage = StageRef::rest(&id, "prod");
        facts.apis.push(Api { protocol: Protocol::Rest, id: id.clone(), name: api.clone() });
        facts.deployments.extend(["d1", "d2"].map(|one| (id.clone(), one.to_owned())));
        facts.stages.insert(stage.clone(), bad.clone());
        let known = Record {
            stage: stage.clone(),
            api_name: Some(api.clone()),
            ..record(release("d1", &[("release", "1")]))
        };
        facts.parameters.insert(names.known_good(&stage), value(print(&known)));
        let index = NameIndex { schema: 1, apis: vec![id.clone()] };
        facts.parameters.insert(names.api_name(&api), value(print(&index)));
        for kind in ["5xx", "latency"] {
            facts.alarms.push(alarm(
                &format!("{api}-{kind}"),
                State::Alarm,
                &[("ApiName", &api), ("Stage", "prod")],
            ));
        }
    }
    for (name, description) in hundreds(stages) {
        let mut all = alarm(&name, State::Alarm, &[("ApiName", "any"), ("Stage", "prod")]);
        all.alarm.description = Some(description);
        facts.alarms.push(all);
    }
    facts
}

fn message(api: &str, kind: &str) -> serde_json::Value {
    let alarm = json!({
        "AlarmName": format!("{api}-{kind}"), "NewStateValue": "ALARM", "StateChangeTime": "2026-11-20T10:05:12.345Z",
        "AlarmArn": format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{api}-{kind}"),
        "Trigger": {"Namespace": "AWS/ApiGateway", "MetricName": "5XXError", "Dimensions":
            [{"name": "ApiName", "value": api}, {"name": "Stage", "value": "prod"}]},
    });
    json!({"EventSource": "aws:sns", "Sns": {"TopicArn": TOPIC, "Message": alarm.to_string()}})
}

/// Builds one event whose alarms name all stages, at most a hundred each.
fn for_all(stages: usize) -> String {
    let one = |(name, description): (String, String)| {
        let mut event = message("any", "5xx");
        let mut alarm: serde_json::Value =
            serde_json::from_str(event["Sns"]["Message"].as_str().unwrap()).unwrap();
        alarm["AlarmArn"] = json!(format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{name}"));
        (alarm["AlarmName"], alarm["AlarmDescription"]) = (json!(name), json!(description));
        event["Sns"]["Message"] = json!(alarm.to_string());
        event
    };
    json!({"Records": hundreds(stages).map(one).collect::<Vec<_>>()}).to_string()
}

/// Returns the names and descriptions of the alarms that name up to a hundred stages each.
fn hundreds(stages: usize) -> impl Iterator<Item = (String, String)> {
    (0..stages).step_by(100).map(move |first| {
        let targets = (first..stages.min(first + 100)).map(|number| format!("{}/prod", name(number)));
        (format!("all-{first}"), format!("rollback-target: {}", targets.collect::<Vec<_>>().join(", ")))
    })
}

/// The result of a rush.
struct Rush {
    /// The time until the last stage was rolled back.
    seconds: f64,
    /// The time until the last event was answered.
    over: f64,
    /// The number of requests that API Gateway throttled.
    refused: usize,
}

impl Rush {
    fn printed(self, what: &str, stages: usize) -> Self {
        let Self { seconds, over, refused } = self;
        let floor = floor(stages);
        println!(
            "{what}, {stages} stages: {seconds:.1} s (floor {floor:.0} s), answered after {over:.1} s, {refused} throttled"
        );
        self
    }
}

/// Gives each event to its own process, all at the same time; Lambda retries failed events.
fn rush(account: Account, stages: usize, events: &[String]) -> Rush {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clock = Clock { began: Instant::now(), at: at(NOW) };
        let limits = Arc::new(Limits::full(account, clock.began));
        let world = World::new(world(stages));
        let config = config(&[("PROTECTED_STAGES", "[]"), ("MAX_ALARM_AGE_SECONDS", "0")]);
        let unanswered = join_all(events.iter().enumerate().map(|(number, event)| {
            let (rng, limits) = (Mutex::new(Rng::with_seed(number as u64)), Arc::clone(&limits));
            let process =
                Arc::new(Process { pace: Pace::default(), limits, clock, rng, stage_read: Mutex::default() });
            let (world, config) = (&world, &config);
            async move {
                for attempt in 0..3_u64 {
                    let cloud = world.for_run(
                        format!("run-{number}-{attempt}"),
                        Network::FaultModel(Arc::clone(&process) as _),
                    );
                    let began = Instant::now();
                    let run = Context {
                        cloud: &cloud,
                        config,
                        trigger: &UNKNOWN,
                        id: &cloud.run_id(),
                        trace: None,
                        function: Some(FUNCTION),
                        now: clock.now(),
                        began,
                        deadline: began + TIME_OUT - Duration::from_millis(700),
                    };
                    let answer = tokio::time::timeout(TIME_OUT, handle(event, &run)).await;
                    if answer.is_ok_and(|answer| answer.into_response().is_ok()) {
                        // This does not apply to one event for all stages, whose reads and changes overlap.
                        let longest = process.stage_read.lock().unwrap().1;
                        let is_soon = events.len() == 1 || longest < FRESH + Duration::from_millis(50);
                        assert!(is_soon, "{longest:?} from a read of a stage to its change");
                        return 0;
                    }
                    tokio::time::sleep(Duration::from_mins(attempt + 1)).await;
                }
                1
            }
        }))
        .await;
        assert_eq!(unanswered.into_iter().sum::<usize>(), 0, "events are lost");
        let facts = world.facts();
        let mut last = clock.at;
        for stage in (0..stages).map(|number| StageRef::rest(id(number), "prod")) {
            let back = facts.changes.iter().filter(|one| one.stage == stage && one.from != one.to);
            let back: Vec<_> = back.map(|one| one.at).collect();
            assert_eq!(back.len(), 1, "{stage} should be rolled back once");
            assert_eq!(facts.stages[&stage].release.deployment, "d1", "{stage}");
            last = last.max(back[0]);
        }
        let seconds = (last - clock.at).as_seconds_f64();
        let over = clock.began.elapsed().as_secs_f64();
        Rush { seconds, over, refused: limits.api_gateway.refused.load(Ordering::Relaxed) }
    })
}

/// Returns the minimum time in seconds that the limit allows for two requests per stage.
fn floor(stages: usize) -> f64 {
    let requests = u32::try_from(2 * stages).unwrap();
    f64::from(requests.saturating_sub(API_GATEWAY.burst.into())) / f64::from(API_GATEWAY.a_second)
}

/// Builds one event for each stage and each of these alarms.
fn alone(stages: usize, kinds: &[&str]) -> Vec<String> {
    let event = |api: &str, kind: &str| json!({"Records": [message(api, kind)]}).to_string();
    (0..stages).map(name).flat_map(|api| kinds.iter().map(move |kind| event(&api, kind))).collect()
}

#[test]
fn a_thousand_events_roll_back_five_hundred_stages_once_each() {
    for account in [Account::AsPublished, Account::WithSlowParameters] {
        let what = format!("1,000 events, limits {account:?}");
        let rush = rush(account, 500, &alone(500, &["5xx", "latency"])).printed(&what, 500);
        assert!(rush.seconds < 2.0 * floor(500), "{} s", rush.seconds);
    }
}

#[test]
fn many_stages_in_one_event_are_rolled_back_as_fast_as_the_limit_allows() {
    for stages in [10, 60, 100, 500] {
        let rush = rush(Account::AsPublished, stages, &[for_all(stages)]).printed("one event", stages);
        assert!(rush.seconds < 1.0 + 1.1 * floor(stages), "{stages} stages: {} s", rush.seconds);
        assert!(
            rush.refused * 20 < stages,
            "{stages} stages: the function caused {} throttled requests",
            rush.refused
        );
    }
}

/// No stage waits for another stage's records.
#[test]
fn slow_parameters_do_not_delay_a_hundred_stages_of_one_alarm() {
    let rush =
        rush(Account::WithSlowParameters, 100, &[for_all(100)]).printed("one event, slow parameters", 100);
    assert!(rush.seconds < 1.0 + 1.1 * floor(100), "{} s", rush.seconds);
}

#[test]
fn independent_runs_share_the_limit() {
    for account in [Account::AsPublished, Account::WithSlowParameters] {
        for stages in [10, 60, 100, 500] {
            let what = format!("an event for each, limits {account:?}");
            let rush = rush(account, stages, &alone(stages, &["5xx"])).printed(&what, stages);
            // Where every run has a process of its own, the first looks of a burst may be too old when the alarms have been
            // read, and are repeated.
            let looks = if stages < 500 { stages.min(API_GATEWAY.burst.into()) / 10 } else { 0 };
            let most = 3.0 + f64::from(u32::try_from(looks).unwrap()) + 1.3 * floor(stages);
            assert!(rush.seconds < most, "{stages} stages: {} s", rush.seconds);
        }
    }
}

#[test]
fn a_process_stays_within_the_limit() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let seconds: Vec<f64> = runtime.block_on(async {
        let (pace, began) = (Pace::default(), Instant::now());
        let turns = (0..8_u64).map(|worker| {
            let pace = &pace;
            async move {
                let mut turns = Vec::new();
                for _ in 0..20 {
                    pace.turn("GetStage").await;
                    turns.push(began.elapsed().as_secs_f64());
                    tokio::time::sleep(Duration::from_millis(30 + worker)).await;
                }
                turns
            }
        });
        let mut turns: Vec<f64> = join_all(turns).await.concat();
        turns.sort_by(f64::total_cmp);
        turns
    });
    for (before, at) in (0_u32..).zip(seconds) {
        assert!(f64::from(before) <= 41.0 + 10.0 * at, "call {before} is sent after {at} s");
    }
}

/// A network on which the first read of a stage takes half a minute.
struct FirstReadIsSlow(Clock, AtomicBool);

impl FaultModel for FirstReadIsSlow {
    fn transit<'a>(
        &'a self,
        operation: &'static str,
        _once: bool,
    ) -> Pin<Box<dyn Future<Output = Transit> + Send + 'a>> {
        let is_slow = operation == "GetStage" && !self.1.swap(true, Ordering::Relaxed);
        let outbound = Duration::from_millis(if is_slow { 30_000 } else { 20 });
        Box::pin(async move { Transit { outbound, ..Transit::default() } })
    }

    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }
}

#[test]
fn no_message_of_an_event_waits_for_the_stage_of_another() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clock = Clock { began: Instant::now(), at: at(NOW) };
        let slow = Arc::new(FirstReadIsSlow(clock, AtomicBool::new(false)));
        let world = World::new(world(3)).for_run("run".to_owned(), Network::FaultModel(slow));
        let config = config(&[("PROTECTED_STAGES", "[]"), ("MAX_ALARM_AGE_SECONDS", "0")]);
        let messages: Vec<_> = (0..3).map(|number| message(&name(number), "5xx")).collect();
        let (began, now, deadline) = (clock.began, clock.now(), clock.began + TIME_OUT);
        let (id, function) = ("run", Some(FUNCTION));
        let trigger = &UNKNOWN;
        let run = Context {
            cloud: &world,
            config: &config,
            trigger,
            id,
            trace: None,
            function,
            now,
            began,
            deadline,
        };
        let answer = handle(&json!({ "Records": messages }).to_string(), &run).await;
        assert_eq!(answer.reports.len(), 3);
        let facts = world.facts();
        for (number, after) in [(0, 30..31), (1, 0..1), (2, 0..1)] {
            let stage = StageRef::rest(self::id(number), "prod");
            let back = facts.changes.iter().find(|one| one.stage == stage).unwrap();
            let seconds = (back.at - clock.at).num_seconds();
            assert!(after.contains(&seconds), "{stage} is back after {seconds} s");
        }
    });
}
