//! Everybody but the function: deployers, a person at the console, operators, users, the backend, CloudWatch and SNS.

use std::collections::BTreeMap;

use apigw_rollback::model::alarm::{State, Watches};
use apigw_rollback::model::component::{AliasTarget, MappingTarget};
use apigw_rollback::model::component::{LiveAlias, LiveMapping};
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::records::{Incident, Record, parse, print};
use apigw_rollback::model::release::{Canary, Release};
use apigw_rollback::model::stage::LiveStage;
use apigw_rollback::model::stage::StageRef;
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use serde_json::{Value, json};

use super::kind::{Kind, served};
use super::life::{BUSY, Event, Happening, Life, START};
use crate::simulation::invariants::Signal;
use crate::support::world::{API, Facts, alarm, at, live, record, release};

/// What somebody does.
#[derive(Clone, Debug)]
pub(crate) enum ExternalAction {
    /// A new release goes live, by whatever way this seed's deployer goes.
    Deploy,
    /// The deployer removes a deployment that nothing seems to need any more, as CloudFormation does.
    Remove(String),
    /// A canary ends: it is promoted, or taken off.
    EndCanary,
    /// A person edits the stage by hand: the release that was taken off, or a variable.
    Edit,
    /// A person commands something.
    Command(&'static str),
    /// Somebody switches an alarm's actions off or on.
    Actions(bool),
}

/// How releases come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deployer {
    /// Makes a deployment, points the stage at it, removes the old one.
    CloudFormation,
    /// Leaves old deployments, and announces what it deploys.
    Pipeline,
    /// Canary first.
    Canary,
}

/// Everybody but the function, and what is true about the releases.
pub(crate) struct Others {
    pub(crate) settings: Vec<(&'static str, &'static str)>,
    pub(crate) kind: Kind,
    /// How many runs Lambda lets run at the same time.
    pub(crate) at_once: usize,
    deployer: Deployer,
    /// How many deployments there were so far.
    deployed: usize,
    deploys: Vec<TimeDelta>,
    /// Since when a deployment fails, as users see it.
    bad: BTreeMap<String, DateTime<Utc>>,
    /// Whether its failures are slow answers too.
    slow: bool,
    /// When the backend is down, whatever the release.
    outage: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// When nobody uses the API.
    silence: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// What a minute of traffic shows.
pub(crate) struct Judged {
    now: DateTime<Utc>,
    traffic: bool,
    states: Vec<(String, State)>,
}

impl Others {
    /// A seed's characters, and the world as they find it.
    pub(crate) fn new(rng: &mut Rng) -> (Self, Facts) {
        let start = at(START);
        let kind = Kind::drawn(rng);
        let mut settings = vec![
            ("BAKE_SECONDS", "600"),
            ("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people"),
        ];
        settings.extend(kind.settings());
        let mut sometimes = |one_in: usize, rng: &mut Rng, setting| {
            if rng.usize(..one_in) == 0 {
                settings.push(setting);
            }
        };
        sometimes(2, rng, ("COOLDOWN_SECONDS", "0"));
        sometimes(4, rng, ("ROLLBACK_WINDOW_SECONDS", "300"));
        sometimes(8, rng, ("MAX_ROLLBACKS_A_DAY", "1"));
        sometimes(4, rng, ("MAX_ALARM_AGE_SECONDS", "60"));
        sometimes(16, rng, ("MODE", "observe"));
        sometimes(8, rng, ("PIN", "off"));
        let moment = |rng: &mut Rng| start + TimeDelta::seconds(rng.i64(0..BUSY.num_seconds()));
        let spell = |one_in: usize, rng: &mut Rng| {
            let from = moment(rng);
            (rng.usize(..one_in) == 0).then(|| (from, from + TimeDelta::seconds(rng.i64(120..1500))))
        };
        let (outage, silence) = (spell(8, rng), spell(6, rng));
        let deployer = match (kind, rng.usize(..3)) {
            (_, 0) => Deployer::CloudFormation,
            (Kind::Rest, 1) => Deployer::Canary,
            _ => Deployer::Pipeline,
        };
        let deploys = (0..rng.usize(1..5)).map(|_| TimeDelta::seconds(rng.i64(0..BUSY.num_seconds() - 300)));
        let deploys = deploys.collect();
        let (at_once, slow) = (rng.usize(2..4), rng.bool());
        let others = Self {
            settings,
            kind,
            at_once,
            deployer,
            deployed: 1,
            deploys,
            bad: BTreeMap::new(),
            slow,
            outage,
            silence,
        };
        (others, Self::world(kind, rng))
    }

