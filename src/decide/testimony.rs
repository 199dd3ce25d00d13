//! What a guarding alarm says about one stage and its live release: the one judgement of its state. Pure.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use super::guilt::Guilt;
use crate::model::access_log;
use crate::model::admission::Admission;
use crate::model::alarm::{Alarm, CLOCK_SKEW, Metric, Muted, Origin, State, Watches};
use crate::model::datapoint::{Reading, first_breach, latest_breach};
use crate::model::guarding_alarm::{GuardingAlarm, Leaf};
use crate::model::observed::{Observed, OnRecord};
use crate::model::reason::Reason;
use crate::model::stage::{LiveStage, StageRef};
use crate::model::target::{Target, naming};
use crate::model::traffic::Measure;
use crate::signal::target::{NAMESPACE, named_by, stage_of};
use crate::signal::triage::foreign_account;

/// API Gateway counts a request up to a minute late, so a datapoint can hold requests from the minute before it.
pub(super) const COUNTED_LATE: TimeDelta = TimeDelta::minutes(1);

/// How long after the end of its period a datapoint reaches the alarm's state: API Gateway publishes each minute, and
/// CloudWatch evaluates each minute.
const PUBLISHED_LATE: TimeDelta = TimeDelta::minutes(2);

/// The stage and the release that an alarm is judged about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The stage.
    pub stage: &'a StageRef,
    /// The names by which alarms know its API, besides its id.
    pub api_names: &'a [String],
    /// The account and Region of the function.
    pub home: &'a Origin,
    /// The alarms that may act on the stage.
    pub admission: &'a Admission,
    /// When the live release went live, if that is known for certain.
    pub went_live: Option<DateTime<Utc>>,
    /// What the test of guilt says about it; `None` if its requests were not read.
    pub guilt: Option<&'a Guilt>,
}

/// What a guarding alarm says about one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// An alarm that names the stage is in ALARM by its own data, and it may act.
    Accuses,
    /// No alarm that names the stage is in ALARM.
    Quiet,
    /// An alarm that names the stage is in ALARM, but for this reason it accuses nobody.
    Abstains(Reason),
    /// Some alarms below it cannot be resolved: a sentence. It may be about this stage.
    Unreadable(String),
}

impl<'a> Subject<'a> {
    /// Returns the subject of an observed stage.
    #[must_use]
    pub fn of(observed: &'a Observed, guilt: &'a Guilt) -> Self {
        Self {
            stage: &observed.stage,
            api_names: &observed.api_names,
            home: &observed.home,
            admission: &observed.admission,
            went_live: observed.live.as_ref().and_then(|live| went_live(&observed.on_record, live)),
            guilt: Some(guilt),
        }
    }
}

impl Testimony {
    /// Returns the word for it in reports.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accuses => "accuses",
            Self::Quiet => "quiet",
            Self::Abstains(_) => "abstains",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// Returns why the alarm accuses nobody although it may be in ALARM. `alarm` is its name.
    #[must_use]
    pub fn reason(&self, alarm: &str) -> Option<Reason> {
        match self {
            Self::Accuses | Self::Quiet => None,
            Self::Abstains(reason) => Some(reason.clone()),
            Self::Unreadable(why) => {
                Some(Reason::AlarmUnreadable { alarm: alarm.to_owned(), why: why.clone() })
            }
        }
    }
}

/// A guarding alarm of a stage, with what it says about the stage.
#[derive(Clone, Debug)]
pub struct Guarding<'a> {
    /// The alarm.
    pub alarm: &'a GuardingAlarm,
    /// The target by which it names the stage; `None` if it names no stage because it cannot be resolved.
    pub target: Option<&'a Target>,
    /// What it says.
    pub testimony: Testimony,
    /// The alarms whose states speak about the stage: the alarm itself, or leaves of a composite alarm.
    pub about: Vec<&'a Alarm>,
    /// API Gateway's metrics of this stage that it watches. Only they show that the stage was used.
    pub metrics: Vec<Metric>,
}

