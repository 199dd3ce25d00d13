//! The ledger: every stage change, component move and parameter write, each with its time and its author.

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
    /// Whether the new release was recorded as known-good at that moment.
    pub(crate) recorded: bool,
    /// Whether the aliases pointed where that record says.
    pub(crate) whole: bool,
    /// Whether the change switched AutoDeploy off.
    pub(crate) stopped: bool,
    /// When the run last looked at the stage before.
    pub(crate) looked_at: Option<DateTime<Utc>>,
}

/// One move of an alias or a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    pub(crate) at: DateTime<Utc>,
    pub(crate) by: String,
    /// The component and its two targets, as printed.
    pub(crate) component: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// Whether a recorded release has the component at that target.
    pub(crate) recorded: bool,
    /// For a mapping, whether its stage already served that release.
    pub(crate) ready: bool,
}

impl Facts {
    /// Changes what a stage serves and logs the change.
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
        let looked_at = self.looks.get(&(by.clone(), stage.to_string())).copied();
        self.changes.push(Change { at, by, stage, from, to, recorded, whole, stopped, looked_at });
    }

    /// Logs that a run's call about this subject failed.
    pub(super) fn note_refused(&mut self, (run, subject): &(String, String)) {
        if subject.ends_with("-known-good") {
            self.refused_pins.insert(run.clone());
        }
    }

    /// Moves an alias and logs the move.
    pub(crate) fn point(&mut self, alias: &AliasRef, to: &AliasTarget) {
        let mut known = self.stages.keys().flat_map(|stage| self.recorded(stage));
        let recorded = known.any(|record| record.release.aliases.get(alias) == Some(to));
        let Some(now) = self.aliases.get_mut(alias) else { return };
        let from = std::mem::replace(&mut now.target, to.clone());
        now.revision.push('+');
        let (component, from, to) = (alias.to_string(), from.to_string(), to.to_string());
        self.moves.push(Move {
            at: self.now,
            by: self.caller.clone(),
            component,
            from,
            to,
            recorded,
            ready: true,
        });
    }

    /// Moves a mapping and logs the move.
    pub(crate) fn map(&mut self, mapping: &MappingRef, to: &MappingTarget) {
        let known: Vec<_> = self.stages.keys().flat_map(|stage| self.recorded(stage)).collect();
        let mut known =
            known.iter().filter(|record| record.release.mappings.get(mapping) == Some(to)).peekable();
        let recorded = known.peek().is_some();
        let ready = known.any(|record| self.stages[&record.stage].release == record.release.in_stage());
        let Some(now) = self.mappings.get_mut(mapping) else { return };
        let from = std::mem::replace(&mut now.target, to.clone());
        let (component, from, to) = (mapping.to_string(), from.to_string(), to.to_string());
        self.moves.push(Move { at: self.now, by: self.caller.clone(), component, from, to, recorded, ready });
    }
}
