//! The life of a rollout in the engine's types, and the engine's decisions about it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use apigw_rollback::config::Config;
use apigw_rollback::decide::rollout::{Move as Decided, RolloutFacts, next_move};
use apigw_rollback::decide::rollout_order::{self, Order};
use apigw_rollback::decide::rollout_place::{left_over, place};
use apigw_rollback::model::admission::Admission;
use apigw_rollback::model::alarm::Origin;
use apigw_rollback::model::observed::{KnownGood, LiveComponents, Observed, OnRecord};
use apigw_rollback::model::percent::Percent;
use apigw_rollback::model::plan::StageChange;
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::records::{Hold, Record, RollbackEntry, Rollbacks, SCHEMA};
use apigw_rollback::model::release::{Canary, Release};
use apigw_rollback::model::rollout::{Rollout, RolloutState, Terms};
use apigw_rollback::model::stage::{LiveStage, StageRef};
use apigw_rollback::model::traffic::{Bucket, Source, Traffic};
use chrono::{DateTime, TimeDelta, Utc};

use crate::rollout_life::{BAKED, Is, JUST_NOW, Noted, STEPS, Seen, Serves, Share, Stage};

const BAKE: u32 = 300;

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let read = Config::read(|name| match name {
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "PROTECTED_STAGES" => Some(r#"[{"api":"a","name":"orders","stage":"prod"}]"#.to_owned()),
        _ => None,
    });
    read.unwrap_or_else(|error| panic!("{error}"))
});

static STAGE: LazyLock<StageRef> = LazyLock::new(|| StageRef::rest("a", "prod"));

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn since(age: u8) -> DateTime<Utc> {
    let seconds = match age {
        JUST_NOW => 0,
        BAKED => i64::from(BAKE) + 100,
        _ => 100,
    };
    now() - TimeDelta::seconds(seconds)
}

