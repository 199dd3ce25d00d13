//! A CloudWatch alarm, independent of the envelope and the spelling in which it arrived.
//!
//! The payload of an event and the answer of `DescribeAlarms` both become this type, so the same code judges the alarm
//! that triggered the run and its present state.

use std::fmt;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde::Serialize;

use super::access_log;
use super::alarm_setup::AlarmSetup;
use super::datapoint::Datapoint;

/// How far the function's clock and AWS's clock may differ.
pub const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(60);

/// The state of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// The metric is within its threshold.
    Ok,
    /// The metric is beyond its threshold.
    Alarm,
    /// There is too little data to decide.
    InsufficientData,
}

impl State {
    /// Parses CloudWatch's spelling. Returns `None` for any other word.
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
    /// The namespace, for example `AWS/ApiGateway`.
    pub namespace: String,
    /// The metric's name, for example `5XXError`.
    pub name: String,
    /// The names and values of the dimensions, in the source's order. In hand-written events, names may repeat.
    pub dimensions: Vec<(String, String)>,
    /// The account that the metric belongs to, if a cross-account alarm names it.
    pub account: Option<String>,
}

impl Metric {
    /// Returns the values of one dimension. As in CloudWatch, the name must match exactly.
    pub fn values<'a>(&'a self, dimension: &'a str) -> impl Iterator<Item = &'a str> {
        self.dimensions
            .iter()
            .filter(move |(name, value)| name == dimension && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

/// The objects that an alarm watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watches {
    /// Metrics; empty for a query (Metrics Insights, `PromQL`) and for a payload that names none.
    Metrics(Vec<Metric>),
    /// Other alarms: those in the composite alarm's rule, as CloudWatch has it. Empty for a payload, whose list is not read.
    Alarms(Vec<String>),
}

/// A CloudWatch alarm at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The name, unique in an account and Region.
    pub name: String,
    /// The ARN, if the source has one. It may be malformed.
    pub arn: Option<String>,
    /// The account and Region that the payload gives besides the ARN.
    pub claimed: Origin,
    /// The description, which may hold a `rollback-target:` directive.
    pub description: Option<String>,
    /// The state.
    pub state: State,
    /// When the alarm changed to this state; `None` if the source has no readable time.
    pub changed_at: Option<DateTime<Utc>>,
    /// CloudWatch's reason for the state.
    pub why: String,
    /// Whether the alarm is in ALARM only because missing data counts as breaching.
    pub only_missing_data: bool,
    /// The alarm or period that suppresses a composite alarm's actions now, if any.
    pub suppressed_by: Option<String>,
    /// The mute rule that muted the alarm's actions when this event was sent, if any.
    pub muted_by: Option<String>,
    /// Whether the event repeats an older change of state, because a mute rule's window has ended.
    pub repeated: bool,
    /// The metrics or alarms that it watches.
    pub watches: Watches,
}

/// The present state of an alarm in CloudWatch.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmNow {
    /// The alarm.
    pub alarm: Alarm,
    /// Whether its actions are enabled.
    pub actions_enabled: bool,
    /// The ARNs that it notifies or invokes when it goes to ALARM.
    pub actions: Vec<String>,
    /// How far back one evaluation looks: the evaluation periods, and one more because they begin at a whole period.
    /// Zero for composite alarms.
    pub window: TimeDelta,
    /// The datapoints that made the alarm change to its state, if CloudWatch says so.
    pub evaluated: Vec<Datapoint>,
    /// Its other settings.
    pub setup: AlarmSetup,
}

/// Whether a mute rule mutes an alarm's actions now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Muted {
    /// No mute rule does.
    No,
    /// This mute rule does.
    By(String),
    /// The mute rules cannot be read, for this reason.
    Unknown(String),
}

/// An account and a Region, each if known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The AWS account id.
    pub account: Option<String>,
    /// The Region's code, for example `eu-west-1`.
    pub region: Option<String>,
}

