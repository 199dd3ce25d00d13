//! The domain alarm: what a CloudWatch alarm says, whichever envelope and spelling it came in.
//!
//! Both the payload of an event and the answer of `DescribeAlarms` become this one type, so that the
//! alarm that called and the alarm as it stands now are judged by the same code.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

/// How far our clock and AWS's may be apart.
pub const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(60);

/// The state of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// The metric is within its threshold.
    Ok,
    /// The metric is beyond its threshold.
    Alarm,
    /// There is not enough data to tell.
    InsufficientData,
}

impl State {
    /// Reads CloudWatch's spelling; any other word is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "OK" => Some(Self::Ok),
            "ALARM" => Some(Self::Alarm),
            "INSUFFICIENT_DATA" => Some(Self::InsufficientData),
            _ => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        })
    }
}

/// One metric that an alarm watches, alone or as an entry of a metric-math expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// For example `AWS/ApiGateway`.
    pub namespace: String,
    /// For example `5XXError`.
    pub name: String,
    /// Name and value, in the order of the source; names may repeat in hand-written events.
    pub dimensions: Vec<(String, String)>,
    /// The account the metric is read from, where a cross-account alarm says so.
    pub account: Option<String>,
}

impl Metric {
    /// The values given for one dimension name, which is matched to the letter as CloudWatch does.
    pub fn values<'a>(&'a self, dimension: &'a str) -> impl Iterator<Item = &'a str> {
        self.dimensions
            .iter()
            .filter(move |(name, value)| name == dimension && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

/// What an alarm watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watches {
    /// Metrics; empty for a query (Metrics Insights, `PromQL`) and for a payload that does not say.
    Metrics(Vec<Metric>),
    /// Other alarms, given by the ARNs or names of those that triggered, where the payload lists them.
    Alarms(Vec<String>),
}

/// A CloudWatch alarm at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Its name, unique in an account and region.
    pub name: String,
    /// Its ARN, where the source gives one. Not trusted to be well-formed.
    pub arn: Option<String>,
    /// The account and region the payload claims beside the ARN.
    pub claimed: Origin,
    /// The description, which may hold a `rollback-target:` directive.
    pub description: Option<String>,
    /// The state now.
    pub state: State,
    /// When the state became what it is; `None` where the source has no readable time.
    pub changed_at: Option<DateTime<Utc>>,
    /// CloudWatch's sentence on why.
    pub why: String,
    /// True where missing data alone, treated as breaching, made the alarm.
    pub only_missing_data: bool,
    /// What suppresses the alarm's actions now (a composite alarm's suppressor), if anything.
    pub suppressed_by: Option<String>,
    /// What it watches.
    pub watches: Watches,
}

/// An alarm as CloudWatch has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmNow {
    /// The alarm.
    pub alarm: Alarm,
    /// Whether its actions run at all.
    pub actions_enabled: bool,
    /// The ARNs it notifies or invokes when it goes to ALARM.
    pub actions: Vec<String>,
    /// How far back one evaluation looks: period times evaluation periods. Zero for composite alarms.
    pub window: TimeDelta,
}

/// An account and a region, each only where known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The AWS account id.
    pub account: Option<String>,
    /// The region's code, for example `eu-west-1`.
    pub region: Option<String>,
}

impl Alarm {
    /// Where the alarm lives: its ARN's word, and where the ARN has none, the payload's.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let from_arn = self.arn.as_deref().map(arn_origin).unwrap_or_default();
        Origin {
            account: from_arn.account.or_else(|| self.claimed.account.clone()),
            region: from_arn.region.or_else(|| self.claimed.region.clone()),
        }
    }
}

/// The account and region of an alarm's ARN (`arn:partition:cloudwatch:region:account:alarm:name`).
/// Blanks are dropped: hand-edited events have them. What is missing stays `None`.
fn arn_origin(arn: &str) -> Origin {
    let mut parts = arn.splitn(7, ':').map(str::trim);
    let is_arn = parts.next() == Some("arn");
    let mut rest = parts.skip(2).map(|part| Some(part.to_owned()).filter(|p| is_arn && !p.is_empty()));
    let region = rest.next().flatten();
    let account = rest.next().flatten();
    Origin { account, region }
}

