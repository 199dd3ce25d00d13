//! The invariants that hold whatever goes wrong, as one function over the world before, the signals, the world after
//! and the reports. The world keeps a ledger of all changes with their times and authors, so the check does not rely
//! on a run's own report.

use std::collections::BTreeSet;

use apigw_rollback::cloud::Notification;
use apigw_rollback::config::Config;
use apigw_rollback::model::datapoint::{Datapoint, Reading};
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::policy::{AutoDeploy, Mode, StagePolicy};
use apigw_rollback::model::records::{Candidate, Hold, Incident, Record, parse};
use apigw_rollback::model::release::Release;
use apigw_rollback::model::report::{Outcome, Report};
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::notify::notification;
use chrono::{DateTime, TimeDelta, Utc};

use crate::simulation::alarms::{accusations_since, alarms_about, in_alarm};
use crate::simulation::regions::{Heard, may_follow};
use crate::simulation::requests::may_have_convicted;
use crate::support::world::{Change, Facts};

/// The maximum age of a stale read and the maximum difference between two clocks.
pub(crate) const BLUR: TimeDelta = TimeDelta::seconds(60);

/// The longest time from a look at a stage to its change: half a second, and the way of both calls.
const LOOKED: TimeDelta = TimeDelta::milliseconds(700);

/// The signal that started a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// An alarm's event: the alarm's name, the time it fired, and whether it guards the stage.
    Alarm { name: String, fired: Option<DateTime<Utc>>, ours: bool },
    /// The schedule.
    Sweep,
    /// An operator's command.
    Operator,
    /// A report about another Region's incident.
    Sibling(Heard),
}

/// One run, as seen from outside.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The id under which the world logged its calls.
    pub(crate) id: String,
    pub(crate) signal: Signal,
    pub(crate) began: DateTime<Utc>,
    /// Its reports; `None` if it died.
    pub(crate) reports: Option<Vec<Report>>,
}

/// Checks all invariants between two states of the world, given the runs in between; `Err` names the broken one.
pub(crate) fn hold(before: &Facts, after: &Facts, runs: &[Seen], config: &Config) -> Result<(), String> {
    let others = |change: &&Change| runs.iter().all(|run| run.id != change.by);
    for (nth, change) in after.changes.iter().enumerate() {
        let Some(run) = runs.iter().find(|run| run.id == change.by) else { continue };
        if change.looked_at.is_none_or(|looked_at| change.at - looked_at > LOOKED) {
            let since = change.looked_at.map(|at| at.to_string()).unwrap_or_default();
            let (stage, at) = (&change.stage, change.at);
            return Err(format!("{stage} by {} at {at}: its last look is of {since}", run.id));
        }
        if change.stage.is_parked() {
            continue;
        }
        let case = Case { before, after, config, change, earlier: &after.changes[..nth], run, runs };
        let judged = case.is_allowed().and_then(|()| case.is_called_for());
        judged.map_err(|why| {
            format!(
                "{} by {} at {}: {} -> {}: {why}",
                change.stage, change.by, change.at, change.from, change.to
            )
        })?;
    }
    runs.iter().try_for_each(|run| moves(after, run))?;
    for (at, by, value) in &after.records {
        if let Some(run) = runs.iter().find(|run| run.id == *by && run.signal == Signal::Sweep) {
            is_earned(before, after, config, run, *at, value)?;
        }
    }
    if after.changes.iter().all(|change| !others(&change)) && before.deployments != after.deployments {
        return Err("the deployments have changed".to_owned());
    }
    nothing_else(before, after)?;
    notified_once(after, runs)?;
    runs.iter().try_for_each(is_reported)
}

/// One change of a stage by a run, with its context.
pub(super) struct Case<'a> {
    pub(super) before: &'a Facts,
    pub(super) after: &'a Facts,
    pub(super) config: &'a Config,
    pub(super) change: &'a Change,
    earlier: &'a [Change],
    run: &'a Seen,
    pub(super) runs: &'a [Seen],
}

