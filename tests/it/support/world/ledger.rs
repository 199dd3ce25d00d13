//! The ledger: every change of a stage, move of an alias or a mapping and write to Parameter Store, with its time and who made it.

use apigw_rollback::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use apigw_rollback::model::release::Release;
use apigw_rollback::model::stage::LiveStage;
use apigw_rollback::model::stage::StageRef;
use chrono::{DateTime, Utc};

use super::Facts;

/// One write to Parameter Store.
#[derive(Clone, Debug)]
pub(crate) struct LedgerWrite {
    pub(crate) at: DateTime<Utc>,
    pub(crate) name: String,
    pub(crate) value: String,
    /// Whether it is the parameter's first version.
    pub(crate) first: bool,
}

/// One change of what a stage serves.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) at: DateTime<Utc>,
    /// The run, or `others`.
    pub(crate) by: String,
    pub(crate) stage: StageRef,
    pub(crate) from: Release,
    pub(crate) to: Release,
    /// Whether the release it led to was on record as known-good at that moment.
    pub(crate) recorded: bool,
    /// Whether the aliases were where that record has them.
    pub(crate) whole: bool,
    /// Whether AutoDeploy was switched off by it.
    pub(crate) stopped: bool,
}

/// One move of an alias or a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    pub(crate) at: DateTime<Utc>,
    pub(crate) by: String,
    /// Which, and from where to where, as people read it.
    pub(crate) part: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// Whether some recorded release has it there.
    pub(crate) recorded: bool,
    /// For a mapping, whether the stage already served that release: users follow it there.
    pub(crate) ready: bool,
}

impl Facts {
    /// Changes what a stage serves, and remembers it.
    pub(crate) fn serve(&mut self, stage: &StageRef, live: LiveStage) {
        let to = live.release.clone();
        let known: Vec<Release> = self.recorded(stage).into_iter().map(|record| record.release).collect();
        let mut known = known.iter().filter(|release| release.in_stage() == to).peekable();
        let recorded = known.peek().is_some();
        let is_there = |(alias, target): (&AliasRef, &AliasTarget)| {
            self.aliases.get(alias).is_none_or(|now| now.target == *target)
        };
        let whole = known.any(|release| release.aliases.iter().all(is_there));
        let auto_deploy = live.auto_deploy;
        let before = self.stages.insert(stage.clone(), live);
        let stopped = before.as_ref().is_some_and(|before| before.auto_deploy) && !auto_deploy;
        let from = before.map(|before| before.release).unwrap_or_default();
        let (at, by, stage) = (self.now, self.caller.clone(), stage.clone());
        self.changes.push(Change { at, by, stage, from, to, recorded, whole, stopped });
    }

    /// Moves an alias, and remembers it.
    pub(crate) fn point(&mut self, alias: &AliasRef, to: &AliasTarget) {
        let mut known = self.stages.keys().flat_map(|stage| self.recorded(stage));
        let recorded = known.any(|record| record.release.aliases.get(alias) == Some(to));
        let Some(now) = self.aliases.get_mut(alias) else { return };
        let from = std::mem::replace(&mut now.target, to.clone());
        now.revision.push('+');
        let (part, from, to) = (alias.to_string(), from.to_string(), to.to_string());
        self.moves.push(Move {
            at: self.now,
            by: self.caller.clone(),
            part,
            from,
            to,
            recorded,
            ready: true,
        });
    }

    /// Moves a mapping, and remembers it.
    pub(crate) fn map(&mut self, mapping: &MappingRef, to: &MappingTarget) {
        let known: Vec<_> = self.stages.keys().flat_map(|stage| self.recorded(stage)).collect();
        let mut known =
            known.iter().filter(|record| record.release.mappings.get(mapping) == Some(to)).peekable();
        let recorded = known.peek().is_some();
        let ready = known.any(|record| self.stages[&record.stage].release == record.release.in_stage());
        let Some(now) = self.mappings.get_mut(mapping) else { return };
        let from = std::mem::replace(&mut now.target, to.clone());
        let (part, from, to) = (mapping.to_string(), from.to_string(), to.to_string());
        self.moves.push(Move { at: self.now, by: self.caller.clone(), part, from, to, recorded, ready });
    }
}
