//! A sweep over many stages: what it asks of AWS, and how fast.

use apigw_rollback::alarm::{State, time};
use apigw_rollback::cloud::Api;
use apigw_rollback::pin::MARK;
use apigw_rollback::records::{Names, Record, print};
use apigw_rollback::release::{Protocol, StageRef};

use crate::harness::run;
use crate::story::START;
use crate::world::{Facts, World, alarm, live, record, release};

#[test]
fn five_hundred_stages_of_fifty_apis_take_one_read_an_api() {
    let mut facts = Facts::bad_release();
    facts.now = time(START).unwrap();
    facts.stages.clear();
    facts.parameters.clear();
    facts.alarms.clear();
    let names = Names::under("/apigw-rollback");
    for api in 0..50 {
        let api = format!("api{api:07}");
        facts.apis.push(Api { protocol: Protocol::Rest, id: api.clone(), name: api.clone() });
        facts.deployments.push((api.clone(), "d1".to_owned()));
        for number in 0..10 {
            let stage = StageRef::rest(&api, format!("stage{number}"));
            let mut parked = live(release("d1", &[]), START);
            (parked.description, parked.closed) = (MARK.to_owned(), true);
            facts.stages.insert(stage.parked(), parked);
            facts.stages.insert(stage.clone(), live(release("d1", &[]), START));
            let known = Record { stage: stage.clone(), ..record(release("d1", &[])) };
            facts.parameters.insert(names.known_good(&stage), vec![print(&known).unwrap()]);
            facts.alarms.push(alarm(
                &format!("{api}-{number}"),
                State::Ok,
                &[("ApiName", &api), ("Stage", &stage.stage)],
            ));
        }
    }
    let world = World::new(facts);
    let shown = run(r#"{"command":"sweep"}"#, &world, &[("PROTECTED_STAGES", "[]")]);
    let calls = |operation: &str| {
        shown.lines().filter(|line| line.starts_with(&format!("call: {operation}"))).count()
    };
    assert!(
        shown.starts_with(
            "report: swept: looked after 500 stages of 50 APIs with 500 guarding alarms; 0 reports"
        ),
        "{shown}"
    );
    assert_eq!((calls("GetStages"), calls("GetParametersByPath"), calls("DescribeAlarms")), (50, 1, 2));
    // And the time of the last sweep, read and written.
    assert_eq!(calls(""), 55, "nothing else is asked of AWS");
    // Half of API Gateway's bucket (a burst of 40, 10 a second) stays free for rollbacks.
    for (at, before) in world.seconds_of("GetStages").into_iter().zip(0_u32..) {
        assert!(f64::from(before) <= 20.0 + 5.0 * at, "call {before} at {at} s");
    }
}