impl Case<'_> {
    pub(super) fn stage(&self) -> &StageRef {
        &self.change.stage
    }

    /// The time of the oldest state that the run can have read.
    pub(super) fn since(&self) -> DateTime<Utc> {
        self.run.began - BLUR
    }

    fn is_meanwhile(&self, at: DateTime<Utc>) -> bool {
        self.since() <= at && at <= self.change.at
    }

    pub(super) fn on_stage(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.earlier.iter().filter(|one| one.stage == self.change.stage)
    }

    /// Returns when the replaced release went live. Changes that a run made and undid do not count.
    fn live_since(&self) -> Option<DateTime<Utc>> {
        let mut changes: Vec<&Change> = self.on_stage().filter(|one| one.from != one.to).collect();
        while let Some((last, before)) = changes.split_last() {
            let is_undone_by_last =
                |one: &&Change| (&one.by, &one.from, &one.to) == (&last.by, &last.to, &last.from);
            match before.iter().rposition(is_undone_by_last).filter(|_| last.by != "others") {
                Some(done) => changes.truncate(done),
                None => return Some(last.at),
            }
        }
        self.before.stages.get(self.stage()).and_then(|live| live.updated_at)
    }

    /// Whether an alarm's data breached in a period that fits, as far as CloudWatch tells the data.
    fn has_breach(&self, fits: impl Fn(&Datapoint) -> bool) -> bool {
        let ours = self.after.datapoints.iter().filter(|(name, _)| name.contains("prod"));
        let mut points =
            ours.flat_map(|(_, points)| points).filter(|point| point.ends <= self.change.at + BLUR);
        points.any(|point| point.reading == Reading::Breaching && fits(point))
    }

    /// Whether the alarms' data, where CloudWatch tells it of all, is about a release. Components move without a trace.
    fn has_data_since(&self, fired: &[(&str, DateTime<Utc>)], live_since: DateTime<Utc>) -> bool {
        // The base of a canary that has ended was live all the time.
        let was_base = |one: &Change| Release { canary: None, ..one.from.clone() } == one.to;
        if self.on_stage().rfind(|one| one.from != one.to).is_some_and(was_base) {
            return true;
        }
        let has_components = !self.after.aliases.is_empty() || !self.after.mappings.is_empty();
        let is_told = fired.iter().all(|(name, _)| self.after.datapoints.contains_key(*name));
        has_components || !is_told || self.has_breach(|point| point.ends > live_since)
    }

    /// Returns when the sweep noted that the release is live, if it has components: the stage does not show when one of them
    /// moved. A release that was away, or of which only a part is live, is another one until then.
    fn noted_since(&self, live_since: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let name = ParameterNames::under("/apigw-rollback").candidate(self.stage());
        let notes = self.after.writes.iter().filter(|write| write.name == name);
        let notes = notes.filter(|write| write.at >= live_since && write.at < self.change.at);
        let has_components = !self.after.aliases.is_empty() || !self.after.mappings.is_empty();
        let latest = notes.fold(None, |before: Option<(Release, _)>, write| {
            let Candidate { release, .. } = parse(&write.value).ok().filter(|one: &Candidate| !one.gone)?;
            let since = before.filter(|(known, _)| *known == release).map_or(write.at, |(_, since)| since);
            Some((release, since))
        });
        let (release, since) = latest.filter(|_| has_components)?;
        (release.in_stage() == self.change.from.in_stage()).then_some(since)
    }

    /// Returns the stage's own policy.
    pub(super) fn policy(&self) -> StagePolicy {
        let own = self.after.parameters.get(&ParameterNames::under("/apigw-rollback").policy(self.stage()));
        let own = own.and_then(|all| parse::<PolicyOverrides>(all.last()?).ok()).unwrap_or_default();
        self.config.policy.under(&own)
    }

    /// Checks that the change leads to a recorded release and has an effect, whatever the signal.
    fn is_allowed(&self) -> Result<(), String> {
        let Change { from, to, stage, .. } = self.change;
        let rule = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
        let canary_off = Release { canary: None, ..from.clone() } == *to;
        let undoes =
            self.on_stage().any(|one| one.by == self.change.by && (&one.to, &one.from) == (from, to));
        let raced = self.on_stage().any(|one| one.at >= self.since());
        // After a deploy that the look did not show yet, the release is a mixture: then people are told at once.
        let is_mixture =
            raced && self.run.reports.iter().flatten().any(|one| one.outcome == Outcome::NeedsHuman);
        rule(self.change.recorded || canary_off || undoes || is_mixture, "the release is not recorded")?;
        rule(
            self.config.entry(stage).is_some() || !self.after.recorded(stage).is_empty(),
            "the stage is not protected",
        )?;
        let moved = self.after.moves.iter().any(|one| one.by != self.change.by && self.is_meanwhile(one.at));
        rule(
            !self.change.recorded || self.change.whole || undoes || moved,
            "the aliases do not point at the recorded versions",
        )?;
        let may_stop = self.policy().auto_deploy == AutoDeploy::SwitchOff;
        rule(!self.change.stopped || may_stop, "the policy keeps AutoDeploy on")?;
        rule(from != to || raced, "nothing changes, and the run could have known that")
    }

    /// Checks that an alarm accuses this release and no precondition forbids the change, unless an operator asked.
    fn is_called_for(&self) -> Result<(), String> {
        let rule = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
        if self.change.from == self.change.to {
            return Ok(());
        }
        let policy = &self.config.policy;
        let at = self.change.at;
        let is_followed = matches!(self.run.signal, Signal::Sibling(_));
        match &self.run.signal {
            Signal::Operator => return Ok(()),
            Signal::Sweep => {}
            Signal::Sibling(heard) => may_follow(self, heard)?,
            Signal::Alarm { fired, ours, .. } => {
                rule(*ours, "the alarm does not guard the stage")?;
                let age = fired.map(|fired| self.run.began - fired);
                let old = self.config.max_age.zip(age).is_some_and(|(most, age)| age > most + BLUR);
                rule(!old, "the event is too old")?;
            }
        }
        rule(policy.mode == Mode::Enforce, "the policy is to observe only")?;
        rule(!self.is_held(), "an operator holds the stage")?;
        let fired = accusations_since(self.after, self.stage(), self.since(), at);
        rule(is_followed || !fired.is_empty(), "no alarm is in ALARM")?;
        if let Some(live_since) = self.live_since() {
            let window = self.after.alarms.iter().map(|now| now.window).max().unwrap_or_default();
            // The window, and the time until its data reaches the alarm.
            let judged = at - live_since >= window + TimeDelta::minutes(2)
                || self.has_breach(|point| point.begins >= live_since + TimeDelta::minutes(1));
            let is_about = fired.iter().any(|(_, fired)| *fired >= live_since) || judged;
            let proven = is_followed
                || live_since >= self.since()
                || may_have_convicted(self.after, self.run, self.runs);
            rule(is_about || proven, "the release is newer than the alarm's evidence")?;
            let is_told = proven || self.has_data_since(&fired, live_since);
            rule(is_told, "the data of every alarm ended before the release went live")?;
            let known_since = self.noted_since(live_since).unwrap_or(live_since);
            let old = policy.window.is_some_and(|window| at - known_since > window + BLUR * 10);
            rule(!old, "the release is live for longer than the rollback window")?;
        }
        self.is_not_too_soon()?;
        rule(!self.is_irreversible(), "the release is irreversible")?;
        rule(
            !quarantined(self.after, self.stage(), &self.change.to, at),
            "the change leads to a release in quarantine",
        )
    }

    fn is_held(&self) -> bool {
        let name = ParameterNames::under("/apigw-rollback").hold(self.stage());
        let holds = self.after.writes.iter().filter(|write| write.name == name);
        let mut now: Option<DateTime<Utc>> = None;
        let mut free = false;
        for write in holds.filter(|write| write.at <= self.change.at) {
            if write.at > self.since() {
                free |= now.is_none_or(|until| until < write.at);
            }
            now = parse::<Hold>(&write.value).ok().map(|hold| hold.until);
        }
        let until_now = now.is_some_and(|until| until > self.change.at + BLUR);
        let began = self.after.writes.iter().rfind(|write| write.name == name && write.at <= self.change.at);
        !free && until_now && began.is_some_and(|write| write.at < self.since())
    }

    /// Checks the cooldown and the daily maximum. Each earlier rollback by an alarm counts once, even if runs raced. Those of
    /// another source do not count for an alarm on the stage's own metrics.
    fn is_not_too_soon(&self) -> Result<(), String> {
        let policy = &self.config.policy;
        let written = self.after.writes.iter().filter(|write| write.name.contains("/incidents/"));
        let written = written.filter_map(|write| Some((write, parse::<Incident>(&write.value).ok()?)));
        let written: Vec<_> = written.filter(|(_, incident)| incident.stage == *self.stage()).collect();
        let ours = written.iter().map(|(_, incident)| incident).find(|incident| incident.run == self.run.id);
        let is_other = ours.is_some_and(|ours| ours.other_source);
        let before = written
            .iter()
            .filter(|(write, _)| write.first && write.at < self.run.began - BLUR)
            .map(|(_, one)| one);
        let automatic: Vec<&Incident> = before
            .filter(|incident| incident.by_alarm || incident.sibling.is_some())
            .filter(|incident| is_other || !incident.other_source)
            .filter(|incident| self.is_listed(incident.at))
            .collect();
        if automatic.iter().any(|one| self.change.at - one.at < policy.cooldown - BLUR) {
            return Err("the last rollback is within the cooldown".to_owned());
        }
        let today = automatic.iter().filter(|one| self.change.at - one.at < TimeDelta::hours(23));
        let by_alarm = today.clone().filter(|one| ours.is_some_and(|ours| ours.by == one.by)).count();
        let most = usize::try_from(policy.max_rollbacks).unwrap();
        let (today, together) = (today.count(), if is_other { most } else { 2 * most });
        if by_alarm >= most || today >= together {
            return Err(format!("there were {today} rollbacks today, {by_alarm} of them by this alarm"));
        }
        Ok(())
    }

    /// Returns whether the stage's list contained that rollback before this run began. If a run dies before it can
    /// list its rollback, the next sweep does.
    fn is_listed(&self, at: DateTime<Utc>) -> bool {
        let name = ParameterNames::under("/apigw-rollback").rollbacks(self.stage());
        let mark = format!("\"at\":{}", serde_json::json!(at));
        self.after.written(&name, self.since()).is_some_and(|list| list.value.contains(&mark))
    }

    /// Whether the change undoes a release that was announced as irreversible, long enough ago for the run to know.
    fn is_irreversible(&self) -> bool {
        let name = ParameterNames::under("/apigw-rollback").candidate(self.stage());
        let was = |at| {
            let written = self.after.written(&name, at);
            let candidate = written.and_then(|write| parse::<Candidate>(&write.value).ok());
            candidate.is_some_and(|one| {
                one.irreversible
                    && (one.release.in_stage() == self.change.from || self.is_unrecorded(&one))
                    && one.release.in_stage() != self.change.to
            })
        };
        was(self.since()) && was(self.change.at)
    }

    /// Whether a release was first seen after the last record, and was not rolled back since.
    fn is_unrecorded(&self, candidate: &Candidate) -> bool {
        let name = ParameterNames::under("/apigw-rollback").known_good(self.stage());
        let recorded = self.after.written(&name, self.change.at);
        let recorded = recorded.and_then(|write| parse::<Record>(&write.value).ok());
        recorded.is_some_and(|record| record.recorded_at < candidate.first_seen)
            && !quarantined(self.after, self.stage(), &candidate.release, self.change.at)
    }
}

