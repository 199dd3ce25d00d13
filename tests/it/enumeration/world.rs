//! The parts of which the spaces make their cases: releases, alarms and requests, in the engine's types.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use apigw_rollback::decide::leaves::resolved;
use apigw_rollback::model::access_log;
use apigw_rollback::model::admission::Admission;
use apigw_rollback::model::alarm::{Alarm, AlarmNow, Metric, Origin, State, Watches};
use apigw_rollback::model::alarm_setup::AlarmSetup;
use apigw_rollback::model::component::{AliasTarget, MappingTarget};
use apigw_rollback::model::datapoint::{Datapoint, Reading};
use apigw_rollback::model::guarding_alarm::GuardingAlarm;
use apigw_rollback::model::guilt::Terms;
use apigw_rollback::model::observed::{KnownGood, LiveComponents, Observed, OnRecord};
use apigw_rollback::model::policy::{
    AutoDeploy, MissingComponents, Mode, PolicyOverrides, Siblings, StagePolicy,
};
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::{Candidate, Record, RollbackEntry, Rollbacks, SCHEMA};
use apigw_rollback::model::release::Release;
use apigw_rollback::model::sibling::{BadRelease, Deed, SiblingIncident};
use apigw_rollback::model::stage::{LiveStage, StageRef};
use apigw_rollback::model::traffic::{Bucket, Source, Traffic};
use chrono::{DateTime, TimeDelta, Utc};

use super::table::{By, Truth, Verdict};

/// The alarm that triggers.
pub(crate) const ALARM: &str = "5xx";

/// The account of the function.
pub(crate) const HOME: &str = "111111111111";

/// The topic that guarding alarms notify.
pub(crate) const TOPIC: &str = "arn:aws:sns:eu-west-1:111111111111:alarms";

/// How far back one evaluation of an alarm looks.
pub(crate) const WINDOW: TimeDelta = TimeDelta::minutes(2);

/// A case: the facts in the engine's types, and what is true of them.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What was observed.
    pub(crate) observed: Observed,
    /// The terms.
    pub(crate) policy: StagePolicy,
    /// The time of the decision.
    pub(crate) now: DateTime<Utc>,
    /// What is true.
    pub(crate) truth: Truth,
}

/// Returns the time so many seconds after the reference: the last change of the stage.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    static CHANGED: LazyLock<DateTime<Utc>> =
        LazyLock::new(|| DateTime::UNIX_EPOCH + TimeDelta::days(20_000));
    *CHANGED + TimeDelta::seconds(seconds)
}

/// Returns a release of the stage alone.
pub(crate) fn whole(number: &str) -> Release {
    Release {
        deployment: format!("d{number}"),
        variables: [("release".to_owned(), number.to_owned())].into(),
        ..Release::default()
    }
}

/// Returns a release with an alias and a mapping.
pub(crate) fn with_components(number: &str) -> Release {
    let mut release = whole(number);
    release.aliases.insert("orders:live".parse().unwrap(), version(number));
    release.mappings.insert("api.example.com".parse().unwrap(), stage(number));
    release
}

/// Returns the target of an alias.
pub(crate) fn version(number: &str) -> AliasTarget {
    AliasTarget { version: number.to_owned(), weights: BTreeMap::new() }
}

/// Returns the target of a mapping.
pub(crate) fn stage(number: &str) -> MappingTarget {
    MappingTarget { api: "a".to_owned(), stage: format!("s{number}") }
}