/// Returns the guarding alarms of a stage. A composite alarm that cannot be resolved may be about every stage, unless it
/// names its stages itself. An alarm that may not act is none: it can neither accuse nor prove, nor prevent a promotion.
#[must_use]
pub fn guarding<'a>(alarms: &'a [GuardingAlarm], subject: Subject<'_>) -> Vec<Guarding<'a>> {
    let Subject { stage, api_names, .. } = subject;
    let admitted =
        alarms.iter().filter(|one| subject.admission.refuses(&one.alarm.name, &one.actions).is_none());
    let about = admitted.filter_map(|alarm| {
        let target = alarm.target(stage, api_names);
        let testimony = match (target, about_any_stage(alarm)) {
            (None, None) => return None,
            (None, Some(why)) => Testimony::Unreadable(why),
            (Some(_), _) => testimony(alarm, subject),
        };
        let metrics = alarm.leaves_about(stage, api_names).flat_map(Leaf::metrics);
        let metrics = metrics.filter(|metric| is_own(metric, subject)).cloned().collect();
        let about = alarm.alarms_about(stage, api_names);
        Some(Guarding { alarm, target, testimony, about, metrics })
    });
    about.collect()
}

/// Why an alarm that names no stage may be about any stage; `None` if it is about none.
fn about_any_stage(guarding: &GuardingAlarm) -> Option<String> {
    if guarding.speaks_by_leaves && !guarding.unresolved.is_empty() {
        return Some(guarding.unresolved.join("; "));
    }
    let is_query = matches!(&guarding.alarm.watches, Watches::Metrics(metrics) if metrics.is_empty());
    let fires = guarding.alarm.state == State::Alarm && guarding.targets.is_empty();
    (is_query && fires).then(|| "it reads a query or logs, and its description names no stage".to_owned())
}

/// Returns the stages that a composite alarm accuses, if it names none itself: those that its leaves in ALARM name.
///
/// # Errors
/// Why it accuses none.
pub fn accused(guarding: &GuardingAlarm, admission: &Admission) -> Result<Vec<Target>, Reason> {
    let name = &guarding.alarm.name;
    if guarding.alarm.state != State::Alarm {
        return Err(Reason::AlarmCleared { alarm: name.clone(), state: guarding.alarm.state });
    }
    if let Some(reason) = admission.refuses(name, &guarding.actions) {
        return Err(reason);
    }
    if !guarding.speaks_by_leaves {
        return Ok(guarding.targets.clone());
    }
    let firing: Vec<&Leaf> =
        guarding.leaves.iter().filter(|leaf| leaf.now.alarm.state == State::Alarm).collect();
    let mut targets = Vec::new();
    for target in firing.iter().flat_map(|leaf| &leaf.targets) {
        if !targets.contains(target) {
            targets.push(target.clone());
        }
    }
    if !targets.is_empty() {
        return Ok(targets);
    }
    if !guarding.unresolved.is_empty() {
        let why = guarding.unresolved.join("; ");
        return Err(Reason::AlarmUnreadable { alarm: name.clone(), why });
    }
    if let Some(Leaf { now, .. }) = firing.first() {
        let none = || Reason::NoStage(format!("the alarm `{}` names no stage", now.alarm.name));
        return Err(named_by(&now.alarm).err().unwrap_or_else(none));
    }
    let cleared = guarding.leaves.first().map(|Leaf { now, .. }| Reason::AlarmCleared {
        alarm: now.alarm.name.clone(),
        state: now.alarm.state,
    });
    Err(cleared.unwrap_or_else(|| Reason::NoStage(format!("no alarm was found below `{name}`"))))
}

