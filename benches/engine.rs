//! Micro-benchmarks of the function without a network: reading an alarm, a decision, a whole run, and a sweep over 500
//! stages. Run them with `cargo bench --bench engine`.

#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot run panics, as a test does")]

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use apigw_rollback::config::Config;
use apigw_rollback::context::Context;
use apigw_rollback::decide::{Decision, Trigger, check, decide};
use apigw_rollback::handler::handle;
use apigw_rollback::model::alarm::{Origin, time};
use apigw_rollback::model::trigger::UNKNOWN;
use apigw_rollback::observe::observe;
use apigw_rollback::signal::triage::{Bounds, Triage, triage};
use apigw_rollback::signal::{self, Signal};
use criterion::{BatchSize, Criterion};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use it::support::world::{FUNCTION, Facts, NOW, World};

#[path = "../tests/it"]
#[expect(dead_code, unused_imports, reason = "the benchmarks need only a part of the tests' AWS")]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may do so")]
mod it {
    pub(crate) mod support {
        pub(crate) mod world;
    }
}

const PROTECTED: &str = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod"}]"#;

fn main() {
    let event = fs::read_to_string("events/sns-alarm.json").expect("cannot read events/sns-alarm.json");
    let mut criterion = Criterion::default().configure_from_args();
    read(&mut criterion, &event);
    decision(&mut criterion);
    whole_run(&mut criterion, &event);
    sweep(&mut criterion);
    criterion.final_summary();
}

fn config(stages: &str) -> Config {
    let get = |name: &str| match name {
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "PROTECTED_STAGES" => Some(stages.to_owned()),
        "ALARM_TOPIC_ARN" => Some(it::support::world::TOPIC.to_owned()),
        _ => None,
    };
    Config::read(get).expect("the settings are valid")
}

/// Builds a runtime in which waits cost no time: its clock stands still during work and jumps over idle time.
fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("cannot build a runtime")
}

fn read(criterion: &mut Criterion, event: &str) {
    let bounds =
        Bounds { home: Origin::default(), max_age: None, now: time(NOW).expect("NOW is a valid time") };
    criterion.bench_function("read an alarm from SNS and find its stage", |bencher| {
        bencher.iter(|| {
            let event = signal::read(black_box(event));
            let Some(Signal::Alarm(alarm)) = event.deliveries.first().map(|one| &one.signal) else {
                panic!("the event holds no alarm");
            };
            match triage(alarm, &bounds) {
                Triage::Targets(targets) => targets,
                Triage::Composite | Triage::Refused(_) => panic!("the alarm names no stage"),
            }
        });
    });
}

fn decision(criterion: &mut Criterion) {
    let config = config(PROTECTED);
    let world = World::new(Facts::bad_release());
    let stage = it::support::world::prod();
    let observed = runtime().block_on(async {
        let context = context(&world, &config);
        observe(&context, &stage, None, Trigger::Imagined).await.expect("cannot observe the stage")
    });
    let now = time(NOW).expect("NOW is a valid time");
    criterion.bench_function("decide and check", |bencher| {
        bencher.iter(|| {
            let Decision::Act(plan) = decide(Trigger::Imagined, black_box(&observed), &config.policy, now)
            else {
                panic!("the decision is not a plan");
            };
            check(&plan, &observed).expect("`check` refuses the plan");
            plan
        });
    });
}

fn whole_run(criterion: &mut Criterion, event: &str) {
    let (config, runtime) = (config(PROTECTED), runtime());
    criterion.bench_function("a rollback, without AWS", |bencher| {
        let world = || World::new(Facts::bad_release());
        bencher.iter_batched(
            world,
            |world| run(&runtime, &world, &config, event, "was rolled back"),
            BatchSize::SmallInput,
        );
    });
}

fn sweep(criterion: &mut Criterion) {
    let (config, runtime, facts) = (config("[]"), runtime(), Facts::five_hundred_stages(NOW));
    let mut group = criterion.benchmark_group("sweep");
    group.sample_size(20).measurement_time(Duration::from_secs(8));
    group.bench_function("500 stages of 50 APIs, without AWS", |bencher| {
        let world = || World::new(facts.clone());
        let command = r#"{"command":"sweep"}"#;
        bencher.iter_batched(
            world,
            |world| run(&runtime, &world, &config, command, "checked 500 stages"),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn context<'a>(world: &'a World, config: &'a Config) -> Context<'a, World> {
    let began = Instant::now();
    Context {
        cloud: world,
        config,
        trigger: &UNKNOWN,
        id: "run",
        trace: None,
        function: Some(FUNCTION),
        now: time(NOW).expect("NOW is a valid time"),
        began,
        deadline: began + Duration::from_secs(50),
    }
}

/// Handles one event. Panics if the run does not end as expected, because its time would mean nothing.
fn run(runtime: &Runtime, world: &World, config: &Config, event: &str, ends: &str) {
    let answer = runtime.block_on(async { handle(event, &context(world, config)).await });
    let message = answer.reports.last().map(|report| report.message.as_str()).unwrap_or_default();
    assert!(message.contains(ends), "{message}");
}