/// Returns whether a release was in quarantine at that time, long enough for every run to know.
fn quarantined(facts: &Facts, stage: &StageRef, release: &Release, at: DateTime<Utc>) -> bool {
    let name = ParameterNames::under("/apigw-rollback").incident(stage, &release.fingerprint());
    let written = facts.written(&name, at - BLUR);
    let incident = written.and_then(|write| parse::<Incident>(&write.value).ok());
    incident.is_some_and(|incident| incident.lifted_by.is_none() && !incident.undone)
}

/// Checks that a release that the sweep records has baked with quiet alarms and traffic, and is not in quarantine.
fn is_earned(
    before: &Facts,
    after: &Facts,
    config: &Config,
    run: &Seen,
    at: DateTime<Utc>,
    value: &str,
) -> Result<(), String> {
    let no = |why: &str| Err(format!("known-good by {} at {at}: {why}: {value}", run.id));
    let Ok(record) = parse::<Record>(value) else { return no("the record cannot be read") };
    // A rollback to an older version needs no new bake time.
    let known = after.records.iter().take_while(|(when, ..)| *when < at);
    if known.filter_map(|(_, _, value)| parse::<Record>(value).ok()).any(|one| one.release == record.release)
        || before.recorded(&record.stage).iter().any(|one| one.release == record.release)
    {
        return Ok(());
    }
    let (from, to) = (at - config.policy.bake + BLUR, run.began - BLUR);
    let on_stage = after.changes.iter().filter(|one| one.stage == record.stage && one.from != one.to);
    if on_stage.clone().any(|one| from < one.at && one.at < to && one.to != record.release.in_stage()) {
        return no("the release was not live all the time");
    }
    if on_stage.clone().rfind(|one| one.at < to).is_some_and(|one| one.to != record.release.in_stage()) {
        return no("the release was not live");
    }
    let fired = alarms_about(after, &record.stage, from, to)
        .any(|now| !now.alarm.is_fast() && !in_alarm(after, now, from, to).is_empty());
    if from < to && fired {
        return no("an alarm was in ALARM during the bake time");
    }
    let live_since = on_stage.clone().rfind(|one| one.at < to).map_or(before.now, |one| one.at);
    if config.policy.needs_data && after.samples_between(live_since, at) <= 0.0 {
        return no("there was no traffic");
    }
    if quarantined(after, &record.stage, &record.release, at) {
        return no("the release is in quarantine");
    }
    Ok(())
}

