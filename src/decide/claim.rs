//! The claim: decides which of several runs rolls a stage back, and holds every time limit for that. Pure;
//! `rollback::claim` writes the claim.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::observed::Observed;
use crate::model::plan::Plan;
use crate::model::records::{Incident, RollbackEntry, Rollbacks};
use crate::model::release::Release;

/// How long a rollback of several steps waits for its claim before it acts without one. If Parameter Store is slow, the
/// rollback matters more than the claim.
pub const HEAD_START: Duration = Duration::from_secs(1);

/// Runs that claim within this time of each other belong to the same incident: duplicate deliveries, or two alarms of
/// one bad release.
const SAME_INCIDENT: TimeDelta = TimeDelta::minutes(10);

/// A run that claimed longer ago than this counts as dead. Lambda retries an event after a minute, so the retry takes
/// over from a dead run.
const UNDER_WAY: TimeDelta = TimeDelta::seconds(45);

/// A refused run undoes its steps within this time of its claim, measured by two clocks. A later change counts as
/// another deploy, and only the sweep judges it.
const UNDOING: TimeDelta = TimeDelta::seconds(60);

/// No run takes longer: the function's timeout is five minutes.
pub(super) const LONGEST_RUN: TimeDelta = TimeDelta::minutes(6);

/// Reports whether the claim comes before the first step. A claim for one step is written at the same time as the step,
/// which saves a round trip. A refused run of several steps undoes them, and must not undo another run's steps.
#[must_use]
pub fn comes_first(plan: &Plan) -> bool {
    plan.steps.len() > 1 || plan.is_partly_done()
}

/// Reports whether the stage was rolled back so recently that an alarm with nothing left to do is the same incident.
#[must_use]
pub fn is_fresh(rollbacks: &Rollbacks, now: DateTime<Utc>) -> bool {
    rollbacks.past.iter().any(|entry| now.signed_duration_since(entry.at) < SAME_INCIDENT)
}

/// Reports whether another run rolled the stage back right after this incident was opened.
#[must_use]
pub fn is_followed(rollbacks: &Rollbacks, incident: &Incident) -> bool {
    let after = |entry: &RollbackEntry| entry.at.signed_duration_since(incident.at);
    rollbacks.past.iter().any(|entry| after(entry) >= TimeDelta::zero() && after(entry) < SAME_INCIDENT)
}

/// Reports whether the run that opened this incident may still be acting.
#[must_use]
pub fn is_under_way(incident: &Incident, now: DateTime<Utc>) -> bool {
    (incident.at - now).abs() < UNDER_WAY && !incident.undone
}

/// Reports whether a run wants to open the same incident that another run opened before.
#[must_use]
pub fn is_same(ours: &Incident, before: &Incident) -> bool {
    let close = ours.at.signed_duration_since(before.at).abs() < SAME_INCIDENT;
    // If the bad release was redeployed, a run that saw only its first deployment also counts as late.
    let is_not_newer = match (ours.since, before.since) {
        (Some(ours), Some(theirs)) => ours <= theirs,
        _ => true,
    };
    close && is_not_newer && !before.undone
}

/// Returns the plan of the run that opened an incident, without its steps.
#[must_use]
pub fn plan_of(incident: &Incident) -> Plan {
    Plan {
        stage: incident.stage.clone(),
        from: incident.bad.release.clone(),
        to: incident.good.release.clone(),
        version: incident.version,
        steps: vec![],
        flush: false,
    }
}

/// Whether a release occurs during an incident's rollback. An incident that keeps only parts of its releases cannot tell.
fn passes_through(incident: &Incident, release: &Release) -> bool {
    incident.is_whole() && plan_of(incident).passes_through(release)
}

/// Reports whether the stage is halfway through another run's rollback. While that run may still be acting, this run
/// must neither judge the stage nor continue the rollback.
#[must_use]
pub fn is_half_done(other_run: &Incident, observed: &Observed) -> bool {
    let Some(live) = &observed.live else { return false };
    !other_run.bad.is(&live.release)
        && !other_run.good.is(&live.release)
        && is_under_way(other_run, observed.at)
        && passes_through(other_run, &live.release)
}

