//! The life of a stage in the engine's types, and the engine's decisions about it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use apigw_rollback::config::Config;
use apigw_rollback::decide::evidence::Evidence;
use apigw_rollback::decide::leaves::resolved;
use apigw_rollback::decide::testimony::{Subject, guarding};
use apigw_rollback::decide::upkeep::{Action, StageFacts, promotion_due, upkeep};
use apigw_rollback::decide::{Decision, Trigger, check, decide, in_doubt_since};
use apigw_rollback::model::admission::Admission;
use apigw_rollback::model::alarm::{Alarm, AlarmNow, Metric, Origin, State, Watches};
use apigw_rollback::model::alarm_setup::AlarmSetup;
use apigw_rollback::model::datapoint::{Datapoint, Reading};
use apigw_rollback::model::guarding_alarm::GuardingAlarm;
use apigw_rollback::model::observed::{DeploymentNow, KnownGood, LiveComponents, Observed, OnRecord, Pin};
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::reason::{Kind, Reason};
use apigw_rollback::model::records::{Candidate, Hold, Incident, Record, RollbackEntry, Rollbacks, SCHEMA};
use apigw_rollback::model::release::Release;
use apigw_rollback::model::stage::{LiveStage, StageRef};
use apigw_rollback::model::target::{ApiRef, Target};
use chrono::{DateTime, TimeDelta, Utc};

use crate::life::{Life, Number, Rollback, Run};

const ALARM: &str = "5xx";
const TOPIC: &str = "arn:aws:sns:eu-west-1:111111111111:alarms";

/// The length of a tick. In each, the alarm is evaluated at once, others act after a minute, and the function after two.
const TICK: i64 = 300;
const ALARM_AT: i64 = 0;
const CHANGE_AT: i64 = 60;
const SWEEP_AT: i64 = 90;
const NOW_AT: i64 = 120;

fn time(ticks_ago: u8, second: i64) -> DateTime<Utc> {
    let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    now + TimeDelta::seconds(second - TICK * i64::from(ticks_ago))
}

/// A candidate bakes for two ticks; after a rollback, alarms wait for less than one.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let read = Config::read(|name| match name {
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "PROTECTED_STAGES" => Some(r#"[{"api":"a","name":"orders","stage":"prod"}]"#.to_owned()),
        "ALARM_TOPIC_ARN" => Some(TOPIC.to_owned()),
        "BAKE_SECONDS" => Some("600".to_owned()),
        "COOLDOWN_SECONDS" => Some("240".to_owned()),
        _ => None,
    });
    read.unwrap_or_else(|error| panic!("{error}"))
});

static STAGE: LazyLock<StageRef> = LazyLock::new(|| StageRef::rest("a", "prod"));
static HOME: LazyLock<Origin> =
    LazyLock::new(|| Origin { account: Some("111111111111".into()), region: Some("eu-west-1".into()) });
static ADMISSION: LazyLock<Admission> =
    LazyLock::new(|| Admission { wired_to: vec![TOPIC.to_owned()], ..Admission::default() });
static TARGET: LazyLock<Target> = LazyLock::new(|| Target {
    api: ApiRef::Name("orders".into()),
    stage: "prod".into(),
    canary: false,
    protocol: None,
});
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| vec!["orders".to_owned()]);

fn release(number: Number) -> Release {
    Release { deployment: number.to_string(), ..Release::default() }
}

fn live(life: &Life) -> LiveStage {
    let updated_at = Some(time(life.changed, CHANGE_AT));
    LiveStage { release: release(life.live), updated_at, ..LiveStage::default() }
}

fn entry(one: &Rollback) -> RollbackEntry {
    RollbackEntry {
        at: time(one.age, CHANGE_AT),
        fingerprint: release(one.bad).fingerprint(),
        alarm: Some(ALARM.to_owned()),
        alarm_at: None,
        other_source: false,
        recovered_at: None,
        lifted: false,
    }
}

fn incident(one: &Rollback) -> Incident {
    Incident {
        schema: SCHEMA,
        stage: STAGE.clone(),
        bad: release(one.bad).into(),
        good: release(one.good).into(),
        version: 1,
        at: time(one.age, CHANGE_AT),
        since: None,
        undone: false,
        by: ALARM.to_owned(),
        by_alarm: true,
        sibling: None,
        alarm_at: None,
        other_source: false,
        why: String::new(),
        run: "r".into(),
        recovered_at: None,
        lifted_by: None,
    }
}

