//! Micro-benchmarks of what is the function's own: reading an alarm, deciding, a whole run, and a sweep over 500
//! stages, all without a network. `cargo bench --bench engine`

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that cannot run says so and ends, as a test does"
)]

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
#[expect(dead_code, unused_imports, reason = "the tests' twin of AWS does more than is needed here")]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "it is the tests' own, where that is allowed"
)]
mod it {
    pub(crate) mod support {
        pub(crate) mod world;
    }
}

const PROTECTED: &str = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod"}]"#;

fn main() {
    let event = fs::read_to_string("events/sns-alarm.json").expect("the example of an alarm");
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
    Config::read(get).expect("good settings")
}

/// Waits cost nothing: time stands still while there is work, and jumps where there is none.
fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime")
}

fn read(criterion: &mut Criterion, event: &str) {
    let bounds = Bounds { home: Origin::default(), max_age: None, now: time(NOW).expect("a time") };
    criterion.bench_function("read an alarm from SNS and find its stage", |bencher| {
        bencher.iter(|| {
            let event = signal::read(black_box(event));
            let Some(Signal::Alarm(alarm)) = event.deliveries.first().map(|one| &one.signal) else {
                panic!("no alarm");
            };
            match triage(alarm, &bounds) {
                Triage::Targets(targets) => targets,
                Triage::Composite(_) | Triage::Refused(_) => panic!("no stage"),
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
        observe(&context, &stage, None, Trigger::Imagined).await.expect("what is observed")
    });
    let now = time(NOW).expect("a time");
    criterion.bench_function("decide and check", |bencher| {
        bencher.iter(|| {
            let Decision::Act(plan) = decide(Trigger::Imagined, black_box(&observed), &config.policy, now)
            else {
                panic!("no plan");
            };
            check(&plan, &observed).expect("a plan that stands");
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
            |world| go(&runtime, &world, &config, event, "is back"),
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
            |world| go(&runtime, &world, &config, command, "looked after 500 stages"),
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
        now: time(NOW).expect("a time"),
        began,
        deadline: began + Duration::from_secs(50),
    }
}

/// One event; a run that does not end as it should is not to be timed.
fn go(runtime: &Runtime, world: &World, config: &Config, event: &str, ends: &str) {
    let answer = runtime.block_on(async { handle(event, &context(world, config)).await });
    let message = answer.reports.last().map(|report| report.message.as_str()).unwrap_or_default();
    assert!(message.contains(ends), "{message}");
}
