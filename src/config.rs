//! Reads the settings from environment variables into [`Config`], through a getter. One message names every invalid
//! variable.

use std::time::Duration;

use chrono::TimeDelta;
use serde::Deserialize;

use crate::model::alarm::Origin;
use crate::model::component::{AliasRef, ListedComponents, MAX_COMPONENTS, MappingRef};
use crate::model::parameter_names::ParameterNames;
use crate::model::policy::PolicyOverrides;
use crate::model::policy::{
    AutoDeploy, DAY, MAX_BAKE_SECONDS, MAX_COOLDOWN_SECONDS, MAX_ROLLBACKS_A_DAY, MAX_WINDOW_SECONDS,
    MissingComponents, Mode, StagePolicy, unless_zero,
};
use crate::model::protocol::Protocol;
use crate::model::records::Record;
use crate::model::stage::StageRef;
use crate::model::target::{ApiRef, means};
use crate::signal::target::is_stage_name;

/// The environment variables, for error messages and documents.
pub const VARIABLES: [&str; 19] = [
    "PROTECTED_STAGES",
    "PARAMETER_PREFIX",
    "MAX_ALARM_AGE_SECONDS",
    "MODE",
    "PIN",
    "AWS_REGION",
    "ALARM_TOPIC_ARN",
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
    "HOOK_FUNCTION",
    "HOOK_SECONDS",
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
    /// The Region in which the function runs.
    pub region: String,
    /// The topic that guarding alarms notify.
    pub alarm_topic: Option<String>,
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
    /// The hook, if any.
    pub hook: Option<Hook>,
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

/// Collects the errors, so that one message reports all of them.
struct Reader<G> {
    get: G,
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl<G: Fn(&str) -> Option<String>> Reader<G> {
    fn text(&self, name: &str) -> Option<String> {
        (self.get)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn ok_or_collect<T>(&mut self, read: Result<T, String>) -> Option<T> {
        read.map_err(|why| self.errors.push(why)).ok()
    }

    fn number(&mut self, name: &str, default: u32, most: u32) -> u32 {
        let Some(text) = self.text(name) else { return default };
        let number = text.parse().ok().filter(|number| *number <= most);
        let number =
            number.ok_or_else(|| format!("{name} is `{text}`; it must be a number from 0 to {most}"));
        self.ok_or_collect(number).unwrap_or(default)
    }

    fn seconds(&mut self, name: &str, default: u32, most: u32) -> TimeDelta {
        TimeDelta::seconds(self.number(name, default, most).into())
    }

    /// Reads the topic that guarding alarms notify. It is only compared with theirs, so the function starts without it.
    /// `sam local invoke` sets it to the logical id of the template's resource.
    fn alarm_topic(&mut self, name: &str) -> Option<String> {
        let topic = self.text(name)?;
        if topic.starts_with("arn:") {
            return Some(topic);
        }
        self.warnings.push(format!(
            "{name} is `{topic}`, which is not the ARN of an SNS topic; no alarm counts as a guarding alarm of the topic"
        ));
        None
    }

    fn topic(&mut self, name: &str) -> Option<String> {
        let topic = self.text(name)?;
        if !topic.starts_with("arn:") {
            self.errors.push(format!("{name} is `{topic}`; it must be the ARN of an SNS topic"));
        }
        Some(topic)
    }

    fn one_of<T: Copy>(&mut self, name: &str, [first, second]: [(&str, T); 2]) -> T {
        let read = match self.text(name) {
            Some(value) if value == second.0 => Ok(second.1),
            Some(value) if value != first.0 => {
                Err(format!("{name} is `{value}`; it must be `{}` or `{}`", first.0, second.0))
            }
            _ => Ok(first.1),
        };
        self.ok_or_collect(read).unwrap_or(first.1)
    }
}

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
        };
        let pin = reader.one_of("PIN", [("on", true), ("off", false)]);
        let alarm_topic = reader.alarm_topic("ALARM_TOPIC_ARN");
        let notification_topic = reader.topic("NOTIFICATION_TOPIC_ARN");
        // On the alarm topic, the function would receive its own notifications.
        if notification_topic.is_some() && notification_topic == alarm_topic {
            reader
                .errors
                .push("NOTIFICATION_TOPIC_ARN equals ALARM_TOPIC_ARN; set it to another topic".to_owned());
        }
        let event_bus = reader.text("EVENT_BUS");
        if let Some(bus) = event_bus.as_ref().filter(|bus| bus.contains(char::is_whitespace)) {
            reader
                .errors
                .push(format!("EVENT_BUS is `{bus}`; it must be the name or the ARN of an event bus"));
        }
        let patience = reader.number("HOOK_SECONDS", 3, 10);
        let hook = reader.text("HOOK_FUNCTION");
        if let Some(hook) = hook.as_ref().filter(|hook| hook.contains(char::is_whitespace)) {
            reader
                .errors
                .push(format!("HOOK_FUNCTION is `{hook}`; it must be the name or the ARN of a function"));
        }
        let hook = hook.map(|function| Hook { function, patience: Duration::from_secs(patience.into()) });
        let not_recovered = reader.seconds("NOT_RECOVERED_SECONDS", 900, DAY);
        let incidents_kept = match reader.number("INCIDENTS_KEPT_DAYS", 90, 3_650) {
            0 => None,
            days => Some(TimeDelta::days(days.into())),
        };
        let region = reader.text("AWS_REGION");
        let region = region.ok_or_else(|| {
            "AWS_REGION is not set; Lambda sets it, and outside Lambda you must set it to the API's Region".to_owned()
        });
        let region = reader.ok_or_collect(region).unwrap_or_default();
        if !reader.errors.is_empty() {
            return Err(BadSettings(reader.errors));
        }
        let (names, max_age) = (ParameterNames::under(&prefix), unless_zero(age));
        Ok(Self {
            stages,
            names,
            max_age,
            pin,
            region,
            alarm_topic,
            not_recovered,
            incidents_kept,
            policy,
            notification_topic,
            event_bus,
            hook,
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

    /// Returns the configured entry of a stage.
    #[must_use]
    pub fn entry(&self, stage: &StageRef) -> Option<&Protected> {
        self.stages.iter().find(|one| one.stage == *stage)
    }

    /// Returns the components of a stage's release: the policy's list, otherwise the configured one.
    #[must_use]
    pub fn listed(&self, stage: &StageRef, policy: &PolicyOverrides) -> ListedComponents {
        let configured = self.entry(stage).map(|entry| entry.listed.clone()).unwrap_or_default();
        ListedComponents {
            aliases: policy.aliases.clone().unwrap_or(configured.aliases),
            mappings: policy.mappings.clone().unwrap_or(configured.mappings),
        }
    }

    /// Returns the names that an alarm may use for a stage's API: the configured and the recorded one.
    #[must_use]
    pub fn api_names(&self, stage: &StageRef, recorded: Option<&Record>) -> Vec<String> {
        let configured = self.entry(stage).map(|entry| entry.api_name.clone());
        configured.into_iter().chain(recorded.and_then(|record| record.api_name.clone())).collect()
    }

    /// Returns the function's account and Region, to compare an alarm's origin with.
    #[must_use]
    pub fn home(&self, account: Option<&str>) -> Origin {
        Origin { account: account.map(str::to_owned), region: Some(self.region.clone()) }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Config, String> {
        let get =
            |name: &str| settings.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Config::read(get).map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_region_is_required() {
        let config = read(&[("AWS_REGION", "eu-west-1"), ("PROTECTED_STAGES", " ")]).unwrap();
        assert_eq!(config.max_age, Some(TimeDelta::seconds(900)));
        assert_eq!((config.policy.mode, config.pin), (Mode::Enforce, true));
        assert_eq!((config.policy.bake, config.policy.needs_data), (TimeDelta::minutes(30), true));
        assert_eq!(config.names, ParameterNames::under("/apigw-rollback"));
        assert_eq!(config.stages, []);
    }

    #[test]
    fn every_setting_is_read() {
        let config = read(&[
            ("AWS_REGION", "eu-west-1"),
            (
                "PROTECTED_STAGES",
                r#"[{"api":"a1","name":"orders","stage":"prod"},
                    {"api":"b2","name":"web","stage":"$default","protocol":"http","aliases":["orders:live"],
                     "mappings":["api.example.com/web"]}]"#,
            ),
            ("PARAMETER_PREFIX", "/team/rollback"),
            ("MAX_ALARM_AGE_SECONDS", "0"),
            ("MODE", "observe"),
            ("PIN", "off"),
            ("ROLLBACK_WINDOW_SECONDS", "0"),
        ])
        .unwrap();
        assert_eq!(config.max_age, None);
        assert_eq!((config.policy.mode, config.pin), (Mode::Observe, false));
        assert_eq!(config.policy.window, None);
        assert_eq!(config.names, ParameterNames::under("/team/rollback"));
        let orders = ApiRef::Name("orders".into());
        assert_eq!(config.named(&orders, "prod").collect::<Vec<_>>(), [&config.stages[0]]);
        assert_eq!(config.named(&orders, "test").count(), 0);
        let web = StageRef::new(Protocol::Http, "b2", "$default");
        let listed = config.listed(&web, &PolicyOverrides::default());
        assert_eq!(listed.aliases, ["orders:live".parse().unwrap()]);
        assert_eq!(listed.mappings, ["api.example.com/web".parse().unwrap()]);
        let policy = PolicyOverrides { aliases: Some(vec![]), ..PolicyOverrides::default() };
        let listed = config.listed(&web, &policy);
        assert_eq!((listed.aliases.len(), listed.mappings.len()), (0, 1));
    }

    #[test]
    fn one_message_names_all_invalid_variables() {
        let error = read(&[
            ("PROTECTED_STAGES", "prod"),
            ("PARAMETER_PREFIX", "/aws/x"),
            ("MAX_ALARM_AGE_SECONDS", "soon"),
            ("MODE", "on"),
            ("PIN", "yes"),
            ("INCIDENTS_KEPT_DAYS", "9999"),
            ("BAKE_SECONDS", "-1"),
            ("BAKE_NEEDS_DATA", "maybe"),
            ("ROLLBACK_WINDOW_SECONDS", "1d"),
            ("COOLDOWN_SECONDS", "99999999"),
            ("MAX_ROLLBACKS_A_DAY", "many"),
            ("NOT_RECOVERED_SECONDS", "1.5"),
            ("FLUSH_CACHE", "yes"),
            ("NOTIFICATION_TOPIC_ARN", "people"),
            ("EVENT_BUS", "my bus"),
            ("HOOK_FUNCTION", "my hook"),
            ("HOOK_SECONDS", "60"),
        ])
        .unwrap_err();
        for name in VARIABLES.iter().filter(|name| **name != "ALARM_TOPIC_ARN") {
            assert!(error.contains(name), "{name} is not named: {error}");
        }
    }

    #[test]
    fn a_topic_that_is_only_compared_is_ignored_with_a_warning_if_it_is_no_arn() {
        let config = |topic| read(&[("AWS_REGION", "eu-west-1"), ("ALARM_TOPIC_ARN", topic)]).unwrap();
        let (arn, id) = (config("arn:aws:sns:eu-west-1:1:a"), config("AlarmTopic"));
        assert_eq!((arn.alarm_topic.as_deref(), arn.warnings.len()), (Some("arn:aws:sns:eu-west-1:1:a"), 0));
        assert_eq!((id.alarm_topic, id.warnings.len()), (None, 1));
        assert!(id.warnings[0].starts_with("ALARM_TOPIC_ARN is `AlarmTopic`"), "{:?}", id.warnings);
    }

    #[test]
    fn a_policy_overrides_only_the_settings_that_it_names() {
        let base = read(&[("AWS_REGION", "eu-west-1")]).unwrap().policy;
        assert_eq!(base.under(&PolicyOverrides::default()), base);
        let overrides = PolicyOverrides {
            mode: Some(Mode::Observe),
            bake_seconds: Some(60),
            rollback_window_seconds: Some(0),
            ..PolicyOverrides::default()
        };
        let expected =
            StagePolicy { mode: Mode::Observe, bake: TimeDelta::seconds(60), window: None, ..base.clone() };
        assert_eq!(base.under(&overrides), expected);
    }

    #[test]
    fn a_prefix_is_a_path_that_parameter_store_accepts() {
        for (prefix, good) in [
            ("/apigw-rollback", true),
            ("/a/b_c.d-e", true),
            ("apigw-rollback", false),
            ("/", false),
            ("/a//b", false),
            ("/ssm-x", false),
            ("/a b", false),
        ] {
            assert_eq!(is_prefix(prefix), good, "{prefix}");
        }
    }
}
