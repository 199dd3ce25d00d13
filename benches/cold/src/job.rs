//! The job that every candidate does: the world before it, the event, and the world that it must leave.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::world::{Stage, World};

/// The API's id.
pub const API: &str = "a1b2c3d4e5";
/// Where the record of the known-good release is.
pub const RECORD: &str = "/apigw-rollback/stages/a1b2c3d4e5/prod/known-good";
const ALARM: &str = "orders-prod-5xx";

/// What is to be done.
pub struct Job {
    /// The world before it.
    pub world: World,
    /// The alarm, as SNS delivers it.
    pub event: String,
    /// What the stage must serve afterwards.
    pub good: Stage,
}

impl Job {
    /// The job at this time. `event` is the project's example of an alarm, whose time is moved to now.
    pub fn new(event: &str, now: DateTime<Utc>, latency_ms: u64) -> Result<Self, String> {
        let stage = |deployment: &str, variables: &[(&str, &str)]| Stage {
            deployment: deployment.to_owned(),
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let good = stage("good01", &[("release", "1")]);
        let updated = now - TimeDelta::seconds(600);
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let record = json!({
            "schema": 1, "stage": {"protocol": "rest", "api": API, "stage": "prod"}, "region": "eu-west-1",
            "api_name": "orders-api", "release": good, "created": time(updated - TimeDelta::days(1)),
            "recorded_at": time(updated - TimeDelta::hours(20)), "pinned": true, "label": "v1", "note": null,
            "who": "sweep", "irreversible": false,
        });
        let world = World {
            latency_ms,
            stage: stage("bad001", &[("release", "2"), ("extra", "x")]),
            updated: updated.timestamp(),
            parameters: BTreeMap::from([(RECORD.to_owned(), record.to_string())]),
            alarm: ALARM.to_owned(),
            ..World::default()
        };
        Ok(Self { world, event: moved(event, updated + TimeDelta::seconds(300))?, good })
    }
}

/// The event with another time of the state change.
fn moved(event: &str, to: DateTime<Utc>) -> Result<String, String> {
    let bad = |why: serde_json::Error| format!("the example of an alarm cannot be read: {why}");
    let mut event: Value = serde_json::from_str(event).map_err(bad)?;
    let message = &mut event["Records"][0]["Sns"]["Message"];
    let mut alarm: Value = serde_json::from_str(message.as_str().unwrap_or_default()).map_err(bad)?;
    alarm["StateChangeTime"] = json!(to.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string());
    *message = json!(alarm.to_string());
    Ok(event.to_string())
}
