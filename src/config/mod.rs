//! Reads the settings from environment variables into [`Config`], through a getter. One message names every invalid
//! variable.

mod reader;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use serde::Deserialize;

use crate::model::admission::Admission;
use crate::model::alarm::Origin;
use crate::model::cloud_error::CloudError;
use crate::model::component::{AliasRef, ListedComponents, MAX_COMPONENTS, MappingRef};
use crate::model::hidden;
use crate::model::observed::OnRecord;
use crate::model::parameter_names::ParameterNames;
use crate::model::plain;
use crate::model::policy::PolicyOverrides;
use crate::model::policy::{
    AutoDeploy, DAY, MAX_BAKE_SECONDS, MAX_COOLDOWN_SECONDS, MAX_ROLLBACKS_A_DAY, MAX_WINDOW_SECONDS,
    MissingComponents, Mode, Siblings, StagePolicy, unless_zero,
};
use crate::model::protocol::Protocol;
use crate::model::records::{Parameter, Record};
use crate::model::report::Report;
use crate::model::stage::StageRef;
use crate::model::target::{ApiRef, means};
use crate::signal::target::is_stage_name;
use reader::Reader;

/// The environment variables, for error messages and documents.
pub const VARIABLES: [&str; 28] = [
    "PROTECTED_STAGES",
    "PARAMETER_PREFIX",
    "MAX_ALARM_AGE_SECONDS",
    "MODE",
    "PIN",
    "TAGS",
    "AWS_REGION",
    "ALARM_TOPIC_ARN",
    "ALARM_PREFIXES",
    "UNWIRED_ALARM_PREFIXES",
    "SHOW_VARIABLES",
    "BAKE_SECONDS",
    "BAKE_NEEDS_DATA",
    "ROLLBACK_WINDOW_SECONDS",
    "COOLDOWN_SECONDS",
    "MAX_ROLLBACKS_A_DAY",
    "INCIDENTS_KEPT_DAYS",
    "NOT_RECOVERED_SECONDS",
    "FLUSH_CACHE",
    "NOTIFICATION_TOPIC_ARN",
    "EVENT_BUS",
    "SIBLINGS",
    "HOOK_FUNCTION",
    "HOOK_SECONDS",
    "ERROR_RATE_TOLERATED",
    "LATENCY_TOLERATED_MS",
    "CONVICT_ALPHA",
    "DECIDE_SECONDS",
];

/// The default age of the oldest state change that the function acts on, in seconds.
pub const MAX_ALARM_AGE_SECONDS: u32 = 900;

/// The function's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The stages that `PROTECTED_STAGES` names.
    pub stages: Vec<Protected>,
    /// The names of the parameters that hold the records.
    pub names: ParameterNames,
    /// The age of the oldest state change that the function acts on; `None` if 0 switches the check off.
    pub max_age: Option<TimeDelta>,
    /// Whether a parked stage pins the recorded deployment.
    pub pin: bool,
    /// The tags of the stages that the function creates.
    pub tags: BTreeMap<String, String>,
    /// The Region in which the function runs.
    pub region: String,
    /// The topic that guarding alarms notify.
    pub alarm_topic: Option<String>,
    /// The beginnings of the names of the alarms that may act; empty allows every name.
    pub alarm_prefixes: Vec<String>,
    /// The beginnings of the names of alarms that may act although they are not wired to the function.
    pub unwired_alarm_prefixes: Vec<String>,
    /// Whether notifications, events, the log and the hook get the values of stage variables.
    pub show_variables: bool,
    /// How long the alarm may stay in ALARM after a rollback before the sweep reports it.
    pub not_recovered: TimeDelta,
    /// How long incidents are kept; `None` means for good.
    pub incidents_kept: Option<TimeDelta>,
    /// The default policy; a stage's own policy may override it.
    pub policy: StagePolicy,
    /// The topic that receives notifications for people.
    pub notification_topic: Option<String>,
    /// The event bus that receives events for programs: its name or ARN.
    pub event_bus: Option<String>,
    /// The other Regions in which a function of this name protects the same APIs.
    pub siblings: Vec<String>,
    /// The hook, if any.
    pub hook: Option<Hook>,
    /// How long after a fast alarm the test of guilt is repeated until it decides.
    pub decide: Duration,
    /// A sentence for each variable that is ignored because its value is of no use.
    pub warnings: Vec<String>,
}

