//! Profiles the instructions of a cold rollback: one process under valgrind's callgrind, from exec to its answer.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::Utc;

use crate::candidate;
use crate::endpoint::Endpoint;
use crate::job::Job;
use crate::measure::Running;
use crate::runtime_api::RuntimeApi;

/// Under valgrind a process takes about fifty times as long.
const PATIENCE: Duration = Duration::from_mins(3);

/// Profiles this function and prints its most expensive code: for init alone, and for init with one and two rollbacks.
pub fn profile(function: &Path) -> Result<(), Box<dyn Error>> {
    let root = std::env::current_dir()?;
    let work = root.join("target/bench");
    fs::create_dir_all(&work)?;
    let mut endpoint = Endpoint::start()?;
    let candidate = candidate::function(&root, &work, &root.join(function))?;
    candidate.trust(&endpoint.hello)?;
    let event = fs::read_to_string(root.join("events/sns-alarm.json"))?;
    let job = Job::new(&event, Utc::now(), 0)?;
    for (title, invocations) in [("init alone", 0), ("init and a rollback", 1), ("init and two rollbacks", 2)]
    {
        let at = work.join(format!("callgrind.{invocations}.out"));
        let api = RuntimeApi::listen(PATIENCE)?;
        let mut command = Command::new("valgrind");
        command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", at.display()));
        command.arg(&candidate.command[0]).current_dir(&candidate.folder).env_clear();
        command.envs(candidate.environment(&endpoint.hello)).env("AWS_LAMBDA_RUNTIME_API", &api.address);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running::start(&mut command).map_err(|why| {
            format!("valgrind cannot be run ({why}); install it from your system's packages")
        })?;
        let mut next = api.expect("/invocation/next", || running.is_alive())?;
        for _ in 0..invocations {
            endpoint.reset(&job.world, false)?;
            next.give(&job.events[0], PATIENCE)?;
            api.expect("/response", || running.is_alive())?.accept()?;
            next = api.expect("/invocation/next", || running.is_alive())?;
            if job.broken(&endpoint.tell()?) > 0 {
                return Err("the function did not roll the stage back".into());
            }
        }
        // Without its Runtime API the function ends, and callgrind writes its counts.
        next.hang_up()?;
        running.wait(PATIENCE)?;
        let told = Command::new("callgrind_annotate").arg("--threshold=60").arg(&at).output()?;
        println!("== {title}: {}", at.display());
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        for line in told.lines().filter(|line| line.contains('%')).take(24) {
            println!("{}", line.chars().take(160).collect::<String>());
        }
    }
    Ok(())
}
