//! The plan of a rollback: ordered steps, each with the value before it. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use crate::model::release::Canary;
use crate::model::release::Release;
use crate::model::stage::StageRef;

/// The plan of a rollback. It leaves no choice to the code that applies it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The stage.
    pub stage: StageRef,
    /// The release that the stage serves now, for an undo and for the incident.
    pub from: Release,
    /// The release that the stage will serve.
    pub to: Release,
    /// The version of the known-good record that `to` comes from.
    pub version: i64,
    /// The steps from `from` to `to`: aliases first, then the stage, then mappings. Traffic thus moves only when its
    /// destination is ready.
    #[serde(skip)]
    pub steps: Vec<Step>,
    /// Whether to flush the stage's caches afterwards.
    #[serde(skip)]
    pub flush: bool,
}

/// One step of a plan, carried out by one call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a plan has a handful of steps")]
pub enum Step {
    /// Moves an alias, if it still has this revision.
    Alias {
        /// The alias.
        alias: AliasRef,
        /// The target before the step.
        from: AliasTarget,
        /// The target after the step.
        to: AliasTarget,
        /// The revision that it must still have.
        revision: String,
    },
    /// Changes the stage.
    Stage {
        /// The release before the step.
        from: Release,
        /// The release after the step.
        to: Release,
        /// The change from one to the other.
        change: StageChange,
    },
    /// Moves a mapping.
    Mapping {
        /// The mapping.
        mapping: MappingRef,
        /// The id, if it has one.
        id: Option<String>,
        /// The target before the step.
        from: MappingTarget,
        /// The target after the step.
        to: MappingTarget,
    },
}

/// One change to one stage, sent as one `UpdateStage` unless it has too many variables (see [`StageChange::calls`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate part of the change")]
pub struct StageChange {
    /// Remove the canary. Sent first, because API Gateway refuses another deployment while a canary is on.
    pub remove_canary: bool,
    /// Set this canary. Sent last, and only for an undo.
    pub put_canary: Option<Canary>,
    /// Make the canary's deployment and variables those of the stage, and give the canary no more traffic. API Gateway keeps
    /// the canary. Only for a rollout.
    pub promote_canary: bool,
    /// Switch AutoDeploy off, because API Gateway refuses every deployment while it is on.
    pub stop_auto_deploy: bool,
    /// Point the stage to this deployment.
    pub deployment: Option<String>,
    /// Stage variables to add or replace. For HTTP and WebSocket, all of them if any differs: AWS does not document
    /// whether the others would stay.
    pub set: BTreeMap<String, String>,
    /// Stage variables to remove.
    pub remove: Vec<String>,
    /// Reject every request: throttling rate and burst 0 for every method. For parked stages.
    pub close: bool,
}

/// The most stage variables in one call. API Gateway refuses a patch that is too long; its limit is not documented, and 80
/// operations pass. The rest is for the deployment, a canary and throttling.
const MAX_VARIABLES: usize = 60;

impl Plan {
    /// Returns the change to the stage, if any.
    #[must_use]
    pub fn change(&self) -> Option<&StageChange> {
        self.steps.iter().find_map(|step| match step {
            Step::Stage { change, .. } => Some(change),
            Step::Alias { .. } | Step::Mapping { .. } => None,
        })
    }

    /// Returns whether it switches AutoDeploy off.
    #[must_use]
    pub fn stops_auto_deploy(&self) -> bool {
        self.change().is_some_and(|change| change.stop_auto_deploy)
    }

    /// Returns whether the stage or some components already have their target. Either both releases share them, or
    /// another run died half-way or is still working.
    #[must_use]
    pub fn is_partly_done(&self) -> bool {
        let Self { from, to, .. } = self;
        let has_components = !from.aliases.is_empty() || !from.mappings.is_empty();
        (has_components && from.in_stage() == to.in_stage())
            || from.aliases.iter().any(|(alias, target)| to.aliases.get(alias) == Some(target))
            || from.mappings.iter().any(|(mapping, target)| to.mappings.get(mapping) == Some(target))
    }

