//! The rules of CloudWatch's embedded metric format, as AWS publishes them: the specification and its JSON schema, and
//! the limits of `MetricDatum`. Where two published versions differ, the stricter one counts.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

const UNITS: &str = "Seconds Microseconds Milliseconds Bytes Kilobytes Megabytes Gigabytes Terabytes Bits Kilobits \
    Megabits Gigabits Terabits Percent Count Bytes/Second Kilobytes/Second Megabytes/Second Gigabytes/Second \
    Terabytes/Second Bits/Second Kilobits/Second Megabits/Second Gigabits/Second Terabits/Second Count/Second None";

/// One value that CloudWatch extracts from a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Datum {
    namespace: String,
    metric: String,
    pub(crate) dimensions: BTreeMap<String, String>,
    values: Vec<f64>,
    at: DateTime<Utc>,
    unit: String,
    resolution: u64,
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dimensions: Vec<_> =
            self.dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let values: Vec<_> = self.values.iter().map(f64::to_string).collect();
        write!(f, "{} {} of {}", self.metric, values.join(" "), dimensions.join(" "))?;
        write!(f, " in {} at {} each {} s", self.unit, self.at.timestamp_millis(), self.resolution)
    }
}

/// Returns what CloudWatch extracts from a log line, or the rule that the line breaks.
pub(crate) fn extracted(line: &str, now: DateTime<Utc>) -> Result<Vec<Datum>, String> {
    rule(line.len() <= 256 * 1024, "a log event has at most 256 KB")?;
    let root: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
    let root = root.as_object().ok_or("the root is no object")?;
    let metadata = root.get("_aws").and_then(Value::as_object).ok_or("`_aws` is no object")?;
    let at = metadata.get("Timestamp").and_then(Value::as_i64).ok_or("`Timestamp` is no integer")?;
    let at = DateTime::from_timestamp_millis(at).ok_or("`Timestamp` is no time")?;
    let is_recent = now - TimeDelta::weeks(2) < at && at < now + TimeDelta::hours(2);
    rule(is_recent, "`Timestamp`, in milliseconds, is older than two weeks or in the future")?;
    let mut data = Vec::new();
    for directive in list(metadata, "CloudWatchMetrics")? {
        let directive = object(directive, &["Namespace", "Dimensions", "Metrics"], &[])?;
        let namespace = name(&directive["Namespace"])?;
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_/#: ".contains(c);
        rule(namespace.chars().all(plain), "a namespace has letters, digits and .-_/#: only")?;
        rule(!namespace.starts_with("AWS/"), "a namespace of AWS")?;
        let sets = list(directive, "Dimensions")?;
        rule(!sets.is_empty(), "`Dimensions` has no set")?;
        let metrics = list(directive, "Metrics")?;
        rule(metrics.len() <= 100, "at most 100 metrics")?;
        for set in sets {
            let dimensions = dimensions(root, set)?;
            for metric in metrics {
                let (metric, values, unit, resolution) = measured(root, metric)?;
                let (namespace, dimensions) = (namespace.clone(), dimensions.clone());
                data.push(Datum { namespace, metric, dimensions, values, at, unit, resolution });
            }
        }
    }
    Ok(data)
}

/// Returns the dimensions of a set. Each names a string at the root.
fn dimensions(root: &Map<String, Value>, set: &Value) -> Result<BTreeMap<String, String>, String> {
    let set = set.as_array().ok_or("a dimension set is no array")?;
    rule(set.len() <= 30, "at most 30 dimensions")?;
    let mut dimensions = BTreeMap::new();
    for dimension in set {
        let dimension = name(dimension)?;
        let value =
            root.get(&dimension).and_then(Value::as_str).ok_or("a dimension is no string at the root")?;
        let is_valid = value.is_ascii() && !value.trim().is_empty() && value.len() <= 1024;
        rule(is_valid && !value.starts_with(':'), "a dimension has 1 to 1024 characters of ASCII")?;
        dimensions.insert(dimension, value.to_owned());
    }
    Ok(dimensions)
}

/// Returns a metric's name, values, unit and resolution. It names a number at the root, or an array of numbers.
fn measured(root: &Map<String, Value>, metric: &Value) -> Result<(String, Vec<f64>, String, u64), String> {
    let metric = object(metric, &["Name"], &["Unit", "StorageResolution"])?;
    let name = name(&metric["Name"])?;
    let target = root.get(&name).ok_or("a metric is no member of the root")?;
    let values = target.as_array().cloned().unwrap_or_else(|| vec![target.clone()]);
    rule(values.len() <= 100, "at most 100 values")?;
    let values: Option<Vec<f64>> = values.iter().map(Value::as_f64).collect();
    let unit = metric.get("Unit").map_or(Some("None"), Value::as_str).ok_or("a unit is no string")?;
    rule(UNITS.split_whitespace().any(|known| known == unit), "an unknown unit")?;
    let resolution = metric.get("StorageResolution").map_or(Some(60), Value::as_u64);
    let resolution =
        resolution.filter(|seconds| [1, 60].contains(seconds)).ok_or("a resolution is 1 or 60")?;
    Ok((name, values.ok_or("a metric is no number")?, unit.to_owned(), resolution))
}

fn rule(holds: bool, broken: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken.to_owned()) }
}

fn list<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a Vec<Value>, String> {
    object.get(name).and_then(Value::as_array).ok_or(format!("`{name}` is no array"))
}

fn name(value: &Value) -> Result<String, String> {
    let name = value.as_str().filter(|name| (1..=255).contains(&name.len()));
    name.map(str::to_owned).ok_or(format!("{value} is no name of 1 to 255 characters"))
}

/// Returns an object that has all `required` members, and besides them only `optional` ones.
fn object<'a>(
    value: &'a Value,
    required: &[&str],
    optional: &[&str],
) -> Result<&'a Map<String, Value>, String> {
    let object = value.as_object().ok_or("no object")?;
    rule(required.iter().all(|name| object.contains_key(*name)), "a required member is missing")?;
    let is_known = |name: &String| required.contains(&name.as_str()) || optional.contains(&name.as_str());
    rule(object.keys().all(is_known), "an additional member")?;
    Ok(object)
}