/// A record of release 1, and the stage that serves this release.
pub(crate) fn serving(live: Release, recorded: Release) -> Case {
    let stage = StageRef::rest("a", "prod");
    let record = Record {
        schema: SCHEMA,
        stage: stage.clone(),
        region: "eu-west-1".into(),
        api_name: None,
        release: recorded,
        created: None,
        recorded_at: at(-10_000),
        pinned: true,
        label: None,
        note: None,
        who: None,
        irreversible: false,
        normal: None,
    };
    let observed = Observed {
        at: at(60),
        seen_at: at(60),
        stage,
        configured: true,
        live: Some(LiveStage { release: live, updated_at: Some(at(0)), ..LiveStage::default() }),
        on_record: OnRecord {
            known_good: KnownGood::Found { parameter: "p".into(), version: 3, record: Box::new(record) },
            candidate: None,
            hold: None,
            policy: PolicyOverrides::default(),
            rollbacks: Rollbacks::default(),
            rollout: Ok(None),
            unreadable: None,
        },
        api_names: vec!["orders".into()],
        namesakes: vec![],
        home: Origin { account: Some(HOME.into()), region: Some("eu-west-1".into()) },
        admission: Admission { wired_to: vec![TOPIC.to_owned()], ..Admission::default() },
        alarm: None,
        components: LiveComponents::default(),
        traffic: None,
        last_sweep: None,
    };
    let mut case = Case { observed, policy: policy(), now: at(60), truth: Truth::FREE };
    case.live().updated_at = Some(at(0));
    case
}

impl Case {
    /// The live stage.
    pub(crate) fn live(&mut self) -> &mut LiveStage {
        self.observed.live.get_or_insert_default()
    }

    /// Lets the observed components be those of the live release.
    pub(crate) fn complete(mut self) -> Self {
        use apigw_rollback::model::component::{LiveAlias, LiveMapping};
        let release = self.live().release.clone();
        let components = &mut self.observed.components;
        let alias = |target: &AliasTarget| LiveAlias { target: target.clone(), revision: "r".into() };
        components.aliases.extend(release.aliases.iter().map(|(name, target)| (name.clone(), alias(target))));
        let mapping = |target: &MappingTarget| LiveMapping { target: target.clone(), id: None };
        components
            .mappings
            .extend(release.mappings.iter().map(|(name, target)| (name.clone(), mapping(target))));
        self
    }
}

fn policy() -> StagePolicy {
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
        siblings: Siblings::Follow,
        test: Terms { tolerated: 0.02, latency: None, alpha: 0.0001 },
    }
}

/// Returns the requests that lead to a verdict.
pub(crate) fn requests(verdict: Verdict) -> Option<Traffic> {
    let bucket = |begins: i64, failed: u64| Bucket { begins: at(begins), requests: 100, failed, slow: 0 };
    let (live, before) = match verdict {
        Verdict::Unread => return None,
        Verdict::Convicted => (bucket(10, 100), vec![]),
        Verdict::Acquitted => (bucket(10, 100), vec![bucket(-20, 100)]),
        Verdict::Undecided => (bucket(10, 2), vec![]),
    };
    Some(Traffic {
        source: Source::Deployments,
        live: vec![live],
        canary: vec![],
        before,
        known_good_until: Some(at(0)),
    })
}

/// Returns a metric alarm in ALARM on these metrics, or one on a query if there are none.
pub(crate) fn alarm_on(name: &str, metrics: Vec<Metric>, directive: Option<&str>) -> AlarmNow {
    let alarm = Alarm {
        watches: Watches::Metrics(metrics),
        description: directive.map(str::to_owned),
        ..Alarm::new(name, State::Alarm)
    };
    AlarmNow {
        alarm,
        actions_enabled: true,
        actions: vec![TOPIC.to_owned()],
        window: WINDOW,
        evaluated: vec![],
        setup: AlarmSetup::default(),
    }
}

/// Returns a metric of the stage `prod` of the API `orders`.
pub(crate) fn metric(namespace: &str, name: &str) -> Metric {
    Metric {
        namespace: namespace.into(),
        name: name.into(),
        dimensions: vec![("ApiName".into(), "orders".into()), ("Stage".into(), "prod".into())],
        account: None,
    }
}

