//! Measures one fresh process, from exec to its last warm invocation.

use std::error::Error;
use std::fs;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde::Serialize;

use crate::candidate::Candidate;
use crate::cpu::Quota;
use crate::endpoint::Endpoint;
use crate::job::Job;
use crate::runtime_api::{Received, RuntimeApi};
use crate::world::{Call, World, nanoseconds};

/// The measurements of one process. Times are in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sample {
    /// From exec to the first request for an event.
    pub init: f64,
    /// From the first event to its answer.
    pub first: f64,
    /// From exec to the first answer, without the bench's own time in between.
    pub total: f64,
    /// From exec to the rolled-back stage.
    pub healed: f64,
    /// From each later event to its answer.
    pub warm: Vec<f64>,
    /// From the first event to the rolled-back stage.
    pub first_healed: f64,
    /// From each later event to the rolled-back stage.
    pub warm_healed: Vec<f64>,
    /// Peak memory in MiB.
    pub memory: f64,
    /// The calls of the first invocation, in order.
    pub calls: Vec<String>,
    /// The calls sent until the stage was rolled back.
    pub calls_to_heal: Vec<String>,
    /// The number of consecutive round trips of these calls.
    pub steps_to_heal: usize,
    /// The number of connections opened until the first answer.
    pub connections: u32,
    /// The number of requests without a signature until the first answer.
    pub unsigned: u32,
}

/// How many warm invocations a process gets.
const WARM: usize = 5;
/// The longest time that any step of a candidate may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Starts the candidate and lets it do the job once cold and several times warm. Fails if it does not roll the stage
/// back.
pub fn measure(
    candidate: &Candidate,
    endpoint: &mut Endpoint,
    event: &str,
    latency_ms: u64,
    memory: Option<u64>,
) -> Result<Sample, Box<dyn Error>> {
    let job = Job::new(event, Utc::now(), latency_ms)?;
    endpoint.reset(&job.world, true)?;
    let api = RuntimeApi::listen(PATIENCE)?;
    // A new control group, because the previous process may have overdrawn the quota of its own.
    let quota = memory.map(Quota::of).transpose()?;
    let log = candidate.folder.join("stderr.log");
    let mut command = Command::new(&candidate.command[0]);
    command.args(&candidate.command[1..]).current_dir(&candidate.folder).env_clear();
    command.envs(candidate.environment(&endpoint.hello)).env("AWS_LAMBDA_RUNTIME_API", &api.address);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
    let began = Instant::now();
    let running = Running::start(&mut command)?;
    let mut sample = Sample::default();
    let used = use_it(&running, &api, endpoint, &job, quota.as_ref(), began, &mut sample);
    used.map_err(|why| format!("{why}{}", tail(&fs::read_to_string(&log).unwrap_or_default())))?;
    Ok(sample)
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(3);
    lines.iter().skip(from).fold(String::new(), |text, line| text + "\n    " + line)
}

fn use_it(
    running: &Running,
    api: &RuntimeApi,
    endpoint: &mut Endpoint,
    job: &Job,
    quota: Option<&Quota>,
    began: Instant,
    sample: &mut Sample,
) -> Result<(), Box<dyn Error>> {
    let ready = api.expect("/invocation/next", || running.is_alive())?;
    sample.init = milliseconds(ready.at - began);
    if let Some(quota) = quota {
        quota.limit(running.id())?;
    }
    let first = invoke(running, api, endpoint, job, ready)?;
    sample.first = first.took;
    sample.first_healed = first.healed;
    sample.total = sample.init + first.took;
    sample.healed = sample.init + first.healed;
    let told = first.told;
    let to_heal: Vec<&Call> = told.calls.iter().filter(|call| call.came < first.back).collect();
    sample.steps_to_heal = steps(&to_heal);
    sample.calls_to_heal = to_heal.iter().map(|call| call.name.clone()).collect();
    sample.calls = told.calls.iter().map(|call| call.name.clone()).collect();
    (sample.connections, sample.unsigned) = (told.connections.values().sum(), told.unsigned);
    for _ in 0..WARM {
        endpoint.reset(&job.world, false)?;
        let ready = api.expect("/invocation/next", || running.is_alive())?;
        let again = invoke(running, api, endpoint, job, ready)?;
        sample.warm.push(again.took);
        sample.warm_healed.push(again.healed);
    }
    api.expect("/invocation/next", || running.is_alive())?;
    sample.memory = running.memory()?;
    Ok(())
}