fn on_record(life: &Life) -> OnRecord {
    let known_good = match life.record {
        None => KnownGood::None { parameter: "p".into() },
        Some(number) => KnownGood::Found {
            parameter: "p".into(),
            version: i64::from(number),
            record: Box::new(Record {
                schema: SCHEMA,
                stage: STAGE.clone(),
                region: "eu-west-1".into(),
                api_name: None,
                release: release(number),
                created: None,
                recorded_at: time(10, 0),
                pinned: true,
                label: None,
                note: None,
                who: None,
                irreversible: false,
                normal: None,
            }),
        },
    };
    let candidate = life
        .candidate
        .map(|(number, seen)| Candidate::new(Protocol::Rest, &release(number), time(seen, SWEEP_AT)));
    let until = time(0, TICK * 100);
    let past = life.rollbacks.iter().filter(|one| one.listed).map(entry).collect();
    OnRecord {
        known_good,
        candidate,
        hold: life.held.then_some(Hold { schema: SCHEMA, until, by: None, why: None }),
        policy: PolicyOverrides::default(),
        rollbacks: Rollbacks { schema: SCHEMA, past, ..Rollbacks::default() },
        rollout: Ok(None),
        unreadable: None,
    }
}

/// The alarm, with the datapoint that made it fire. `asked` says whether the datapoints since then were read.
fn alarm(life: &Life, asked: bool) -> GuardingAlarm {
    let metric = Metric {
        namespace: "AWS/ApiGateway".into(),
        name: "5XXError".into(),
        dimensions: vec![("ApiName".into(), "orders".into()), ("Stage".into(), "prod".into())],
        account: None,
    };
    let state = if life.alarm { State::Alarm } else { State::Ok };
    let changed_at = life.fired.map(|ago| time(ago, ALARM_AT));
    let minute =
        |begins: DateTime<Utc>, reading| Datapoint { begins, ends: begins + TimeDelta::minutes(1), reading };
    let fired = changed_at.map(|at| minute(at - TimeDelta::minutes(1), Reading::Breaching));
    let now = AlarmNow {
        alarm: Alarm { watches: Watches::Metrics(vec![metric]), changed_at, ..Alarm::new(ALARM, state) },
        actions_enabled: true,
        actions: vec![TOPIC.to_owned()],
        window: TimeDelta::minutes(2),
        evaluated: fired.into_iter().collect(),
        setup: AlarmSetup::default(),
    };
    let mut alarm = resolved(now, &BTreeMap::new());
    if asked {
        let reading = if life.is_bad(life.live) { Reading::Breaching } else { Reading::Within };
        let since = time(life.changed, CHANGE_AT) + TimeDelta::minutes(2);
        let later = (life.changed > 0).then(|| minute(since, reading));
        alarm.leaves.iter_mut().for_each(|leaf| leaf.later = Some(later.into_iter().collect()));
    }
    alarm
}

fn deployment(life: &Life) -> DeploymentNow {
    match life.record {
        Some(number) if !life.exists(number) => DeploymentNow::Gone,
        Some(_) => DeploymentNow::There,
        None => DeploymentNow::NotAsked,
    }
}

fn observed(life: &Life, asked: bool) -> Observed {
    Observed {
        at: time(0, NOW_AT),
        seen_at: time(0, NOW_AT),
        stage: STAGE.clone(),
        configured: true,
        live: Some(live(life)),
        on_record: on_record(life),
        api_names: NAMES.clone(),
        namesakes: vec![],
        home: HOME.clone(),
        admission: ADMISSION.clone(),
        alarm: Some(alarm(life, asked)),
        components: LiveComponents { deployment: deployment(life), ..LiveComponents::default() },
        traffic: None,
        last_sweep: None,
    }
}

/// Decides as a run that the alarm triggers. If the alarm's datapoints must be read, they are.
fn decided(life: &Life) -> (Decision, Observed) {
    let trigger = Trigger::Alarm { name: ALARM, target: &TARGET };
    let (policy, now) = (&CONFIG.policy, time(0, NOW_AT));
    let first = observed(life, false);
    let seen = match in_doubt_since(trigger, &first, policy, now) {
        Some(_) => observed(life, true),
        None => first,
    };
    (decide(trigger, &seen, policy, now), seen)
}