/// Judges what a guarding alarm says about a stage.
#[must_use]
pub fn testimony(guarding: &GuardingAlarm, subject: Subject<'_>) -> Testimony {
    if guarding.alarm.state != State::Alarm {
        return if guarding.unresolved.is_empty() { Testimony::Quiet } else { unreadable(guarding) };
    }
    if let Some(reason) = subject.admission.refuses(&guarding.alarm.name, &guarding.actions) {
        return Testimony::Abstains(reason);
    }
    if let Some(by) = &guarding.alarm.suppressed_by {
        return Testimony::Abstains(Reason::Suppressed(by.clone()));
    }
    if !guarding.actions_enabled {
        return Testimony::Abstains(Reason::AlarmActionsDisabled { alarm: guarding.alarm.name.clone() });
    }
    if let Muted::By(rule) = &guarding.muted {
        return Testimony::Abstains(Reason::Muted(rule.clone()));
    }
    let mut abstains = None;
    for leaf in guarding.firing_about(subject.stage, subject.api_names) {
        match weakness(guarding, leaf, subject) {
            // A weak alarm never silences a strong one.
            None => return accuses(guarding),
            Some(reason) => abstains = abstains.or(Some(reason)),
        }
    }
    if !guarding.unresolved.is_empty() {
        return unreadable(guarding);
    }
    if let Some(leaf) = guarding.stageless().find(|leaf| leaf.now.alarm.state == State::Alarm) {
        let why = format!("the alarm `{}` is in ALARM and may be about any stage", leaf.now.alarm.name);
        abstains = abstains.or(Some(Reason::NoStage(why)));
    }
    // A composite alarm that names the stage itself speaks for all its leaves.
    if abstains.is_none() && !guarding.speaks_by_leaves {
        return accuses(guarding);
    }
    abstains.map_or(Testimony::Quiet, Testimony::Abstains)
}

/// Whether the alarm accuses the stage by nothing but API Gateway's own metrics of the stage, which nobody else can write: they
/// show that users are hurt. One leaf is enough if each speaks for itself.
#[must_use]
pub fn shows_hurt_users(guarding: &GuardingAlarm, subject: Subject<'_>) -> bool {
    let mut strong = strong(guarding, subject).peekable();
    let is_own = |leaf: &Leaf| {
        !leaf.metrics().is_empty() && leaf.metrics().iter().all(|metric| is_own(metric, subject))
    };
    if guarding.speaks_by_leaves { strong.any(is_own) } else { strong.peek().is_some() && strong.all(is_own) }
}

/// Returns the leaves that accuse the stage, if the alarm may.
fn strong<'a>(guarding: &'a GuardingAlarm, subject: Subject<'a>) -> impl Iterator<Item = &'a Leaf> {
    let firing = guarding.firing_about(subject.stage, subject.api_names);
    firing.filter(move |leaf| weakness(guarding, leaf, subject).is_none())
}

/// Returns when the latest of the leaves that accuse the stage fired, or the alarm itself if there is none. A composite alarm may
/// have been in ALARM before, because of others, and a weak leaf that fires later says nothing of what changed before it.
#[must_use]
pub fn fired_at(guarding: &GuardingAlarm, subject: Subject<'_>) -> Option<DateTime<Utc>> {
    let fired = strong(guarding, subject).filter_map(|leaf| leaf.now.alarm.changed_at);
    fired.max().or(guarding.alarm.changed_at)
}

/// Whether a metric is API Gateway's own about this stage.
fn is_own(metric: &Metric, Subject { stage, api_names, home, .. }: Subject<'_>) -> bool {
    let is_ours = metric.account.as_ref().is_none_or(|account| Some(account) == home.account.as_ref());
    is_ours && stage_of(metric).is_some_and(|target| naming(&[target], stage, api_names).is_some())
}

/// An alarm accuses only if its owner has not muted it, as far as that is known.
fn accuses(guarding: &GuardingAlarm) -> Testimony {
    match &guarding.muted {
        Muted::Unknown(why) => {
            Testimony::Unreadable(format!("whether a mute rule mutes it is unknown: {why}"))
        }
        Muted::No | Muted::By(_) => Testimony::Accuses,
    }
}

fn unreadable(guarding: &GuardingAlarm) -> Testimony {
    Testimony::Unreadable(guarding.unresolved.join("; "))
}

/// Why a leaf in ALARM accuses nobody.
fn weakness(guarding: &GuardingAlarm, leaf: &Leaf, subject: Subject<'_>) -> Option<Reason> {
    let Subject { home, went_live, admission, guilt, .. } = subject;
    let alarm = &leaf.now.alarm;
    // A composite alarm that names no stage lends its leaves the wiring, but not its name.
    if guarding.speaks_by_leaves
        && let Some(reason) = admission.refuses_name(&leaf.named_by)
    {
        return Some(reason);
    }
    if let (Some(ours), Some(theirs)) = (&home.account, foreign_account(alarm, home)) {
        return Some(Reason::WrongAccount { theirs, ours: ours.clone() });
    }
    if alarm.only_missing_data {
        return Some(Reason::NoDatapoints);
    }
    // The requests of the release itself outrank what the alarm's datapoints say about the stage.
    if guilt.is_some_and(|guilt| guilt.conviction().is_some()) {
        return None;
    }
    let acquittal = guilt.zip(measured_by(leaf)).and_then(|(guilt, measure)| guilt.acquittal(measure));
    if let Some(finding) = acquittal {
        return Some(Reason::NotThisRelease { alarm: alarm.name.clone(), finding: finding.to_string() });
    }
    if alarm.is_fast() {
        let finding = guilt.and_then(Guilt::strongest).map(ToString::to_string);
        return Some(Reason::NotDecided { alarm: alarm.name.clone(), finding });
    }
    began_before(leaf, went_live?)
}

