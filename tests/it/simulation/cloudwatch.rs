//! CloudWatch in a simulation run: datapoints that come late, alarms over several of them, composite alarms, and the events
//! that SNS delivers.

use apigw_rollback::model::alarm::{AlarmNow, State, Watches};
use apigw_rollback::model::datapoint::{Datapoint, Reading};
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use serde_json::json;

use super::life::Event;
use super::requests::Failing;
use crate::simulation::invariants::Signal;
use crate::support::world::{Facts, alarm, at};

/// The composite alarm over the alarms of two stages, and one between them.
const COMPOSITE: &str = "orders";
const BETWEEN: &str = "orders-errors";

/// The alarms below the composite alarm. The last one is among them only if two must be in ALARM.
const BELOW: [&str; 3] = ["orders-prod-5xx", "orders-dev-5xx", QUERY];

/// The alarm that may read a query or logs.
const QUERY: &str = "orders-prod-latency";

/// The alarm that fires by missing data, when there is no traffic.
pub(crate) const TRAFFIC: &str = "orders-prod-traffic";

/// The alarms whose datapoints CloudWatch tells.
#[derive(Clone, Copy)]
enum Told {
    Everything,
    /// Those of metrics, but not those of the latency alarm, if it names the stage by a directive: it reads logs.
    Metrics,
    Nothing,
}

/// How CloudWatch evaluates the alarms of a seed.
pub(crate) struct CloudWatch {
    told: Told,
    /// The number of minutes of a datapoint.
    period: usize,
    /// The number of breaching datapoints that an alarm takes.
    periods: usize,
    /// The number of minutes after which a minute counts.
    lag: usize,
    /// The number of composite alarms above the alarms of the stages, one above the other.
    composites: usize,
    /// The number of alarms below the composite alarm that set it off, as with `AT_LEAST`.
    at_least: usize,
    /// The directive of the latency alarm, if it reads a query or logs, which name no stage.
    directive: Option<&'static str>,
    /// Whether a suppressor silences the composite alarm, instead of a mute rule.
    suppressed: bool,
    /// Whether an alarm takes missing data for a breach.
    watches_traffic: bool,
}

/// What the metrics of each alarm say about one minute.
pub(crate) struct Minute {
    pub(crate) now: DateTime<Utc>,
    pub(crate) traffic: bool,
    pub(crate) readings: Vec<(&'static str, Reading)>,
    pub(crate) failing: Failing,
}

impl CloudWatch {
    pub(crate) fn drawn(rng: &mut Rng) -> Self {
        Self {
            told: [Told::Everything, Told::Metrics, Told::Nothing, Told::Nothing][rng.usize(..4)],
            period: [1, 1, 1, 1, 1, 1, 1, 5][rng.usize(..8)],
            periods: [1, 1, 2, 3][rng.usize(..4)],
            lag: rng.usize(..2),
            composites: [0, 0, 0, 0, 1, 2][rng.usize(..6)],
            at_least: [1, 1, 2][rng.usize(..3)],
            directive: (rng.usize(..4) == 0).then_some("rollback-target: orders-api/prod"),
            suppressed: rng.bool(),
            watches_traffic: rng.usize(..4) == 0,
        }
    }

    /// How far back one evaluation looks, as the engine reckons it: with the period to which it is aligned.
    fn window(&self) -> TimeDelta {
        TimeDelta::minutes(i64::try_from((self.periods + 1) * self.period).unwrap())
    }

    /// How long after the last change of others the stage is at rest: an evaluation, the delay of its data, and two sweeps.
    pub(crate) fn settles_within(&self) -> TimeDelta {
        TimeDelta::minutes(20).max(self.window() + TimeDelta::minutes(15))
    }

    /// The alarms below the composite alarm.
    fn below(&self) -> &'static [&'static str] {
        match (self.composites, self.at_least) {
            (0, _) => &[],
            (_, 1) => &BELOW[..2],
            _ => &BELOW,
        }
    }

