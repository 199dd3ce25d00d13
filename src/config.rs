//! The settings: environment to [`Config`], pure over a getter. Every bad variable is named in one message.

use chrono::TimeDelta;
use serde::Deserialize;

use crate::alarm::Origin;
use crate::release::{Names, StageRef};
use crate::target::{ApiRef, is_stage_name};

/// The variables, for error messages and documents.
pub const VARIABLES: [&str; 6] =
    ["PROTECTED_STAGES", "PARAMETER_PREFIX", "MAX_ALARM_AGE_SECONDS", "MODE", "PIN", "AWS_REGION"];

/// The oldest state change that is acted on, unless set otherwise, in seconds.
pub const MAX_ALARM_AGE_SECONDS: i64 = 900;

/// The function's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The stages the template names.
    pub stages: Vec<Protected>,
    /// Where the records are.
    pub names: Names,
    /// The oldest state change that is acted on; `None` where switched off by 0.
    pub max_age: Option<TimeDelta>,
    /// Whether alarms may change a stage, or only have it said what would be done.
    pub mode: Mode,
    /// Whether a recorded release is pinned by a parked stage.
    pub pin: bool,
    /// The region the function runs in.
    pub region: String,
}

/// What an alarm may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Rollbacks.
    Enforce,
    /// Reports only. Commands still act.
    Observe,
}

/// A stage that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    /// The stage.
    pub stage: StageRef,
    /// Its API's name, which the alarm's `ApiName` dimension holds.
    pub api_name: String,
}

/// All that is wrong with the settings, a line each.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("bad settings: {}", .0.join("; "))]
pub struct BadSettings(pub Vec<String>);

impl Config {
    /// Reads the settings through `get`, which gives a variable's value where it is set.
    ///
    /// # Errors
    /// [`BadSettings`] with one sentence for each variable that is missing or wrong.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, BadSettings> {
        let get = |name| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut wrong = Vec::new();
        let stages = stages(get("PROTECTED_STAGES")).unwrap_or_else(|why| {
            wrong.push(why);
            vec![]
        });
        let prefix = get("PARAMETER_PREFIX").unwrap_or_else(|| "/apigw-rollback".to_owned());
        if !is_prefix(&prefix) {
            wrong.push(format!(
                "PARAMETER_PREFIX is `{prefix}`; it starts with `/`, has letters, digits, `.`, `-`, `_` between \
                 slashes, and does not begin with /aws or /ssm"
            ));
        }
        let age = get("MAX_ALARM_AGE_SECONDS").map_or(Ok(MAX_ALARM_AGE_SECONDS), |text| {
            text.parse::<i64>().ok().filter(|age| (0..=86_400).contains(age)).ok_or(text)
        });
        let age = age.unwrap_or_else(|text| {
            wrong.push(format!(
                "MAX_ALARM_AGE_SECONDS is `{text}`; it is a number from 0 (no limit) to 86400"
            ));
            0
        });
        let mode = one_of("MODE", get("MODE"), [("enforce", Mode::Enforce), ("observe", Mode::Observe)]);
        let mode = mode.unwrap_or_else(|why| {
            wrong.push(why);
            Mode::Observe
        });
        let pin = one_of("PIN", get("PIN"), [("on", true), ("off", false)]).unwrap_or_else(|why| {
            wrong.push(why);
            false
        });
        let region = get("AWS_REGION").unwrap_or_else(|| {
            wrong.push(
                "AWS_REGION is not set; Lambda sets it, elsewhere set it to the API's region".to_owned(),
            );
            String::new()
        });
        if !wrong.is_empty() {
            return Err(BadSettings(wrong));
        }
        let max_age = Some(age).filter(|age| *age > 0).map(TimeDelta::seconds);
        Ok(Self { stages, names: Names::under(&prefix), max_age, mode, pin, region })
    }

    /// The configured stages that a name or id and a stage's name could mean.
    pub fn named<'a>(&'a self, api: &'a ApiRef, stage: &'a str) -> impl Iterator<Item = &'a Protected> {
        self.stages.iter().filter(move |one| {
            // The settings know which is which: what looks like an id may be a name, and the other way round.
            [&one.stage.api, &one.api_name].into_iter().any(|known| known == api.text())
                && one.stage.stage == stage
        })
    }

    /// The configured entry of a stage.
    #[must_use]
    pub fn entry(&self, stage: &StageRef) -> Option<&Protected> {
        self.stages.iter().find(|one| one.stage == *stage)
    }

    /// Where the function is, for what an alarm's origin is held against.
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
    }
    let Some(text) = text else { return Ok(vec![]) };
    let hint = r#"it is a list such as [{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod"}]"#;
    let entries: Vec<Entry> = serde_json::from_str(&text)
        .map_err(|error| format!("PROTECTED_STAGES cannot be read: {error}; {hint}"))?;
    entries
        .into_iter()
        .map(|Entry { api, name, stage }| {
            if api.is_empty() || name.is_empty() || !is_stage_name(&stage) {
                return Err(format!("PROTECTED_STAGES has an entry without api, name or stage; {hint}"));
            }
            Ok(Protected { stage: StageRef::rest(api, stage), api_name: name })
        })
        .collect()
}

fn one_of<T>(name: &str, value: Option<String>, [first, second]: [(&str, T); 2]) -> Result<T, String> {
    match value {
        None => Ok(first.1),
        Some(value) if value == first.0 => Ok(first.1),
        Some(value) if value == second.0 => Ok(second.1),
        Some(value) => Err(format!("{name} is `{value}`; it is `{}` or `{}`", first.0, second.0)),
    }
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
    fn a_region_is_all_that_must_be_set() {
        let config = read(&[("AWS_REGION", "eu-west-1"), ("PROTECTED_STAGES", " ")]).unwrap();
        assert_eq!(config.max_age, Some(TimeDelta::seconds(900)));
        assert_eq!((config.mode, config.pin), (Mode::Enforce, true));
        assert_eq!(config.names, Names::under("/apigw-rollback"));
        assert_eq!(config.stages, []);
    }

    #[test]
    fn every_setting_is_read() {
        let config = read(&[
            ("AWS_REGION", "eu-west-1"),
            ("PROTECTED_STAGES", r#"[{"api":"a1","name":"orders","stage":"prod"}]"#),
            ("PARAMETER_PREFIX", "/team/rollback"),
            ("MAX_ALARM_AGE_SECONDS", "0"),
            ("MODE", "observe"),
            ("PIN", "off"),
        ])
        .unwrap();
        assert_eq!(config.max_age, None);
        assert_eq!((config.mode, config.pin), (Mode::Observe, false));
        assert_eq!(config.names, Names::under("/team/rollback"));
        let orders = ApiRef::Name("orders".into());
        assert_eq!(config.named(&orders, "prod").collect::<Vec<_>>(), [&config.stages[0]]);
        assert_eq!(config.named(&orders, "test").count(), 0);
    }

    #[test]
    fn all_bad_variables_are_named_at_once() {
        let error = read(&[
            ("PROTECTED_STAGES", "prod"),
            ("PARAMETER_PREFIX", "/aws/x"),
            ("MAX_ALARM_AGE_SECONDS", "soon"),
            ("MODE", "on"),
            ("PIN", "yes"),
        ])
        .unwrap_err();
        for name in VARIABLES {
            assert!(error.contains(name), "{name} is not named: {error}");
        }
    }

    #[test]
    fn a_prefix_is_a_path_that_ssm_allows() {
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
