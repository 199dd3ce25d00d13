//! `make bench`: measures this function and the same job in boto3 and in Node, from exec to answer.
//!
//! Starts fresh processes in alternating order. A stub of the Lambda Runtime API gives them events. A TLS endpoint on
//! loopback replaces AWS; it counts the calls and shows whether the stage was rolled back.

mod candidate;
mod cpu;
mod endpoint;
mod http;
mod job;
mod measure;
mod picture;
mod profile;
mod runtime_api;
mod rush;
mod stats;
mod table;
mod world;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candidate::Candidate;
use cpu::Quota;
use endpoint::Endpoint;
use measure::{Sample, measure};
use stats::Column;
use table::{Entrant, Pass, Results};

const USE: &str = "cold-bench [--smoke | --profile] FUNCTION   \
                   (FUNCTION is the binary; run this from the repository's root; RUNS=n sets the number of processes)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["endpoint"] => endpoint::serve().map(|()| true),
        ["--smoke", function] => bench(Path::new(function), true),
        ["--profile", function] => profile::profile(Path::new(function)).map(|()| true),
        [function] if !function.starts_with('-') => bench(Path::new(function), false),
        _ => Err(format!("usage: {USE}").into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Measures all candidates in all passes and writes the results. Returns whether all checks and targets are met.
fn bench(function: &Path, smoke: bool) -> Result<bool, Box<dyn Error>> {
    let root = std::env::current_dir()?;
    let work = root.join("target/bench");
    fs::create_dir_all(&work)?;
    let event = fs::read_to_string(root.join("events/sns-alarm.json")).map_err(|why| {
        format!("events/sns-alarm.json cannot be read ({why}); run the bench from the repository's root")
    })?;
    let runs = match std::env::var("RUNS").ok().filter(|runs| !runs.is_empty()) {
        Some(runs) => runs.parse().map_err(|_| format!("RUNS is `{runs}`; set it to a number"))?,
        None if smoke => 2,
        None => 30,
    };
    let mut endpoint = Endpoint::start()?;
    let mut candidates = candidates(&root, &work, function);
    if smoke {
        candidates.push((BEHIND_A_PROXY, candidate::behind_a_proxy(&root, &work, &root.join(function))));
    }
    let mut results = Results { runs, entrants: vec![], passes: vec![], memories: vec![], rushes: vec![] };
    for (name, candidate) in &candidates {
        if let Ok(candidate) = candidate {
            candidate.trust(&endpoint.hello)?;
        }
        results.entrants.push(Entrant { name, zip: candidate.as_ref().ok().map(|candidate| candidate.zip) });
    }
    for (title, latency_ms, memory) in passes(smoke) {
        eprintln!("{title}");
        let quota = memory.map(Quota::of).transpose();
        let quota = quota.map(|_| memory);
        let mut pass = Pass { title, latency_ms, memory, skipped: None, columns: vec![] };
        match quota {
            Ok(quota) => {
                pass.columns = run(&candidates, &mut endpoint, &event, latency_ms, quota, runs);
            }
            Err(why) => pass.skipped = Some(why),
        }
        results.passes.push(pass);
    }
    for memory in if smoke { &[][..] } else { &MEMORIES[..] } {
        eprintln!("the CPU of {memory} MB");
        let column =
            Quota::of(*memory).map(|_| run(&candidates[..1], &mut endpoint, &event, 0, Some(*memory), runs));
        results.memories.push((*memory, column.and_then(|mut columns| columns.remove(0))));
    }
    let many = candidates.iter().filter(|(name, _)| *name != BEHIND_A_PROXY).count();
    for (nth, how, stages) in rush::plan(smoke, many) {
        let (name, candidate) = &candidates[nth];
        eprintln!("{stages} stages at once: {name}, {how:?}");
        let candidate = candidate.as_ref().map_err(|why| format!("{name}: not available: {why}"));
        results.rushes.push(candidate.and_then(|candidate| {
            let rush = rush::rush(name, candidate, &mut endpoint, &event, how, stages);
            rush.map_err(|why| format!("{name}: FAILED: {why}"))
        }));
    }
    report(&results, &work, smoke)
}

/// Returns the passes: the title, the latency in milliseconds, and the memory in MB whose CPU the candidates get.
fn passes(smoke: bool) -> Vec<(String, u64, Option<u64>)> {
    let mut passes = vec![("10 ms a request".to_owned(), 10, None)];
    if !smoke {
        passes.insert(0, ("no latency".to_owned(), 0, None));
        for memory in [128, 512] {
            passes.push((format!("the CPU of {memory} MB after init, no latency"), 0, Some(memory)));
        }
    }
    passes
}

/// Memory sizes in MB, from which to choose the template's.
const MEMORIES: [u64; 6] = [128, 192, 256, 512, 1024, 1769];

const BEHIND_A_PROXY: &str = "with the system's root certificates";

type Ready = (&'static str, Result<Candidate, String>);

fn candidates(root: &Path, work: &Path, function: &Path) -> Vec<Ready> {
    let function = root.join(function);
    vec![
        ("apigw-rollback", candidate::function(root, work, &function)),
        ("boto3", candidate::boto3(root, work)),
        ("Node", candidate::node(root, work)),
    ]
}

/// Runs one pass: a process of each candidate in turn, `runs` times. Skips a candidate after its first failure.
fn run(
    candidates: &[Ready],
    endpoint: &mut Endpoint,
    event: &str,
    latency_ms: u64,
    memory: Option<u64>,
    runs: usize,
) -> Vec<Result<Column, String>> {
    let mut columns: Vec<Result<Vec<Sample>, String>> = candidates
        .iter()
        .map(|(_, candidate)| {
            candidate.as_ref().map(|_| vec![]).map_err(|why| format!("not available: {why}"))
        })
        .collect();
    // The first round only fills caches and does not count.
    for round in 0..=runs {
        for ((name, candidate), column) in candidates.iter().zip(&mut columns) {
            let (Ok(candidate), Ok(samples)) = (candidate, column.as_mut()) else { continue };
            match measure(candidate, endpoint, event, latency_ms, memory) {
                Ok(_) if round == 0 => {}
                Ok(sample) => samples.push(sample),
                Err(why) => {
                    eprintln!("{name}: {why}");
                    *column = Err(format!("FAILED, not timed: {why}"));
                }
            }
        }
    }
    columns.into_iter().map(|column| column.map(|samples| Column::of(&samples))).collect()
}

fn report(results: &Results, work: &Path, smoke: bool) -> Result<bool, Box<dyn Error>> {
    let table = results.markdown();
    let written: [(PathBuf, String); 4] = [
        (work.join("results.json"), serde_json::to_string_pretty(results)?),
        (work.join("results.md"), table.clone()),
        (work.join("results.svg"), picture::draw(results)),
        (work.join("many.svg"), picture::growth(&results.rushes)?),
    ];
    for (path, text) in &written {
        fs::write(path, text)?;
    }
    println!("{table}");
    let mut good = true;
    for wrong in results.failures().chain(results.wrong_calls()).chain(results.left_broken()) {
        println!("WRONG   {wrong}");
        good = false;
    }
    if !smoke {
        for target in results.targets() {
            let verdict = match (target.met, target.enforced) {
                (true, _) => "met   ",
                (false, true) => "MISSED",
                (false, false) => "known ",
            };
            println!("{verdict}  {}", target.told);
            good &= target.met || !target.enforced;
        }
    }
    println!("\nwritten: target/bench/results.md, results.json, results.svg, many.svg");
    Ok(good)
}