    /// Whether CloudWatch tells the datapoints of an alarm.
    fn tells(&self, name: &str) -> bool {
        match self.told {
            Told::Everything => true,
            Told::Metrics => name != QUERY || self.directive.is_none(),
            Told::Nothing => false,
        }
    }

    /// Gives the alarms their windows, and the composite alarm its place.
    pub(crate) fn set_up(&self, facts: &mut Facts) {
        if !self.watches_traffic {
            facts.alarms.retain(|now| now.alarm.name != TRAFFIC);
        }
        for now in &mut facts.alarms {
            now.window = self.window();
            if self.below().contains(&now.alarm.name.as_str()) {
                now.actions.clear();
            }
            if now.alarm.name == QUERY && self.directive.is_some() {
                now.alarm.watches = Watches::Metrics(vec![]);
                now.alarm.description = self.directive.map(str::to_owned);
            }
        }
        let mut above = |name: &str, below: &[&str], acts: bool| {
            let mut now = alarm(name, State::Ok, &[]);
            now.alarm.watches = Watches::Alarms(below.iter().map(|&name| name.to_owned()).collect());
            now.alarm.changed_at = Some(at("2026-11-20T06:00:00Z"));
            now.window = TimeDelta::zero();
            now.actions.retain(|_| acts);
            facts.alarms.insert(0, now);
        };
        match self.composites {
            0 => {}
            1 => above(COMPOSITE, self.below(), true),
            _ => {
                above(BETWEEN, self.below(), false);
                above(COMPOSITE, &[BETWEEN], true);
            }
        }
    }

    /// Lets a mute rule or a suppressor of the first alarm begin or end.
    pub(crate) fn silence(&self, facts: &mut Facts, on: bool) {
        let (now, first) = (facts.now, &mut facts.alarms[0]);
        let name = first.alarm.name.clone();
        let by = on.then(|| "window".to_owned());
        let was = if self.composites > 0 && self.suppressed {
            std::mem::replace(&mut first.alarm.suppressed_by, by)
        } else if let Some(rule) = by {
            facts.muted.insert(name.clone(), rule)
        } else {
            facts.muted.remove(&name)
        };
        if was.is_none() == on {
            facts.mutes.push((name, now, on));
        }
    }

    /// Stores a minute in the world, evaluates the alarms, and returns those that changed.
    pub(crate) fn evaluate(&self, minute: &Minute, facts: &mut Facts) -> Vec<(String, State)> {
        if minute.traffic {
            facts.traffic.get_or_insert_default().push(minute.now);
        }
        let mut changed = Vec::new();
        for (name, reading) in &minute.readings {
            let point =
                Datapoint { begins: minute.now - TimeDelta::minutes(1), ends: minute.now, reading: *reading };
            let history = facts.history.entry((*name).to_owned()).or_default();
            history.push(point);
            let counted = &history[..history.len().saturating_sub(self.lag)];
            let published: Vec<Datapoint> = counted.chunks_exact(self.period).map(period_of).collect();
            let evaluated = published[published.len().saturating_sub(self.periods)..].to_vec();
            let breach = if *name == TRAFFIC { Reading::Missing } else { Reading::Breaching };
            let breaches = evaluated.iter().all(|point| point.reading == breach);
            let state = if breaches && evaluated.len() == self.periods { State::Alarm } else { State::Ok };
            if self.tells(name) {
                facts.datapoints.insert((*name).to_owned(), published);
            }
            if becomes(facts, name, state, minute.now) {
                let now = facts.alarms.iter_mut().find(|now| now.alarm.name == *name).unwrap();
                now.evaluated = if self.tells(name) { evaluated } else { vec![] };
                now.alarm.only_missing_data = *name == TRAFFIC && state == State::Alarm;
                changed.push(((*name).to_owned(), state));
            }
        }
        let fires = |now: &&AlarmNow| {
            self.below().contains(&now.alarm.name.as_str()) && now.alarm.state == State::Alarm
        };
        let firing = facts.alarms.iter().filter(fires).count();
        let state = if firing >= self.at_least { State::Alarm } else { State::Ok };
        for name in [BETWEEN, COMPOSITE] {
            if becomes(facts, name, state, minute.now) {
                changed.push((name.to_owned(), state));
            }
        }
        changed
    }
}

