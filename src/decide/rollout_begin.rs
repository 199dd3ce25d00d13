//! Decides whether a rollout may begin, and plans it. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::incidents::quarantines;
use super::is_not_held;
use crate::model::access_log::{AccessLog, Counted};
use crate::model::component::AliasRef;
use crate::model::observed::Observed;
use crate::model::percent::Percent;
use crate::model::policy::{Mode, StagePolicy};
use crate::model::reason::stamp;
use crate::model::records::{Incident, SCHEMA};
use crate::model::release::{Canary, Release};
use crate::model::rollout::{Rollout, RolloutState, Terms, weighted};

/// What is asked of a new rollout. Without a deployment and versions, it takes over the canary or the weights that are there.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The deployment of the canary.
    pub deployment: Option<String>,
    /// The new version of each alias.
    pub versions: BTreeMap<AliasRef, String>,
    /// The terms; `None` takes those of the stage's policy.
    pub terms: Option<Terms>,
    /// Who asks.
    pub who: Option<String>,
    /// The label of the release.
    pub label: Option<String>,
    /// The note for the changelog.
    pub note: Option<String>,
}

/// What gets the traffic of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The canary of the stage, with its share of now.
    Canary(Canary),
    /// The new version of each of these aliases, with its share of now.
    Versions(BTreeMap<AliasRef, String>, Percent),
}

/// Returns what the rollout is to move.
///
/// # Errors
/// A clause.
pub fn wanted(observed: &Observed, asked: &Asked) -> Result<Arrival, String> {
    let Some(live) = &observed.live else { return Err("API Gateway has no such stage".to_owned()) };
    let weights = weighted(&live.release.aliases);
    let split = live.release.aliases.iter().find(|(_, target)| !target.weights.is_empty());
    if let (None, Some((alias, target))) = (&weights, split) {
        return Err(format!(
            "the aliases split their traffic in different ways: `{alias}` points at {target}"
        ));
    }
    match (&live.release.canary, weights, &asked.deployment) {
        (_, _, Some(_)) if !asked.versions.is_empty() => {
            Err("a rollout moves a deployment or aliases, not both".to_owned())
        }
        (Some(_), Some(_), _) => Err("the stage has a canary, and its aliases split their traffic".to_owned()),
        (Some(canary), None, wanted) if asked.versions.is_empty() && of_this(canary, wanted.as_ref()) => {
            Ok(Arrival::Canary(canary.clone()))
        }
        (Some(canary), None, _) => Err(format!(
            "the stage has a canary with deployment `{}`, which is another release",
            canary.deployment.as_deref().unwrap_or("that API Gateway does not name")
        )),
        (None, Some((versions, share)), None) if asked.versions.is_empty() || asked.versions == versions => {
            Ok(Arrival::Versions(versions, share))
        }
        (None, Some((versions, share)), _) => {
            let aliases: Vec<String> = versions.iter().map(|(alias, version)| format!("`{alias}` gives {share} % to version {version}")).collect();
            Err(format!("other releases already get traffic: {}", aliases.join(", ")))
        }
        (None, None, Some(deployment)) => Ok(Arrival::Canary(Canary {
            deployment: Some(deployment.clone()),
            percent: Percent::NONE.to_string(),
            overrides: BTreeMap::new(),
            uses_cache: false,
        })),
        (None, None, None) if asked.versions.is_empty() => Err(
            "the stage has no canary and no alias with weights: name the deployment or the versions to roll out, or have your pipeline create a canary".to_owned(),
        ),
        (None, None, None) => Ok(Arrival::Versions(asked.versions.clone(), Percent::NONE)),
    }
}

fn of_this(canary: &Canary, wanted: Option<&String>) -> bool {
    wanted.is_none_or(|wanted| canary.deployment.as_ref() == Some(wanted))
}

impl Arrival {
    /// Returns why it is in quarantine, if this incident says so: it was part of the release that was rolled back.
    #[must_use]
    pub fn is_in(&self, incident: &Incident) -> Option<String> {
        let bad = &incident.bad.release;
        let was_bad = match self {
            Self::Canary(canary) => {
                let of_canary = bad.canary.as_ref().and_then(|canary| canary.deployment.as_ref());
                // The base of a bad canary, or of bad versions with weights, is innocent.
                let is_split = bad.aliases.values().any(|target| !target.weights.is_empty());
                let of_stage = Some(&bad.deployment).filter(|_| !is_split);
                canary.deployment.is_some() && of_canary.or(of_stage) == canary.deployment.as_ref()
            }
            Self::Versions(versions, _) => versions.iter().any(|(alias, version)| {
                let target = bad.aliases.get(alias);
                // So is the version that the weights left most of the traffic.
                target.is_some_and(|target| {
                    let is_whole = target.weights.is_empty() && target.version == *version;
                    is_whole || target.weights.contains_key(version)
                })
            }),
        };
        let why = || format!("it was rolled back at {} by `{}`", stamp(incident.at), incident.by);
        (quarantines(incident) && was_bad).then(why)
    }
}