    /// Returns whether `live` occurs during this plan: the stage and each component match `from` or `to`. The stage may
    /// also match `from` without its canary.
    #[must_use]
    pub fn passes_through(&self, live: &Release) -> bool {
        let Self { from, to, .. } = self;
        let stage = live.in_stage();
        let half_way = Release { canary: None, ..from.in_stage() };
        (stage == from.in_stage() || stage == to.in_stage() || stage == half_way)
            && live.aliases.iter().all(|(alias, target)| {
                [from, to].iter().any(|release| release.aliases.get(alias) == Some(target))
            })
            && live.mappings.iter().all(|(mapping, target)| {
                [from, to].iter().any(|release| release.mappings.get(mapping) == Some(target))
            })
    }
}

impl StageChange {
    /// Builds the one change that leads a stage from one release to another.
    #[must_use]
    pub fn between(stage: &StageRef, from: &Release, to: &Release) -> Self {
        let whole = stage.protocol.is_v2() && from.variables != to.variables;
        let differs = |(name, value): &(&String, &String)| whole || from.variables.get(*name) != Some(*value);
        Self {
            remove_canary: from.canary.is_some() && to.canary.is_none(),
            put_canary: to.canary.clone().filter(|_| from.canary != to.canary),
            promote_canary: false,
            stop_auto_deploy: false,
            deployment: (from.deployment != to.deployment).then(|| to.deployment.clone()),
            set: to.variables.iter().filter(differs).map(|(n, v)| (n.clone(), v.clone())).collect(),
            remove: from.variables.keys().filter(|name| !to.variables.contains_key(*name)).cloned().collect(),
            close: false,
        }
    }

    /// Splits the change into calls that API Gateway accepts: a REST stage takes at most about 80 operations at once. The
    /// first one changes what the stage serves, so that traffic moves at once; a canary to be put back comes last.
    #[must_use]
    pub fn calls(&self, stage: &StageRef) -> Vec<Self> {
        let operations = self.set.len() + self.remove.len();
        if stage.protocol.is_v2() || operations <= MAX_VARIABLES {
            return vec![self.clone()];
        }
        let set = self.set.iter().map(|(name, value)| (name, Some(value)));
        let variables: Vec<_> = set.chain(self.remove.iter().map(|name| (name, None))).collect();
        let mut calls: Vec<Self> = Vec::new();
        for part in variables.chunks(MAX_VARIABLES) {
            let set = part.iter().filter_map(|(name, value)| Some(((*name).clone(), (*value)?.clone())));
            let remove = part.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| (*name).clone());
            calls.push(Self { set: set.collect(), remove: remove.collect(), ..Self::default() });
        }
        if let Some(first) = calls.first_mut() {
            first.remove_canary = self.remove_canary;
            first.stop_auto_deploy = self.stop_auto_deploy;
            first.deployment.clone_from(&self.deployment);
            first.close = self.close;
        }
        if let Some(last) = calls.last_mut() {
            last.put_canary.clone_from(&self.put_canary);
        }
        calls
    }

    /// Splits the change into two calls, in case API Gateway refuses one: first it removes the obstacles to another
    /// deployment (a canary, AutoDeploy), then it changes the rest. AWS's guide demands this order, but not separate
    /// calls. Returns `None` if there is only one thing to do.
    #[must_use]
    pub fn in_two_calls(&self) -> Option<[Self; 2]> {
        let first = Self {
            remove_canary: self.remove_canary,
            stop_auto_deploy: self.stop_auto_deploy,
            ..Self::default()
        };
        let rest = Self { remove_canary: false, stop_auto_deploy: false, ..self.clone() };
        (first != Self::default() && rest != Self::default()).then_some([first, rest])
    }

    /// Returns what a stage serves after this change.
    #[must_use]
    pub fn applied_to(&self, release: &Release) -> Release {
        let mut after = release.clone();
        if let Some(canary) = after.canary.as_mut().filter(|_| self.promote_canary) {
            "0".clone_into(&mut canary.percent);
            after.deployment = canary.deployment.clone().unwrap_or_default();
            after.variables.extend(canary.overrides.clone());
        }
        if self.remove_canary {
            after.canary = None;
        }
        if let Some(deployment) = &self.deployment {
            after.deployment.clone_from(deployment);
        }
        after.variables.extend(self.set.clone());
        after.variables.retain(|name, _| !self.remove.contains(name));
        if let Some(canary) = &self.put_canary {
            after.canary = Some(canary.clone());
        }
        after
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alias { alias, from, to, .. } => write!(f, "alias `{alias}` {from} -> {to}"),
            Self::Mapping { mapping, from, to, .. } => write!(f, "mapping `{mapping}` {from} -> {to}"),
            Self::Stage { from, change, .. } => f.write_str(&described(from, change)),
        }
    }
}