    fn world(kind: Kind, rng: &mut Rng) -> Facts {
        let mut facts = Facts::bad_release();
        facts.now = at(START);
        facts.traffic = Some(vec![]);
        facts.deployments = vec![(API.to_owned(), "d1".to_owned())];
        let (stage, dev, first) = (kind.stage("prod"), kind.stage("dev"), kind.release(1));
        facts.apis[0].protocol = stage.protocol;
        facts.stages.clear();
        let mut now = live(first.in_stage(), "2026-11-20T07:00:00Z");
        now.auto_deploy = kind == Kind::AutoDeploy;
        facts.stages.insert(stage.clone(), now);
        facts.stages.insert(dev, live(release("d1", &[]), "2026-11-20T07:00:00Z"));
        let live_alias =
            |target: &AliasTarget| LiveAlias { target: target.clone(), revision: "r".to_owned() };
        facts.aliases = first.aliases.iter().map(|(alias, to)| (alias.clone(), live_alias(to))).collect();
        let first_mappings = first.mappings.iter();
        let live_mapping = |target: &_| LiveMapping { target: MappingTarget::clone(target), id: None };
        facts.mappings = first_mappings.map(|(domain, to)| (domain.clone(), live_mapping(to))).collect();
        // Most stages have a record already.
        if rng.usize(..4) == 0 {
            facts.parameters.clear();
        } else {
            let known = print(&Record { stage: stage.clone(), ..record(first) }).unwrap();
            facts.known_good(&known);
        }
        if kind == Kind::AutoDeploy && rng.bool() {
            let policy = r#"{"schema":1,"auto_deploy":"switch-off"}"#.to_owned();
            facts.parameters.insert(ParameterNames::under("/apigw-rollback").policy(&stage), vec![policy]);
        }
        let named = |name, of| alarm(name, State::Ok, &kind.dimensions(of));
        let alarms =
            [("orders-prod-5xx", "prod"), ("orders-prod-latency", "prod"), ("orders-dev-5xx", "dev")];
        facts.alarms = alarms.into_iter().map(|(name, of)| named(name, of)).collect();
        for now in &mut facts.alarms {
            now.alarm.state = State::Ok;
            now.alarm.changed_at = Some(at("2026-11-20T06:00:00Z"));
        }
        facts
    }

    /// What is done when, in time since the start.
    pub(crate) fn agenda(&self, rng: &mut Rng) -> Vec<(TimeDelta, ExternalAction)> {
        let moment = |rng: &mut Rng| TimeDelta::seconds(rng.i64(0..BUSY.num_seconds()));
        let mut agenda: Vec<_> = self.deploys.iter().map(|at| (*at, ExternalAction::Deploy)).collect();
        let mut sometimes = |one_in: usize, deed, rng: &mut Rng| {
            if rng.usize(..one_in) == 0 {
                agenda.push((moment(rng), deed));
            }
        };
        sometimes(4, ExternalAction::Edit, rng);
        sometimes(4, ExternalAction::Edit, rng);
        sometimes(4, ExternalAction::Command("hold"), rng);
        sometimes(6, ExternalAction::Command("release-hold"), rng);
        sometimes(8, ExternalAction::Command("rollback"), rng);
        sometimes(12, ExternalAction::Command("record"), rng);
        sometimes(8, ExternalAction::Command("lift"), rng);
        sometimes(10, ExternalAction::Command("announce"), rng);
        sometimes(16, ExternalAction::Actions(false), rng);
        sometimes(16, ExternalAction::Actions(true), rng);
        agenda
    }

    /// The stage that it is all about.
    pub(crate) fn stage(&self) -> StageRef {
        self.kind.stage("prod")
    }