/// Returns the incident of another run whose half-done rollback this run found as the live release. A half-done release
/// has another fingerprint than the bad one, so each run would open its own incident.
pub fn half_done_by(mut all: impl Iterator<Item = Incident>, ours: &Incident) -> Option<Incident> {
    all.find(|one| {
        is_under_way(one, ours.at)
            && (one.good.fingerprint(), one.version) == (ours.good.fingerprint(), ours.version)
            && one.bad.fingerprint() != ours.bad.fingerprint()
            && ours.is_whole()
            && passes_through(one, &ours.bad.release)
    })
}

/// Returns the incident whose rollback made the stage serve this release a moment ago, if any. The list of rollbacks does not
/// have it yet, or its run died before it could write the list.
pub fn just_rolled_back(
    all: impl Iterator<Item = Incident>,
    live: &Release,
    now: DateTime<Utc>,
) -> Option<Incident> {
    let is_it = |one: &Incident| {
        one.good.is(live) && !one.undone && now.signed_duration_since(one.at) < SAME_INCIDENT
    };
    all.filter(is_it).max_by_key(|one| one.at)
}

/// Returns since when the release was live before a refused run undid its steps, if that undo can be the stage's last
/// change. API Gateway reports the undo as a change, but the stage is as it was when the alarm fired.
#[must_use]
pub fn live_before_undoing(incident: &Incident, changed_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let undid = incident.undone && (changed_at - incident.at).abs() < UNDOING;
    incident.since.filter(|_| undid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixture::{good, incident, release};
    use crate::decide::incidents::entry_of;
    use crate::model::component::AliasRef;
    use crate::model::stage::LiveStage;

    /// An incident that a run opened so many seconds after the stage was looked at.
    fn opened(seconds: i64) -> Incident {
        let (_, observed) = good();
        let since = Some(observed.at - TimeDelta::minutes(30));
        Incident { since, ..incident("2", "1", observed.at + TimeDelta::seconds(seconds)) }
    }

    fn listed(seconds: i64) -> Rollbacks {
        Rollbacks { past: vec![entry_of(&opened(seconds))], ..Rollbacks::default() }
    }

    /// Release 2 after the first step of the rollback to release 1.
    fn halfway() -> Release {
        let mut release = release("2");
        let alias: AliasRef = "orders:live".parse().unwrap();
        let (plan, _) = good();
        release.aliases.insert(alias.clone(), plan.to.aliases[&alias].clone());
        release
    }

    fn part_of(incident: &mut Incident) {
        incident.good.part_of = Some(incident.good.fingerprint());
    }

    #[test]
    fn a_claim_comes_first_if_there_are_several_steps() {
        for (steps, first) in [(1, false), (2, true), (3, true)] {
            let (mut plan, _) = good();
            for release in [&mut plan.from, &mut plan.to] {
                (release.aliases, release.mappings) = Default::default();
            }
            plan.steps.truncate(steps);
            assert_eq!(comes_first(&plan), first, "{steps} steps");
        }
        let (mut plan, _) = good();
        plan.steps.truncate(1);
        assert!(comes_first(&plan), "another step is done already");
    }

    #[test]
    fn every_time_limit_of_a_claim_holds_to_the_second() {
        let (_, observed) = good();
        let now = observed.at;
        for (seconds, fresh) in [(0, true), (-599, true), (-600, false)] {
            assert_eq!(is_fresh(&listed(seconds), now), fresh, "{seconds} s");
        }
        for (seconds, followed) in [(-1, false), (0, true), (599, true), (600, false)] {
            assert_eq!(is_followed(&listed(seconds), &opened(0)), followed, "{seconds} s");
        }
        for (seconds, acting) in [(-45, false), (-44, true), (0, true), (44, true), (45, false)] {
            assert_eq!(is_under_way(&opened(seconds), now), acting, "{seconds} s");
        }
        for (seconds, same) in [(-600, false), (-599, true), (0, true), (599, true), (600, false)] {
            assert_eq!(is_same(&opened(seconds), &opened(0)), same, "{seconds} s");
        }
        for (seconds, undid) in [(-60, false), (-59, true), (59, true), (60, false)] {
            let incident = Incident { undone: true, ..opened(0) };
            let since = live_before_undoing(&incident, now + TimeDelta::seconds(seconds));
            assert_eq!(since.is_some(), undid, "{seconds} s");
        }
        assert!(!is_fresh(&Rollbacks::default(), now));
        assert!(!is_under_way(&Incident { undone: true, ..opened(0) }, now));
        assert_eq!(live_before_undoing(&opened(0), now), None);
    }

    #[test]
    fn an_incident_is_the_same_unless_its_release_is_newer() {
        let before = opened(0);
        let [earlier, later] = [-1, 1].map(|second| before.since.map(|at| at + TimeDelta::seconds(second)));
        for (since, same) in [(earlier, true), (before.since, true), (later, false), (None, true)] {
            assert_eq!(is_same(&Incident { since, ..opened(0) }, &before), same, "{since:?}");
        }
        assert!(!is_same(&opened(0), &Incident { undone: true, ..opened(0) }));
    }

    #[test]
    fn a_stage_is_half_done_between_both_releases_while_the_other_run_may_act() {
        let whole = opened(0);
        let mut part = opened(0);
        part_of(&mut part);
        let rows: [(&str, &Incident, Option<Release>, bool); 7] = [
            ("halfway", &whole, Some(halfway()), true),
            ("the bad release", &whole, Some(release("2")), false),
            ("the good release", &whole, Some(release("1")), false),
            ("another release", &whole, Some(release("3")), false),
            ("no stage", &whole, None, false),
            ("a dead run", &opened(-45), Some(halfway()), false),
            ("an incident that cannot tell", &part, Some(halfway()), false),
        ];
        for (what, incident, live, half_done) in rows {
            let (_, mut observed) = good();
            observed.live = observed.live.zip(live).map(|(stage, release)| LiveStage { release, ..stage });
            assert_eq!(is_half_done(incident, &observed), half_done, "{what}");
        }
    }

    #[test]
    fn a_run_that_finds_a_half_done_release_finds_whose_it_is() {
        type Edit = fn(&mut Incident, &mut Incident);
        let rows: [(&str, Edit, bool); 8] = [
            ("halfway", |_, _| (), true),
            ("the other run is dead", |other, _| other.at -= UNDER_WAY, false),
            ("the other one rolls back to another version", |other, _| other.version += 1, false),
            (
                "the other one rolls back to another release",
                |other, _| other.good = release("3").into(),
                false,
            ),
            ("the same release", |_, ours| ours.bad = release("2").into(), false),
            ("another release", |_, ours| ours.bad = release("3").into(), false),
            ("the other one cannot tell", |other, _| part_of(other), false),
            ("ours cannot tell", |_, ours| part_of(ours), false),
        ];
        for (what, edit, found) in rows {
            let (mut other, mut ours) = (opened(0), Incident { bad: halfway().into(), ..opened(0) });
            edit(&mut other, &mut ours);
            assert_eq!(half_done_by([other].into_iter(), &ours).is_some(), found, "{what}");
        }
    }

    #[test]
    fn the_last_rollback_to_the_live_release_explains_it_for_a_while() {
        type Edit = fn(&mut Incident);
        let now = opened(0).at;
        let rows: [(&str, Edit, Option<i64>); 5] = [
            ("two rollbacks", |_| (), Some(-10)),
            ("almost too long ago", |last| last.at -= TimeDelta::seconds(589), Some(-599)),
            ("too long ago", |last| last.at -= TimeDelta::seconds(590), None),
            ("undone", |last| last.undone = true, None),
            ("to another release", |last| last.good = release("3").into(), None),
        ];
        for (what, edit, found) in rows {
            let mut last = opened(-10);
            edit(&mut last);
            let of = just_rolled_back([opened(-700), last].into_iter(), &release("1"), now);
            assert_eq!(of.map(|one| (one.at - now).num_seconds()), found, "{what}");
        }
        let of = just_rolled_back([opened(-30), opened(-20)].into_iter(), &release("1"), now);
        assert_eq!(of.map(|one| (one.at - now).num_seconds()), Some(-20));
    }
}
