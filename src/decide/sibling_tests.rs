//! The tests of what the incident of a sibling means for a stage.

use super::fixture::{TOPIC, good, policy, record, rollout, rollout_of_versions};
use super::sibling::{
    Contents, Place, against, against_rollout, place, rollout_label, still_serves, until_cleared,
};
use super::{Decision, Trigger, decide};
use crate::model::alarm::time;
use crate::model::observed::Observed;
use crate::model::policy::{Siblings, StagePolicy};
use crate::model::protocol::Protocol;
use crate::model::records::{Candidate, Hold, RollbackEntry, SCHEMA};
use crate::model::release::{Canary, Release};
use crate::model::rollout::{Rollout, RolloutState};
use crate::model::sibling::{BadRelease, Deed, SiblingIncident};

fn text(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn incident(label: &str, contents: &str, here: &str) -> SiblingIncident {
    SiblingIncident {
        bad: BadRelease {
            region: "us-east-1".into(),
            function: "apigw-rollback".into(),
            id: "i".into(),
            label: text(label),
            contents: text(contents),
        },
        deed: Deed::RolledBack,
        at: time("2026-11-20T10:00:00Z").unwrap(),
        here: text(here),
        cleared: false,
    }
}

/// A stage that serves release 2 with this label, whose known-good release 1 has that label.
fn labelled(live: &str, known_good: &str) -> Observed {
    let (_, mut observed) = good();
    let known = record(&mut observed);
    (known.label, known.release) = (text(known_good), known.release.in_stage());
    let stage = observed.live.as_mut().unwrap();
    stage.release = stage.release.in_stage();
    let release = stage.release.clone();
    let seen = time("2026-11-20T09:00:00Z").unwrap();
    let candidate = Candidate::new(Protocol::Rest, &release, seen);
    observed.on_record.candidate = Some(Candidate { label: text(live), ..candidate });
    observed
}

#[test]
fn a_bad_release_is_found_by_its_label_or_else_by_its_contents_and_never_guessed() {
    use Place::{Elsewhere, KnownGood, Live, Unknown};
    for (case, bad, labels, contents, expected) in [
        ("the label of the live release", ("v2", ""), ("v2", "v1"), ("", ""), Live),
        ("another label", ("v3", ""), ("v2", "v1"), ("", ""), Elsewhere),
        ("the label of the known-good release", ("v1", ""), ("v2", "v1"), ("", ""), KnownGood),
        ("both have the label", ("v2", ""), ("v2", "v2"), ("", ""), KnownGood),
        ("another label and the same contents", ("v3", "c"), ("v2", "v1"), ("c", "g"), Elsewhere),
        ("no label there, the same contents", ("", "c"), ("v2", "v1"), ("c", "g"), Live),
        ("no label here, the same contents", ("v2", "c"), ("", "v1"), ("c", "g"), Live),
        ("no label here, other contents", ("v2", "c"), ("", "v1"), ("d", "g"), Elsewhere),
        ("the contents of the known-good release", ("", "c"), ("", ""), ("d", "c"), KnownGood),
        ("contents that both deployments have", ("", "c"), ("", ""), ("c", "c"), KnownGood),
        ("no label and no contents", ("", ""), ("v2", "v1"), ("c", "g"), Unknown),
        ("no label here and no contents there", ("v2", ""), ("", ""), ("c", "g"), Unknown),
        ("no contents here", ("", "c"), ("", ""), ("", ""), Unknown),
    ] {
        let observed = labelled(labels.0, labels.1);
        let contents = Contents { live: text(contents.0), canary: None, known_good: text(contents.1) };
        let live = &observed.live.as_ref().unwrap().release;
        let found = place(&incident(bad.0, bad.1, "").bad, live, &observed.on_record, &contents);
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn a_release_that_was_seen_here_and_is_not_live_any_more_is_elsewhere() {
    for (case, heard, candidate, expected) in [
        ("nothing is known", "", "", Place::Unknown),
        ("the last candidate had the label", "", "v2", Place::Elsewhere),
        ("the last candidate had another label", "", "v3", Place::Unknown),
        ("an earlier message was about another deployment", "d2", "", Place::Elsewhere),
        ("an earlier message was about this deployment", "d1", "", Place::Unknown),
    ] {
        let mut observed = labelled(candidate, "");
        let known = record(&mut observed).release.clone();
        observed.live.as_mut().unwrap().release = known;
        let message = incident("v2", "c", heard);
        let list = observed.on_record.rollbacks.clone();
        observed.on_record.rollbacks = list.with_sibling(message.clone());
        let live = &observed.live.as_ref().unwrap().release;
        let found = place(&message.bad, live, &observed.on_record, &Contents::default());
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn a_canary_is_found_by_the_label_of_its_rollout_or_by_its_contents() {
    use Place::{Canary as AsCanary, Elsewhere, Live, Unknown};
    for (case, bad, label, contents, expected) in [
        ("the label of the rollout", ("v9", ""), "v9", ("", ""), AsCanary),
        ("the label of the base", ("v2", ""), "v9", ("", ""), Live),
        ("another label", ("v3", ""), "v9", ("", ""), Elsewhere),
        ("no label of the rollout, the same contents", ("", "c"), "", ("b", "c"), AsCanary),
        ("no label and no contents of the canary", ("v3", ""), "", ("", ""), Unknown),
        ("neither's contents", ("", "x"), "", ("b", "c"), Elsewhere),
    ] {
        let mut observed = labelled("", "v1");
        let rolled = rollout(RolloutState::Baking);
        let canary = Canary { percent: "5".into(), ..rolled.canary.clone().unwrap() };
        let live = &mut observed.live.as_mut().unwrap().release;
        live.canary = Some(canary);
        let live = live.clone();
        let rolled = Rollout { label: text(label), ..rolled };
        observed.on_record.rollout = Ok(Some((1, Box::new(rolled))));
        if let Some(candidate) = &mut observed.on_record.candidate {
            (candidate.release, candidate.label) = (live.clone(), text("v2"));
        }
        let contents = Contents { live: text(contents.0), canary: text(contents.1), known_good: None };
        let found = place(&incident(bad.0, bad.1, "").bad, &live, &observed.on_record, &contents);
        assert_eq!(found, expected, "{case}");
        assert_eq!(rollout_label(&observed.on_record, &live), text(label).as_deref(), "{case}");
    }
}

#[test]
fn a_step_of_a_rollout_leaves_the_release_that_was_found_and_every_other_change_does_not() {
    let (_, observed) = good();
    let canary = |deployment: &str, percent: &str| Canary {
        deployment: text(deployment),
        percent: percent.into(),
        overrides: [].into(),
        uses_cache: false,
    };
    let found = observed.live.unwrap().release;
    let with = |canary| Release { canary: Some(canary), ..found.clone() };
    let mut other_variable = found.clone();
    other_variable.variables.clear();
    for (case, now, found, expected) in [
        ("the same", found.clone(), found.clone(), true),
        ("another variable", other_variable, found.clone(), false),
        ("another share", with(canary("d3", "50")), with(canary("d3", "10")), true),
        ("another canary", with(canary("d4", "10")), with(canary("d3", "10")), false),
        ("the canary is off", found.clone(), with(canary("d3", "10")), false),
    ] {
        assert_eq!(still_serves(&now, &found), expected, "{case}");
    }
}

#[test]
fn an_incident_holds_its_release_until_an_operator_clears_it_or_another_one_is_live() {
    for (case, siblings, heard, cleared, label, deployment, expected) in [
        ("told only", Siblings::Tell, incident("v2", "", "d2"), false, "v2", "d2", false),
        ("held by its label", Siblings::Hold, incident("v2", "", ""), false, "v2", "d2", true),
        (
            "a rollback that was not possible",
            Siblings::Follow,
            incident("v2", "", ""),
            false,
            "v2",
            "d2",
            true,
        ),
        ("held by its contents", Siblings::Hold, incident("", "c", "d2"), false, "", "d2", true),
        ("cleared", Siblings::Hold, incident("v2", "", "d2"), true, "v2", "d2", false),
        ("another release is live", Siblings::Hold, incident("v2", "", "d2"), false, "v3", "d3", false),
        (
            "another release without a label",
            Siblings::Hold,
            incident("v2", "c", "d2"),
            false,
            "",
            "d3",
            false,
        ),
        ("nothing is known", Siblings::Hold, incident("", "", ""), false, "", "d2", false),
    ] {
        let (_, mut observed) = good();
        let list = observed.on_record.rollbacks.clone();
        observed.on_record.rollbacks = list.with_sibling(SiblingIncident { cleared, ..heard });
        let policy = StagePolicy { siblings, ..policy() };
        let found = against(&observed.on_record, &policy, text(label).as_deref(), Some(deployment));
        assert_eq!(found.is_some(), expected, "{case}");
    }
}

#[test]
fn a_sibling_leads_to_a_rollback_only_if_the_preconditions_of_this_region_allow_it() {
    type Twist = fn(&mut Observed, &mut StagePolicy);
    let cases: [(&str, Twist, &str); 8] = [
        ("nothing is in the way", |_, _| {}, "rolls back"),
        (
            "the stage changed meanwhile",
            |o, _| o.live.as_mut().unwrap().release.deployment = "d3".into(),
            "sibling-elsewhere",
        ),
        (
            "it serves the known-good release",
            |o, _| record(o).release = o.live.as_ref().unwrap().release.clone(),
            "already-known-good",
        ),
        (
            "an operator holds it",
            |o, _| {
                let until = time("2026-11-21T10:00:00Z").unwrap();
                o.on_record.hold = Some(Hold { schema: SCHEMA, until, by: None, why: None });
            },
            "held-by-operator",
        ),
        (
            "the release is old",
            |o, _| o.live.as_mut().unwrap().updated_at = time("2026-11-01T10:00:00Z"),
            "outside-window",
        ),
        (
            "it is irreversible",
            |o, _| o.on_record.candidate.as_mut().unwrap().irreversible = true,
            "irreversible-release",
        ),
        (
            "an alarm rolled it back a moment ago",
            |o, _| {
                let past = RollbackEntry {
                    at: time("2026-11-20T10:05:00Z").unwrap(),
                    fingerprint: "f".into(),
                    alarm: text(TOPIC),
                    alarm_at: None,
                    other_source: false,
                    recovered_at: None,
                    lifted: false,
                };
                o.on_record.rollbacks = o.on_record.rollbacks.clone().with(past);
            },
            "cooldown",
        ),
        ("it only observes", |_, p| p.mode = crate::model::policy::Mode::Observe, "observe-mode"),
    ];
    for (case, twist, expected) in cases {
        let mut observed = labelled("v2", "v1");
        let found = observed.live.as_ref().unwrap().release.clone();
        let mut policy = policy();
        twist(&mut observed, &mut policy);
        let heard = incident("v2", "", "d2");
        let trigger = Trigger::Sibling { incident: &heard, found: &found };
        let now = time("2026-11-20T10:06:00Z").unwrap();
        let outcome = match decide(trigger, &observed, &policy, now) {
            Decision::Act(plan) => {
                assert_eq!(super::check(&plan, &observed), Ok(()), "{case}");
                "rolls back"
            }
            Decision::Hold(reason) => reason.code(),
        };
        assert_eq!(outcome, expected, "{case}");
    }
}

#[test]
fn a_release_that_gets_traffic_by_the_weights_of_aliases_is_found_by_its_label() {
    let (_, mut observed) = good();
    let rolled = rollout_of_versions(RolloutState::Baking);
    let (live, label) = (rolled.in_step(), rolled.label.clone().unwrap());
    observed.on_record.rollout = Ok(Some((1, Box::new(rolled))));
    for (bad, expected) in [(label.as_str(), Place::Canary), ("another", Place::Unknown)] {
        let found = place(&incident(bad, "", "").bad, &live, &observed.on_record, &Contents::default());
        assert_eq!(found, expected, "{bad}");
    }
    let mut later = live.clone();
    for share in later.aliases.values_mut().flat_map(|target| target.weights.values_mut()) {
        share.push('5');
    }
    assert!(later != live && still_serves(&later, &live), "another share");
    later.aliases.values_mut().for_each(|target| target.version.push('0'));
    assert!(!still_serves(&later, &live), "another version");
}

#[test]
fn a_canary_that_belongs_to_no_rollout_is_found_by_its_contents() {
    for (case, contents, expected) in [
        ("its contents", ("b", "c"), Place::Canary),
        ("the contents of the stage's deployment", ("c", "b"), Place::Live),
        ("other contents", ("b", "d"), Place::Elsewhere),
        ("unknown contents", ("b", ""), Place::Unknown),
    ] {
        let observed = labelled("", "");
        let canary = rollout(RolloutState::Baking).canary;
        let live = Release { canary, ..observed.live.unwrap().release };
        let contents = Contents { live: text(contents.0), canary: text(contents.1), known_good: None };
        let found = place(&incident("", "c", "").bad, &live, &observed.on_record, &contents);
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn a_message_about_another_deployment_than_the_stages_and_its_canarys_is_about_no_release_of_the_stage() {
    for (heard, canary, expected) in [
        ("d2", None, Place::Live),
        ("d2", Some("d3"), Place::Live),
        ("d3", Some("d3"), Place::Live),
        ("d3", None, Place::Elsewhere),
        ("d4", Some("d3"), Place::Elsewhere),
    ] {
        let mut observed = labelled("", "");
        let of_rollout = rollout(RolloutState::Baking).canary.unwrap();
        let canary =
            canary.map(|deployment: &str| Canary { deployment: text(deployment), ..of_rollout.clone() });
        let message = incident("", "c", heard);
        let list = observed.on_record.rollbacks.clone();
        observed.on_record.rollbacks = list.with_sibling(message.clone());
        let live = Release { canary, ..observed.live.unwrap().release };
        let contents = Contents { live: text("c"), canary: text("d"), known_good: None };
        let found = place(&message.bad, &live, &observed.on_record, &contents);
        assert_eq!(found, expected, "{heard} {:?}", live.canary);
    }
}

#[test]
fn an_incident_stops_a_rollout_of_its_release_and_says_how_that_ends() {
    let ends = "Region us-east-1 rolled the release `v2` back at 2026-11-20T10:00:00Z; `release-hold` lets the stage go on";
    assert_eq!(until_cleared(&incident("v2", "", "")), ends);
    for (case, siblings, heard, label, stops) in [
        ("its label", Siblings::Hold, incident("v2", "", ""), "v2", true),
        ("another label", Siblings::Hold, incident("v2", "", "d2"), "v3", false),
        ("no label, and its canary's deployment", Siblings::Follow, incident("v2", "", "d2"), "", true),
        ("no label, and another deployment", Siblings::Hold, incident("v2", "", "d3"), "", false),
        ("its label, but told only", Siblings::Tell, incident("v2", "", ""), "v2", false),
    ] {
        let (_, mut observed) = good();
        let list = observed.on_record.rollbacks.clone();
        observed.on_record.rollbacks = list.with_sibling(heard);
        let policy = StagePolicy { siblings, ..policy() };
        let rolled = Rollout { label: text(label), ..rollout(RolloutState::Baking) };
        let found = against_rollout(&observed.on_record, &policy, &rolled);
        assert_eq!(found.as_deref(), stops.then_some(ends), "{case}");
    }
}
