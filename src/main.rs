//! The Lambda function: creates the clients once, opens their connections, then handles one event at a time.
// The futures of a run, down to the SDK's own, are nested more deeply than the compiler allows by default.
#![recursion_limit = "256"]

use std::io::Write;
use std::time::{Duration, SystemTime};

use apigw_rollback::cloud::aws::{Clients, environment_settings};
use apigw_rollback::config::Config;
use apigw_rollback::context::Context;
use apigw_rollback::handler::{RunFailed, handle};
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::trigger::UNKNOWN;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

/// The time reserved before Lambda's deadline, so that a run that is out of time can still report.
const TO_REPORT: Duration = Duration::from_millis(700);
/// The time reserved before that for notifications, or a tenth of the function's timeout if that is less.
const TO_NOTIFY: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log_to_stdout();
    let config = Config::read(environment).inspect_err(|error| tracing::error!("{error}"))?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let clients = Clients::new(&environment_settings(environment)?);
    // Lambda gives more CPU before the first event than after it, and no event waits yet.
    let protocols: Vec<Protocol> = config.stages.iter().map(|one| one.stage.protocol).collect();
    clients.warm(&protocols).await;
    let (config, clients) = (&config, &clients);
    // The event stays raw text: an event that is nested too deeply for the JSON parser must still be reported.
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Box<RawValue>>| {
        let context = &event.context;
        #[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
        let (now, began) = (SystemTime::now(), Instant::now());
        let left = context.deadline().duration_since(now).unwrap_or_default();
        let left = left.saturating_sub(TO_REPORT);
        let deadline = began + left.saturating_sub(TO_NOTIFY.min(left / 10));
        // The version or alias that was invoked is cut off: alarms may invoke any of them.
        let function = context.invoked_function_arn.splitn(8, ':').take(7).collect::<Vec<_>>().join(":");
        let context = Context {
            cloud: &clients.until(deadline, began + left),
            config,
            trigger: &UNKNOWN,
            id: &context.request_id,
            trace: context.xray_trace_id.as_deref(),
            function: Some(function.as_str()).filter(|arn| arn.starts_with("arn:")),
            now: now.into(),
            began,
            deadline,
        };
        let answer = Box::pin(handle(event.payload.get(), &context)).await;
        write_lines(&answer.metrics);
        answer.into_response().map_err(|RunFailed { kind, message }| Diagnostic {
            error_type: kind.to_owned(),
            error_message: message,
        }) as Result<Value, Diagnostic>
    }))
    .await
}

#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Writes the metrics to standard output. They have no log level. A failed write does not fail the run.
fn write_lines(lines: &[Value]) {
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}").ok();
    }
}

/// Logs one JSON object per line, at the level of the function's logging configuration.
fn log_to_stdout() {
    let level = environment("AWS_LAMBDA_LOG_LEVEL").and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(level.unwrap_or(tracing::Level::INFO))
        .init();
}
