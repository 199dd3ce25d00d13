//! The plan: every difference between what the stage serves and the record, and every obstacle.

use std::sync::LazyLock;

use apigw_rollback::model::component::{AliasRef, LiveAlias, LiveMapping, MappingRef};
use apigw_rollback::model::observed::Component;
use apigw_rollback::model::plan::{Plan, Step};
use apigw_rollback::model::policy::{AutoDeploy, MissingComponents};
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::release::{Canary, Release};

use super::facts::{Values, space, values};
use super::table::By;
use super::world::{self, Case};

impl Values for Protocol {
    const ALL: &'static [Self] = &[Self::Rest, Self::Http, Self::WebSocket];
}

values! {
    /// A stage variable, live against the record.
    Variable { Same, Differs, OnlyLive, OnlyRecorded }

    /// A component, live against the record.
    Part { Neither, Same, Differs, OnlyLive, OnlyRecorded, TargetLost }

    /// Who asks without an alarm.
    Asks { Operator, Nobody }
}

space! {
    /// What the plan depends on.
    Plans {
        asks: Asks,
        protocol: Protocol,
        deployment_differs: bool,
        variable: Variable,
        canary: bool,
        alias: Part,
        mapping: Part,
        skip: bool,
        moving: bool,
        overridden: bool,
        managed: bool,
        auto: bool,
        may_stop_auto: bool,
        flush: bool,
    }
}

struct Parts {
    case: Case,
    alias: AliasRef,
    mapping: MappingRef,
    canary: Canary,
}

static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts {
    case: world::serving(world::whole("1"), world::whole("1")),
    alias: "orders:live".parse().unwrap(),
    mapping: "api.example.com".parse().unwrap(),
    canary: Canary {
        deployment: Some("d3".into()),
        percent: "10".into(),
        overrides: [].into(),
        uses_cache: false,
    },
});

impl Part {
    /// The number of its live target and of its recorded one.
    fn numbers(self) -> (Option<&'static str>, Option<&'static str>) {
        match self {
            Self::Neither => (None, None),
            Self::Same => (Some("1"), Some("1")),
            Self::Differs | Self::TargetLost => (Some("2"), Some("1")),
            Self::OnlyLive => (Some("2"), None),
            Self::OnlyRecorded => (None, Some("1")),
        }
    }

    fn is_missing(self) -> bool {
        matches!(self, Self::OnlyRecorded | Self::TargetLost)
    }

    /// Whether the rollback moves it.
    fn moves(self, skip: bool) -> bool {
        self == Self::Differs || (self == Self::TargetLost && !skip)
    }
}

impl Plans {
    fn changes_stage(self) -> bool {
        self.deployment_differs || self.variable != Variable::Same || self.canary
    }

    fn stops_auto(self) -> bool {
        self.auto && self.deployment_differs
    }

    /// What the stage serves after the rollback.
    fn restored(self) -> Release {
        let mut to = world::whole("1");
        to.variables = variables(self.variable).1;
        for (part, alias) in [(self.alias, true), (self.mapping, false)] {
            let (Some(live), _) = part.numbers() else { continue };
            let number = if part.moves(self.skip) { "1" } else { live };
            if alias {
                to.aliases.insert(PARTS.alias.clone(), world::version(number));
            } else {
                to.mappings.insert(PARTS.mapping.clone(), world::stage(number));
            }
        }
        to
    }

    /// Checks what the engine planned: the release, the steps in their order, and what each of them changes.
    pub(crate) fn expects(self, plan: &Plan) -> Result<(), String> {
        let mut steps = Vec::new();
        steps.extend(self.alias.moves(self.skip).then_some("alias"));
        steps.extend(self.changes_stage().then_some("stage"));
        steps.extend(self.mapping.moves(self.skip).then_some("mapping"));
        let planned: Vec<&str> = plan
            .steps
            .iter()
            .map(|step| match step {
                Step::Alias { .. } => "alias",
                Step::Stage { .. } => "stage",
                Step::Mapping { .. } => "mapping",
            })
            .collect();
        let rules = [
            (plan.to == self.restored(), "another release than the recorded one"),
            (planned == steps, "other steps than the differences"),
            (plan.version == 3, "another version of the record"),
            (plan.flush == (self.flush && self.protocol == Protocol::Rest), "another flush"),
            (
                plan.change().is_none_or(|change| {
                    change.remove_canary == self.canary
                        && change.deployment.is_some() == self.deployment_differs
                        && change.stop_auto_deploy == self.stops_auto()
                        && change.put_canary.is_none()
                        && !change.close
                }),
                "another change of the stage",
            ),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(rule.to_owned()))
    }
}