/// The alarm's name out of an ARN, or the text itself where it is no ARN. A name may hold colons.
#[must_use]
pub fn name_of(arn_or_name: &str) -> &str {
    match arn_or_name.splitn(7, ':').collect::<Vec<_>>().as_slice() {
        ["arn", _, _, _, _, "alarm", name] => name,
        _ => arn_or_name,
    }
}

/// The names of the alarms in a composite alarm's rule, such as `ALARM("a") AND NOT OK(b)`. ARNs count by
/// the name in them.
#[must_use]
pub fn names_in_rule(rule: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut rest = rule;
    while let Some((before, after)) = rest.split_once('(') {
        let asks = ["ALARM", "OK", "INSUFFICIENT_DATA"].iter().any(|word| before.trim_end().ends_with(word));
        let quote = after.trim_start().chars().next().filter(|first| *first == '"' || *first == '\'');
        rest = after;
        if !asks {
            continue;
        }
        let argument = match quote {
            Some(quote) => after.trim_start().get(1..).and_then(|inner| inner.split_once(quote)),
            None => after.split_once(')'),
        };
        let Some((name, after)) = argument else { break };
        rest = after;
        let name = name_of(name.trim()).to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Reads an alarm's time: RFC 3339, or with CloudWatch's `+0000`. Anything else is `None`.
#[must_use]
pub fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .ok()
        .map(|time| time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_spellings_and_nothing_else() {
        for (text, expected) in [
            ("2026-11-20T10:05:12.345+0000", Some("2026-11-20T10:05:12.345+00:00")),
            ("2026-11-20T10:05:12Z", Some("2026-11-20T10:05:12+00:00")),
            ("2026-11-20T11:05:12+01:00", Some("2026-11-20T10:05:12+00:00")),
            ("2023-08-04T12: 36: 15.490+0000", Some("2023-08-04T12:36:15.490+00:00")),
            ("date", None),
            ("", None),
        ] {
            assert_eq!(time(text).map(|t| t.to_rfc3339()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_rule_names_its_alarms() {
        for (rule, expected) in [
            (r#"ALARM("a") OR ALARM(b)"#, vec!["a", "b"]),
            (r#"(ALARM('a (1)') AND NOT OK("b"))"#, vec!["a (1)", "b"]),
            ("ALARM(arn:aws:cloudwatch:eu-west-1:1:alarm:a:b) AND INSUFFICIENT_DATA( c )", vec!["a:b", "c"]),
            (r#"ALARM("a") OR ALARM("a")"#, vec!["a"]),
            ("TRUE", vec![]),
            ("ALARM(", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(names_in_rule(rule), expected, "{rule}");
        }
    }

    #[test]
    fn an_arn_gives_account_region_and_name_even_when_it_is_odd() {
        for (arn, region, account, name) in [
            (
                "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a",
                Some("eu-west-1"),
                Some("123456789012"),
                "a",
            ),
            ("arn:aws:cloudwatch:us-east-1: 4444:alarm:a b", Some("us-east-1"), Some("4444"), "a b"),
            (
                "arn:aws:cloudwatch:eu-west-1:1:alarm:team: 5xx | ü#1",
                Some("eu-west-1"),
                Some("1"),
                "team: 5xx | ü#1",
            ),
            ("arn:aws:cloudwatch:::alarm:a", None, None, "a"),
            ("test-arn", None, None, "test-arn"),
            ("a:b:c:d:e:f:g", None, None, "a:b:c:d:e:f:g"),
        ] {
            let origin = arn_origin(arn);
            assert_eq!((origin.region.as_deref(), origin.account.as_deref()), (region, account), "{arn}");
            assert_eq!(name_of(arn), name, "{arn}");
        }
    }
}
