//! The story builder: a world with a clock, and a log of everything that happens in it.

use std::fmt::Write as _;

use apigw_rollback::model::alarm::{State, Watches, time};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::harness::{run, snapshot};
use crate::support::world::{API, Facts, Fault, World, live, release};

/// A stage with two quiet alarms and no records, as right after the first `sam deploy`.
pub(crate) struct Story {
    pub(crate) world: World,
    pub(crate) described: String,
    pub(crate) settings: Vec<(&'static str, &'static str)>,
}

pub(crate) const START: &str = "2026-11-20T08:00:00Z";

impl Story {
    pub(crate) fn new() -> Self {
        let mut facts = Facts::bad_release();
        facts.now = time(START).unwrap();
        facts.parameters.clear();
        facts.deployments = (1..=9).map(|n| (API.to_owned(), format!("d{n}"))).collect();
        *facts.stage() = live(release("d1", &[("release", "1")]), START);
        for now in &mut facts.alarms {
            now.alarm.state = State::Ok;
            now.alarm.changed_at = time("2026-11-01T00:00:00Z");
        }
        Self { world: World::new(facts), described: String::new(), settings: vec![] }
    }

    /// Creates a story whose first release is already known-good.
    pub(crate) fn with_known_good() -> Self {
        Self::new().sweep().later(31).sweep().quietly()
    }

    pub(crate) fn set(mut self, name: &'static str, value: &'static str) -> Self {
        self.settings.push((name, value));
        self
    }

    /// Injects a fault into the n-th call of an operation in the next event; 0 means every call.
    pub(crate) fn with_fault(self, operation: &'static str, nth: usize, fault: Fault) -> Self {
        Self { world: self.world.fault(operation, nth, fault), ..self }
    }

    pub(crate) fn quietly(mut self) -> Self {
        self.described.clear();
        self
    }

    pub(crate) fn say(mut self, what: &str) -> Self {
        let at = self.now().format("%H:%M");
        writeln!(self.described, "-- {at} {what}").unwrap();
        self
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.world.facts().now
    }

    pub(crate) fn later(self, minutes: i64) -> Self {
        self.world.change(|facts| facts.now += TimeDelta::minutes(minutes));
        self
    }

    pub(crate) fn world(self, what: &str, change: impl FnOnce(&mut Facts)) -> Self {
        self.world.change(change);
        self.say(what)
    }

    pub(crate) fn deploy(self, number: u8) -> Self {
        self.world(&format!("a pipeline deploys release {number}"), |facts| {
            let number = number.to_string();
            *facts.stage() = live(release(&format!("d{number}"), &[("release", &number)]), START);
            facts.stage().updated_at = Some(facts.now);
        })
    }

    /// Changes the alarm's state without delivering its event.
    pub(crate) fn alarm_is(self, state: State) -> Self {
        self.world(&format!("the alarm is {state}"), |facts| {
            let now = facts.now;
            let alarm = &mut facts.alarms[0].alarm;
            facts.transitions.push((alarm.name.clone(), now, alarm.state));
            facts.transitions.push((alarm.name.clone(), now, state));
            (alarm.state, alarm.changed_at) = (state, Some(now));
        })
    }

    pub(crate) fn event_arrives(self) -> Self {
        let facts = self.world.facts();
        let alarm = &facts.alarms[0].alarm;
        let message = json!({
            "AlarmName": alarm.name, "AlarmArn": alarm.arn, "NewStateValue": alarm.state,
            "StateChangeTime": alarm.changed_at, "NewStateReason": "Threshold Crossed",
            "Trigger": {"Namespace": "AWS/ApiGateway", "MetricName": "5XXError", "Dimensions":
                [{"name": "ApiName", "value": "orders-api"}, {"name": "Stage", "value": "prod"}]},
        });
        self.send("the alarm's event arrives", &message.to_string())
    }

    /// Delivers the event of the first alarm as CloudWatch's alarm action sends it.
    pub(crate) fn event_of_first_alarm(self) -> Self {
        let facts = self.world.facts();
        let alarm = &facts.alarms[0].alarm;
        let mut message = json!({
            "AlarmName": alarm.name, "AlarmArn": alarm.arn, "AlarmDescription": alarm.description,
            "NewStateValue": alarm.state, "StateChangeTime": facts.now, "NewStateReason": "Threshold Crossed",
        });
        match &alarm.watches {
            Watches::Alarms(_) => message["AlarmRule"] = json!("ALARM(x)"),
            Watches::Metrics(metrics) => {
                let dimensions = metrics.first().map(|metric| metric.dimensions.clone()).unwrap_or_default();
                let dimensions: Vec<Value> =
                    dimensions.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
                if !dimensions.is_empty() {
                    message["Trigger"] = json!({
                        "Namespace": "AWS/ApiGateway", "MetricName": "5XXError", "Dimensions": dimensions,
                    });
                }
            }
        }
        self.send("the alarm's event arrives", &message.to_string())
    }

    pub(crate) fn sweep(self) -> Self {
        self.send("sweep", r#"{"command":"sweep"}"#)
    }

    pub(crate) fn command(self, verb: &str, more: &Value) -> Self {
        let mut command = json!({"command": verb, "stage": {"api": API, "name": "prod"}, "who": "on call"});
        for (field, value) in more.as_object().unwrap() {
            command[field] = value.clone();
        }
        self.send(&format!("an operator sends `{verb}`"), &command.to_string())
    }

    pub(crate) fn send(mut self, what: &str, event: &str) -> Self {
        self = self.say(what);
        let shown = run(event, &self.world, &self.settings);
        // Stories show decisions and writes; the scenarios check the reads.
        let hidden =
            ["call: Get", "call: Describe", "call: List", "call: PutParameter /apigw-rollback/sweep"];
        for line in shown.lines().filter(|line| !hidden.iter().any(|hidden| line.starts_with(hidden))) {
            self.described.push_str(line);
            self.described.push('\n');
        }
        self
    }

    pub(crate) fn ends(self, story: &str) {
        snapshot(story, &self.described);
    }

    /// Returns the deployment that the stage serves.
    pub(crate) fn stage(&self) -> String {
        self.world.facts().stage().release.deployment.clone()
    }
}