/// Checks that components move only to a recorded target or back in an undo, and that a mapping moves only after its
/// stage serves the release.
fn moves(after: &Facts, run: &Seen) -> Result<(), String> {
    for (nth, one) in after.moves.iter().enumerate().filter(|(_, one)| one.by == run.id) {
        let undoes = after.moves[..nth].iter().any(|before| {
            (&before.by, &before.component) == (&one.by, &one.component)
                && before.from == one.to
                && before.to == one.from
        });
        let raced = || {
            let mut others = after.changes.iter().filter(|change| change.by != one.by);
            others.any(|change| run.began <= change.at && change.at <= one.at)
        };
        let wrong = if !one.recorded && !undoes {
            "the target is not recorded"
        } else if !one.ready && !undoes && !raced() {
            "the stage does not serve that release yet"
        } else {
            continue;
        };
        return Err(format!(
            "{} by {} at {}: {} -> {}: {wrong}",
            one.component, one.by, one.at, one.from, one.to
        ));
    }
    Ok(())
}

/// Checks that the stages keep their other settings, and that no stage, alias or mapping is created or deleted.
fn nothing_else(before: &Facts, after: &Facts) -> Result<(), String> {
    for (stage, was) in &before.stages {
        let Some(is) = after.stages.get(stage) else { return Err(format!("{stage} is gone")) };
        let same = (&was.description, was.cache, was.managed) == (&is.description, is.cache, is.managed);
        if !same || (was.closed != is.closed && !stage.is_parked()) {
            return Err(format!("the settings of {stage} have changed"));
        }
    }
    let aliases = |facts: &Facts| facts.aliases.keys().cloned().collect::<Vec<_>>();
    let mappings = |facts: &Facts| facts.mappings.keys().cloned().collect::<Vec<_>>();
    if aliases(before) != aliases(after) || mappings(before) != mappings(after) {
        return Err("aliases or mappings were created or deleted".to_owned());
    }
    Ok(())
}

