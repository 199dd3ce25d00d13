//! What must hold whatever goes wrong, once, as a function over the world before, the signals, the world after, and
//! the reports. The world keeps a ledger of what was changed, when and by whom, so nothing depends on what a run says
//! of itself.

use std::collections::BTreeSet;

use apigw_rollback::config::Config;
use apigw_rollback::model::alarm::AlarmNow;
use apigw_rollback::model::alarm::State;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::policy::{AutoDeploy, Mode};
use apigw_rollback::model::records::{Candidate, Hold, Incident, Record, parse};
use apigw_rollback::model::release::Release;
use apigw_rollback::model::report::{Outcome, Report};
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::signal::target::stages_named_by;
use chrono::{DateTime, TimeDelta, Utc};

use crate::support::world::{Change, Facts};

/// A read may show the world as it was so long ago, and clocks may be so far apart.
pub(crate) const BLUR: TimeDelta = TimeDelta::seconds(60);

/// What a run was asked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// An alarm's event: the alarm, when it fired, and whether it is one of ours at all.
    Alarm { name: String, fired: Option<DateTime<Utc>>, ours: bool },
    /// The schedule.
    Sweep,
    /// A person.
    Person,
}

/// One run, as it is seen from outside.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The name under which the world saw its calls.
    pub(crate) hand: String,
    pub(crate) signal: Signal,
    pub(crate) began: DateTime<Utc>,
    /// What it said; `None` where it died.
    pub(crate) reports: Option<Vec<Report>>,
}

/// Everything that must hold between two moments, with the runs in between; `Err` names what is broken.
pub(crate) fn hold(before: &Facts, after: &Facts, runs: &[Seen], config: &Config) -> Result<(), String> {
    let others = |change: &&Change| runs.iter().all(|run| run.hand != change.by);
    for (nth, change) in after.changes.iter().enumerate() {
        let Some(run) = runs.iter().find(|run| run.hand == change.by) else { continue };
        if change.stage.is_parked() {
            continue;
        }
        let case = Case { before, after, config, change, earlier: &after.changes[..nth], run };
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
        if let Some(run) = runs.iter().find(|run| run.hand == *by && run.signal == Signal::Sweep) {
            is_earned(before, after, config, run, *at, value)?;
        }
    }
    if after.changes.iter().all(|change| !others(&change)) && before.deployments != after.deployments {
        return Err("deployments are others than before".to_owned());
    }
    nothing_else(before, after)?;
    told_once(after)?;
    runs.iter().try_for_each(is_reported)
}

/// One change of a stage by a run.
struct Case<'a> {
    before: &'a Facts,
    after: &'a Facts,
    config: &'a Config,
    change: &'a Change,
    earlier: &'a [Change],
    run: &'a Seen,
}