/// Returns what makes a request bad for an alarm, if the test of guilt measures the same.
fn measured_by(leaf: &Leaf) -> Option<Measure> {
    let mut measures = leaf.metrics().iter().filter_map(|metric| measure_of(metric).transpose());
    let first = measures.next()?.ok()?;
    measures.all(|measure| measure == Ok(first)).then_some(first)
}

/// Returns the measure of a metric; `None` for a number of requests, which says nothing alone.
fn measure_of(metric: &Metric) -> Result<Option<Measure>, ()> {
    match (metric.namespace.as_str(), metric.name.as_str()) {
        (NAMESPACE, "5XXError" | "5xx" | "IntegrationError" | "ExecutionError")
        | (access_log::NAMESPACE, access_log::STATUS) => Ok(Some(Measure::Failed)),
        (NAMESPACE, "Latency" | "IntegrationLatency") | (access_log::NAMESPACE, access_log::LATENCY) => {
            Ok(Some(Measure::Slow))
        }
        (NAMESPACE, "Count" | "MessageCount" | "ConnectCount") => Ok(None),
        _ => Err(()),
    }
}

/// Whether the breach began before the release went live. The datapoints that made the alarm fire say so; if later ones were
/// read, they say it of the latest breach. A release that went live after the alarm fired is judged by [`is_judged`].
fn began_before(leaf: &Leaf, live_since: DateTime<Utc>) -> Option<Reason> {
    let alarm = &leaf.now.alarm;
    if is_after(live_since, alarm.changed_at?) {
        return None;
    }
    let evaluated = &leaf.now.evaluated;
    let began = match &leaf.later {
        None => first_breach(evaluated).copied(),
        Some(later) => latest_breach(&[evaluated.as_slice(), later.as_slice()].concat()).copied(),
    };
    let began = began.filter(|point| point.ends <= live_since)?;
    Some(Reason::BeganBeforeRelease { alarm: alarm.name.clone(), began: began.begins, live_since })
}

/// Whether a stage's change came after a moment. API Gateway's times are whole seconds, so a change in the same second may
/// have.
#[must_use]
pub fn is_after(changed_at: DateTime<Utc>, moment: DateTime<Utc>) -> bool {
    changed_at >= moment.trunc_subsecs(0)
}