/// The user's function that is invoked before and after a rollback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Its name or ARN.
    pub function: String,
    /// The longest time that a rollback waits for it.
    pub patience: Duration,
}

/// A stage that the settings name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    /// The stage.
    pub stage: StageRef,
    /// The name of its API, as in an alarm's `ApiName` dimension.
    pub api_name: String,
    /// The components of its release, unless its policy lists others.
    pub listed: ListedComponents,
}

/// Every error in the settings, each as a sentence.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid settings: {}", .0.join("; "))]
pub struct BadSettings(pub Vec<String>);

impl Config {
    /// Reads the settings through `get`, which returns a variable's value if it is set.
    ///
    /// # Errors
    /// [`BadSettings`] with one sentence for each variable that is missing or invalid.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, BadSettings> {
        let mut reader = Reader { get, errors: vec![], warnings: vec![] };
        let listed = stages(reader.text("PROTECTED_STAGES"));
        let stages = reader.ok_or_collect(listed).unwrap_or_default();
        let prefix = prefix(reader.text("PARAMETER_PREFIX"));
        let prefix = reader.ok_or_collect(prefix).unwrap_or_default();
        let age = reader.seconds("MAX_ALARM_AGE_SECONDS", MAX_ALARM_AGE_SECONDS, DAY);
        let policy = StagePolicy {
            mode: reader.one_of("MODE", [("enforce", Mode::Enforce), ("observe", Mode::Observe)]),
            bake: reader.seconds("BAKE_SECONDS", 1_800, MAX_BAKE_SECONDS),
            needs_data: reader.one_of("BAKE_NEEDS_DATA", [("on", true), ("off", false)]),
            window: unless_zero(reader.seconds("ROLLBACK_WINDOW_SECONDS", DAY, MAX_WINDOW_SECONDS)),
            cooldown: reader.seconds("COOLDOWN_SECONDS", 300, MAX_COOLDOWN_SECONDS),
            max_rollbacks: reader.number("MAX_ROLLBACKS_A_DAY", 3, MAX_ROLLBACKS_A_DAY),
            flush_cache: reader.one_of("FLUSH_CACHE", [("off", false), ("on", true)]),
            auto_deploy: AutoDeploy::Hold,
            missing_components: MissingComponents::Hold,
            siblings: Siblings::Tell,
            test: reader.terms(),
        };
        let pin = reader.one_of("PIN", [("on", true), ("off", false)]);
        let tags = reader.tags("TAGS");
        let alarm_topic = reader.alarm_topic("ALARM_TOPIC_ARN");
        let alarm_prefixes = reader.prefixes("ALARM_PREFIXES");
        let unwired_alarm_prefixes = reader.prefixes("UNWIRED_ALARM_PREFIXES");
        let show_variables = reader.one_of("SHOW_VARIABLES", [("off", false), ("on", true)]);
        let notification_topic = reader.topic("NOTIFICATION_TOPIC_ARN");
        // On the alarm topic, the function would receive its own notifications.
        if notification_topic.is_some() && notification_topic == alarm_topic {
            reader
                .errors
                .push("NOTIFICATION_TOPIC_ARN equals ALARM_TOPIC_ARN; set it to another topic".to_owned());
        }
        let event_bus = reader.name_or_arn("EVENT_BUS", "an event bus");
        let hook = reader.hook();
        let not_recovered = reader.seconds("NOT_RECOVERED_SECONDS", 900, DAY);
        let incidents_kept = match reader.number("INCIDENTS_KEPT_DAYS", 90, 3_650) {
            0 => None,
            days => Some(TimeDelta::days(days.into())),
        };
        let decide = Duration::from_secs(reader.number("DECIDE_SECONDS", 45, 120).into());
        let region = reader.text("AWS_REGION");
        let region = region.ok_or_else(|| {
            "AWS_REGION is not set; Lambda sets it, and outside Lambda you must set it to the API's Region".to_owned()
        });
        let region = reader.ok_or_collect(region).unwrap_or_default();
        let siblings = reader.regions("SIBLINGS", &region);
        if !reader.errors.is_empty() {
            return Err(BadSettings(reader.errors));
        }
        let (names, max_age) = (ParameterNames::under(&prefix), unless_zero(age));
        Ok(Self {
            stages,
            names,
            max_age,
            pin,
            tags,
            region,
            alarm_topic,
            alarm_prefixes,
            unwired_alarm_prefixes,
            show_variables,
            not_recovered,
            incidents_kept,
            policy,
            notification_topic,
            event_bus,
            siblings,
            hook,
            decide,
            warnings: reader.warnings,
        })
    }

    /// Returns the configured stages that match an API's name or id and a stage's name.
    pub fn named<'a>(&'a self, api: &'a ApiRef, stage: &'a str) -> impl Iterator<Item = &'a Protected> {
        self.stages.iter().filter(move |one| {
            // An API's name may look like an id, so the reference is compared with both.
            means(api.text(), &one.stage.api, &one.api_name) && one.stage.stage == stage
        })
    }

    /// Whether functions in other Regions protect the same APIs.
    #[must_use]
    pub fn hears_siblings(&self) -> bool {
        !self.siblings.is_empty()
    }

    /// Returns the configured entry of a stage.
    #[must_use]
    pub fn entry(&self, stage: &StageRef) -> Option<&Protected> {
        self.stages.iter().find(|one| one.stage == *stage)
    }

    /// Whether a failed call only means that a stage or API is not this function's to protect: the role denies reading it or
    /// its records, and the settings name no stage that `is_meant`. Another function may keep its records under the same
    /// prefix, and an alarm may name any stage.
    #[must_use]
    pub fn is_not_ours(&self, error: &CloudError, is_meant: impl Fn(&StageRef) -> bool) -> bool {
        const READS: [&str; 3] = ["GetParameters", "GetStage", "GetStages"];
        let is_denied = error.is_denial() && READS.contains(&error.operation);
        is_denied && !self.stages.iter().any(|one| is_meant(&one.stage))
    }

    /// Returns what a sweep looks after, for people: the first stage of the settings, and the number of the others.
    #[must_use]
    pub fn scope(&self) -> String {
        match self.stages.as_slice() {
            [] => "all recorded stages".to_owned(),
            [first] => format!("{}/{}", first.api_name, first.stage.stage),
            [first, others @ ..] => {
                let others = plain::counted(others.len(), "more stage");
                format!("{}/{} and {others}", first.api_name, first.stage.stage)
            }
        }
    }

    /// Returns the components of a stage's release: those of the settings, without those that the policy leaves out.
    #[must_use]
    pub fn listed(&self, stage: &StageRef, policy: &PolicyOverrides) -> ListedComponents {
        let ListedComponents { mut aliases, mut mappings } =
            self.entry(stage).map(|entry| entry.listed.clone()).unwrap_or_default();
        aliases.retain(|alias| policy.aliases.as_ref().is_none_or(|kept| has(kept, alias)));
        mappings.retain(|mapping| policy.mappings.as_ref().is_none_or(|kept| kept.contains(mapping)));
        ListedComponents { aliases, mappings }
    }

    /// Parses a stage's parameters. A policy that lists a component which the settings do not list counts as unreadable: who
    /// may write a policy need not own that function or domain.
    #[must_use]
    pub fn on_record(&self, stage: &StageRef, found: &[Parameter]) -> OnRecord {
        let mut on_record = OnRecord::from_parameters(&self.names, &self.region, stage, found);
        if let Some(component) = self.foreign_component(stage, &on_record.policy) {
            let parameter = self.names.policy(stage);
            let why = format!("lists {component}, which PROTECTED_STAGES does not list for this stage");
            on_record.unreadable.get_or_insert(format!("the parameter `{parameter}` {why}"));
        }
        on_record
    }

    /// Returns a component that a stage's policy lists and the settings do not, if any.
    #[must_use]
    pub fn foreign_component(&self, stage: &StageRef, policy: &PolicyOverrides) -> Option<String> {
        let ours = self.entry(stage).map(|entry| entry.listed.clone()).unwrap_or_default();
        let mut aliases = policy.aliases.iter().flatten().filter(|alias| !has(&ours.aliases, alias));
        let mut mappings =
            policy.mappings.iter().flatten().filter(|mapping| !ours.mappings.contains(mapping));
        let alias = aliases.next().map(|alias| format!("the alias `{alias}`"));
        alias.or_else(|| mappings.next().map(|mapping| format!("the mapping `{mapping}`")))
    }

    /// Whether a mapping may lead to this API: it belongs to a stage of the settings, or to this stage.
    #[must_use]
    pub fn may_map_to(&self, api: &str, stage: &StageRef) -> bool {
        api == stage.api || self.stages.iter().any(|one| one.stage.api == api)
    }

    /// Returns the alarms that may act on a stage. `function` is the function's ARN, if known.
    #[must_use]
    pub fn admission(&self, function: Option<&str>, policy: &PolicyOverrides) -> Admission {
        let ours = self.alarm_topic.as_deref().into_iter().chain(function);
        Admission {
            wired_to: ours.map(str::to_owned).collect(),
            unwired: self.unwired_alarm_prefixes.clone(),
            allowed: self.alarm_prefixes.clone(),
            narrowed: policy.alarm_prefixes.clone(),
        }
    }

    /// Returns the names that an alarm may use for a stage's API: the configured and the recorded one.
    #[must_use]
    pub fn api_names(&self, stage: &StageRef, recorded: Option<&Record>) -> Vec<String> {
        let configured = self.entry(stage).map(|entry| entry.api_name.clone());
        configured.into_iter().chain(recorded.and_then(|record| record.api_name.clone())).collect()
    }

    /// Returns a report as it leaves the function.
    #[must_use]
    pub fn shown<'a>(&self, report: &'a Report) -> Cow<'a, Report> {
        if self.show_variables { Cow::Borrowed(report) } else { Cow::Owned(hidden::report(report)) }
    }

    /// Returns the function's account and Region, to compare an alarm's origin with.
    #[must_use]
    pub fn home(&self, account: Option<&str>) -> Origin {
        Origin { account: account.map(str::to_owned), region: Some(self.region.clone()) }
    }
}

