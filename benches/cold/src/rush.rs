//! Many stages whose alarms fire at once, against API Gateway's limit for the whole account. Measures how many stages
//! stay broken, how long the rollbacks take, and what they cost.

use std::error::Error;
use std::fmt::Write;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde::Serialize;

use crate::candidate::Candidate;
use crate::endpoint::Endpoint;
use crate::job::Job;
use crate::measure::Running;
use crate::runtime_api::RuntimeApi;
use crate::world::{Limit, nanoseconds};

/// API Gateway's limit, from its quotas page.
const LIMIT: Limit = Limit { burst: 40.0, a_second: 10.0 };
const LATENCY_MS: u64 = 10;
/// The function's time-out in the template.
const TIME_OUT: Duration = Duration::from_mins(5);
/// The function's memory in the template, in GB. Lambda bills by it.
const MEMORY: f64 = 0.5;

/// How the events are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum How {
    /// One event names all of the stages.
    OneEvent,
    /// One event for each stage, spread over this many processes. Each handles its events one after the other.
    Processes(usize),
}

/// The result of one rush.
#[derive(Clone, Debug, Serialize)]
pub struct Rush {
    /// The candidate's name.
    pub name: &'static str,
    /// How the events were delivered.
    pub how: How,
    /// The number of stages.
    pub stages: usize,
    /// The number of stages that still served the bad release after each event was answered once.
    pub broken: usize,
    /// Seconds from the events to the last rolled-back stage.
    pub seconds: f64,
    /// Requests that API Gateway throttled with 429.
    pub turned_away: usize,
    /// Changes that API Gateway refused with 409, because another change of the API was in progress.
    pub conflicts: usize,
    /// What Lambda bills: the seconds of all invocations times their memory in GB.
    pub gigabyte_seconds: f64,
}

impl Rush {
    /// The least time in seconds that the limit allows for two requests per stage.
    pub fn floor(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "hundreds")]
        let requests = 2.0 * self.stages as f64;
        ((requests - LIMIT.burst) / LIMIT.a_second).max(0.0)
    }

    /// The target in seconds: one second to start, plus the floor and a tenth of it with one process. Many processes do
    /// not know of each other, so they may take three tenths more than the floor.
    pub fn most(&self) -> f64 {
        1.0 + self.floor() * if self.how == How::OneEvent { 1.1 } else { 1.3 }
    }
}

/// Returns the rushes: every candidate with 60 stages on 20 processes and with 100 stages on 100 processes, and this
/// function with up to 500 stages.
pub fn plan(smoke: bool, candidates: usize) -> Vec<(usize, How, usize)> {
    if smoke {
        return vec![(0, How::OneEvent, 60), (0, How::Processes(60), 60)];
    }
    let shared = (0..candidates).map(|candidate| (candidate, How::Processes(20), 60));
    let each = (0..candidates).map(|candidate| (candidate, How::Processes(100), 100));
    let ours = [10, 60, 500].map(|stages| (0, How::Processes(stages), stages));
    let one = [10, 60, 100, 500].map(|stages| (0, How::OneEvent, stages));
    shared.chain(each).chain(ours).chain(one).collect()
}