    /// What CloudWatch makes of a minute of traffic.
    pub(crate) fn judge(&self, now: DateTime<Utc>, facts: &Facts) -> Judged {
        let during = |spell: Option<(DateTime<Utc>, DateTime<Utc>)>| {
            spell.is_some_and(|(from, to)| from <= now && now < to)
        };
        let traffic = !during(self.silence);
        let is_bad = |deployment: &String| self.bad.get(deployment).is_some_and(|since| *since <= now);
        let stage = served(facts, &self.stage());
        let canary = stage.canary.as_ref().and_then(|canary| canary.deployment.as_ref());
        let broken = stage.variables.get("release").is_some_and(|value| value == "broken");
        let behind = stage.aliases.values().any(|alias| is_bad(&format!("d{}", alias.version)));
        let fails = traffic && (is_bad(&stage.deployment) || canary.is_some_and(is_bad) || behind || broken);
        let down = traffic && during(self.outage);
        let shown = |fails: bool| if fails { State::Alarm } else { State::Ok };
        let states = vec![
            ("orders-prod-5xx".to_owned(), shown(fails || down)),
            ("orders-prod-latency".to_owned(), shown(fails && self.slow)),
            // Somebody tries things out there.
            ("orders-dev-5xx".to_owned(), shown(now.timestamp() / 60 % 37 < 3)),
        ];
        Judged { now, traffic, states }
    }
}

/// What SNS makes of an alarm's change: when which event reaches Lambda.
pub(crate) fn deliveries(rng: &mut Rng, calm: bool, facts: &Facts, alarm: &str) -> Vec<(TimeDelta, Event)> {
    let Some(now) = facts.alarms.iter().find(|now| now.alarm.name == alarm) else { return vec![] };
    if !now.actions_enabled {
        return vec![];
    }
    let stage = if alarm.contains("dev") { "dev" } else { "prod" };
    let Watches::Metrics(metrics) = &now.alarm.watches else { return vec![] };
    let dimensions = metrics[0].dimensions.iter();
    let dimensions: Vec<_> = dimensions.map(|(name, value)| json!({"name": name, "value": value})).collect();
    let message = |arn: &str| {
        json!({
            "AlarmName": alarm, "AlarmArn": arn, "NewStateValue": now.alarm.state,
            "StateChangeTime": now.alarm.changed_at, "NewStateReason": "Threshold Crossed",
            "Trigger": {"Namespace": "AWS/ApiGateway", "MetricName": "5XXError",
                "Dimensions": dimensions},
        })
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

impl Judged {
    /// Puts it into CloudWatch; returns the alarms that changed.
    pub(crate) fn apply(self, facts: &mut Facts) -> Vec<(String, State)> {
        if self.traffic {
            facts.traffic.get_or_insert_default().push(self.now);
        }
        let mut changed = Vec::new();
        for (name, state) in self.states {
            let Some(now) = facts.alarms.iter_mut().find(|now| now.alarm.name == name) else { continue };
            if now.alarm.state == state {
                continue;
            }
            facts.transitions.push((name.clone(), self.now, now.alarm.state));
            facts.transitions.push((name.clone(), self.now, state));
            (now.alarm.state, now.alarm.changed_at) = (state, Some(self.now));
            changed.push((name, state));
        }
        changed
    }
}

/// Somebody does something.
pub(crate) fn happen(life: &mut Life, deed: ExternalAction) {
    if life.now() >= life.clock.at + BUSY && !matches!(deed, ExternalAction::Remove(_)) {
        return;
    }
    match deed {
        ExternalAction::Deploy => deploy(life),
        ExternalAction::Remove(deployment) => remove(life, &deployment),
        ExternalAction::EndCanary => end_canary(life),
        ExternalAction::Edit => edit(life),
        ExternalAction::Command(verb) => command(life, verb),
        ExternalAction::Actions(on) => {
            life.say(|| format!("somebody switches an alarm's actions {}", if on { "on" } else { "off" }));
            life.change(|facts| {
                let now = facts.now;
                let alarm = &mut facts.alarms[0];
                if std::mem::replace(&mut alarm.actions_enabled, on) != on {
                    facts.switched.push((alarm.alarm.name.clone(), now, on));
                }
            });
        }
    }
}

/// Puts a release on the stage, as a deployer does.
fn put(facts: &mut Facts, stage: &StageRef, release: &Release, auto_deploy: bool) {
    for (alias, to) in &release.aliases {
        facts.point(alias, to);
    }
    for (mapping, to) in &release.mappings {
        facts.map(mapping, to);
    }
    let (release, updated_at) = (release.in_stage(), Some(facts.now));
    let live = LiveStage { release, updated_at, auto_deploy, ..facts.stages[stage].clone() };
    facts.serve(stage, live);
}

fn deploy(life: &mut Life) {
    life.others.deployed += 1;
    let number = life.others.deployed;
    let id = format!("d{number}");
    let now = life.now();
    // Some fail at once, some after a while, most never.
    let bad = match life.rng.usize(..10) {
        0..4 => Some(now),
        4 => Some(now + TimeDelta::seconds(life.rng.i64(60..1200))),
        _ => None,
    };
    life.say(|| format!("somebody deploys {id}, which fails since {bad:?}"));
    life.others.bad.extend(bad.map(|since| (id.clone(), since)));
    let deployer = life.others.deployer;
    let canary = deployer == Deployer::Canary && life.rng.usize(..4) > 0;
    let (kind, stage) = (life.others.kind, life.others.stage());
    let old = life.change(|facts| {
        facts.deployments.push((API.to_owned(), id.clone()));
        let served = facts.stages[&stage].release.clone();
        let mut next = kind.release(number);
        if canary {
            let canary = Canary {
                percent: "10.0".to_owned(),
                deployment: Some(id.clone()),
                overrides: BTreeMap::new(),
            };
            next = Release { canary: Some(canary), ..served.clone() };
        }
        // Whoever deploys an API with AutoDeploy has it on.
        put(facts, &stage, &next, kind == Kind::AutoDeploy);
        served.deployment
    });
    match deployer {
        Deployer::CloudFormation => {
            let later = TimeDelta::seconds(life.rng.i64(5..90));
            life.at(now + later, Happening::Other(ExternalAction::Remove(old)));
        }
        Deployer::Pipeline => {
            let irreversible = life.rng.usize(..6) == 0;
            command_with(life, "announce", &json!({"label": id, "reversible": !irreversible}));
        }
        Deployer::Canary => {
            let later = TimeDelta::seconds(life.rng.i64(60..900));
            life.at(now + later, Happening::Other(ExternalAction::EndCanary));
        }
    }
}

/// API Gateway removes no deployment that a stage points at.
fn remove(life: &mut Life, deployment: &str) {
    let gone = life.change(|facts| {
        let serves = |release: &Release| {
            let canary = release.canary.as_ref().and_then(|canary| canary.deployment.as_deref());
            release.deployment == deployment || canary == Some(deployment)
        };
        let used = facts.stages.values().any(|live| serves(&live.release));
        if !used {
            facts.deployments.retain(|(_, id)| id != deployment);
        }
        !used
    });
    life.say(|| format!("the deployer removes {deployment}: {}", if gone { "gone" } else { "it is in use" }));
}

fn end_canary(life: &mut Life) {
    let promote = life.rng.bool();
    let stage = life.others.stage();
    let ended = life.change(|facts| {
        let release = facts.stages[&stage].release.clone();
        let Some(canary) = release.canary.clone() else { return false };
        let deployment = canary.deployment.filter(|_| promote).unwrap_or(release.deployment.clone());
        put(facts, &stage, &Release { canary: None, deployment, ..release }, false);
        true
    });
    life.say(|| format!("the deployer ends its canary (promoted: {promote}, there: {ended})"));
}

/// A person at the console.
fn edit(life: &mut Life) {
    let breaks = life.rng.usize(..3) == 0;
    let back = life.rng.bool();
    let stage = life.others.stage();
    let bad = life.world.look(|facts| taken_off(facts, &stage)).map(|incident| incident.bad);
    let to = life.change(|facts| {
        let mut release = served(facts, &stage);
        // AutoDeploy is in the way of another deployment, and only of that.
        let auto_deploy = facts.stages[&stage].auto_deploy && (breaks || !back || bad.is_none());
        release.canary = None;
        if breaks {
            release.variables.insert("release".to_owned(), "broken".to_owned());
        } else if let Some(bad) = bad.filter(|_| back) {
            release = bad;
        } else {
            release.variables.insert("flag".to_owned(), "on".to_owned());
        }
        put(facts, &stage, &release, auto_deploy);
        release
    });
    life.say(|| format!("a person edits the stage: {to}"));
}

fn command(life: &mut Life, verb: &'static str) {
    let more = match verb {
        "hold" => {
            json!({"until": life.now() + TimeDelta::seconds(life.rng.i64(120..1200)), "reason": "night"})
        }
        "announce" => json!({"label": "by hand", "reversible": life.rng.bool()}),
        "lift" => {
            let stage = life.others.stage();
            let Some(incident) = life.world.look(|facts| taken_off(facts, &stage)) else { return };
            json!({"incident": incident.bad.fingerprint()})
        }
        _ => json!({}),
    };
    command_with(life, verb, &more);
}

/// The last release that was taken off.
fn taken_off(facts: &Facts, stage: &StageRef) -> Option<Incident> {
    let incidents = ParameterNames::under("/apigw-rollback").all_incidents(stage);
    let written = facts.writes.iter().rfind(|write| write.name.starts_with(&incidents))?;
    parse(&written.value).ok()
}

fn command_with(life: &mut Life, verb: &str, more: &Value) {
    let mut command = json!({"command": verb, "stage": {"api": API, "name": "prod"}, "who": "on call"});
    for (field, value) in more.as_object().unwrap() {
        command[field] = value.clone();
    }
    life.say(|| format!("somebody sends {command}"));
    let event = Event { text: command.to_string(), signal: Signal::Person };
    life.at(life.now(), Happening::Event(event, 1));
}