impl Alarm {
    /// Whether it watches nothing but the metrics of access logs. Such an alarm tells soon that something may be wrong; the few
    /// seconds behind it prove nothing by themselves.
    #[must_use]
    pub fn is_fast(&self) -> bool {
        let Watches::Metrics(metrics) = &self.watches else { return false };
        !metrics.is_empty() && metrics.iter().all(|metric| metric.namespace == access_log::NAMESPACE)
    }

    /// Returns an alarm of which only the name and the state are known.
    #[must_use]
    pub fn new(name: impl Into<String>, state: State) -> Self {
        Self {
            name: name.into(),
            arn: None,
            claimed: Origin::default(),
            description: None,
            state,
            changed_at: None,
            why: String::new(),
            only_missing_data: false,
            suppressed_by: None,
            muted_by: None,
            repeated: false,
            watches: Watches::Metrics(vec![]),
        }
    }

    /// Returns whether it has been quiet since a time, judged by its present state. `None` means that its state changed
    /// since then, so only its history can answer.
    #[must_use]
    pub fn quiet_since(&self, since: DateTime<Utc>) -> Option<bool> {
        match (self.state, self.changed_at) {
            (State::Alarm, _) => Some(false),
            (State::Ok | State::InsufficientData, Some(changed)) if changed < since => Some(true),
            (State::Ok | State::InsufficientData, _) => None,
        }
    }

    /// Returns the alarm's account and Region: from its ARN, or else from the payload.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let from_arn = self.arn.as_deref().map(arn_origin).unwrap_or_default();
        Origin {
            account: from_arn.account.or_else(|| self.claimed.account.clone()),
            region: from_arn.region.or_else(|| self.claimed.region.clone()),
        }
    }
}

/// Parses the account and Region of an alarm's ARN (`arn:partition:cloudwatch:region:account:alarm:name`). Blanks are
/// ignored, because hand-edited events have them.
fn arn_origin(arn: &str) -> Origin {
    let mut parts = arn.splitn(7, ':').map(str::trim);
    let is_arn = parts.next() == Some("arn");
    let mut rest = parts.skip(2).map(|part| Some(part.to_owned()).filter(|p| is_arn && !p.is_empty()));
    let region = rest.next().flatten();
    let account = rest.next().flatten();
    Origin { account, region }
}

/// Returns the name of an alarm or of a mute rule from its ARN, or the text itself if it is not an ARN. A name may contain
/// colons.
#[must_use]
pub fn name_of(arn_or_name: &str) -> &str {
    match arn_or_name.splitn(7, ':').collect::<Vec<_>>().as_slice() {
        ["arn", _, _, _, _, "alarm" | "alarm-mute-rule", name] => name,
        _ => arn_or_name,
    }
}

/// Returns the names of the alarms in a composite alarm's rule, such as `ALARM("a") AND NOT OK(b)` or
/// `AT_LEAST(2, ALARM, (a, b, c))`. An ARN counts as the name in it.
#[must_use]
pub fn names_in_rule(rule: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut rest = rule;
    while let Some((before, after)) = rest.split_once('(') {
        let before = before.trim_end();
        let asks = ["ALARM", "OK", "INSUFFICIENT_DATA"].iter().any(|word| before.ends_with(word));
        // Only the list of `AT_LEAST` begins after a comma.
        let lists = before.ends_with(',');
        rest = after;
        if !asks && !lists {
            continue;
        }
        loop {
            let Some((name, after)) = argument(rest) else { return names };
            let name = name_of(name.trim()).to_owned();
            if !names.contains(&name) {
                names.push(name);
            }
            rest = after.trim_start();
            let Some(more) = rest.strip_prefix(',') else { break };
            rest = more;
        }
    }
    names
}

/// The first argument of a rule's function, which may be quoted, and the text from its end. Between quotes, a backslash stands
/// before a quote or a backslash of the name.
fn argument(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let mut rest = text.chars();
    let Some(quote) = rest.next().filter(|first| ['"', '\''].contains(first)) else {
        let (name, after) = text.split_at_checked(text.find([',', ')'])?)?;
        return Some((name.to_owned(), after));
    };
    let mut name = String::new();
    while let Some(c) = rest.next() {
        if c == quote {
            return Some((name, rest.as_str()));
        }
        let is_escape = c == '\\' && rest.as_str().starts_with(['"', '\'', '\\']);
        name.push(if is_escape { rest.next()? } else { c });
    }
    None
}