/// The kinds of alarms that the evidence distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On API Gateway's own errors.
    Own,
    /// On access-log metrics.
    Fast,
    /// On a query.
    Query,
    /// On another service's metrics.
    Other,
    /// A composite alarm above one on API Gateway's own errors.
    Composite,
}

/// Returns an alarm of a kind that names the stage.
pub(crate) fn alarm(kind: Kind) -> GuardingAlarm {
    let directive = Some("rollback-target: a/prod");
    let plain = |metrics, directive| resolved(alarm_on(ALARM, metrics, directive), &BTreeMap::new());
    match kind {
        Kind::Own => plain(vec![metric("AWS/ApiGateway", "5XXError")], None),
        Kind::Fast => plain(vec![metric(access_log::NAMESPACE, access_log::STATUS)], directive),
        Kind::Query => plain(vec![], directive),
        Kind::Other => plain(vec![metric("AWS/Lambda", "Errors")], directive),
        Kind::Composite => {
            let leaf = alarm_on("leaf", vec![metric("AWS/ApiGateway", "5XXError")], None);
            let mut top = alarm_on(ALARM, vec![], None);
            top.alarm.watches = Watches::Alarms(vec!["leaf".into()]);
            resolved(top, &BTreeMap::from([("leaf".to_owned(), leaf)]))
        }
    }
}

/// Lets an alarm and all below it have fired then.
pub(crate) fn fired(alarm: &mut GuardingAlarm, at: Option<DateTime<Utc>>) {
    alarm.alarm.changed_at = at;
    alarm.leaves.iter_mut().for_each(|leaf| leaf.now.alarm.changed_at = at);
}

/// Returns a datapoint of a minute.
pub(crate) fn point(begins: i64, reading: Reading) -> Datapoint {
    Datapoint { begins: at(begins), ends: at(begins + 60), reading }
}

/// Returns the candidate of a release.
pub(crate) fn candidate(release: &Release, first_seen: i64, irreversible: bool) -> Candidate {
    Candidate { irreversible, ..Candidate::new(Protocol::Rest, release, at(first_seen)) }
}

/// Returns an entry of the list of rollbacks: by this alarm, or by an operator.
pub(crate) fn entry(
    when: DateTime<Utc>,
    release: &str,
    alarm: Option<&str>,
    other_source: bool,
) -> RollbackEntry {
    RollbackEntry {
        at: when,
        fingerprint: release.to_owned(),
        alarm: alarm.map(str::to_owned),
        alarm_at: None,
        other_source,
        recovered_at: None,
        lifted: false,
    }
}

/// Returns the trigger that asks for the rollback. A sibling has found the release that is live.
pub(crate) fn trigger(by: By, observed: &Observed) -> apigw_rollback::decide::Trigger<'_> {
    use apigw_rollback::decide::Trigger;
    use apigw_rollback::model::target::{ApiRef, Target};
    static TARGET: LazyLock<Target> = LazyLock::new(|| Target {
        api: ApiRef::Id("a".into()),
        stage: "prod".into(),
        canary: false,
        protocol: None,
    });
    static NONE: LazyLock<Release> = LazyLock::new(Release::default);
    static INCIDENT: LazyLock<SiblingIncident> = LazyLock::new(|| SiblingIncident {
        bad: BadRelease {
            region: "us-east-1".into(),
            function: "apigw-rollback".into(),
            id: "i".into(),
            label: None,
            contents: None,
        },
        deed: Deed::RolledBack,
        at: at(60),
        here: None,
        cleared: false,
    });
    match by {
        By::Sibling => {
            let found = observed.live.as_ref().map_or(&*NONE, |live| &live.release);
            Trigger::Sibling { incident: &INCIDENT, found }
        }
        By::Alarm => Trigger::Alarm { name: ALARM, target: &TARGET },
        By::Operator => Trigger::Operator { force: false },
        By::Forced => Trigger::Operator { force: true },
        By::Rollout => Trigger::Rollout,
        By::Nobody => Trigger::Imagined,
    }
}