fn percent(share: Share) -> Percent {
    Percent::try_from(f64::from(share)).unwrap_or(Percent::NONE)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is at most 100")]
fn share(percent: Percent) -> Share {
    f64::from(percent) as Share
}

fn canary(share: Share) -> Canary {
    Canary {
        deployment: Some("new".into()),
        percent: percent(share).to_string(),
        overrides: BTreeMap::new(),
        uses_cache: false,
    }
}

/// Returns what the stage serves.
pub fn release(stage: Stage) -> Release {
    let deployment = match stage.serves {
        Serves::Base => "base",
        Serves::New => "new",
        Serves::Other => "other",
    };
    Release { deployment: deployment.into(), canary: stage.canary.map(canary), ..Release::default() }
}

/// Returns the record of the rollout.
pub fn rollout(noted: Noted) -> Rollout {
    let why = String::new;
    let state = match noted.is {
        Is::Moving => RolloutState::Moving,
        Is::Baking => RolloutState::Baking,
        Is::Paused => RolloutState::Paused { why: why(), by: None },
        Is::Promoting => RolloutState::Promoting,
        Is::Aborting => RolloutState::Aborting,
        Is::Promoted => RolloutState::Promoted,
        Is::Aborted => RolloutState::Aborted { why: why() },
        Is::RolledBack => RolloutState::RolledBack { why: why(), at: now(), fingerprint: why() },
        Is::Overtaken => RolloutState::Overtaken { why: why() },
    };
    let steps = if noted.is_cut { &STEPS[..=usize::from(noted.step)] } else { &STEPS[..] };
    let started_at = now() - TimeDelta::hours(1);
    Rollout {
        schema: SCHEMA,
        id: "r".into(),
        base: release(Stage { serves: Serves::Base, canary: None }),
        canary: Some(canary(0)),
        versions: BTreeMap::new(),
        terms: Terms {
            steps: steps.iter().copied().map(percent).collect(),
            bake_seconds: BAKE,
            min_requests: 100,
        },
        step: noted.step.into(),
        from: noted.from.map(percent),
        state,
        since: since(noted.age),
        changed_at: None,
        live_since: noted.has_begun.then_some(started_at),
        started_at,
        who: None,
        label: None,
        note: None,
        told: false,
    }
}

/// Returns the record that follows one that was read.
pub fn noted(next: &Rollout, read: Noted) -> Noted {
    let is = match next.state {
        RolloutState::Moving => Is::Moving,
        RolloutState::Baking => Is::Baking,
        RolloutState::Paused { .. } => Is::Paused,
        RolloutState::Promoting => Is::Promoting,
        RolloutState::Aborting => Is::Aborting,
        RolloutState::Promoted => Is::Promoted,
        RolloutState::Aborted { .. } => Is::Aborted,
        RolloutState::RolledBack { .. } => Is::RolledBack,
        RolloutState::Overtaken { .. } => Is::Overtaken,
    };
    let age = if next.since == now() { JUST_NOW } else { read.age };
    let step = u8::try_from(next.step).unwrap_or(u8::MAX);
    let has_begun = next.live_since.is_some();
    let is_cut = next.terms.steps.len() < STEPS.len();
    Noted { version: read.version, is, step, from: next.from.map(share), has_begun, is_cut, age }
}

fn traffic(is_bad: bool, seen: Seen, noted: Noted) -> Traffic {
    let bucket = |second: i64, requests: u64, failed: u64| Bucket {
        begins: since(noted.age) + TimeDelta::seconds(second),
        requests,
        failed,
        slow: 0,
    };
    let answered = |second: i64| bucket(second, 100, if is_bad { 100 } else { 0 });
    let before = (seen.ever && !seen.answered).then(|| answered(-60));
    Traffic {
        source: Source::Deployments,
        live: vec![bucket(-60, 1_000, 0), bucket(10, 1_000, 0)],
        canary: before.into_iter().chain(seen.answered.then(|| answered(10))).collect(),
        before: vec![],
        known_good_until: None,
    }
}

fn observed(is_bad: bool, seen: Seen, noted: Noted, held: bool) -> Observed {
    let record = Record {
        schema: SCHEMA,
        stage: STAGE.clone(),
        region: "eu-west-1".into(),
        api_name: None,
        release: release(Stage { serves: Serves::Base, canary: None }),
        created: None,
        recorded_at: now() - TimeDelta::days(1),
        pinned: true,
        label: None,
        note: None,
        who: None,
        irreversible: false,
        normal: None,
    };
    let rolled_back = RollbackEntry {
        at: now() - TimeDelta::minutes(1),
        fingerprint: "f".into(),
        alarm: None,
        alarm_at: None,
        other_source: false,
        recovered_at: None,
        lifted: false,
    };
    let until = now() + TimeDelta::days(1);
    let on_record = OnRecord {
        known_good: KnownGood::Found { parameter: "p".into(), version: 1, record: Box::new(record) },
        candidate: None,
        hold: held.then_some(Hold { schema: SCHEMA, until, by: None, why: None }),
        policy: PolicyOverrides::default(),
        rollbacks: Rollbacks {
            schema: SCHEMA,
            past: seen.was_rolled_back.then_some(rolled_back).into_iter().collect(),
            ..Rollbacks::default()
        },
        rollout: Ok(Some((noted.version.into(), Box::new(rollout(noted))))),
        unreadable: None,
    };
    Observed {
        at: now(),
        seen_at: now(),
        stage: STAGE.clone(),
        configured: true,
        live: Some(LiveStage {
            release: release(seen.stage),
            updated_at: Some(now() - TimeDelta::hours(1)),
            ..LiveStage::default()
        }),
        on_record,
        api_names: vec![],
        namesakes: vec![],
        home: Origin::default(),
        admission: Admission::default(),
        alarm: None,
        components: LiveComponents::default(),
        traffic: Some(Ok(traffic(is_bad, seen, noted))),
        last_sweep: None,
    }
}

/// Decides as a run of the schedule.
pub fn decided(is_bad: bool, seen: Seen, noted: Noted, held: bool, stepped: bool) -> Decided {
    let observed = observed(is_bad, seen, noted, held);
    let rollout = rollout(noted);
    next_move(&RolloutFacts {
        rollout: &rollout,
        observed: &observed,
        guarding: &[],
        policy: &CONFIG.policy,
        stepped,
        now: now(),
    })
}

/// Decides as a run of an operator. Returns the record, if the order can be carried out.
pub fn ordered(read: Noted, seen: Seen, order: &Order) -> Option<Noted> {
    let before = rollout(read);
    if before.state.has_ended() {
        return None;
    }
    let place = place(&before, &release(seen.stage));
    let next = rollout_order::ordered(&before, order, Some(&place), None).ok()?;
    Some(noted(&Rollout { since: now(), ..next }, read))
}

/// Whether the sweep tells people of the canary, because its rollout has ended.
pub fn is_left_over(noted: Noted, stage: Stage) -> bool {
    left_over(&rollout(noted), &release(stage)).is_some()
}

/// Returns the stage after a change.
pub fn changed(stage: Stage, change: &StageChange) -> Stage {
    if change.promote_canary {
        return Stage { serves: Serves::New, canary: Some(0) };
    }
    if change.remove_canary {
        return Stage { canary: None, ..stage };
    }
    let put = change.put_canary.as_ref().and_then(|canary| Percent::read(&canary.percent)).map(share);
    Stage { canary: put.or(stage.canary), ..stage }
}
