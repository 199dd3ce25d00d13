//! All other actors: deployers, operators at the console and with commands, users, the backend, CloudWatch and SNS.

use std::collections::BTreeMap;

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::component::{AliasTarget, MappingTarget};
use apigw_rollback::model::component::{LiveAlias, LiveMapping};
use apigw_rollback::model::datapoint::Reading;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::records::{Incident, Record, parse, print};
use apigw_rollback::model::release::{Canary, Release};
use apigw_rollback::model::stage::LiveStage;
use apigw_rollback::model::stage::StageRef;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use fastrand::Rng;
use serde_json::{Value, json};

use super::cloudwatch::{CloudWatch, Minute, TRAFFIC};
use super::kind::{Kind, served};
use super::life::{AgendaItem, BUSY, Event, START, SimulationRun};
use super::requests::{Counted, Failing};
use crate::simulation::invariants::Signal;
use crate::support::world::{API, Facts, alarm, at, live, record, release};

/// An action of a deployer or an operator.
#[derive(Clone, Debug)]
pub(crate) enum ExternalAction {
    /// The seed's deployer deploys a new release.
    Deploy,
    /// The deployer deletes a deployment that it no longer needs, as CloudFormation does.
    Remove(String),
    /// The deployer promotes or removes its canary.
    EndCanary,
    /// An operator edits the stage by hand: redeploys the bad release or changes a variable.
    Edit,
    /// An operator sends a command.
    Command(&'static str),
    /// An operator switches an alarm's actions off or on.
    Actions(bool),
    /// A mute rule or a suppressor of the first alarm begins or ends.
    Mute(bool),
}

/// The way in which releases are deployed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deployer {
    /// Creates a deployment, points the stage at it and deletes the old one.
    CloudFormation,
    /// Keeps old deployments and announces every release.
    Pipeline,
    /// Deploys to a canary first.
    Canary,
}

/// All other actors, and the true quality of the releases.
pub(crate) struct Others {
    pub(crate) settings: Vec<(&'static str, &'static str)>,
    pub(crate) kind: Kind,
    /// The number of runs that Lambda allows at the same time.
    pub(crate) at_once: usize,
    deployer: Deployer,
    /// The number of deployments so far.
    deployed: usize,
    deploys: Vec<TimeDelta>,
    /// When each release begins to fail after its deployment, by its number, if that is drawn beforehand.
    qualities: Option<Vec<Option<TimeDelta>>>,
    /// The time from which on each bad deployment fails.
    bad: BTreeMap<String, DateTime<Utc>>,
    /// Whether bad deployments also answer slowly.
    slow: bool,
    /// The period in which the backend is down, whatever the release.
    outage: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The period without traffic.
    silence: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// How CloudWatch evaluates the alarms.
    pub(crate) cloudwatch: CloudWatch,
    /// The requests that CloudWatch counts.
    pub(crate) counted: Counted,
}