fn described(from: &Release, change: &StageChange) -> String {
    let mut parts = Vec::new();
    if change.stop_auto_deploy {
        parts.push("AutoDeploy SWITCHED OFF".to_owned());
    }
    if let (true, Some(canary)) = (change.remove_canary, &from.canary) {
        parts.push(format!("canary with {} % of the traffic removed", canary.percent));
    }
    if let Some(deployment) = &change.deployment {
        parts.push(format!("deployment `{}` -> `{deployment}`", from.deployment));
    }
    let set: Vec<_> =
        change.set.iter().filter(|(name, value)| from.variables.get(*name) != Some(*value)).collect();
    if !set.is_empty() {
        let names: Vec<_> = set.into_iter().map(|(name, _)| name.as_str()).collect();
        parts.push(format!("stage variables set: {}", names.join(", ")));
    }
    if !change.remove.is_empty() {
        parts.push(format!("stage variables removed: {}", change.remove.join(", ")));
    }
    parts.join("; ")
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.steps.iter().map(ToString::to_string).collect();
        write!(f, "{} (known-good version {})", steps.join("; "), self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::protocol::Protocol;
    use crate::model::release::Canary;
    use std::collections::BTreeMap;

    /// Parses a release such as `d1 a=1 b=2 canary=10`.
    fn release(text: &str) -> Release {
        let mut release = Release::default();
        for word in text.split(' ') {
            match word.split_once('=') {
                None => release.deployment = word.into(),
                Some(("canary", percent)) => {
                    let overrides = BTreeMap::new();
                    release.canary = Some(Canary {
                        deployment: None,
                        percent: percent.into(),
                        overrides,
                        uses_cache: false,
                    });
                }
                Some((name, value)) => {
                    release.variables.insert(name.into(), value.into());
                }
            }
        }
        release
    }

    fn between(protocol: Protocol, from: &str, to: &str) -> StageChange {
        StageChange::between(&StageRef::new(protocol, "a", "prod"), &release(from), &release(to))
    }

    /// Prints the fields of a change that are set.
    fn described(change: &StageChange) -> String {
        let pairs = |map: &BTreeMap<String, String>| {
            map.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
        };
        let words = [
            change.remove_canary.then(|| "-canary".to_owned()),
            change.put_canary.as_ref().map(|canary| format!("+canary {}", canary.percent)),
            change.stop_auto_deploy.then(|| "stop".to_owned()),
            change.deployment.clone(),
            Some(pairs(&change.set)).filter(|set| !set.is_empty()),
            Some(change.remove.join(",")).filter(|gone| !gone.is_empty()).map(|gone| format!("-{gone}")),
            change.close.then(|| "close".to_owned()),
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_change_contains_the_differences_and_leads_to_the_target() {
        let (rest, http) = (Protocol::Rest, Protocol::Http);
        for (protocol, from, to, expected) in [
            (rest, "d1 a=1", "d1 a=1", ""),
            (rest, "d2 a=1", "d1 a=1", "d1"),
            (rest, "d1 a=2 b=1", "d1 a=1 b=1", "a=1"),
            (rest, "d1 a=1", "d1 a=1 b=2", "b=2"),
            (rest, "d1 a=1 b=2", "d1 a=1", "-b"),
            (rest, "d1 canary=10", "d1", "-canary"),
            (rest, "d1", "d1 canary=10", "+canary 10"),
            (rest, "d1 canary=20", "d1 canary=10", "+canary 10"),
            (rest, "d1 canary=10", "d1 canary=10", ""),
            (rest, "d2 a=2 c=1 canary=5", "d1 a=1 b=1", "-canary d1 a=1,b=1 -c"),
            // HTTP and WebSocket get all variables if any differs.
            (http, "d1 a=2 b=1", "d1 a=1 b=1", "a=1,b=1"),
            (http, "d2 a=1 b=1", "d1 a=1 b=1", "d1"),
            (http, "d1 a=1 b=1", "d1 a=1", "a=1 -b"),
        ] {
            let change = between(protocol, from, to);
            assert_eq!(described(&change), expected, "{from} -> {to}");
            assert_eq!(change.applied_to(&release(from)), release(to), "{from} -> {to}");
        }
    }

    #[test]
    fn a_change_in_two_calls_removes_the_obstacles_first() {
        for (from, to, stop, expected) in [
            ("d2 canary=10", "d1", false, Some(["-canary", "d1"])),
            ("d2", "d1", true, Some(["stop", "d1"])),
            ("d2 canary=10", "d1 a=1", true, Some(["-canary stop", "d1 a=1"])),
            ("d2", "d1", false, None),
            ("d1 canary=10", "d1", false, None),
            ("d1", "d1", true, None),
            ("d1", "d1", false, None),
        ] {
            let change = StageChange { stop_auto_deploy: stop, ..between(Protocol::Rest, from, to) };
            let calls = change.in_two_calls();
            let calls = calls.as_ref().map(|[first, rest]| [described(first), described(rest)]);
            assert_eq!(calls, expected.map(|calls| calls.map(str::to_owned)), "{from} -> {to}");
        }
    }

    fn alias(version: &str) -> AliasTarget {
        AliasTarget { version: version.into(), weights: BTreeMap::new() }
    }

    fn mapping(stage: &str) -> MappingTarget {
        MappingTarget { api: "a".into(), stage: stage.into() }
    }

    /// Returns a plan from `d2 a=2 canary=5` with alias and mapping at 2 to `d1 a=1` with alias and mapping at 1.
    fn plan() -> Plan {
        let stage = StageRef::rest("a", "prod");
        let (orders, domain): (AliasRef, MappingRef) =
            ("orders:live".parse().unwrap(), "api.example.com".parse().unwrap());
        let (mut from, mut to) = (release("d2 a=2 b=3 canary=5"), release("d1 a=1 b=3"));
        let change = StageChange::between(&stage, &from, &to);
        let steps = vec![
            Step::Alias { alias: orders.clone(), from: alias("2"), to: alias("1"), revision: "r".into() },
            Step::Stage { from: from.clone(), to: to.clone(), change },
            Step::Mapping { mapping: domain.clone(), id: None, from: mapping("2"), to: mapping("1") },
        ];
        (from.aliases, from.mappings) =
            ([(orders.clone(), alias("2"))].into(), [(domain.clone(), mapping("2"))].into());
        (to.aliases, to.mappings) = ([(orders, alias("1"))].into(), [(domain, mapping("1"))].into());
        Plan { stage, from, to, version: 3, steps, flush: false }
    }

    #[test]
    fn a_change_of_many_variables_is_split_and_the_parts_lead_to_the_target() {
        let many = |variables: std::ops::Range<usize>, end: &str| {
            let variables: Vec<String> = variables.map(|n| format!(" v{n}={}", n % 7)).collect();
            release(&format!("d{}{}{end}", end.len(), variables.concat()))
        };
        let rest = StageRef::rest("a", "prod");
        let http = StageRef::new(Protocol::Http, "a", "prod");
        for (stage, from, to, expected) in [
            (&rest, many(0..60, ""), many(0..0, " canary=5"), 1),
            (&rest, many(0..61, ""), many(0..0, " canary=5"), 2),
            (&rest, many(0..90, " canary=5"), many(60..180, ""), 3),
            (&http, many(0..90, ""), many(60..180, ""), 1),
        ] {
            let change = StageChange::between(stage, &from, &to);
            let calls = change.calls(stage);
            assert_eq!(calls.len(), expected);
            let after = calls.iter().fold(from.clone(), |release, call| call.applied_to(&release));
            assert_eq!(after, to);
            assert_eq!(calls[0].deployment, change.deployment, "traffic moves with the first call");
            assert!(!change.remove_canary || calls[0].remove_canary);
        }
    }

    #[test]
    fn a_plan_passes_through_every_mix_of_its_two_releases() {
        let plan = plan();
        for (stage, orders, domain, expected) in [
            ("d2 a=2 b=3 canary=5", "2", "2", true),
            ("d2 a=2 b=3 canary=5", "1", "2", true),
            ("d2 a=2 b=3", "1", "2", true),
            ("d1 a=1 b=3", "1", "2", true),
            ("d1 a=1 b=3", "1", "1", true),
            ("d1 a=1 b=3", "2", "1", true),
            ("d1 a=2 b=3", "1", "2", false),
            ("d9 a=2 b=3", "2", "2", false),
            ("d2 a=2 b=3 canary=6", "2", "2", false),
            ("d1 a=1 b=3", "9", "1", false),
            ("d1 a=1 b=3", "1", "9", false),
        ] {
            let mut live = release(stage);
            live.aliases.insert("orders:live".parse().unwrap(), alias(orders));
            live.mappings.insert("api.example.com".parse().unwrap(), mapping(domain));
            assert_eq!(plan.passes_through(&live), expected, "{live} {:?}", live.variables);
        }
    }

    #[test]
    fn a_plan_is_partly_done_if_the_stage_or_a_component_has_its_target() {
        let bad = "d2 a=2 b=3 canary=5";
        let good = "d1 a=1 b=3";
        for (stage, orders, domain, expected) in [
            (bad, Some("2"), Some("2"), false),
            (bad, Some("1"), Some("2"), true),
            (bad, Some("2"), Some("1"), true),
            (good, Some("2"), Some("2"), true),
            (good, Some("2"), None, true),
            (good, None, Some("2"), true),
            (bad, Some("9"), None, false),
            (bad, None, Some("9"), false),
            (bad, None, None, false),
            // A release without components has only one step.
            (good, None, None, false),
        ] {
            let mut from = release(stage);
            from.aliases.extend(orders.map(|version| ("orders:live".parse().unwrap(), alias(version))));
            from.mappings.extend(domain.map(|stage| ("api.example.com".parse().unwrap(), mapping(stage))));
            let plan = Plan { from, ..plan() };
            assert_eq!(plan.is_partly_done(), expected, "{plan}: {}", plan.from);
        }
    }

    #[test]
    fn a_plan_is_printed_step_by_step() {
        let mut plan = plan();
        assert_eq!(
            plan.to_string(),
            "alias `orders:live` 2 -> 1; canary with 5 % of the traffic removed; deployment `d2` -> `d1`; \
             stage variables set: a; mapping `api.example.com` a/2 -> a/1 (known-good version 3)"
        );
        assert!(!plan.stops_auto_deploy());
        plan.steps.remove(0);
        if let Step::Stage { change, .. } = &mut plan.steps[0] {
            (change.stop_auto_deploy, change.remove_canary) = (true, false);
            change.remove.push("c".to_owned());
            // The function sends all variables of an HTTP stage, but prints only the changed ones.
            change.set.insert("b".to_owned(), "3".to_owned());
        }
        assert!(plan.stops_auto_deploy());
        assert_eq!(
            plan.steps[0].to_string(),
            "AutoDeploy SWITCHED OFF; deployment `d2` -> `d1`; stage variables set: a; stage variables removed: c"
        );
        plan.steps.remove(0);
        assert_eq!((plan.change(), plan.stops_auto_deploy()), (None, false));
    }
}
