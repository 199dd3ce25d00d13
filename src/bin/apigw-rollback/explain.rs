//! `explain`: how the function judges an event, without any call to AWS.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use apigw_rollback::config::MAX_ALARM_AGE_SECONDS;
use apigw_rollback::model::alarm::Origin;
use apigw_rollback::model::plain;
use apigw_rollback::model::reason::{Kind, Reason};
use apigw_rollback::model::target::{ApiRef, Target};
use apigw_rollback::signal::target::is_stage_name;
use apigw_rollback::signal::triage::{Bounds, Triage, triage};
use apigw_rollback::signal::{self, Command, Signal, sibling};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args as ClapArgs;
use serde::Serialize;

use super::actions::time;
use super::error::{CliError, Exit};
use super::output::written;
use super::session::Format;

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The verdict is act, lookup, hold, reject or ignore; docs/reasons.md explains each reason.
The exit code is 0 if every file could be read, regardless of the verdicts.

Examples:
  apigw-rollback explain events/sns-alarm.json
  apigw-rollback explain --format json --account 123456789012 --region eu-west-1 events/*.json
  aws sqs receive-message ... | jq -r '.Messages[0].Body' | apigw-rollback explain --max-age 0 -")]
pub(crate) struct Args {
    /// Event files; `-` reads standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Judge the events as of this time (RFC 3339) instead of now
    #[arg(long, value_parser = time)]
    now: Option<DateTime<Utc>>,
    /// The account of the function; if absent, accounts are not compared
    #[arg(long)]
    account: Option<String>,
    /// The Region of the function; if absent, Regions are not compared
    #[arg(long)]
    region: Option<String>,
    /// The maximum age of a state change in seconds; 0 disables the check
    #[arg(long, value_name = "SECONDS", default_value_t = MAX_ALARM_AGE_SECONDS, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    max_age: u32,
    /// The output format; JSON has one object per file, each on its own line
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Explained {
    file: String,
    verdict: &'static str,
    reason: Option<&'static str>,
    signals: Vec<ExplainedSignal>,
}

#[derive(Debug, Serialize)]
struct ExplainedSignal {
    verdict: &'static str,
    reason: Option<&'static str>,
    why: Option<String>,
    alarm: Option<String>,
    state: Option<String>,
    targets: Vec<ExplainedTarget>,
    #[serde(skip)]
    strength: Strength,
}

#[derive(Debug, Serialize)]
struct ExplainedTarget {
    api: String,
    by: &'static str,
    stage: String,
    canary: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, CliError> {
    #[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
    let now = args.now.unwrap_or_else(|| SystemTime::now().into());
    let bounds = Bounds {
        home: Origin { account: args.account.clone(), region: args.region.clone() },
        max_age: Some(args.max_age).filter(|age| *age > 0).map(|age| TimeDelta::seconds(age.into())),
        now,
    };
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let mut status = Exit::DONE;
    for file in &args.files {
        let printed = match read(file) {
            Ok(event) => print(&mut out, &explain(file, &event, &bounds), args.format),
            Err(error) => {
                status = Exit::FAILED;
                let _ = writeln!(err, "{}: cannot be read: {error}", file.display());
                Ok(())
            }
        };
        written(printed)?;
    }
    written(out.flush())?;
    Ok(status)
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes)?;
    } else {
        bytes = std::fs::read(file)?;
    }
    // Bytes that are not UTF-8 make the JSON malformed, which is a verdict rather than an error.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn explain(file: &Path, event: &str, bounds: &Bounds) -> Explained {
    let deliveries = signal::read(event).deliveries;
    let signals: Vec<_> =
        deliveries.iter().map(|delivery| explain_signal(&delivery.signal, bounds)).collect();
    let mut strongest: Option<&ExplainedSignal> = None;
    for signal in &signals {
        if strongest.is_none_or(|best| signal.strength > best.strength) {
            strongest = Some(signal);
        }
    }
    Explained {
        file: file.display().to_string(),
        verdict: strongest.map_or(Kind::Ignore.word(), |signal| signal.verdict),
        reason: strongest.and_then(|signal| signal.reason),
        signals,
    }
}

/// The rank of a verdict. The verdict of an event is the highest verdict of its signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    Refused(Kind),
    Lookup,
    Act,
}

impl Strength {
    fn word(self) -> &'static str {
        match self {
            Self::Refused(kind) => kind.word(),
            Self::Lookup => "lookup",
            Self::Act => "act",
        }
    }
}

fn explain_signal(signal: &Signal, bounds: &Bounds) -> ExplainedSignal {
    let (verdict, alarm, state) = match signal {
        Signal::Alarm(alarm) => {
            (triage(alarm, bounds), Some(alarm.name.clone()), Some(alarm.state.to_string()))
        }
        // The settings say which Regions are siblings, and the stage says which release it serves.
        Signal::Sibling(report) => {
            let target = sibling::target(report).map(|target| vec![target]);
            (target.map_or_else(Triage::Refused, Triage::Targets), None, None)
        }
        Signal::Command(command) => (command_target(command), None, None),
        Signal::Unreadable(reason) | Signal::RefusedReport { reason, .. } => {
            (Triage::Refused(reason.clone()), None, None)
        }
    };
    let (strength, reason, why, targets) = match verdict {
        Triage::Targets(targets) => (Strength::Act, None, None, targets),
        Triage::Composite => {
            let why = "a composite alarm: CloudWatch says which alarms below it are in ALARM".to_owned();
            (Strength::Lookup, Some("composite"), Some(why), vec![])
        }
        Triage::Refused(reason) => {
            (Strength::Refused(reason.kind()), Some(reason.code()), Some(reason.to_string()), vec![])
        }
    };
    ExplainedSignal {
        verdict: strength.word(),
        reason,
        why,
        alarm,
        state,
        targets: targets.into_iter().map(explain_target).collect(),
        strength,
    }
}

fn command_target(command: &Command) -> Triage {
    let targets = command.stage.iter().map(|stage| Target {
        api: ApiRef::parse(&stage.api),
        stage: stage.name.clone(),
        canary: false,
        protocol: None,
    });
    let targets: Vec<_> = targets.collect();
    match targets.iter().find(|target| !is_stage_name(&target.stage)) {
        Some(odd) => Triage::Refused(Reason::NoStage(format!("`{}` is not a valid stage name", odd.stage))),
        None => Triage::Targets(targets),
    }
}

fn explain_target(target: Target) -> ExplainedTarget {
    let (api, by) = match target.api {
        ApiRef::Id(id) => (id, "id"),
        ApiRef::Name(name) => (name, "name"),
    };
    ExplainedTarget { api, by, stage: target.stage, canary: target.canary }
}

fn print(out: &mut impl Write, explained: &Explained, format: Format) -> std::io::Result<()> {
    if format == Format::Json {
        serde_json::to_writer(&mut *out, explained)?;
        return writeln!(out);
    }
    let Explained { file, verdict, reason, signals } = explained;
    writeln!(out, "{file}: {verdict}{}", reason.map(|reason| format!(" ({reason})")).unwrap_or_default())?;
    for signal in signals {
        let ExplainedSignal { verdict, reason: _, why, alarm, state, targets, strength: _ } = signal;
        let alarm = alarm.as_ref().map(|alarm| format!("alarm `{alarm}` ")).unwrap_or_default();
        let state = state.as_ref().map(|state| format!("is {state}: ")).unwrap_or_default();
        let why = why.as_ref().map(|why| format!(", {why}")).unwrap_or_default();
        writeln!(out, "  {}", plain::line(&format!("{alarm}{state}{verdict}{why}")))?;
        for ExplainedTarget { api, by, stage, canary } in targets {
            let canary = if *canary { " (canary)" } else { "" };
            let target = format!("stage `{stage}` of the API with the {by} `{api}`{canary}");
            writeln!(out, "    {}", plain::line(&target))?;
        }
    }
    Ok(())
}
