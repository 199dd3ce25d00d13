//! The kinds of stages that the simulation runs use.

use std::collections::BTreeMap;

use apigw_rollback::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::release::Release;
use apigw_rollback::model::stage::StageRef;
use fastrand::Rng;

use crate::support::world::{API, Facts, release};

/// The kind of the stage's API, and the components of its releases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Rest,
    /// A REST stage with a Lambda alias behind it.
    Aliased,
    /// A REST stage behind the mapping of a custom domain, which alternates between this stage and another.
    Mapped,
    Http,
    WebSocket,
    /// An HTTP stage with AutoDeploy.
    AutoDeploy,
}

impl Kind {
    const LISTED: &str =
        r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod","aliases":["orders:live"]}]"#;
    const MAPPED: &str =
        r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod","mappings":["api.example.com/orders"]}]"#;
    const WEB_SOCKET: &str =
        r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod","protocol":"websocket"}]"#;
    const HTTP: &str = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod","protocol":"http"}]"#;

    /// Draws a kind; half of the simulation runs use plain REST stages.
    pub(super) fn drawn(rng: &mut Rng) -> Self {
        let rest = [Self::Rest; 6];
        let others =
            [Self::Aliased, Self::Aliased, Self::Mapped, Self::Http, Self::AutoDeploy, Self::WebSocket];
        *rng.choice(&[rest, others].concat()).unwrap()
    }

    pub(super) fn settings(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Rest => None,
            Self::Aliased => Some(("PROTECTED_STAGES", Self::LISTED)),
            Self::Mapped => Some(("PROTECTED_STAGES", Self::MAPPED)),
            Self::Http | Self::AutoDeploy => Some(("PROTECTED_STAGES", Self::HTTP)),
            Self::WebSocket => Some(("PROTECTED_STAGES", Self::WEB_SOCKET)),
        }
    }

    pub(super) fn stage(self, name: &str) -> StageRef {
        match self {
            Self::Rest | Self::Aliased | Self::Mapped => StageRef::rest(API, name),
            Self::Http | Self::AutoDeploy => StageRef::new(Protocol::Http, API, name),
            Self::WebSocket => StageRef::new(Protocol::WebSocket, API, name),
        }
    }

    /// Returns the dimensions of the alarms on a stage.
    pub(super) fn dimensions(self, stage: &str) -> [(&str, &str); 2] {
        match self {
            Self::Rest | Self::Aliased | Self::Mapped => [("ApiName", "orders-api"), ("Stage", stage)],
            Self::Http | Self::AutoDeploy | Self::WebSocket => [("ApiId", API), ("Stage", stage)],
        }
    }

    /// Builds the n-th release.
    pub(super) fn release(self, number: usize) -> Release {
        let mut next = release(&format!("d{number}"), &[("release", &number.to_string())]);
        if self == Self::Aliased {
            next.aliases.insert(behind(), version(number));
        }
        if self == Self::Mapped {
            let stage = if number.is_multiple_of(2) { "dev" } else { "prod" };
            next.mappings.insert(domain(), MappingTarget { api: API.to_owned(), stage: stage.to_owned() });
        }
        next
    }
}

fn domain() -> MappingRef {
    "api.example.com/orders".parse().unwrap()
}

fn behind() -> AliasRef {
    "orders:live".parse().unwrap()
}

fn version(number: usize) -> AliasTarget {
    AliasTarget { version: number.to_string(), weights: BTreeMap::new() }
}

/// Returns the whole release that a stage serves, with its components.
pub(crate) fn served(facts: &Facts, stage: &StageRef) -> Release {
    let aliases = facts.aliases.iter().map(|(alias, now)| (alias.clone(), now.target.clone())).collect();
    let mappings =
        facts.mappings.iter().map(|(mapping, now)| (mapping.clone(), now.target.clone())).collect();
    Release { aliases, mappings, ..facts.stages[stage].release.clone() }
}
