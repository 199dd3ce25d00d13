//! A world with many stages.

use apigw_rollback::model::alarm::{State, time};
use apigw_rollback::model::observed::MARK;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::{Record, print};
use apigw_rollback::model::stage::Api;
use apigw_rollback::model::stage::StageRef;

use super::{Facts, alarm, live, record, release};

impl Facts {
    /// Fifty APIs with ten stages each; every stage serves its known-good release, is pinned and has a quiet alarm.
    pub(crate) fn five_hundred_stages(since: &str) -> Self {
        let mut facts = Facts::bad_release();
        facts.now = time(since).unwrap();
        facts.stages.clear();
        facts.parameters.clear();
        facts.alarms.clear();
        let names = ParameterNames::under("/apigw-rollback");
        for api in 0..50 {
            let api = format!("api{api:07}");
            facts.apis.push(Api { protocol: Protocol::Rest, id: api.clone(), name: api.clone() });
            facts.deployments.push((api.clone(), "d1".to_owned()));
            for number in 0..10 {
                let stage = StageRef::rest(&api, format!("stage{number}"));
                let mut parked = live(release("d1", &[]), since);
                (parked.description, parked.closed) = (MARK.to_owned(), true);
                facts.stages.insert(stage.parked(), parked);
                facts.stages.insert(stage.clone(), live(release("d1", &[]), since));
                let api_name = Some(api.clone());
                let known = Record { stage: stage.clone(), api_name, ..record(release("d1", &[])) };
                facts.parameters.insert(names.known_good(&stage), vec![print(&known).unwrap()]);
                facts.alarms.push(alarm(
                    &format!("{api}-{number}"),
                    State::Ok,
                    &[("ApiName", &api), ("Stage", &stage.stage)],
                ));
            }
        }
        facts
    }
}