/// Whether the alarm says something about what the stage serves since this change, which came after it fired: of a leaf that
/// accuses the stage, a datapoint that lies wholly after the change breaches, or, where datapoints cannot be read, a full evaluation has passed.
#[must_use]
pub fn is_judged(
    guarding: &GuardingAlarm,
    subject: Subject<'_>,
    changed_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> bool {
    let evaluated = now > changed_at + guarding.window + PUBLISHED_LATE + CLOCK_SKEW;
    let mut strong = strong(guarding, subject).peekable();
    if strong.peek().is_none() {
        return evaluated;
    }
    strong.any(|leaf| match &leaf.later {
        None => evaluated,
        Some(later) => later
            .iter()
            .any(|point| point.reading == Reading::Breaching && point.begins > changed_at + COUNTED_LATE),
    })
}

/// Returns when the live release went live, if that is certain: the stage's last change, unless the release was seen
/// before it, was served by a canary, or has components, whose changes the stage does not show.
#[must_use]
pub fn went_live(on_record: &OnRecord, live: &LiveStage) -> Option<DateTime<Utc>> {
    let (updated_at, release) = (live.updated_at?, &live.release);
    let is_whole = release.aliases.is_empty() && release.mappings.is_empty();
    let was_live = on_record.candidate.as_ref().is_some_and(|candidate| {
        let canary = candidate.release.canary.as_ref().and_then(|canary| canary.deployment.as_ref());
        // The function's clock and API Gateway's differ.
        let is_it = candidate.release == *release && candidate.first_seen + CLOCK_SKEW < updated_at;
        is_it || canary == Some(&release.deployment)
    });
    (is_whole && !was_live).then_some(updated_at)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::decide::fixture::admission;
    use crate::model::alarm::AlarmNow;
    use crate::model::alarm_setup::AlarmSetup;
    use crate::model::protocol::Protocol;

    fn metric(namespace: &str, name: &str) -> Metric {
        let dimensions = vec![("ApiId".to_owned(), "a".to_owned()), ("Stage".to_owned(), "prod".to_owned())];
        Metric { namespace: namespace.to_owned(), name: name.to_owned(), dimensions, account: None }
    }

    #[test]
    fn a_leaf_measures_what_all_its_metrics_but_the_numbers_of_requests_do() {
        use Measure::{Failed, Slow};
        let (gateway, log) = (NAMESPACE, access_log::NAMESPACE);
        for (metrics, expected) in [
            (vec![(gateway, "5XXError")], Some(Failed)),
            (
                vec![(gateway, "5xx"), (gateway, "IntegrationError"), (gateway, "ExecutionError")],
                Some(Failed),
            ),
            (vec![(gateway, "Latency"), (gateway, "IntegrationLatency")], Some(Slow)),
            (vec![(log, access_log::STATUS)], Some(Failed)),
            (vec![(log, access_log::LATENCY)], Some(Slow)),
            (vec![(gateway, "Count"), (gateway, "5XXError")], Some(Failed)),
            (vec![(gateway, "Latency"), (gateway, "MessageCount"), (gateway, "ConnectCount")], Some(Slow)),
            (vec![(gateway, "5XXError"), (gateway, "Latency")], None),
            (vec![(gateway, "5XXError"), (gateway, "4XXError")], None),
            (vec![(gateway, "Count")], None),
            (vec![("AWS/Lambda", "5XXError")], None),
            (vec![], None),
        ] {
            let watches =
                Watches::Metrics(metrics.iter().map(|(namespace, name)| metric(namespace, name)).collect());
            let now = AlarmNow {
                alarm: Alarm { watches, ..Alarm::new("a", State::Alarm) },
                actions_enabled: true,
                actions: vec![],
                window: TimeDelta::zero(),
                evaluated: vec![],
                setup: AlarmSetup::default(),
            };
            let leaf = Leaf { now, targets: vec![], named_by: "a".into(), later: None };
            assert_eq!(measured_by(&leaf), expected, "{metrics:?}");
        }
    }

    #[test]
    fn a_metric_of_another_account_is_not_the_stages_own() {
        let (stage, admission) =
            (StageRef { protocol: Protocol::Http, ..StageRef::rest("a", "prod") }, admission());
        for (home, account, expected) in [
            (Some("1"), None, true),
            (Some("1"), Some("1"), true),
            (Some("1"), Some("2"), false),
            (None, Some("2"), false),
        ] {
            let home = Origin { account: home.map(str::to_owned), region: None };
            let subject = Subject {
                stage: &stage,
                api_names: &[],
                home: &home,
                admission: &admission,
                went_live: None,
                guilt: None,
            };
            let metric = Metric { account: account.map(str::to_owned), ..metric(NAMESPACE, "5xx") };
            assert_eq!(is_own(&metric, subject), expected, "{home:?} {account:?}");
        }
    }

    #[test]
    fn each_testimony_has_a_word_and_if_it_is_none_for_or_against_a_reason() {
        for (testimony, word, reason) in [
            (Testimony::Accuses, "accuses", None),
            (Testimony::Quiet, "quiet", None),
            (Testimony::Abstains(Reason::NoDatapoints), "abstains", Some(Reason::NoDatapoints)),
            (
                Testimony::Unreadable("its rule is empty".into()),
                "unreadable",
                Some(Reason::AlarmUnreadable { alarm: "5xx".into(), why: "its rule is empty".into() }),
            ),
        ] {
            assert_eq!((testimony.word(), testimony.reason("5xx")), (word, reason), "{testimony:?}");
        }
    }
}