/// Returns the datapoint of some minutes: it breaches if one of them does, and is missing if all are.
fn period_of(minutes: &[Datapoint]) -> Datapoint {
    let readings = [Reading::Breaching, Reading::Within];
    let reading = readings.into_iter().find(|one| minutes.iter().any(|minute| minute.reading == *one));
    let (first, last) = (minutes[0], minutes[minutes.len() - 1]);
    Datapoint { begins: first.begins, ends: last.ends, reading: reading.unwrap_or(Reading::Missing) }
}

/// Sets an alarm's state. Returns whether there is such an alarm and its state changed.
fn becomes(facts: &mut Facts, name: &str, state: State, at: DateTime<Utc>) -> bool {
    let Some(now) = facts.alarms.iter_mut().find(|now| now.alarm.name == name && now.alarm.state != state)
    else {
        return false;
    };
    facts.transitions.push((name.to_owned(), at, now.alarm.state));
    facts.transitions.push((name.to_owned(), at, state));
    (now.alarm.state, now.alarm.changed_at) = (state, Some(at));
    true
}

/// Draws the deliveries of an alarm's state change: the delay and the event of each, as with SNS.
pub(crate) fn deliveries(rng: &mut Rng, calm: bool, facts: &Facts, alarm: &str) -> Vec<(TimeDelta, Event)> {
    let Some(now) = facts.alarms.iter().find(|now| now.alarm.name == alarm) else { return vec![] };
    if now.actions.is_empty() || !facts.may_act(now) {
        return vec![];
    }
    let stage = if alarm.contains("dev") { "dev" } else { "prod" };
    let message = |arn: &str| {
        let mut message = json!({
            "AlarmName": alarm, "AlarmArn": arn, "NewStateValue": now.alarm.state,
            "StateChangeTime": now.alarm.changed_at, "NewStateReason": "Threshold Crossed",
            "AlarmDescription": now.alarm.description,
        });
        match &now.alarm.watches {
            Watches::Alarms(below) => {
                message["AlarmRule"] = json!(format!("AT_LEAST(1, ALARM, ({}))", below.join(", ")));
            }
            Watches::Metrics(metrics) => {
                let dimensions = metrics.iter().flat_map(|metric| &metric.dimensions);
                let named = dimensions.map(|(name, value)| json!({"name": name, "value": value}));
                message["Trigger"] = json!({"Namespace": "AWS/ApiGateway", "MetricName": "5XXError",
                    "Dimensions": named.collect::<Vec<_>>()});
            }
        }
        message
    };
    let event = |arn: &str, ours| Event {
        text: json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": message(arn).to_string()}}]})
            .to_string(),
        signal: Signal::Alarm { name: alarm.to_owned(), fired: now.alarm.changed_at, ours },
    };
    let arn = now.alarm.arn.clone().unwrap_or_default();
    let soon = |rng: &mut Rng| TimeDelta::milliseconds(rng.i64(40..600));
    if calm {
        return vec![(soon(rng), event(&arn, stage == "prod"))];
    }
    let mut deliveries = Vec::new();
    for _ in 0..[0, 1, 1, 1, 1, 1, 1, 2, 2, 3][rng.usize(..10)] {
        let delay = match rng.usize(..20) {
            0 => TimeDelta::seconds(rng.i64(1200..2400)),
            1..4 => TimeDelta::seconds(rng.i64(30..600)),
            _ => soon(rng),
        };
        deliveries.push((delay, event(&arn, stage == "prod")));
    }
    if rng.usize(..10) == 0 {
        let elsewhere = arn.replace("eu-west-1", "us-east-1").replace("123456789012", "210987654321");
        deliveries.push((soon(rng), event(&elsewhere, false)));
    }
    deliveries
}
