//! Several Regions with the same API. What one function reports about a bad release reaches the others as EventBridge
//! delivers it: late, twice, in another order, or never.

mod contents;
mod random;

use std::fmt::Write as _;

use apigw_rollback::model::access_log::{self, AccessLog};
use apigw_rollback::model::alarm::State;
use apigw_rollback::model::protocol::Protocol;
use serde_json::{Value, json};

use super::rollouts::{Rolls, serve, start};
use crate::support::harness::{event, snapshot};
use crate::support::story::Story;
use crate::support::world::{API, Facts, Fault, World, denied};

const ACCOUNT: &str = "123456789012";
const ALL: [&str; 3] = ["eu-west-1", "us-east-1", "ap-south-1"];

/// The same API in several Regions.
struct Fleet {
    regions: Vec<(&'static str, Option<Story>)>,
    described: String,
}

/// A Region whose first release is known-good, with this policy for the incidents of the others.
fn region(region: &'static str, others: &[&str], siblings: &str) -> Story {
    let others: &'static str = others.join(",").leak();
    let story = Story::new()
        .set("AWS_REGION", region)
        .set("SIBLINGS", others)
        .set("EVENT_BUS", "default")
        .set("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people");
    let policy = json!({"schema": 1, "siblings": siblings}).to_string();
    let story = story.world("", |facts| {
        for now in &mut facts.alarms {
            now.alarm.arn = now.alarm.arn.as_ref().map(|arn| arn.replace("eu-west-1", region));
        }
        facts.parameters.insert(format!("/apigw-rollback/stages/{API}/prod/policy"), vec![policy]);
    });
    story.sweep().later(31).sweep().quietly()
}

impl Fleet {
    fn of(number: usize, siblings: &str) -> Self {
        let names = &ALL[..number];
        let others = |of: &str| names.iter().copied().filter(|name| *name != of).collect::<Vec<_>>();
        let regions = names.iter().map(|name| (*name, Some(region(name, &others(name), siblings)))).collect();
        Self { regions, described: String::new() }
    }

    /// Lets something happen in one Region.
    fn at(mut self, region: &str, what: impl FnOnce(Story) -> Story) -> Self {
        let (name, story) = self.regions.iter_mut().find(|(name, _)| *name == region).unwrap();
        let done = what(story.take().unwrap());
        if !done.described.is_empty() {
            writeln!(self.described, "== {name}").unwrap();
            self.described.push_str(&done.described);
        }
        *story = Some(done.quietly());
        self
    }

    /// Lets the same happen in every Region.
    fn everywhere(self, what: impl Fn(Story) -> Story) -> Self {
        let names: Vec<_> = self.regions.iter().map(|(name, _)| *name).collect();
        names.into_iter().fold(self, |fleet, name| fleet.at(name, &what))
    }

    fn facts(&self, region: &str) -> Facts {
        let (_, story) = self.regions.iter().find(|(name, _)| *name == region).unwrap();
        story.as_ref().unwrap().world.facts()
    }

    /// The messages that the rule of a Region's stack forwards, in their order (`template.yaml`, `SiblingsRule`).
    fn forwarded(&self, region: &str) -> Vec<String> {
        let is_forwarded = |detail: &Value| {
            ["rolled-back", "rollout-aborted"].map(Value::from).contains(&detail["outcome"])
                && detail["bad"]["region"] == region
        };
        let all = self.facts(region).events;
        let all = all.iter().map(|detail| serde_json::from_str::<Value>(detail).unwrap());
        all.filter(is_forwarded).map(|detail| message(&detail, region)).collect()
    }

    /// Delivers the n-th message of a Region to another one.
    fn delivers(self, from: &str, nth: usize, to: &str) -> Self {
        let message = self.forwarded(from)[nth].clone();
        let now = self.facts(from).now;
        self.at(to, |story| {
            let story = story.world("", |facts| facts.now = facts.now.max(now)).quietly();
            story.send(&format!("a message of {from} arrives"), &message)
        })
    }