/// Starts the processes, waits until all are ready, and gives them the events at once.
pub fn rush(
    name: &'static str,
    candidate: &Candidate,
    endpoint: &mut Endpoint,
    event: &str,
    how: How,
    stages: usize,
) -> Result<Rush, Box<dyn Error>> {
    let mut job = Job::many(event, Utc::now(), LATENCY_MS, stages)?;
    job.world.limit = Some(LIMIT);
    endpoint.reset(&job.world, true)?;
    let shares: Vec<Vec<&str>> = match how {
        How::OneEvent => vec![vec![&job.all]],
        How::Processes(processes) => (0..processes)
            .map(|nth| job.events.iter().skip(nth).step_by(processes).map(String::as_str).collect())
            .collect(),
    };
    let ids = serde_json::to_string(&job.ids)?;
    let mut command = Command::new(&candidate.command[0]);
    command.args(&candidate.command[1..]).current_dir(&candidate.folder).env_clear();
    command.envs(candidate.environment(&endpoint.hello));
    // The function reads its stages from their records, a peer from its settings.
    command.envs([("PROTECTED_STAGES", "[]"), ("API_IDS", &ids)]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut processes = Vec::new();
    for events in shares {
        let api = RuntimeApi::listen(TIME_OUT)?;
        let running = Running::start(command.env("AWS_LAMBDA_RUNTIME_API", &api.address))?;
        processes.push((running, api, events));
    }
    let (ready, go) = (Barrier::new(processes.len() + 1), Barrier::new(processes.len() + 1));
    let (began, billed) = thread::scope(|scope| {
        let workers: Vec<_> = processes
            .iter_mut()
            .map(|(running, api, events)| {
                let (ready, go) = (&ready, &go);
                scope.spawn(move || work(running, api, events, ready, go))
            })
            .collect();
        ready.wait();
        let began = nanoseconds();
        go.wait();
        let billed: Result<Vec<Duration>, String> = workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| "a thread panicked".to_owned())?)
            .collect();
        (began, billed)
    });
    let billed: Duration = billed?.into_iter().sum();
    let world = endpoint.tell()?;
    let refused = |status| world.calls.iter().filter(|call| call.status == status).count();
    let changes = world.calls.iter().filter(|call| call.name == "UpdateStage" && call.status == 200);
    let last = changes.map(|call| call.went).max().unwrap_or(began);
    #[expect(clippy::cast_precision_loss, reason = "the difference is small")]
    let seconds = last.saturating_sub(began) as f64 / 1e9;
    let gigabyte_seconds = billed.as_secs_f64() * MEMORY;
    let (turned_away, conflicts) = (refused(429), refused(409));
    Ok(Rush {
        name,
        how,
        stages,
        broken: job.broken(&world),
        seconds,
        turned_away,
        conflicts,
        gigabyte_seconds,
    })
}

/// Gives one process its events, and returns how long it worked on them. An event that fails is not repeated: its stage
/// stays broken and is counted.
fn work(
    running: &Running,
    api: &RuntimeApi,
    events: &[&str],
    ready: &Barrier,
    go: &Barrier,
) -> Result<Duration, String> {
    let first = api.expect("/invocation/next", || running.is_alive());
    ready.wait();
    go.wait();
    let mut next = first?;
    let mut busy = Duration::ZERO;
    for event in events {
        let began = Instant::now();
        next.give(event, TIME_OUT).map_err(|why| why.to_string())?;
        let answer = api.receive(|| running.is_alive())?;
        busy += began.elapsed();
        answer.accept().map_err(|why| why.to_string())?;
        next = api.expect("/invocation/next", || running.is_alive())?;
    }
    Ok(busy)
}

/// Writes the results as a table in Markdown.
pub fn markdown(rushes: &[Result<Rush, String>]) -> String {
    let mut text = "\n### Many stages at once\n\n| function | how | stages | left broken | seconds | the limit's floor | 429 \
                    | 409 | GB seconds |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for rush in rushes {
        match rush {
            Ok(rush) => {
                let how = match rush.how {
                    How::OneEvent => "one event".to_owned(),
                    How::Processes(1) => "one process".to_owned(),
                    How::Processes(count) => format!("{count} processes"),
                };
                let Rush { name, stages, broken, seconds, turned_away, conflicts, gigabyte_seconds, .. } =
                    rush;
                let floor = rush.floor();
                writeln!(
                    text,
                    "| {name} | {how} | {stages} | {broken} | {seconds:.1} | {floor:.0} | {turned_away} | {conflicts} | \
                     {gigabyte_seconds:.0} |"
                )
                .ok();
            }
            Err(why) => {
                writeln!(text, "| {why} | | | | | | | | |").ok();
            }
        }
    }
    text
}