impl Others {
    /// Draws a seed's actors and its initial world.
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
        let cloudwatch = CloudWatch::drawn(rng);
        let others = Self {
            settings,
            kind,
            at_once,
            deployer,
            deployed: 1,
            deploys,
            qualities: None,
            bad: BTreeMap::new(),
            slow,
            outage,
            silence,
            cloudwatch,
            counted: Counted::drawn(rng),
        };
        let mut facts = Self::world(kind, rng, &others.cloudwatch);
        others.counted.set_up(&mut facts, &kind.stage("prod"));
        (others, facts)
    }

    fn world(kind: Kind, rng: &mut Rng, cloudwatch: &CloudWatch) -> Facts {
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
        // Most stages already have a record.
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
        let alarms = [
            ("orders-prod-5xx", "prod"),
            ("orders-prod-latency", "prod"),
            ("orders-dev-5xx", "dev"),
            (TRAFFIC, "prod"),
        ];
        facts.alarms = alarms.into_iter().map(|(name, of)| named(name, of)).collect();
        for now in &mut facts.alarms {
            now.alarm.state = State::Ok;
            now.alarm.changed_at = Some(at("2026-11-20T06:00:00Z"));
        }
        cloudwatch.set_up(&mut facts);
        facts
    }

    /// Draws the actions and their times since the start.
    pub(crate) fn agenda(&self, rng: &mut Rng) -> Vec<(TimeDelta, ExternalAction)> {
        let moment = |rng: &mut Rng| TimeDelta::seconds(rng.i64(0..BUSY.num_seconds()));
        let mut agenda: Vec<_> = self.deploys.iter().map(|at| (*at, ExternalAction::Deploy)).collect();
        let mut sometimes = |one_in: usize, action, rng: &mut Rng| {
            if rng.usize(..one_in) == 0 {
                agenda.push((moment(rng), action));
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
        sometimes(8, ExternalAction::Mute(true), rng);
        sometimes(8, ExternalAction::Mute(false), rng);
        agenda
    }

    /// Makes this one Region of several: its releases have these qualities, and are deployed so much later than in the first one. The
    /// outages are those of the first one.
    pub(super) fn in_region(&mut self, qualities: Vec<Option<TimeDelta>>, lag: TimeDelta) {
        self.qualities = Some(qualities);
        self.deploys.iter_mut().for_each(|at| *at += lag);
        if lag > TimeDelta::zero() {
            (self.outage, self.silence) = (None, None);
        }
    }

    /// Returns the protected stage.
    pub(crate) fn stage(&self) -> StageRef {
        self.kind.stage("prod")
    }

    /// Returns what the metrics of each alarm say about the minute that ends now.
    pub(crate) fn minute(&self, now: DateTime<Utc>, facts: &Facts) -> Minute {
        let during = |spell: Option<(DateTime<Utc>, DateTime<Utc>)>| {
            spell.is_some_and(|(from, to)| from <= now && now < to)
        };
        let traffic = !during(self.silence);
        let stage = served(facts, &self.stage());
        let canary = stage.canary.as_ref().and_then(|canary| canary.deployment.as_ref());
        let canary = traffic && canary.is_some_and(|canary| self.is_bad(canary, now));
        let base = traffic && self.is_bad_release(&stage, now);
        let (fails, down) = (base || canary, traffic && during(self.outage));
        let read = |fails: bool| if fails { Reading::Breaching } else { Reading::Within };
        let ours = |fails: bool| if traffic { read(fails) } else { Reading::Missing };
        let readings = vec![
            ("orders-prod-5xx", ours(fails || down)),
            ("orders-prod-latency", ours(fails && self.slow)),
            // The development stage fails now and then.
            ("orders-dev-5xx", read(now.timestamp() / 60 % 37 < 3)),
            (TRAFFIC, ours(false)),
        ];
        let failing = Failing { traffic, base: base || down, canary: canary || down };
        Minute { now, traffic, readings, failing }
    }

    /// Whether a deployment fails at this time.
    pub(crate) fn is_bad(&self, deployment: &str, at: DateTime<Utc>) -> bool {
        self.bad.get(deployment).is_some_and(|since| *since <= at)
    }

    /// Whether a release fails at this time by its deployment, its aliases or its variables.
    pub(crate) fn is_bad_release(&self, release: &Release, at: DateTime<Utc>) -> bool {
        let broken = release.variables.get("release").is_some_and(|value| value == "broken");
        let behind = release.aliases.values().any(|alias| self.is_bad(&format!("d{}", alias.version), at));
        self.is_bad(&release.deployment, at) || behind || broken
    }

    /// Whether the backend was down at some moment of this period.
    pub(crate) fn was_down(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
        self.outage.is_some_and(|(began, ended)| began <= to && from <= ended)
    }
}

/// Carries out an action.
pub(crate) fn carry_out(simulation: &mut SimulationRun, action: ExternalAction) {
    if simulation.now() >= simulation.clock.at + BUSY && !matches!(action, ExternalAction::Remove(_)) {
        return;
    }
    match action {
        ExternalAction::Deploy => deploy(simulation),
        ExternalAction::Remove(deployment) => remove(simulation, &deployment),
        ExternalAction::EndCanary => end_canary(simulation),
        ExternalAction::Edit => edit(simulation),
        ExternalAction::Command(verb) => command(simulation, verb),
        ExternalAction::Mute(on) => {
            simulation.say(|| format!("the first alarm's silence {}", if on { "begins" } else { "ends" }));
            simulation.change(|facts| simulation.others.cloudwatch.silence(facts, on));
        }
        ExternalAction::Actions(on) => {
            simulation
                .say(|| format!("an operator switches an alarm's actions {}", if on { "on" } else { "off" }));
            simulation.change(|facts| {
                let now = facts.now;
                let alarm = &mut facts.alarms[0];
                if std::mem::replace(&mut alarm.actions_enabled, on) != on {
                    facts.switched.push((alarm.alarm.name.clone(), now, on));
                }
            });
        }
    }
}

/// Points the stage and the components at a release, as a deployer does.
fn put(facts: &mut Facts, stage: &StageRef, release: &Release, auto_deploy: bool) {
    for (alias, to) in &release.aliases {
        facts.point(alias, to);
    }
    for (mapping, to) in &release.mappings {
        facts.map(mapping, to);
    }
    // API Gateway's times are whole seconds.
    let (release, updated_at) = (release.in_stage(), Some(facts.now.trunc_subsecs(0)));
    let live = LiveStage { release, updated_at, auto_deploy, ..facts.stages[stage].clone() };
    facts.serve(stage, live);
}

/// Draws how long after its deployment a release begins to fail, if it does.
pub(super) fn quality(rng: &mut Rng) -> Option<TimeDelta> {
    match rng.usize(..10) {
        0..4 => Some(TimeDelta::zero()),
        4 => Some(TimeDelta::seconds(rng.i64(60..1200))),
        _ => None,
    }
}

fn deploy(simulation: &mut SimulationRun) {
    simulation.others.deployed += 1;
    let number = simulation.others.deployed;
    let id = format!("d{number}");
    let now = simulation.now();
    // Some releases fail immediately, some after a while, and most never.
    let bad = match &simulation.others.qualities {
        Some(qualities) => qualities[number],
        None => quality(&mut simulation.rng),
    };
    let bad = bad.map(|after| now + after);
    simulation.say(|| format!("the deployer deploys {id}, which fails from {bad:?} on"));
    simulation.others.bad.extend(bad.map(|since| (id.clone(), since)));
    let deployer = simulation.others.deployer;
    let canary = deployer == Deployer::Canary && simulation.rng.usize(..4) > 0;
    let (kind, stage) = (simulation.others.kind, simulation.others.stage());
    let old = simulation.change(|facts| {
        facts.deployments.push((API.to_owned(), id.clone()));
        let served = facts.stages[&stage].release.clone();
        let mut next = kind.release(number);
        if canary {
            let canary = Canary {
                percent: "10.0".to_owned(),
                deployment: Some(id.clone()),
                overrides: BTreeMap::new(),
                uses_cache: false,
            };
            next = Release { canary: Some(canary), ..served.clone() };
        }
        // A deploy of an API with AutoDeploy leaves AutoDeploy on.
        put(facts, &stage, &next, kind == Kind::AutoDeploy);
        served.deployment
    });
    match deployer {
        Deployer::CloudFormation => {
            let later = TimeDelta::seconds(simulation.rng.i64(5..90));
            simulation.at(now + later, AgendaItem::Other(ExternalAction::Remove(old)));
        }
        Deployer::Pipeline => {
            let irreversible = simulation.rng.usize(..6) == 0;
            command_with(simulation, "announce", &json!({"label": id, "reversible": !irreversible}));
        }
        Deployer::Canary => {
            let later = TimeDelta::seconds(simulation.rng.i64(60..900));
            simulation.at(now + later, AgendaItem::Other(ExternalAction::EndCanary));
        }
    }
}

/// Deletes a deployment; API Gateway refuses if a stage points at it.
fn remove(simulation: &mut SimulationRun, deployment: &str) {
    let gone = simulation.change(|facts| {
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
    simulation
        .say(|| format!("the deployer deletes {deployment}: {}", if gone { "done" } else { "it is in use" }));
}

fn end_canary(simulation: &mut SimulationRun) {
    let promote = simulation.rng.bool();
    let stage = simulation.others.stage();
    let ended = simulation.change(|facts| {
        let release = facts.stages[&stage].release.clone();
        let Some(canary) = release.canary.clone() else { return false };
        let deployment = canary.deployment.filter(|_| promote).unwrap_or(release.deployment.clone());
        put(facts, &stage, &Release { canary: None, deployment, ..release }, false);
        true
    });
    simulation.say(|| format!("the deployer ends its canary (promoted: {promote}, existed: {ended})"));
}

/// Edits the stage, as an operator does in the console.
fn edit(simulation: &mut SimulationRun) {
    let breaks = simulation.rng.usize(..3) == 0;
    let redeploys = simulation.rng.bool();
    let stage = simulation.others.stage();
    let bad =
        simulation.world.look(|facts| last_incident(facts, &stage)).map(|incident| incident.bad.release);
    let to = simulation.change(|facts| {
        let mut release = served(facts, &stage);
        // AutoDeploy has to be off only for another deployment.
        let auto_deploy = facts.stages[&stage].auto_deploy && (breaks || !redeploys || bad.is_none());
        release.canary = None;
        if breaks {
            release.variables.insert("release".to_owned(), "broken".to_owned());
        } else if let Some(bad) = bad.filter(|_| redeploys) {
            release = bad;
        } else {
            release.variables.insert("flag".to_owned(), "on".to_owned());
        }
        put(facts, &stage, &release, auto_deploy);
        release
    });
    simulation.say(|| format!("an operator edits the stage: {to}"));
}

fn command(simulation: &mut SimulationRun, verb: &'static str) {
    let more = match verb {
        "hold" => {
            json!({"until": simulation.now() + TimeDelta::seconds(simulation.rng.i64(120..1200)), "reason": "night"})
        }
        "announce" => json!({"label": "by hand", "reversible": simulation.rng.bool()}),
        "lift" => {
            let stage = simulation.others.stage();
            let Some(incident) = simulation.world.look(|facts| last_incident(facts, &stage)) else { return };
            json!({"incident": incident.bad.fingerprint()})
        }
        _ => json!({}),
    };
    command_with(simulation, verb, &more);
}

/// Returns the last incident on the stage.
fn last_incident(facts: &Facts, stage: &StageRef) -> Option<Incident> {
    let incidents = ParameterNames::under("/apigw-rollback").all_incidents(stage);
    let written = facts.writes.iter().rfind(|write| write.name.starts_with(&incidents))?;
    parse(&written.value).ok()
}

fn command_with(simulation: &mut SimulationRun, verb: &str, more: &Value) {
    let mut command = json!({"command": verb, "stage": {"api": API, "name": "prod"}, "who": "on call"});
    for (field, value) in more.as_object().unwrap() {
        command[field] = value.clone();
    }
    simulation.say(|| format!("an operator sends {command}"));
    let event = Event { text: command.to_string(), signal: Signal::Operator };
    simulation.at(simulation.now(), AgendaItem::Event(event, 1));
}