    fn stage(&self, region: &str) -> String {
        self.facts(region).stage().release.deployment.clone()
    }

    fn ends(self, story: &str) -> Self {
        snapshot(story, &self.described);
        self
    }
}

/// An event as the bus of another Region has it: EventBridge sets the account and the Region.
fn message(detail: &Value, region: &str) -> String {
    let event: Value = serde_json::from_str(&event("eventbridge-sibling")).unwrap();
    let mut event = event;
    (event["account"], event["region"], event["detail"]) = (json!(ACCOUNT), json!(region), detail.clone());
    event.to_string()
}

/// A pipeline deploys a release and announces its label.
fn release(number: u8, label: &'static str) -> impl Fn(Story) -> Story {
    move |story| story.deploy(number).command("announce", &json!({"label": label})).later(1).quietly()
}

/// The alarm fires and its event arrives.
fn fires(story: Story) -> Story {
    story.later(1).alarm_is(State::Alarm).event_arrives()
}

/// Two Regions that serve v2 as deployment d2, and the first one rolls it back.
fn two(siblings: &str) -> Fleet {
    Fleet::of(2, siblings).everywhere(release(2, "v2")).at("eu-west-1", |one| fires(one).quietly())
}

#[test]
fn by_default_people_are_told_once_and_nothing_else_happens() {
    let fleet = two("tell").delivers("eu-west-1", 0, "us-east-1").delivers("eu-west-1", 0, "us-east-1");
    assert_eq!(fleet.stage("us-east-1"), "d2");
    // The harness gives every run the same name, so the mark is what shows that people are told once.
    let told = fleet.facts("us-east-1").parameters.into_keys().filter(|name| name.contains("/told/"));
    assert_eq!(told.count(), 1);
    fleet.at("us-east-1", |two| two.later(31).sweep()).ends("a sibling is told");
}

#[test]
fn a_held_release_is_not_promoted_until_an_operator_clears_it() {
    two("hold")
        .delivers("eu-west-1", 0, "us-east-1")
        .at("us-east-1", |two| {
            let two = two.later(31).sweep().command("promote", &json!({})).command("status", &json!({}));
            two.command("release-hold", &json!({}))
        })
        .delivers("eu-west-1", 0, "us-east-1")
        .at("us-east-1", Story::sweep)
        .ends("a sibling is held");
}

#[test]
fn a_held_release_ends_with_the_next_one() {
    let fleet = two("hold").delivers("eu-west-1", 0, "us-east-1");
    let fleet = fleet.at("us-east-1", release(3, "v3")).at("us-east-1", |two| two.sweep().later(31).sweep());
    fleet.ends("a hold of a sibling ends with another release");
}

/// The message arrives before the release does.
#[test]
fn a_release_that_goes_live_after_the_message_is_held() {
    Fleet::of(2, "hold")
        .at("eu-west-1", release(2, "v2"))
        .at("eu-west-1", |one| fires(one).quietly())
        .delivers("eu-west-1", 0, "us-east-1")
        .at("us-east-1", release(2, "v2"))
        .at("us-east-1", |two| two.sweep().later(31).sweep())
        .ends("a sibling gets the release after the message");
}

#[test]
fn a_stage_follows_and_does_not_pass_the_message_on() {
    let fleet = two("follow").delivers("eu-west-1", 0, "us-east-1").delivers("eu-west-1", 0, "us-east-1");
    assert_eq!(fleet.stage("us-east-1"), "d1");
    assert!(fleet.forwarded("us-east-1").is_empty());
    fleet.at("us-east-1", |two| two.later(31).sweep()).ends("a sibling follows");
}

/// Every message that is forwarded reaches both others, until none is left.
#[test]
fn in_a_circle_of_three_each_region_rolls_back_once() {
    let mut fleet = Fleet::of(3, "follow").everywhere(release(2, "v2"));
    fleet = fleet.at("us-east-1", |two| fires(two).quietly());
    let mut taken = [0; 3];
    for round in 0.. {
        assert!(round < 5, "the messages go in a circle");
        let mut any = false;
        for (nth, from) in ALL.into_iter().enumerate() {
            while taken[nth] < fleet.forwarded(from).len() {
                any = true;
                for to in ALL.into_iter().filter(|to| *to != from) {
                    fleet = fleet.delivers(from, taken[nth], to);
                }
                taken[nth] += 1;
            }
        }
        if !any {
            break;
        }
    }
    assert_eq!(taken, [0, 1, 0]);
    assert_eq!(ALL.map(|region| fleet.stage(region)), ["d1", "d1", "d1"]);
    fleet.ends("a circle of three Regions");
}

/// A rule that forwards everything, as somebody may write it by hand.
#[test]
fn a_report_that_a_sibling_caused_is_refused_if_it_comes_nevertheless() {
    let fleet = two("follow").delivers("eu-west-1", 0, "us-east-1");
    let caused = fleet.facts("us-east-1").events;
    let caused: Value = serde_json::from_str(caused.last().unwrap()).unwrap();
    assert_eq!((&caused["outcome"], &caused["bad"]), (&json!("rolled-back"), &Value::Null));
    let message = message(&caused, "us-east-1");
    fleet
        .at("eu-west-1", |one| one.send("a message of us-east-1 arrives", &message))
        .ends("a message that a sibling caused");
}

/// A rule that forwards everything, in both Regions and on each Region's own bus. What a function answers to a report that it
/// refuses would come back to it.
#[test]
fn reports_about_refused_reports_do_not_go_on_without_end() {
    let mut fleet = Fleet::of(2, "follow").everywhere(release(2, "v2")).at("eu-west-1", fires);
    for (what, text) in [
        ("no bad release", json!({"schema": 1, "outcome": "rolled-back", "bad": null})),
        ("another outcome", json!({"schema": 1, "outcome": "held"})),
        ("a newer schema", json!({"schema": 2})),
        ("no schema", json!({})),
    ] {
        fleet = fleet.at("us-east-1", |two| two.send(what, &message(&text, "eu-west-1")).quietly());
    }
    let mut taken = [0; 2];
    for round in 0.. {
        assert!(round < 5, "the reports go on: {:?}", fleet.facts("us-east-1").events.last());
        let mut any = false;
        for (nth, from) in ["eu-west-1", "us-east-1"].into_iter().enumerate() {
            let events = fleet.facts(from).events;
            for report in &events[taken[nth]..] {
                any = true;
                let message = message(&serde_json::from_str(report).unwrap(), from);
                fleet = fleet.everywhere(|one| one.send("a report arrives", &message).quietly());
            }
            taken[nth] = events.len();
        }
        if !any {
            break;
        }
    }
    assert_eq!(["eu-west-1", "us-east-1"].map(|region| fleet.stage(region)), ["d1", "d1"]);
}

#[test]
fn two_regions_that_roll_back_at_the_same_time_do_so_once_each() {
    Fleet::of(2, "follow")
        .everywhere(release(2, "v2"))
        .everywhere(|one| fires(one).quietly())
        .delivers("eu-west-1", 0, "us-east-1")
        .delivers("us-east-1", 0, "eu-west-1")
        .ends("two Regions roll back at the same time");
}

#[test]
fn a_release_that_only_one_region_has_does_not_touch_the_other() {
    let fleet = Fleet::of(2, "follow").at("eu-west-1", release(2, "v2")).at("us-east-1", release(3, "v3"));
    let fleet = fleet.at("eu-west-1", |one| fires(one).quietly()).delivers("eu-west-1", 0, "us-east-1");
    assert_eq!(fleet.stage("us-east-1"), "d3");
    fleet.ends("only one Region has the bad release");
}

#[test]
fn a_release_that_is_known_good_here_is_never_rolled_back_by_a_sibling() {
    let fleet = Fleet::of(2, "follow").everywhere(release(2, "v2"));
    let fleet = fleet.at("us-east-1", |two| two.later(31).sweep().later(1).quietly());
    let fleet = fleet.at("eu-west-1", |one| fires(one).quietly()).delivers("eu-west-1", 0, "us-east-1");
    assert_eq!(fleet.stage("us-east-1"), "d2");
    fleet.ends("a release is known-good in another Region");
}

/// The known-good release has the label, and so has what is live: nobody knows which of them is bad.
#[test]
fn two_releases_with_one_label_are_left_alone() {
    let fleet = Fleet::of(2, "follow").everywhere(release(2, "v2"));
    let fleet = fleet.at("us-east-1", |two| two.later(31).sweep().later(1).quietly());
    let fleet = fleet.at("us-east-1", release(3, "v2")).at("eu-west-1", |one| fires(one).quietly());
    let fleet = fleet.delivers("eu-west-1", 0, "us-east-1");
    assert_eq!(fleet.stage("us-east-1"), "d3");
    fleet.ends("two releases have one label");
}

/// Describes the deployments.
fn describe<const N: usize>(descriptions: [(&'static str, &'static str); N]) -> impl Fn(Story) -> Story {
    move |story| {
        story.world("", |facts| {
            facts.descriptions = descriptions.map(|(id, text)| (id.to_owned(), text.to_owned())).into();
        })
    }
}

/// A release without a label, under other ids in each Region.
fn unlabelled(descriptions: [(&'static str, &'static str); 4]) -> Fleet {
    Fleet::of(2, "follow")
        .everywhere(describe(descriptions))
        .at("eu-west-1", |one| fires(one.deploy(2).sweep()).quietly())
        .at("us-east-1", |two| two.deploy(3).sweep().quietly())
        .delivers("eu-west-1", 0, "us-east-1")
}

#[test]
fn without_labels_the_descriptions_of_deployments_decide() {
    let (old, new) = ("RestApi deployment id: 1a2b", "RestApi deployment id: 3c4d");
    for (case, descriptions, expected) in [
        ("the same description", [("d1", old), ("d2", new), ("d3", new), ("d4", "")], "d1"),
        ("another description", [("d1", old), ("d2", new), ("d3", "v9"), ("d4", "")], "d3"),
        ("no description there", [("d1", old), ("d2", ""), ("d3", new), ("d4", "")], "d3"),
        ("no description here", [("d1", old), ("d2", new), ("d3", ""), ("d4", "")], "d3"),
        // The CDK gives every deployment the same one.
        ("one description for all", [("d1", "by CDK"), ("d2", "by CDK"), ("d3", "by CDK"), ("d4", "")], "d3"),
    ] {
        let fleet = unlabelled(descriptions);
        assert_eq!(fleet.stage("us-east-1"), expected, "{case}");
        fleet.ends(&format!("siblings compare contents, {case}"));
    }
}

#[test]
fn a_doubled_message_does_not_roll_back_what_an_operator_brought_back() {
    let fleet = two("follow").delivers("eu-west-1", 0, "us-east-1");
    let fleet = fleet.at("us-east-1", |two| two.later(60).quietly()).at("us-east-1", release(2, "v2"));
    let fleet = fleet.delivers("eu-west-1", 0, "us-east-1");
    assert_eq!(fleet.stage("us-east-1"), "d2");
    fleet.ends("a doubled message after an operator");
}

#[test]
fn a_late_message_and_one_in_another_order_find_the_world_as_it_is() {
    let fleet = two("follow").everywhere(|one| one.later(60).alarm_is(State::Ok).event_arrives().quietly());
    let fleet = fleet.everywhere(release(3, "v3")).at("eu-west-1", |one| fires(one).quietly());
    // The second incident arrives first.
    let fleet = fleet.delivers("eu-west-1", 1, "us-east-1").delivers("eu-west-1", 0, "us-east-1");
    assert_eq!(fleet.stage("us-east-1"), "d1");
    fleet.ends("messages in another order");
}

/// The message is lost: the Region has its own alarm.
#[test]
fn a_region_that_hears_nothing_acts_by_its_own_alarm() {
    let fleet = two("follow").at("us-east-1", |two| fires(two).quietly());
    assert_eq!((fleet.stage("us-east-1"), fleet.forwarded("us-east-1").len()), ("d1".into(), 1));
}

#[test]
fn a_forged_message_is_refused_and_told() {
    let fleet = two("follow");
    let good: Value = serde_json::from_str(&fleet.forwarded("eu-west-1")[0]).unwrap();
    let forge = |path: &str, value: Value| {
        let mut event = good.clone();
        *event.pointer_mut(path).unwrap() = value;
        event.to_string()
    };
    let fleet = [
        ("another account", forge("/account", json!("999999999999"))),
        ("a Region that is not listed", forge("/region", json!("sa-east-1"))),
        ("our own Region", forge("/region", json!("us-east-1"))),
        ("about another Region", forge("/detail/bad/region", json!("us-east-1"))),
        ("another source", forge("/source", json!("com.example"))),
        ("a newer schema", forge("/detail/schema", json!(2))),
        ("another API", forge("/detail/api_name", json!("users-api"))),
        ("no API", forge("/detail/api_name", json!(null))),
        ("neither label nor contents", forge("/detail/bad/label", json!(null))),
    ]
    .into_iter()
    .fold(fleet, |fleet, (what, event)| fleet.at("us-east-1", |two| two.send(what, &event)));
    assert_eq!(fleet.stage("us-east-1"), "d2");
    fleet.ends("forged messages of a sibling");
}

#[test]
fn without_siblings_no_message_is_welcome_and_no_report_names_a_bad_release() {
    let event = event("eventbridge-sibling");
    let alone = Story::with_known_good().set("EVENT_BUS", "default").deploy(2).later(1);
    let alone = fires(alone.send("a message arrives", &event));
    let bad = alone.world.facts().events.iter().filter(|one| one.contains("\"bad\"")).count();
    assert_eq!(bad, 0);
    alone.ends("a message of a sibling without siblings");
}

/// The Region cannot act now. Lambda repeats the event, and the second attempt does what the first one could not.
#[test]
fn a_region_that_is_down_acts_when_the_event_comes_again() {
    let fleet = two("follow").at("us-east-1", |two| two.with_fault("GetStage", 0, Fault::Before(denied())));
    let fleet = fleet.delivers("eu-west-1", 0, "us-east-1");
    assert_eq!(fleet.stage("us-east-1"), "d2");
    let fleet = fleet.at("us-east-1", |two| Story { world: World::new(two.world.facts()), ..two });
    let fleet = fleet.delivers("eu-west-1", 0, "us-east-1");
    assert_eq!(fleet.stage("us-east-1"), "d1");
    fleet.ends("a Region is down when the message comes");
}

/// A stage whose access log counts by deployment.
fn logged(story: Story) -> Story {
    let log = AccessLog { destination: String::new(), format: access_log::format(Protocol::Rest) };
    story.world("", |facts| facts.stage().access_log = Some(log))
}

/// The canary of a rollout in the second Region is what the first one rolled back.
fn rolling(siblings: &str) -> Fleet {
    let fleet = Fleet::of(2, siblings)
        .at("eu-west-1", release(2, "v2"))
        .at("us-east-1", |two| logged(two).command("rollout-start", &start()).quietly());
    fleet.at("eu-west-1", |one| fires(one).quietly()).delivers("eu-west-1", 0, "us-east-1")
}

#[test]
fn a_rollout_waits_while_a_sibling_holds_it() {
    rolling("hold")
        .at("us-east-1", |two| {
            let two = two.served(6, 12, 0).advance().command("release-hold", &json!({}));
            two.served(6, 12, 0).advance()
        })
        .ends("a rollout waits for a sibling");
}

#[test]
fn a_canary_that_the_requests_convict_goes_even_while_a_sibling_holds_it() {
    let fleet = rolling("hold").at("us-east-1", |two| {
        two.world.change(|facts| serve(facts, 6, 60, 60));
        two.later(6).advance()
    });
    assert!(fleet.facts("us-east-1").stage().release.canary.is_none());
    fleet.ends("a held canary is convicted");
}

#[test]
fn a_canary_that_a_sibling_rolled_back_is_taken_off_and_that_is_not_passed_on() {
    let fleet = rolling("follow").at("us-east-1", Rolls::advance);
    assert!(fleet.facts("us-east-1").stage().release.canary.is_none());
    assert!(fleet.forwarded("us-east-1").is_empty());
    fleet.ends("a canary follows a sibling");
}

#[test]
fn a_rollout_that_an_operator_aborts_is_news_for_siblings() {
    let fleet =
        Fleet::of(2, "tell").everywhere(|one| logged(one).command("rollout-start", &start()).quietly());
    fleet
        .at("eu-west-1", |one| one.command("rollout-abort", &json!({})))
        .delivers("eu-west-1", 0, "us-east-1")
        .ends("a rollout is aborted in another Region");
}

/// The run died before it could report, so the sweep does: what a sibling caused is not passed on then, either.
#[test]
fn a_late_report_is_passed_on_only_if_its_region_found_the_release_bad() {
    let fleet = Fleet::of(2, "follow").everywhere(release(2, "v2"));
    let unlist = |facts: &mut Facts| {
        let list = format!("/apigw-rollback/stages/{API}/prod/rollbacks");
        facts.parameters.remove(&list);
        facts.events.clear();
    };
    let fleet = fleet.at("eu-west-1", |one| fires(one).quietly()).delivers("eu-west-1", 0, "us-east-1");
    let late = |story: Story| story.world("its run died", unlist).later(10).sweep();
    let fleet = fleet.everywhere(late);
    let passed = ALL[..2].iter().map(|region| fleet.forwarded(region).len());
    assert_eq!(passed.collect::<Vec<_>>(), [1, 0]);
    fleet.ends("late reports about siblings");
}

/// The message is judged by one look at the stage, and the rollback by the next one.
#[test]
fn a_stage_that_changes_while_a_message_is_judged_is_left_alone() {
    let fleet = two("follow");
    let message = fleet.forwarded("eu-west-1")[0].clone();
    let fixed = |facts: &mut Facts| "d3".clone_into(&mut facts.stage().release.deployment);
    let fleet = fleet.at("us-east-1", |two| {
        two.with_fault("GetStage", 2, Fault::World(fixed)).send("a message arrives", &message)
    });
    assert_eq!(fleet.stage("us-east-1"), "d3");
    fleet.ends("a stage changes while a message is judged");
}

/// The third read of parameters comes after a rollback, and the second one after the decision to hold.
#[test]
fn a_hold_that_cannot_be_written_fails_and_a_rollback_that_cannot_be_noted_is_reported() {
    for (siblings, nth, expected) in [("hold", 2, "failed"), ("follow", 3, "rolled-back")] {
        let fleet = two(siblings);
        let message = fleet.forwarded("eu-west-1")[0].clone();
        let fleet = fleet.at("us-east-1", |two| {
            two.with_fault("GetParameters", nth, Fault::Before(denied())).send("a message arrives", &message)
        });
        let report = fleet.described.lines().find(|line| line.starts_with("report: ")).unwrap();
        assert!(report.starts_with(&format!("report: {expected}: ")), "{siblings}: {}", fleet.described);
    }
}