type Variables = std::collections::BTreeMap<String, String>;

/// The variables of the live release and of the record.
fn variables(variable: Variable) -> (Variables, Variables) {
    let with =
        |value: &str| [("release".to_owned(), value.to_owned()), ("kept".to_owned(), "1".to_owned())].into();
    let without: Variables = [("kept".to_owned(), "1".to_owned())].into();
    match variable {
        Variable::Same => (with("1"), with("1")),
        Variable::Differs => (with("2"), with("1")),
        Variable::OnlyLive => (with("2"), without),
        Variable::OnlyRecorded => (without, with("1")),
    }
}

/// Returns the case.
pub(crate) fn case(facts: Plans) -> Case {
    let parts = &*PARTS;
    let mut case = parts.case.clone();
    let mut live = world::whole(if facts.deployment_differs { "2" } else { "1" });
    let mut recorded = world::whole("1");
    (live.variables, recorded.variables) = variables(facts.variable);
    live.canary = facts.canary.then(|| parts.canary.clone());
    let observed = &mut case.observed;
    let (now, before) = facts.alias.numbers();
    if let Some(number) = now {
        let target = world::version(number);
        live.aliases.insert(parts.alias.clone(), target.clone());
        observed.components.aliases.insert(parts.alias.clone(), LiveAlias { target, revision: "r".into() });
    }
    recorded.aliases.extend(before.map(|number| (parts.alias.clone(), world::version(number))));
    let (now, before) = facts.mapping.numbers();
    if let Some(number) = now {
        let target = world::stage(number);
        live.mappings.insert(parts.mapping.clone(), target.clone());
        observed.components.mappings.insert(parts.mapping.clone(), LiveMapping { target, id: None });
    }
    recorded.mappings.extend(before.map(|number| (parts.mapping.clone(), world::stage(number))));
    for (part, component) in [
        (facts.alias, Component::Alias(parts.alias.clone())),
        (facts.mapping, Component::Mapping(parts.mapping.clone())),
    ] {
        match part {
            Part::OnlyRecorded => observed.components.lacks(component, "does not exist"),
            Part::TargetLost => observed.components.lost(component, "leads nowhere".into()),
            Part::Neither | Part::Same | Part::Differs | Part::OnlyLive => {}
        }
    }
    observed.components.moving.extend(facts.moving.then(|| parts.alias.clone()));
    observed
        .components
        .overridden
        .extend(facts.overridden.then(|| (parts.mapping.clone(), "is overridden".to_owned())));
    observed.stage.protocol = facts.protocol;
    if let apigw_rollback::model::observed::KnownGood::Found { record, .. } =
        &mut observed.on_record.known_good
    {
        record.release = recorded;
        record.stage.protocol = facts.protocol;
    }
    let stage = case.live();
    (stage.release, stage.managed, stage.auto_deploy) = (live, facts.managed, facts.auto);
    case.policy.missing_components =
        if facts.skip { MissingComponents::Skip } else { MissingComponents::Hold };
    case.policy.auto_deploy = if facts.may_stop_auto { AutoDeploy::SwitchOff } else { AutoDeploy::Hold };
    case.policy.flush_cache = facts.flush;

    let truth = &mut case.truth;
    truth.by = if facts.asks == Asks::Operator { By::Operator } else { By::Nobody };
    truth.changes_stage = facts.changes_stage();
    truth.changes_deployment = facts.deployment_differs;
    truth.serves_it =
        !facts.changes_stage() && !facts.alias.moves(facts.skip) && !facts.mapping.moves(facts.skip);
    truth.lacks_component = !facts.skip && (facts.alias.is_missing() || facts.mapping.is_missing());
    truth.is_moving = facts.moving && facts.alias.moves(facts.skip);
    truth.is_overridden = facts.overridden && facts.mapping.moves(facts.skip);
    truth.is_managed = facts.managed;
    truth.deploys_itself = facts.auto && !facts.may_stop_auto;
    case
}