/// Returns the notifications that may be sent only once: those whose mark could be written. A run reports those that it sent
/// without a mark. One that died cannot, so its notifications are compared with its marks by their number.
pub(crate) fn marked<'a>(after: &'a Facts, runs: &'a [Seen]) -> impl Iterator<Item = &'a Notification> {
    after.notifications.iter().filter(move |notification| {
        let report: serde_json::Value = serde_json::from_str(&notification.report).unwrap();
        let by = report["run"].as_str().unwrap();
        let reports = runs.iter().find(|run| run.id == by).and_then(|run| run.reports.as_ref());
        let Some(reports) = reports else {
            let by = format!("\"run\":\"{by}\"");
            let marks = after.writes.iter().filter(|write| write.name.contains("/told/"));
            let marks = marks.filter(|write| write.value.contains(&by)).count();
            return after.notifications.iter().filter(|one| one.report.contains(&by)).count() <= marks;
        };
        let is_unmarked = |one: &&Report| {
            one.warnings.iter().any(|warning| warning.contains("people may be notified again"))
        };
        let subject = |one: &Report| notification::of(one, "").subject;
        !reports.iter().filter(is_unmarked).any(|one| subject(one) == notification.subject)
    })
}

/// Checks that no notification is sent twice, unless its mark could not be written.
fn notified_once(after: &Facts, runs: &[Seen]) -> Result<(), String> {
    let mut sent = BTreeSet::new();
    for notification in marked(after, runs) {
        let chat: serde_json::Value =
            serde_json::from_str(&notification.chat).map_err(|error| error.to_string())?;
        // A thread is one bad release. A second rollback of it has other times, so it is a new notification.
        let is_incident =
            ["ROLLED BACK", "RECOVERED"].iter().any(|word| notification.subject.starts_with(word));
        let text = is_incident.then(|| chat["content"]["description"].to_string());
        if !sent.insert((notification.subject.as_str(), chat["metadata"]["threadId"].to_string(), text)) {
            return Err(format!("a notification was sent twice: {}", notification.subject));
        }
    }
    Ok(())
}

/// Checks that a run that did not die ends in a report: at most one for each stage of an alarm, one of its own
/// for a sweep.
fn is_reported(run: &Seen) -> Result<(), String> {
    let Some(reports) = &run.reports else { return Ok(()) };
    let wrong = match &run.signal {
        Signal::Alarm { .. } => {
            let stages: BTreeSet<_> = reports.iter().map(|one| one.stage.as_ref()).collect();
            reports.is_empty() || stages.len() != reports.len()
        }
        Signal::Operator | Signal::Sibling(_) => reports.is_empty(),
        Signal::Sweep => {
            let own = |one: &&Report| one.stage.is_none();
            reports.iter().filter(own).filter(|one| one.outcome == Outcome::Swept).count() > 1
                || !reports.iter().any(|one| matches!(one.outcome, Outcome::Swept | Outcome::Failed))
        }
    };
    if wrong {
        return Err(format!("{} ended in {} reports", run.id, reports.len()));
    }
    Ok(())
}
