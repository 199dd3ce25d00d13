//! The job of every candidate: the world before it, the events, and the release that each stage must serve afterwards.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::world::{Stage, Watch, World};

/// The API's id.
pub const API: &str = "a1b2c3d4e5";
/// The API's name, which its alarms use.
pub const API_NAME: &str = "orders-api";
const ALARM: &str = "orders-prod-5xx";
/// The most stages that one alarm's description names.
const OF_ONE_ALARM: usize = 100;

/// The job of one measurement.
pub struct Job {
    /// The world before the job.
    pub world: World,
    /// One event for each API, in order: its alarm as SNS delivers it.
    pub events: Vec<String>,
    /// One event for all stages, with alarms that name the stages in their descriptions.
    pub all: String,
    /// The ids of the APIs by name.
    pub ids: BTreeMap<String, String>,
    /// The release that each stage must serve afterwards.
    pub good: Stage,
}

impl Job {
    /// Builds the job for one stage. `event` is the project's example of an alarm; its time becomes one before `now`.
    pub fn new(event: &str, now: DateTime<Utc>, latency_ms: u64) -> Result<Self, String> {
        Self::of(event, now, latency_ms, &[(API_NAME.to_owned(), API.to_owned(), ALARM.to_owned())])
    }

    /// Builds the job for this many stages, each of another API.
    pub fn many(event: &str, now: DateTime<Utc>, latency_ms: u64, stages: usize) -> Result<Self, String> {
        let names = |n| (format!("orders-{n}"), format!("api{n:07}"), format!("orders-{n}-5xx"));
        Self::of(event, now, latency_ms, &(0..stages).map(names).collect::<Vec<_>>())
    }

    /// Builds the job for these APIs, each given as its name, id and alarm.
    fn of(
        event: &str,
        now: DateTime<Utc>,
        latency_ms: u64,
        apis: &[(String, String, String)],
    ) -> Result<Self, String> {
        let stage = |deployment: &str, variables: &[(&str, &str)]| Stage {
            deployment: deployment.to_owned(),
            variables: variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        };
        let (good, bad) =
            (stage("good01", &[("release", "1")]), stage("bad001", &[("release", "2"), ("extra", "x")]));
        let updated = now - TimeDelta::seconds(600);
        let fired = updated + TimeDelta::seconds(300);
        let mut world = World { latency_ms, updated: updated.timestamp(), ..World::default() };
        let mut events = Vec::new();
        for (name, id, alarm) in apis {
            world.stages.insert(id.clone(), bad.clone());
            let at = format!("/apigw-rollback/stages/{id}/prod/known-good");
            world.parameters.insert(at, record(name, id, &good, updated));
            let index = json!({"schema": 1, "apis": [id]});
            world.parameters.insert(format!("/apigw-rollback/names/{name}"), index.to_string());
            world.alarms.insert(alarm.clone(), Watch { api: name.clone(), description: None });
            events.push(message(event, fired, name, alarm, None)?);
        }
        let mut records = Vec::new();
        for (nth, some) in apis.chunks(OF_ONE_ALARM).enumerate() {
            let targets: Vec<String> = some.iter().map(|(name, ..)| format!("{name}/prod")).collect();
            let description = format!("rollback-target: {}", targets.join(", "));
            let alarm = format!("all-{nth}");
            let all = message(event, fired, "any", &alarm, Some(&description))?;
            let all: Value = serde_json::from_str(&all).map_err(|why| why.to_string())?;
            records.extend(all["Records"].as_array().cloned().unwrap_or_default());
            world.alarms.insert(alarm, Watch { api: "any".to_owned(), description: Some(description) });
        }
        let ids = apis.iter().map(|(name, id, _)| (name.clone(), id.clone())).collect();
        Ok(Self { world, events, all: json!({"Records": records}).to_string(), ids, good })
    }

    /// Counts the stages of this world that do not serve the good release.
    pub fn broken(&self, world: &World) -> usize {
        world.stages.values().filter(|stage| **stage != self.good).count()
    }
}

fn record(name: &str, id: &str, good: &Stage, updated: DateTime<Utc>) -> String {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let record = json!({
        "schema": 1, "stage": {"protocol": "rest", "api": id, "stage": "prod"}, "region": "eu-west-1",
        "api_name": name, "release": good, "created": time(updated - TimeDelta::days(1)),
        "recorded_at": time(updated - TimeDelta::hours(20)), "pinned": true, "label": "v1", "note": null,
        "who": "sweep", "irreversible": false,
    });
    record.to_string()
}

/// Returns the event with another alarm and another time of the state change.
fn message(
    event: &str,
    fired: DateTime<Utc>,
    api: &str,
    alarm: &str,
    description: Option<&str>,
) -> Result<String, String> {
    let bad = |why: serde_json::Error| format!("events/sns-alarm.json cannot be parsed: {why}");
    let mut event: Value = serde_json::from_str(event).map_err(bad)?;
    let message = &mut event["Records"][0]["Sns"]["Message"];
    let mut told: Value = serde_json::from_str(message.as_str().unwrap_or_default()).map_err(bad)?;
    let arn = told["AlarmArn"].as_str().unwrap_or_default();
    let arn = arn.rsplit_once(':').map(|(before, _)| format!("{before}:{alarm}"));
    (told["AlarmName"], told["AlarmArn"]) = (json!(alarm), json!(arn));
    told["AlarmDescription"] = json!(description);
    told["StateChangeTime"] = json!(fired.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string());
    for dimension in told["Trigger"]["Dimensions"].as_array_mut().into_iter().flatten() {
        if dimension["name"] == "ApiName" {
            dimension["value"] = json!(api);
        }
    }
    *message = json!(told.to_string());
    Ok(event.to_string())
}