/// Plans a rollout, if it may begin on an observed stage. `quarantine` is why its release is in quarantine; `id` names the run.
///
/// # Errors
/// A clause.
pub fn planned(
    observed: &Observed,
    asked: Asked,
    quarantine: Option<&str>,
    policy: &StagePolicy,
    id: &str,
) -> Result<Rollout, String> {
    let arrival = wanted(observed, &asked)?;
    let base = base(observed, &arrival)?;
    may_begin(observed, &base, policy, observed.at)?;
    let (what, from) = match &arrival {
        Arrival::Canary(canary) => (of_canary(observed, canary, &base)?, Percent::read(&canary.percent)),
        Arrival::Versions(versions, share) => (of_versions(observed, versions, &base)?, Some(*share)),
    };
    if let Some(why) = quarantine {
        return Err(format!("the release ({what}) is in quarantine: {why}"));
    }
    let on_stage = match &arrival {
        Arrival::Canary(_) => observed.live.as_ref().is_some_and(|live| live.release.canary.is_some()),
        Arrival::Versions(_, share) => *share != Percent::NONE,
    };
    let from = from.filter(|_| on_stage);
    let asked_terms = asked.terms.or_else(|| observed.on_record.policy.rollout.clone());
    let terms = asked_terms.ok_or("neither the command nor the stage's policy says in which steps")?;
    terms.check()?;
    let terms = from_share(terms, from)?;
    let mut base = base;
    let (canary, versions) = match arrival {
        Arrival::Canary(canary) => {
            base = base.in_stage();
            (Some(Canary { percent: Percent::NONE.to_string(), ..canary }), BTreeMap::new())
        }
        Arrival::Versions(versions, _) => {
            base.aliases.retain(|alias, _| versions.contains_key(alias));
            base.mappings.clear();
            (None, versions)
        }
    };
    let is_all = |step: &Percent| f64::from(*step) >= 100.0;
    if canary.is_none() && terms.steps.last().is_some_and(is_all) {
        return Err(
            "the steps of aliases must be below 100 %: the promotion gives them all traffic".to_owned()
        );
    }
    Ok(Rollout {
        schema: SCHEMA,
        id: id.to_owned(),
        base,
        canary,
        versions,
        terms,
        step: 0,
        from,
        state: RolloutState::Moving,
        since: observed.at,
        changed_at: None,
        live_since: None,
        started_at: observed.at,
        who: asked.who,
        label: asked.label,
        note: asked.note,
        told: false,
    })
}

/// The share that a new release already has is its first step, so that no traffic moves before a step has passed.
fn from_share(terms: Terms, from: Option<Percent>) -> Result<Terms, String> {
    let Some(from) = from.filter(|from| *from != Percent::NONE) else { return Ok(terms) };
    let above = terms.steps.iter().copied().filter(|step| *step > from);
    let terms = Terms { steps: std::iter::once(from).chain(above).collect(), ..terms };
    terms.check().map(|()| terms)
}

/// Returns what the stage serves without the new release.
fn base(observed: &Observed, arrival: &Arrival) -> Result<Release, String> {
    let live = observed.live.as_ref().ok_or("API Gateway has no such stage")?;
    let mut base = Release { canary: None, ..live.release.clone() };
    if let Arrival::Versions(versions, _) = arrival {
        for (alias, target) in &mut base.aliases {
            if versions.contains_key(alias) {
                target.weights.clear();
            }
        }
    }
    Ok(base)
}

/// Checks what does not depend on what is rolled out.
fn may_begin(
    observed: &Observed,
    base: &Release,
    policy: &StagePolicy,
    now: DateTime<Utc>,
) -> Result<(), String> {
    if let Some(unreadable) = observed.on_record.rollout.as_ref().err() {
        return Err(format!("{unreadable}: delete it when no rollout is running"));
    }
    if let Err(held) = is_not_held(&observed.on_record, now) {
        return Err(held.to_string());
    }
    if policy.mode == Mode::Observe {
        return Err("the stage is in observe mode".to_owned());
    }
    let Some((_, record)) = observed.on_record.good() else {
        return Err("the stage has no known-good release to go back to".to_owned());
    };
    if *base != record.release.over(base) {
        return Err(format!(
            "the stage serves {base}, which is not its known-good release: wait until it has baked, or record it"
        ));
    }
    Ok(())
}

/// Checks whether a deployment may be rolled out as a canary, and returns its name.
fn of_canary(observed: &Observed, canary: &Canary, base: &Release) -> Result<String, String> {
    if observed.stage.protocol.is_v2() {
        return Err(
            "only stages of REST APIs have canaries: roll out versions of its aliases instead".to_owned()
        );
    }
    let deployment =
        canary.deployment.as_ref().ok_or("API Gateway does not name the deployment of the canary")?;
    if *deployment == base.deployment {
        return Err(format!("the stage already serves deployment `{deployment}`"));
    }
    let live = observed.live.as_ref();
    let counts = live.and_then(|live| live.access_log.as_ref()).and_then(AccessLog::counted);
    if counts != Some(Counted::ByDeployment) {
        return Err(
            "its access log does not count the requests of each deployment; set the format that `apigw-rollback access-log rest` prints"
                .to_owned(),
        );
    }
    Ok(format!("deployment `{deployment}`"))
}

/// Checks whether versions may be rolled out by the weights of their aliases, and returns their names.
fn of_versions(
    observed: &Observed,
    versions: &BTreeMap<AliasRef, String>,
    base: &Release,
) -> Result<String, String> {
    let mut names = Vec::new();
    for (alias, version) in versions {
        let Some(target) = base.aliases.get(alias) else {
            return Err(format!(
                "the settings and the policy do not list the alias `{alias}`, or it does not exist"
            ));
        };
        if version.parse::<u64>().is_err() {
            return Err(format!("`{version}` is no version of a function: publish one, and give its number"));
        }
        if target.version == *version {
            return Err(format!("the alias `{alias}` already points at version {version}"));
        }
        if observed.components.moving.contains(alias) {
            return Err(format!("a running CodeDeploy deployment moves the alias `{alias}`"));
        }
        names.push(format!("version {version} of `{alias}`"));
    }
    Ok(names.join(", "))
}