impl Case<'_> {
    fn stage(&self) -> &StageRef {
        &self.change.stage
    }

    /// What the run can have read is as old as this, or younger.
    fn since(&self) -> DateTime<Utc> {
        self.run.began - BLUR
    }

    fn is_meanwhile(&self, at: DateTime<Utc>) -> bool {
        self.since() <= at && at <= self.change.at
    }

    fn on_stage(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.earlier.iter().filter(|one| one.stage == self.change.stage)
    }

    /// When the release that was taken off went live. What a run did and undid does not count.
    fn live_since(&self) -> Option<DateTime<Utc>> {
        let mut changes: Vec<&Change> = self.on_stage().filter(|one| one.from != one.to).collect();
        while let Some((last, before)) = changes.split_last() {
            let is_undone = |one: &&Change| (&one.by, &one.from, &one.to) == (&last.by, &last.to, &last.from);
            match before.iter().rposition(is_undone).filter(|_| last.by != "others") {
                Some(done) => changes.truncate(done),
                None => return Some(last.at),
            }
        }
        self.before.stages.get(self.stage()).and_then(|live| live.updated_at)
    }

    /// Whoever asks: the stage goes to a recorded release, and something changes.
    fn is_allowed(&self) -> Result<(), String> {
        let Change { from, to, stage, .. } = self.change;
        let rule = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
        let canary_off = Release { canary: None, ..from.clone() } == *to;
        let undoes =
            self.on_stage().any(|one| one.by == self.change.by && (&one.to, &one.from) == (from, to));
        rule(self.change.recorded || canary_off || undoes, "it is not recorded")?;
        rule(
            self.config.entry(stage).is_some() || !self.after.recorded(stage).is_empty(),
            "the stage is not protected",
        )?;
        let raced = self.on_stage().any(|one| one.at >= self.since());
        let moved = self.after.moves.iter().any(|one| one.by != self.change.by && self.is_meanwhile(one.at));
        rule(!self.change.recorded || self.change.whole || undoes || moved, "its aliases are elsewhere")?;
        let policy = self.after.parameters.get(&ParameterNames::under("/apigw-rollback").policy(stage));
        let policy = policy.and_then(|all| parse::<PolicyOverrides>(all.last()?).ok()).unwrap_or_default();
        let may_stop = self.config.policy.under(&policy).auto_deploy == AutoDeploy::SwitchOff;
        rule(!self.change.stopped || may_stop, "AutoDeploy was to stay on")?;
        rule(from != to || raced, "nothing changes, and everybody could know")
    }

    /// Where no person asks: there is an alarm that is about this release, and nothing forbids it.
    fn is_called_for(&self) -> Result<(), String> {
        let rule = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
        if self.change.from == self.change.to {
            return Ok(());
        }
        let policy = &self.config.policy;
        let at = self.change.at;
        let swept = match &self.run.signal {
            Signal::Person => return Ok(()),
            Signal::Sweep => true,
            Signal::Alarm { fired, ours, .. } => {
                rule(*ours, "the alarm is none of ours")?;
                let age = fired.map(|fired| self.run.began - fired);
                let old = self.config.max_age.zip(age).is_some_and(|(most, age)| age > most + BLUR);
                rule(!old, "the event is too old")?;
                false
            }
        };
        rule(policy.mode == Mode::Enforce, "it is to observe only")?;
        rule(!self.is_held(), "an operator holds the stage")?;
        let fired = alarms_since(self.after, self.stage(), self.since(), at);
        rule(!fired.is_empty(), "no alarm is in ALARM")?;
        if let Some(live_since) = self.live_since() {
            let window = self.after.alarms.iter().map(|now| now.window).max().unwrap_or_default();
            let judged = swept && at - live_since >= window;
            let is_about = fired.iter().any(|fired| *fired >= live_since) || judged;
            rule(is_about || live_since >= self.since(), "the release is newer than the alarm's evidence")?;
            let old = policy.window.is_some_and(|window| at - live_since > window + BLUR * 10);
            rule(!old, "the release is live for too long")?;
        }
        self.is_not_too_soon()?;
        rule(!self.is_irreversible(), "the release must not be gone back from")?;
        rule(
            !quarantined(self.after, self.stage(), &self.change.to, at),
            "it leads to a release in quarantine",
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

    /// Rollbacks by alarms before this one, each once: who comes second in the same moment changes nothing.
    fn is_not_too_soon(&self) -> Result<(), String> {
        let policy = &self.config.policy;
        let incidents = self.after.writes.iter().filter(|write| {
            write.name.contains("/incidents/") && write.first && write.at < self.run.began - BLUR
        });
        let automatic: Vec<DateTime<Utc>> = incidents
            .filter_map(|write| parse::<Incident>(&write.value).ok())
            .filter(|incident| incident.by_alarm && incident.stage == *self.stage())
            .map(|incident| incident.at)
            .filter(|at| self.is_listed(*at))
            .collect();
        if automatic.iter().any(|at| self.change.at - *at < policy.cooldown - BLUR) {
            return Err("the last rollback is too near".to_owned());
        }
        let today = automatic.iter().filter(|at| self.change.at - **at < TimeDelta::hours(23)).count();
        if today >= usize::try_from(policy.max_rollbacks).unwrap() {
            return Err(format!("there were {today} rollbacks today"));
        }
        Ok(())
    }

    /// Whether the rollback of that moment was on the stage's list before this run began: a run that died before it
    /// could say so is listed by the next sweep only.
    fn is_listed(&self, at: DateTime<Utc>) -> bool {
        let name = ParameterNames::under("/apigw-rollback").rollbacks(self.stage());
        let mark = format!("\"at\":{}", serde_json::json!(at));
        self.after.written(&name, self.since()).is_some_and(|list| list.value.contains(&mark))
    }

    fn is_irreversible(&self) -> bool {
        let name = ParameterNames::under("/apigw-rollback").candidate(self.stage());
        let was = |at| {
            let written = self.after.written(&name, at);
            let candidate = written.and_then(|write| parse::<Candidate>(&write.value).ok());
            candidate.is_some_and(|one| one.irreversible && one.release.in_stage() == self.change.from)
        };
        was(self.since()) && was(self.change.at)
    }
}

/// When the stage's alarms fired that were in ALARM at some moment of this time.
fn alarms_since(
    facts: &Facts,
    stage: &StageRef,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Vec<DateTime<Utc>> {
    let mut fired = Vec::new();
    let names =
        |now: &&AlarmNow| stages_named_by(&now.alarm).first().is_some_and(|one| one.stage == stage.stage);
    // One whose actions were off all the time says nothing.
    let is_off = |now: &&AlarmNow| {
        let mut ours = facts.switched.iter().filter(|(name, ..)| *name == now.alarm.name);
        let at_first = ours.clone().next().map_or(now.actions_enabled, |(_, _, on)| !on);
        let before = ours.clone().rfind(|(_, at, _)| *at < from).map_or(at_first, |(_, _, on)| *on);
        !before && !ours.any(|(_, at, on)| *on && from <= *at && *at <= to)
    };
    for now in facts.alarms.iter().filter(names).filter(|now| !is_off(now)) {
        let ours = facts.transitions.iter().filter(|(name, ..)| *name == now.alarm.name);
        let mut since: Option<DateTime<Utc>> = None;
        let known = ours.clone().next().is_some();
        for (_, at, state) in ours.filter(|(_, at, _)| *at <= to) {
            match (state, since) {
                (State::Alarm, None) => since = Some(*at),
                (State::Alarm, Some(_)) | (_, None) => {}
                (_, Some(began)) => {
                    fired.extend(Some(began).filter(|_| *at >= from));
                    since = None;
                }
            }
        }
        if !known && now.alarm.state == State::Alarm {
            since = now.alarm.changed_at;
        }
        fired.extend(since);
    }
    fired
}

/// Whether a release was taken off by then, as everybody could know, and nobody lifted its quarantine.
fn quarantined(facts: &Facts, stage: &StageRef, release: &Release, at: DateTime<Utc>) -> bool {
    let name = ParameterNames::under("/apigw-rollback").incident(stage, &release.fingerprint());
    let written = facts.written(&name, at - BLUR);
    let incident = written.and_then(|write| parse::<Incident>(&write.value).ok());
    incident.is_some_and(|incident| incident.lifted_by.is_none() && !incident.undone)
}

/// What the sweep records has served for the bake time, with quiet alarms and traffic, and is in no quarantine.
fn is_earned(
    before: &Facts,
    after: &Facts,
    config: &Config,
    run: &Seen,
    at: DateTime<Utc>,
    value: &str,
) -> Result<(), String> {
    let no = |why: &str| Err(format!("known-good by {} at {at}: {why}: {value}", run.hand));
    let Ok(record) = parse::<Record>(value) else { return no("it cannot be read") };
    // An older version that was gone back to was earned before.
    let known = after.records.iter().take_while(|(when, ..)| *when < at);
    if known.filter_map(|(_, _, value)| parse::<Record>(value).ok()).any(|one| one.release == record.release)
        || before.recorded(&record.stage).iter().any(|one| one.release == record.release)
    {
        return Ok(());
    }
    let (from, to) = (at - config.policy.bake + BLUR, run.began - BLUR);
    let on_stage = after.changes.iter().filter(|one| one.stage == record.stage && one.from != one.to);
    if on_stage.clone().any(|one| from < one.at && one.at < to && one.to != record.release.in_stage()) {
        return no("it was not live all the time");
    }
    if on_stage.clone().rfind(|one| one.at < to).is_some_and(|one| one.to != record.release.in_stage()) {
        return no("it was not live");
    }
    let fired = alarms_since(after, &record.stage, from, to);
    if from < to && !fired.is_empty() {
        return no("an alarm was in ALARM meanwhile");
    }
    let live_since = on_stage.clone().rfind(|one| one.at < to).map_or(before.now, |one| one.at);
    if config.policy.needs_data && after.samples_between(live_since, at) <= 0.0 {
        return no("there was no traffic");
    }
    if quarantined(after, &record.stage, &record.release, at) {
        return no("it is in quarantine");
    }
    Ok(())
}

/// Aliases and mappings move to where a recorded release has them, or back again; and users are led to a stage by its
/// mapping only when it serves that release.
fn moves(after: &Facts, run: &Seen) -> Result<(), String> {
    for (nth, one) in after.moves.iter().enumerate().filter(|(_, one)| one.by == run.hand) {
        let undoes = after.moves[..nth].iter().any(|before| {
            (&before.by, &before.part) == (&one.by, &one.part)
                && before.from == one.to
                && before.to == one.from
        });
        let raced = || {
            let mut others = after.changes.iter().filter(|change| change.by != one.by);
            others.any(|change| run.began <= change.at && change.at <= one.at)
        };
        let wrong = if !one.recorded && !undoes {
            "it is not recorded"
        } else if !one.ready && !undoes && !raced() {
            "its stage does not serve that release yet"
        } else {
            continue;
        };
        return Err(format!("{} by {} at {}: {} -> {}: {wrong}", one.part, one.by, one.at, one.from, one.to));
    }
    Ok(())
}

/// Of a stage nothing changes but what it serves, and no other stage, alias or mapping changes.
fn nothing_else(before: &Facts, after: &Facts) -> Result<(), String> {
    for (stage, was) in &before.stages {
        let Some(is) = after.stages.get(stage) else { return Err(format!("{stage} is gone")) };
        let same = (&was.description, was.cache, was.managed) == (&is.description, is.cache, is.managed);
        if !same || (was.closed != is.closed && !stage.is_parked()) {
            return Err(format!("{stage} has other settings than before"));
        }
    }
    let aliases = |facts: &Facts| facts.aliases.keys().cloned().collect::<Vec<_>>();
    let mappings = |facts: &Facts| facts.mappings.keys().cloned().collect::<Vec<_>>();
    if aliases(before) != aliases(after) || mappings(before) != mappings(after) {
        return Err("aliases or mappings are others than before".to_owned());
    }
    Ok(())
}

/// Nobody is told the same twice.
fn told_once(after: &Facts) -> Result<(), String> {
    let mut described = BTreeSet::new();
    for notice in &after.described {
        let chat: serde_json::Value =
            serde_json::from_str(&notice.chat).map_err(|error| error.to_string())?;
        // One thread is one bad release; if it is brought back and taken off again, that is news, with other times.
        let is_incident = ["ROLLED BACK", "RECOVERED"].iter().any(|word| notice.subject.starts_with(word));
        let text = is_incident.then(|| chat["content"]["description"].to_string());
        if !described.insert((notice.subject.as_str(), chat["metadata"]["threadId"].to_string(), text)) {
            return Err(format!("people were told twice: {}", notice.subject));
        }
    }
    Ok(())
}

/// A run that did not die ends in a report: one for an alarm that names one stage, one of its own for a sweep.
fn is_reported(run: &Seen) -> Result<(), String> {
    let Some(reports) = &run.reports else { return Ok(()) };
    let wrong = match &run.signal {
        Signal::Alarm { .. } => reports.len() != 1,
        Signal::Person => reports.is_empty(),
        Signal::Sweep => {
            let own = |one: &&Report| one.stage.is_none();
            reports.iter().filter(own).filter(|one| one.outcome == Outcome::Swept).count() > 1
                || !reports.iter().any(|one| matches!(one.outcome, Outcome::Swept | Outcome::Failed))
        }
    };
    if wrong {
        return Err(format!("{} ended in {} reports", run.hand, reports.len()));
    }
    Ok(())
}

/// Once nothing fails any more and two sweeps have gone by, the stage serves its known-good release, the incident is
/// on the list, and people heard of it once.
pub(crate) fn healed(facts: &Facts, stage: &StageRef, traced: bool) -> Result<(), String> {
    let known = facts.recorded(stage);
    let Some(good) = known.last() else { return Err("nothing is recorded".to_owned()) };
    let live = facts.stages.get(stage).map(|live| live.release.clone()).unwrap_or_default();
    if live != good.release.in_stage() {
        return Err(format!("{stage} serves {live}, and not {}", good.release));
    }
    for (alias, target) in &good.release.aliases {
        if facts.aliases.get(alias).map(|live| &live.target) != Some(target) {
            return Err(format!("the alias {alias} is not at {target}"));
        }
    }
    for (mapping, target) in &good.release.mappings {
        if facts.mappings.get(mapping).map(|live| &live.target) != Some(target) {
            return Err(format!("the mapping {mapping} is not at {target}"));
        }
    }
    let names = ParameterNames::under("/apigw-rollback");
    let listed = facts.parameters.get(&names.rollbacks(stage)).and_then(|versions| versions.last());
    if traced && !listed.is_some_and(|listed| listed.contains("\"fingerprint\"")) {
        return Err(format!("the rollback of {stage} is not on its list"));
    }
    let rolled_back =
        facts.described.iter().filter(|notice| notice.subject.starts_with("ROLLED BACK")).count();
    if rolled_back > 1 {
        return Err(format!("people were told of {rolled_back} rollbacks"));
    }
    Ok(())
}

/// Whether some run put the stage back, as far as its reports say.
pub(crate) fn reported(runs: &[Seen]) -> usize {
    let all = runs.iter().filter_map(|run| run.reports.as_ref()).flatten();
    all.filter(|report| report.outcome == Outcome::RolledBack).count()
}
