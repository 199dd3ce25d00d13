//! Reads single settings, and collects what is wrong with them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;

use super::Hook;
use crate::model::guilt::Terms;

/// The longest latency that the settings may tolerate, in milliseconds: API Gateway's longest time-out, which a Regional
/// REST API may have.
const MAX_LATENCY_MS: u32 = 300_000;

/// The most tags that API Gateway accepts for a stage.
const MAX_TAGS: usize = 50;

/// Collects the errors, so that one message reports all of them.
pub(super) struct Reader<G> {
    pub(super) get: G,
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl<G: Fn(&str) -> Option<String>> Reader<G> {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.get)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    pub(super) fn ok_or_collect<T>(&mut self, read: Result<T, String>) -> Option<T> {
        read.map_err(|why| self.errors.push(why)).ok()
    }

    /// Reads a whole number. The template's type Number lets fractions through; they are rounded up, because 0 switches
    /// many settings off.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    pub(super) fn number(&mut self, name: &str, default: u32, most: u32) -> u32 {
        self.fraction(name, default.into(), (0.0, most.into())).ceil() as u32
    }

    /// Reads the terms of the test of guilt.
    pub(super) fn terms(&mut self) -> Terms {
        let latency = self.number("LATENCY_TOLERATED_MS", 0, MAX_LATENCY_MS);
        Terms {
            tolerated: self.fraction("ERROR_RATE_TOLERATED", 0.05, (0.0, 1.0)),
            latency: Some(latency).filter(|latency| *latency > 0),
            alpha: self.fraction("CONVICT_ALPHA", 0.0001, (1e-6, 0.01)),
        }
    }

    pub(super) fn fraction(&mut self, name: &str, default: f64, (least, most): (f64, f64)) -> f64 {
        let Some(text) = self.text(name) else { return default };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        let number =
            number.ok_or_else(|| format!("{name} is `{text}`; it must be a number from {least} to {most}"));
        self.ok_or_collect(number).unwrap_or(default)
    }

    pub(super) fn seconds(&mut self, name: &str, default: u32, most: u32) -> TimeDelta {
        TimeDelta::seconds(self.number(name, default, most).into())
    }

    /// Reads the topic that guarding alarms notify. It is only compared with theirs, so the function starts without it.
    /// `sam local invoke` sets it to the logical id of the template's resource.
    pub(super) fn alarm_topic(&mut self, name: &str) -> Option<String> {
        let topic = self.text(name)?;
        if topic.starts_with("arn:") {
            return Some(topic);
        }
        self.warnings.push(format!(
            "{name} is `{topic}`, which is not the ARN of an SNS topic; no alarm counts as a guarding alarm of the topic"
        ));
        None
    }

    /// Reads the beginnings of alarms' names, separated by commas.
    pub(super) fn prefixes(&mut self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        let prefixes: Vec<String> = text.split(',').map(|prefix| prefix.trim().to_owned()).collect();
        if prefixes.len() > 1 && prefixes.iter().any(String::is_empty) {
            self.errors.push(format!("{name} is `{text}`; an empty entry would allow every name"));
        }
        prefixes.into_iter().filter(|prefix| !prefix.is_empty()).collect()
    }

    /// Reads tags such as `team=orders,cost-center=42`, by the rules that API Gateway has for them.
    pub(super) fn tags(&mut self, name: &str) -> BTreeMap<String, String> {
        let Some(text) = self.text(name) else { return BTreeMap::new() };
        let fits = |text: &str, most| {
            let is_allowed = |c: char| c.is_alphanumeric() || " _.:/=+-@".contains(c);
            text.chars().count() <= most && text.chars().all(is_allowed)
        };
        let pairs: Vec<_> = text.split(',').filter_map(|pair| pair.trim().split_once('=')).collect();
        let is_tag = |(key, value): &(&str, &str)| {
            let is_reserved = key.to_ascii_lowercase().starts_with("aws:");
            !key.is_empty() && !is_reserved && fits(key, 128) && fits(value, 256)
        };
        let tags: BTreeMap<_, _> = pairs
            .iter()
            .filter(|pair| is_tag(pair))
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        if tags.len() < text.split(',').count() || tags.len() > MAX_TAGS {
            self.errors.push(format!(
                "{name} is `{text}`; it must be at most {MAX_TAGS} tags such as team=orders,cost-center=42, with different keys that \
                 do not begin with aws:"
            ));
        }
        tags
    }

    /// Reads the hook.
    pub(super) fn hook(&mut self) -> Option<Hook> {
        let patience = Duration::from_secs(self.number("HOOK_SECONDS", 3, 10).into());
        self.name_or_arn("HOOK_FUNCTION", "a function").map(|function| Hook { function, patience })
    }

    /// Reads the codes of Regions, separated by commas. All Regions may share one list, so our own is left out.
    pub(super) fn regions(&mut self, name: &str, ours: &str) -> Vec<String> {
        let Some(text) = self.text(name) else { return vec![] };
        let regions: Vec<String> = text.split(',').map(|region| region.trim().to_owned()).collect();
        let is_region = |region: &String| {
            region.contains('-')
                && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !regions.iter().all(is_region) {
            self.errors
                .push(format!("{name} is `{text}`; it must be codes of Regions such as eu-west-1,us-east-1"));
        }
        regions.into_iter().filter(|region| region != ours).collect()
    }

    pub(super) fn name_or_arn(&mut self, name: &str, what: &str) -> Option<String> {
        let text = self.text(name)?;
        if text.contains(char::is_whitespace) {
            self.errors.push(format!("{name} is `{text}`; it must be the name or the ARN of {what}"));
        }
        Some(text)
    }

    pub(super) fn topic(&mut self, name: &str) -> Option<String> {
        let topic = self.text(name)?;
        if !topic.starts_with("arn:") {
            self.errors.push(format!("{name} is `{topic}`; it must be the ARN of an SNS topic"));
        }
        Some(topic)
    }

    pub(super) fn one_of<T: Copy>(&mut self, name: &str, [first, second]: [(&str, T); 2]) -> T {
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