/// Whether a list has an alias, even if one of them is spelled as an ARN.
fn has(list: &[AliasRef], alias: &AliasRef) -> bool {
    list.iter().any(|one| (one.name(), &one.alias) == (alias.name(), &alias.alias))
}

fn stages(text: Option<String>) -> Result<Vec<Protected>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        api: String,
        name: String,
        stage: String,
        #[serde(default)]
        protocol: Protocol,
        #[serde(default)]
        aliases: Vec<AliasRef>,
        /// Functions that share one alias: a template can join names, but cannot append an alias to each.
        #[serde(default)]
        functions: Vec<String>,
        alias: Option<String>,
        #[serde(default)]
        mappings: Vec<MappingRef>,
    }
    let Some(text) = text else { return Ok(vec![]) };
    let hint = r#"it must be a list such as [{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod"}]"#;
    let entries: Vec<Entry> = serde_json::from_str(&text)
        .map_err(|error| format!("PROTECTED_STAGES cannot be read: {error}; {hint}"))?;
    entries
        .into_iter()
        .map(|Entry { api, name, stage, protocol, mut aliases, functions, alias, mappings }| {
            if api.is_empty() || name.is_empty() || !is_stage_name(&stage) {
                return Err(format!("PROTECTED_STAGES has an entry without an api, a name or a valid stage; {hint}"));
            }
            let alias = alias.unwrap_or_else(|| "live".to_owned());
            for function in functions {
                let parsed = format!("{function}:{alias}").parse::<AliasRef>();
                aliases.push(parsed.map_err(|error| format!("PROTECTED_STAGES cannot be read: {error}"))?);
            }
            if aliases.len() > MAX_COMPONENTS || mappings.len() > MAX_COMPONENTS {
                return Err(format!(
                    "PROTECTED_STAGES lists more than {MAX_COMPONENTS} aliases or mappings for `{stage}` of `{api}`"
                ));
            }
            let listed = ListedComponents { aliases, mappings };
            Ok(Protected { stage: StageRef::new(protocol, api, stage), api_name: name, listed })
        })
        .collect()
}

fn prefix(text: Option<String>) -> Result<String, String> {
    let prefix = text.unwrap_or_else(|| "/apigw-rollback".to_owned());
    if is_prefix(&prefix) {
        return Ok(prefix);
    }
    Err(format!(
        "PARAMETER_PREFIX is `{prefix}`; it must start with `/`, have letters, digits, `.`, `-`, `_` between slashes, \
         and not begin with /aws or /ssm"
    ))
}

fn is_prefix(text: &str) -> bool {
    let segments: Vec<&str> = text.split('/').collect();
    let plain =
        |s: &&str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    match segments.as_slice() {
        ["", first, rest @ ..] => {
            let reserved = ["aws", "ssm"].iter().any(|word| first.to_ascii_lowercase().starts_with(word));
            plain(first) && rest.iter().all(plain) && !reserved && segments.len() <= 8
        }
        _ => false,
    }
}
