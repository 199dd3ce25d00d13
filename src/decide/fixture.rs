//! A correct plan and the observed stage that it starts from. The tests of the decision modify both.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::admission::Admission;
use crate::model::alarm::{Origin, time};
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::component::{AliasTarget, MappingTarget};
use crate::model::guilt::Terms;
use crate::model::observed::{KnownGood, LiveComponents, Observed, OnRecord};
use crate::model::percent::Percent;
use crate::model::plan::StageChange;
use crate::model::plan::{Plan, Step};
use crate::model::policy::PolicyOverrides;
use crate::model::policy::{AutoDeploy, MissingComponents, Mode, Siblings, StagePolicy};
use crate::model::records::{Incident, Record, Rollbacks, SCHEMA};
use crate::model::release::{Canary, Release};
use crate::model::rollout::{self, Rollout, RolloutState};
use crate::model::stage::LiveStage;
use crate::model::stage::StageRef;

/// Makes a release with a variable, two aliases and a mapping. The second alias is the same in every release.
pub(super) fn release(number: &str) -> Release {
    let target = |version: &str| AliasTarget { version: version.into(), weights: BTreeMap::new() };
    Release {
        deployment: format!("d{number}"),
        variables: [("release".to_owned(), number.to_owned())].into(),
        canary: None,
        aliases: [("orders:live", number), ("web:live", "7")]
            .map(|(alias, version)| (alias.parse().unwrap(), target(version)))
            .into(),
        mappings: [("api.example.com".parse().unwrap(), mapped(&format!("s{number}")))].into(),
    }
}

/// The topic that guarding alarms notify.
pub(super) const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:alarms";

/// Lets every alarm act that notifies the topic.
pub(super) fn admission() -> Admission {
    Admission { wired_to: vec![TOPIC.to_owned()], ..Admission::default() }
}

pub(super) fn mapped(stage: &str) -> MappingTarget {
    MappingTarget { api: "a".into(), stage: stage.into() }
}

/// Makes a plan from release 2 to the recorded release 1, with the observed stage.
pub(super) fn good() -> (Plan, Observed) {
    let (stage, from, to) = (StageRef::rest("a", "prod"), release("2"), release("1"));
    let record = Record {
        schema: SCHEMA,
        stage: stage.clone(),
        region: "eu-west-1".into(),
        api_name: None,
        release: to.clone(),
        created: None,
        recorded_at: time("2026-11-20T10:00:00Z").unwrap(),
        pinned: true,
        label: None,
        note: None,
        who: None,
        irreversible: false,
        normal: None,
    };
    let observed = Observed {
        at: time("2026-11-20T10:06:00Z").unwrap(),
        seen_at: time("2026-11-20T10:06:00Z").unwrap(),
        stage: stage.clone(),
        configured: true,
        live: Some(LiveStage { release: from.clone(), ..LiveStage::default() }),
        on_record: OnRecord {
            known_good: KnownGood::Found { parameter: "p".into(), version: 3, record: Box::new(record) },
            candidate: None,
            hold: None,
            policy: PolicyOverrides::default(),
            rollbacks: Rollbacks::default(),
            rollout: Ok(None),
            unreadable: None,
        },
        api_names: vec![],
        namesakes: vec![],
        home: Origin::default(),
        admission: admission(),
        alarm: None,
        components: LiveComponents::default(),
        traffic: None,
        last_sweep: None,
    };
    let alias = |release: &Release| release.aliases.first_key_value().unwrap().1.clone();
    let steps = vec![
        Step::Alias {
            alias: "orders:live".parse().unwrap(),
            from: alias(&from),
            to: alias(&to),
            revision: "r".into(),
        },
        Step::Stage {
            from: from.in_stage(),
            to: to.in_stage(),
            change: StageChange::between(&stage, &from, &to),
        },
        Step::Mapping {
            mapping: "api.example.com".parse().unwrap(),
            id: None,
            from: mapped("s2"),
            to: mapped("s1"),
        },
    ];
    (Plan { stage, from, to, version: 3, steps, flush: false }, observed)
}

/// Makes the incident of a rollback by the alarm `5xx` from one release to another.
pub(super) fn incident(bad: &str, good: &str, at: DateTime<Utc>) -> Incident {
    Incident {
        schema: SCHEMA,
        stage: StageRef::rest("a", "prod"),
        bad: release(bad).into(),
        good: release(good).into(),
        version: 3,
        at,
        since: None,
        undone: false,
        by: "5xx".into(),
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

pub(super) fn record(observed: &mut Observed) -> &mut Record {
    match &mut observed.on_record.known_good {
        KnownGood::Found { record, .. } => record,
        KnownGood::None { .. } | KnownGood::Unusable { .. } => panic!("there is a record"),
    }
}

/// Makes a rollout from release 1 to deployment d2 in its first step, which gives the canary 5 %.
pub(super) fn rollout(state: RolloutState) -> Rollout {
    let percent = |number: f64| Percent::try_from(number).unwrap();
    let at = time("2026-11-20T10:00:00Z").unwrap();
    Rollout {
        schema: SCHEMA,
        id: "run-1".into(),
        base: release("1").in_stage(),
        canary: Some(Canary {
            deployment: Some("d2".into()),
            percent: "0".into(),
            overrides: [("release".to_owned(), "2".to_owned())].into(),
            uses_cache: false,
        }),
        versions: BTreeMap::new(),
        terms: rollout::Terms {
            steps: [5.0, 25.0, 50.0].map(percent).into(),
            bake_seconds: 300,
            min_requests: 100,
        },
        step: 0,
        from: None,
        state,
        since: at,
        changed_at: None,
        live_since: None,
        started_at: at,
        who: Some("on call".into()),
        label: Some("v2".into()),
        note: None,
        told: false,
    }
}

/// The same rollout by weights: of version 2 of `orders:live`, and version 8 of `web:live`.
pub(super) fn rollout_of_versions(state: RolloutState) -> Rollout {
    let base = Release { mappings: BTreeMap::new(), ..release("1") };
    let versions =
        [("orders:live", "2"), ("web:live", "8")].map(|(alias, to)| (alias.parse().unwrap(), to.to_owned()));
    Rollout { base, canary: None, versions: versions.into(), ..rollout(state) }
}

/// Makes the error of a read that AWS refused.
pub(super) fn failed(operation: &'static str) -> CloudError {
    CloudError {
        failure: Failure::Other,
        operation,
        subject: "x".into(),
        code: "c".into(),
        message: "m".into(),
    }
}

/// The default policy.
pub(super) fn policy() -> StagePolicy {
    StagePolicy {
        mode: Mode::Enforce,
        bake: TimeDelta::minutes(30),
        needs_data: true,
        window: Some(TimeDelta::hours(24)),
        cooldown: TimeDelta::minutes(5),
        max_rollbacks: 3,
        flush_cache: false,
        auto_deploy: AutoDeploy::Hold,
        missing_components: MissingComponents::Hold,
        siblings: Siblings::Tell,
        test: Terms { tolerated: 0.02, latency: None, alpha: 0.0001 },
    }
}