/// Whether a time can be calculated with: its year is from 1970 to 9999. Durations are added to times from outside, and the
/// sums must be valid dates.
#[must_use]
pub fn is_plausible(time: &DateTime<Utc>) -> bool {
    (1970..=9999).contains(&time.year())
}

/// Parses an alarm's time: RFC 3339, or CloudWatch's variant with `+0000`. Returns `None` for anything else, and for a time
/// that is not [plausible](is_plausible).
#[must_use]
pub fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .ok()
        .map(|time| time.with_timezone(&Utc))
        .filter(is_plausible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_plausible_years_are_parsed_in_both_spellings_only() {
        for (text, expected) in [
            ("2026-11-20T10:05:12.345+0000", Some("2026-11-20T10:05:12.345+00:00")),
            ("2026-11-20T10:05:12Z", Some("2026-11-20T10:05:12+00:00")),
            ("2026-11-20T11:05:12+01:00", Some("2026-11-20T10:05:12+00:00")),
            ("2023-08-04T12: 36: 15.490+0000", Some("2023-08-04T12:36:15.490+00:00")),
            ("1970-01-01T00:00:00Z", Some("1970-01-01T00:00:00+00:00")),
            ("9999-12-31T23:59:59Z", Some("9999-12-31T23:59:59+00:00")),
            ("1969-12-31T23:59:59Z", None),
            ("-262143-01-01T00:00:00.000+0000", None),
            ("+10000-01-01T00:00:00.000+0000", None),
            ("date", None),
            ("", None),
        ] {
            assert_eq!(time(text).map(|t| t.to_rfc3339()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_alarms_in_a_rule_are_found() {
        for (rule, expected) in [
            (r#"ALARM("a") OR ALARM(b)"#, vec!["a", "b"]),
            (r#"(ALARM('a (1)') AND NOT OK("b"))"#, vec!["a (1)", "b"]),
            ("ALARM(arn:aws:cloudwatch:eu-west-1:1:alarm:a:b) AND INSUFFICIENT_DATA( c )", vec!["a:b", "c"]),
            (r#"ALARM("a") OR ALARM("a")"#, vec!["a"]),
            ("AT_LEAST(2, ALARM, (a, b, c)) AND NOT OK(d)", vec!["a", "b", "c", "d"]),
            (r#"OK(x) OR AT_LEAST(50%, NOT ALARM, ("a, (1)", 'b'))"#, vec!["x", "a, (1)", "b"]),
            (r#"ALARM("5xx \"prod\"") AND OK('it\'s')"#, vec![r#"5xx "prod""#, "it's"]),
            (r#"AT_LEAST(1, ALARM, ("C:\logs", "share\\")) OR OK(c)"#, vec![r"C:\logs", r"share\", "c"]),
            (r#"ALARM("a\""#, vec![]),
            ("AT_LEAST(1, ALARM, (arn:aws:cloudwatch:eu-west-1:1:alarm:a:b, c", vec!["a:b"]),
            ("TRUE", vec![]),
            ("ALARM(", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(names_in_rule(rule), expected, "{rule}");
        }
    }

    /// A rule has at most 10,240 characters (`PutCompositeAlarm`).
    #[test]
    fn a_rule_of_any_length_or_shape_is_read() {
        let names = |rule: &str| names_in_rule(rule).len();
        assert_eq!(
            names(&(0..640).map(|nth| format!("ALARM(a{nth:04}) OR ")).collect::<Vec<_>>().concat()),
            640
        );
        assert_eq!(names(&"ALARM(".repeat(1_706)), 0);
        assert_eq!(names(&"(".repeat(10_240)), 0);
        assert_eq!(names(&format!("ALARM({})", "é".repeat(10_233))), 1);
        assert_eq!(names("no rule at all"), 0);
    }

    #[test]
    fn account_region_and_name_are_parsed_even_from_an_odd_arn() {
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