/// Lets a run decide, which the alarm or the sweep has started.
pub fn judge(life: &mut Life) {
    match decided(life) {
        (Decision::Act(plan), seen) => {
            life.faults.unchecked |= check(&plan, &seen).is_err();
            life.faults.touched_held |= life.held;
            if let Ok(good) = plan.to.deployment.parse() {
                life.run = Some(Run::Planned { seen: life.live, good });
            }
        }
        // People are notified of it.
        (Decision::Hold(reason), _) => life.told |= reason.kind() != Kind::Ignore,
    }
}

/// Whether the alarm would change nothing, for a reason that lasts until somebody acts.
pub fn is_left_for_good(life: &Life) -> bool {
    let (Decision::Hold(reason), _) = decided(life) else { return false };
    matches!(
        reason,
        Reason::NoKnownGood { .. }
            | Reason::KnownGoodMissing { .. }
            | Reason::HeldByOperator(_)
            | Reason::Cooldown(_)
            | Reason::OutsideWindow { .. }
    )
}

/// Gives what the sweep reads and decides to the function.
fn swept<T>(life: &Life, use_of: impl FnOnce(&[Action<'_>]) -> T) -> T {
    let (stage, record, alarms) = (&*STAGE, on_record(life), [alarm(life, false)]);
    let incidents: Vec<Incident> = life.rollbacks.iter().map(incident).collect();
    let present = live(life);
    let went_live = apigw_rollback::decide::testimony::went_live(&record, &present);
    let subject =
        Subject { stage, api_names: &NAMES, home: &HOME, admission: &ADMISSION, went_live, guilt: None };
    let pin = match life.pin {
        None => Pin::None,
        Some(number) => Pin::Holds { deployment: number.to_string(), closed: true },
    };
    let mut facts = StageFacts {
        stage,
        live: Some(present),
        on_record: &record,
        incidents: &incidents,
        alarms: &alarms,
        guarding: guarding(&alarms, subject),
        components: Ok(LiveComponents::default()),
        deployment: Ok(deployment(life)),
        pin,
        evidence: None,
    };
    let now = time(0, NOW_AT);
    if let Some(candidate) = promotion_due(&facts, &CONFIG, now) {
        let fired = life.fired.is_some_and(|ago| time(ago, ALARM_AT) >= candidate.first_seen);
        facts.evidence = Some(Ok(Evidence {
            fired: fired.then(|| ALARM.to_owned()),
            samples: Some(7.0),
            clear_since: None,
        }));
    }
    use_of(&upkeep(&facts, &CONFIG, now).actions)
}

/// Returns how many actions the sweep would carry out.
pub fn number_of_actions(life: &Life) -> u8 {
    swept(life, |actions| u8::try_from(actions.len()).unwrap_or(u8::MAX))
}

/// Carries out the first actions of the sweep.
pub fn sweep(life: &mut Life, number: u8) {
    let before = life.clone();
    swept(&before, |actions| {
        for action in actions.iter().take(usize::from(number)) {
            carry_out(life, action);
        }
    });
}

fn carry_out(life: &mut Life, action: &Action<'_>) {
    let number = |release: &Release| release.deployment.parse::<Number>().unwrap_or_default();
    match action {
        Action::Report(_) => life.told = true,
        // This stage has no rollouts.
        Action::Fail(_) | Action::Close(_) | Action::Adopt | Action::Advance => {}
        Action::List { incident, .. } => {
            let bad = number(&incident.bad.release);
            life.rollbacks.iter_mut().filter(|one| one.bad == bad).for_each(|one| one.listed = true);
            life.told = true;
        }
        Action::MovePin { deployment, .. } => life.pin = deployment.parse().ok(),
        Action::Note(candidate) => life.candidate = Some((number(&candidate.release), 0)),
        Action::RollBack(_) => judge(life),
        Action::Promote(candidate) => {
            let promoted = number(&candidate.release);
            life.faults.recorded_bad |= life.is_bad(promoted);
            (life.record, life.promoted) = (Some(promoted), true);
        }
    }
}
