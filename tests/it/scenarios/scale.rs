//! A sweep over many stages: which calls it makes, and how fast.

use crate::support::harness::run;
use crate::support::story::START;
use crate::support::world::{Facts, World};

#[test]
fn a_sweep_of_five_hundred_stages_makes_one_read_per_api() {
    let facts = Facts::five_hundred_stages(START);
    let world = World::new(facts);
    let shown = run(r#"{"command":"sweep"}"#, &world, &[("PROTECTED_STAGES", "[]")]);
    let calls = |operation: &str| {
        shown.lines().filter(|line| line.starts_with(&format!("call: {operation}"))).count()
    };
    assert!(
        shown.starts_with("report: swept: checked 500 stages of 50 APIs with 500 guarding alarms; 0 reports"),
        "{shown}"
    );
    assert_eq!((calls("GetStages"), calls("GetParametersByPath"), calls("DescribeAlarms")), (50, 1, 2));
    // The other calls read and write the time of the last sweep, list the APIs, and read the index of ten names at a time.
    assert_eq!((calls("GetRestApis"), calls("")), (1, 61), "the sweep makes other calls");
    // Half of API Gateway's request quota (a burst of 40, 10 a second) stays free for rollbacks.
    for (at, before) in world.seconds_of("GetStages").into_iter().zip(0_u32..) {
        assert!(f64::from(before) <= 20.0 + 5.0 * at, "call {before} at {at} s");
    }
}