/// The result of one event.
struct Invocation {
    /// Milliseconds from the event to the answer.
    took: f64,
    /// Milliseconds from the event to the rolled-back stage.
    healed: f64,
    /// When the stage was rolled back, in nanoseconds since 1970.
    back: u64,
    /// The endpoint's world afterwards.
    told: World,
}

/// Gives the process one event, and checks its answer and the world afterwards.
fn invoke(
    running: &Running,
    api: &RuntimeApi,
    endpoint: &mut Endpoint,
    job: &Job,
    ready: Received,
) -> Result<Invocation, Box<dyn Error>> {
    let began = nanoseconds();
    let given = ready.give(&job.events[0], PATIENCE)?;
    let answer = api.expect("/response", || running.is_alive())?;
    let took = milliseconds(answer.at - given);
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    answer.accept()?;
    let mut told = endpoint.tell()?;
    told.calls.sort_by_key(|call| call.came);
    if job.broken(&told) > 0 {
        let stages = &told.stages;
        return Err(format!("it did not roll back: the stage serves {stages:?}; its answer: {body}").into());
    }
    if let Some(call) = told.calls.iter().find(|call| !call.known) {
        return Err(format!("it called `{}`, which the endpoint does not implement", call.name).into());
    }
    let update = told.calls.iter().find(|call| call.name == "UpdateStage");
    let back = update.ok_or("the stage changed without an UpdateStage")?.went;
    #[expect(clippy::cast_precision_loss, reason = "the difference is small")]
    let healed = back.saturating_sub(began) as f64 / 1e6;
    Ok(Invocation { took, healed, back, told })
}

/// Counts the consecutive steps of these calls: a step begins when a call waited for an earlier one to end.
fn steps(calls: &[&Call]) -> usize {
    let mut steps = 0;
    let mut over = 0;
    for call in calls {
        if call.came >= over {
            steps += 1;
            over = call.went;
        } else {
            over = over.min(call.went);
        }
    }
    steps
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A candidate's process, killed when this value is dropped.
pub struct Running(Mutex<Child>);

impl Running {
    /// Starts the process.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        Ok(Self(Mutex::new(command.spawn()?)))
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn id(&self) -> u32 {
        self.child().id()
    }

    /// Whether the process has not ended.
    pub fn is_alive(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// Waits until the process ends on its own.
    pub fn wait(&self, patience: Duration) -> Result<(), String> {
        let began = Instant::now();
        while self.is_alive() {
            if began.elapsed() > patience {
                return Err("the process does not end".to_owned());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Reads the peak of the process's own memory in MiB. The peak that `wait` returns includes the parent's memory
    /// before exec.
    fn memory(&self) -> Result<f64, Box<dyn Error>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut child = self.child();
        child.kill().ok();
        child.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, steps};

    #[test]
    fn overlapping_calls_are_one_step_and_a_call_that_waits_is_another() {
        let call = |came, went| Call { came, went, ..Call::default() };
        let (read, parallel, update, list) = (call(0, 10), call(1, 11), call(12, 22), call(23, 33));
        assert_eq!(steps(&[&read, &parallel]), 1);
        assert_eq!(steps(&[&read, &parallel, &update]), 2);
        assert_eq!(steps(&[&read, &parallel, &update, &list]), 3);
        assert_eq!(steps(&[]), 0);
    }
}
