//! Finds the stages that an alarm names, from the alarm alone. It never guesses. Pure.

use std::collections::BTreeSet;

use crate::model::alarm::{Alarm, Metric, Watches};
use crate::model::protocol::Protocol;
use crate::model::reason::Reason;
use crate::model::stage::StageRef;
use crate::model::target::{ApiRef, Target, metric_name};

/// The namespace of API Gateway's own metrics.
pub const NAMESPACE: &str = "AWS/ApiGateway";

const DIRECTIVE: &str = "rollback-target";

/// What Markdown and people put around a directive and its stages.
const MARKS: [char; 7] = ['`', '*', '"', '\'', '\u{201c}', '\u{201d}', ' '];

/// The most stages that one alarm may name. A description has room for a few more (`PutMetricAlarm`).
const MAX_TARGETS: usize = 100;
const CANARY: &str = "Canary";

/// The metrics that only WebSocket APIs have. HTTP APIs also have `IntegrationLatency` and the same dimensions.
const WEBSOCKET_METRICS: [&str; 5] =
    ["ConnectCount", "MessageCount", "IntegrationError", "ClientError", "ExecutionError"];

/// What an alarm names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// Stages, named by its directive or its metrics.
    Stages(Vec<Target>),
    /// None: the alarms below this composite alarm do.
    Children,
}

/// Returns the stages that an alarm names, or says that the alarms below it name them.
///
/// # Errors
/// [`Reason::NotApiGateway`], [`Reason::NoStage`] or [`Reason::AmbiguousTarget`] if it names no stage.
pub fn named_by(alarm: &Alarm) -> Result<Named, Reason> {
    if let Some(targets) = alarm.description.as_deref().and_then(directives) {
        return targets.map(Named::Stages);
    }
    match &alarm.watches {
        Watches::Alarms(_) => Ok(Named::Children),
        Watches::Metrics(metrics) => named_by_metrics(metrics).map(|target| Named::Stages(vec![target])),
    }
}

/// Returns the stages that the alarm itself names; empty if it names none.
#[must_use]
pub fn stages_named_by(alarm: &Alarm) -> Vec<Target> {
    match named_by(alarm) {
        Ok(Named::Stages(targets)) => targets,
        Ok(Named::Children) | Err(_) => vec![],
    }
}

/// Returns the one stage that all API Gateway metrics name. Metrics of other namespaces do not count.
fn named_by_metrics(metrics: &[Metric]) -> Result<Target, Reason> {
    if metrics.is_empty() {
        return Err(Reason::NoStage("the alarm names no metric, so it names no stage".into()));
    }
    let mut named = Vec::new();
    for metric in metrics.iter().filter(|metric| metric.namespace == NAMESPACE) {
        named.push(named_by_metric(metric));
    }
    let mut stages: Vec<Target> = named.iter().filter_map(|one| one.as_ref().ok()).cloned().collect();
    stages.sort();
    // A WebSocket API also has metrics that only look like those of an HTTP API. `WebSocket` sorts last.
    stages.dedup_by(|later, earlier| {
        let is_same = Target { protocol: later.protocol, ..earlier.clone() } == *later;
        if is_same {
            earlier.protocol = later.protocol;
        }
        is_same
    });
    match (stages.as_slice(), named.into_iter().find_map(Result::err)) {
        ([], None) => Err(Reason::NotApiGateway(namespaces(metrics))),
        ([], Some(reason)) => Err(reason),
        ([target], None) => Ok(target.clone()),
        ([target], Some(_)) => Err(Reason::AmbiguousTarget(format!(
            "one of the alarm's metrics names stage `{}` of API `{}`, but another names no stage",
            target.stage,
            target.api.text()
        ))),
        // An alarm that compares the canary with its base watches the whole stage.
        ([base, canary], None) if Target { canary: false, ..canary.clone() } == *base => Ok(base.clone()),
        (several, _) => Err(Reason::AmbiguousTarget(format!(
            "the alarm's metrics name several stages: {}",
            several.iter().map(|t| format!("{}/{}", t.api.text(), t.stage)).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// Returns API Gateway's own metrics of a stage's use. Those of a REST API have one of `api_names`, those of others the id.
#[must_use]
pub fn use_of(stage: &StageRef, api_names: &[String]) -> Vec<Metric> {
    let metric = |name: &str, api: (&str, &str)| Metric {
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        dimensions: [api, ("Stage", &stage.stage)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        account: None,
    };
    let by_id = ("ApiId", stage.api.as_str());
    match stage.protocol {
        Protocol::Rest => {
            // Two names that are the same in a metric are one metric, whose requests count once.
            let names: BTreeSet<_> = api_names.iter().map(|name| metric_name(name, &stage.api)).collect();
            names.iter().map(|name| metric("Count", ("ApiName", name))).collect()
        }
        Protocol::Http => vec![metric("Count", by_id)],
        Protocol::WebSocket => vec![metric("ConnectCount", by_id), metric("MessageCount", by_id)],
    }
}

/// Returns the stage that one of API Gateway's own metrics is about; `None` for any other metric.
#[must_use]
pub fn stage_of(metric: &Metric) -> Option<Target> {
    if metric.namespace == NAMESPACE { named_by_metric(metric).ok() } else { None }
}

fn named_by_metric(metric: &Metric) -> Result<Target, Reason> {
    let only = |dimension| {
        let mut values: Vec<&str> = metric.values(dimension).collect();
        values.sort_unstable();
        values.dedup();
        match values.as_slice() {
            [] => Ok(None),
            [value] => Ok(Some((*value).to_owned())),
            _ => Err(Reason::AmbiguousTarget(format!(
                "the metric has several values for the dimension `{dimension}`"
            ))),
        }
    };
    let (api, protocol) = match (only("ApiId")?, only("ApiName")?) {
        (Some(id), None) if WEBSOCKET_METRICS.contains(&metric.name.as_str()) => {
            (ApiRef::Id(id), Protocol::WebSocket)
        }
        (Some(id), None) => (ApiRef::Id(id), Protocol::Http),
        (None, Some(name)) => (ApiRef::Name(name), Protocol::Rest),
        (None, None) => {
            return Err(Reason::NoStage(format!(
                "the metric `{}` has neither the dimension ApiName nor the dimension ApiId",
                metric.name
            )));
        }
        (Some(_), Some(_)) => {
            return Err(Reason::AmbiguousTarget(
                "the metric has both ApiName (REST) and ApiId (HTTP, WebSocket)".into(),
            ));
        }
    };
    let Some(stage) = only("Stage")? else {
        return Err(Reason::NoStage(format!(
            "the metric `{}` names API `{}` but no stage",
            metric.name,
            api.text()
        )));
    };
    let (stage, canary) = split_canary(&stage);
    if !is_stage_name(stage) {
        return Err(Reason::NoStage(format!("`{stage}` is not a valid stage name")));
    }
    Ok(Target { api, stage: stage.to_owned(), canary, protocol: Some(protocol) })
}

/// Returns the stages of the `rollback-target:` directives, or `None` if the text has none.
///
/// A directive extends to the end of its line. One invalid entry makes the whole list invalid.
pub(crate) fn directives(description: &str) -> Option<Result<Vec<Target>, Reason>> {
    let mut targets = Vec::new();
    let mut found = false;
    for line in description.lines() {
        let Some(list) = list_of_directive(line) else { continue };
        found = true;
        for item in list.split(',') {
            match directive(item) {
                Ok(target) if targets.contains(&target) => {}
                Ok(_) if targets.len() == MAX_TARGETS => {
                    let why = format!("the alarm's description names more than {MAX_TARGETS} stages");
                    return Some(Err(Reason::NoStage(why)));
                }
                Ok(target) => targets.push(target),
                Err(reason) => return Some(Err(reason)),
            }
        }
    }
    found.then_some(Ok(targets))
}

/// Returns the text behind the directive's colon, without a comma at its end.
fn list_of_directive(line: &str) -> Option<&str> {
    let lower = line.to_ascii_lowercase();
    let mut found = lower.match_indices(DIRECTIVE).filter_map(|(at, _)| line.get(at + DIRECTIVE.len()..));
    let list = found.find_map(|rest| rest.trim_start_matches(MARKS).strip_prefix(':'))?;
    let end = |c: char| c == ',' || c.is_whitespace() || MARKS.contains(&c);
    Some(list.trim_end_matches(end))
}

fn directive(item: &str) -> Result<Target, Reason> {
    let refuse = || {
        Reason::NoStage(format!(
            "the alarm's description has the directive `{DIRECTIVE}:`, but `{}` is not `<api>/<stage>`",
            item.trim()
        ))
    };
    let item = item.trim().trim_start_matches(MARKS);
    let (api, stage) = item.split_once('/').ok_or_else(refuse)?;
    // A sentence may continue or end after the last stage: "rollback-target: orders/prod. Runbook: ..."
    let stage = stage.split_whitespace().next().unwrap_or_default();
    let end = |c| ['.', ';', ')', ']'].contains(&c) || MARKS.contains(&c);
    let stage = stage.trim_end_matches(end);
    let (stage, canary) = split_canary(stage);
    if api.trim().is_empty() || !is_stage_name(stage) {
        return Err(refuse());
    }
    Ok(Target { api: ApiRef::parse(api.trim()), stage: stage.to_owned(), canary, protocol: None })
}

fn split_canary(stage: &str) -> (&str, bool) {
    match stage.split_once('/') {
        Some((base, CANARY)) => (base, true),
        _ => (stage, false),
    }
}

/// Reports whether a stage can have this name: at most 128 letters, digits, `-` and `_` (`CreateStage`), or the
/// `$default` of HTTP APIs.
#[must_use]
pub fn is_stage_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text == "$default" || (!text.is_empty() && text.len() <= 128 && text.bytes().all(plain))
}

fn namespaces(metrics: &[Metric]) -> Vec<String> {
    let mut names: Vec<String> = metrics.iter().map(|metric| metric.namespace.clone()).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alarm::State;

    fn metric(dimensions: &[(&str, &str)]) -> Metric {
        let dimensions = dimensions.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Metric { namespace: NAMESPACE.into(), name: "5XXError".into(), dimensions, account: None }
    }

    fn described(result: Result<Vec<Target>, Reason>) -> String {
        match result {
            Ok(targets) => targets
                .iter()
                .map(|t| {
                    let by = if matches!(t.api, ApiRef::Id(_)) { "id" } else { "name" };
                    format!("{by} {}/{}{}", t.api.text(), t.stage, if t.canary { " canary" } else { "" })
                })
                .collect::<Vec<_>>()
                .join(", "),
            Err(reason) => reason.code().into(),
        }
    }

    #[test]
    fn a_directive_names_its_stages_or_is_refused_as_a_whole() {
        for (description, expected) in [
            ("no directive", "-"),
            ("rollback-target: a1b2c3d4e5/prod", "id a1b2c3d4e5/prod"),
            (
                "5xx. Rollback-Target: orders api/prod, a1b2c3d4e5/$default",
                "name orders api/prod, id a1b2c3d4e5/$default",
            ),
            ("rollback-target: orders-api/prod/Canary", "name orders-api/prod canary"),
            ("rollback-target: orders-api/prod. Runbook: https://example.com/x", "name orders-api/prod"),
            ("rollback-target: orders-api/prod\nand https://example.com/x, y", "name orders-api/prod"),
            ("rollback-target: a/p, a/p", "name a/p"),
            ("rollback-target:", "no-stage"),
            ("rollback-target: orders-api", "no-stage"),
            ("rollback-target: orders-api/", "no-stage"),
            ("rollback-target: /prod", "no-stage"),
            ("rollback-target: a/b/c", "no-stage"),
            ("rollback-target: a/p, see the runbook", "no-stage"),
            ("ü ROLLBACK-TARGET: a/p", "name a/p"),
            ("Checkout errors.\n\n`rollback-target: a1b2c3d4e5/prod`\n\n[Runbook](x)", "id a1b2c3d4e5/prod"),
            ("**rollback-target:** `a/p`, *b/q*", "name a/p, name b/q"),
            ("**rollback-target**: \"a/p\".", "name a/p"),
            ("\u{201c}rollback-target: a/p\u{201d}", "name a/p"),
            ("rollback-target: 'orders api/prod', ", "name orders api/prod"),
            ("the rollback-target is this. rollback-target: a/p,", "name a/p"),
            ("**rollback-target: `a/p,`**", "name a/p"),
            ("rollback-target: a/p,\t", "name a/p"),
            ("rollback-target: a/blue-green_2", "name a/blue-green_2"),
            ("rollback-target: a/p,, b/q", "no-stage"),
            ("rollback-target: `,`", "no-stage"),
            ("rollback-target a/p", "-"),
        ] {
            assert_eq!(directives(description).map_or("-".into(), described), expected, "{description}");
        }
    }

    #[test]
    fn dimensions_name_one_stage_or_none() {
        let rest = |stage| metric(&[("ApiName", "orders"), ("Stage", stage)]);
        let lambda = Metric { namespace: "AWS/Lambda".into(), ..metric(&[("FunctionName", "f")]) };
        let of_id = |name: &str| Metric {
            name: name.into(),
            ..metric(&[("ApiId", "k7v2m9x1q4"), ("Stage", "prod")])
        };
        for (metrics, expected) in [
            (vec![rest("prod")], "name orders/prod"),
            (vec![rest("prod"), lambda.clone()], "name orders/prod"),
            (vec![rest("prod"), metric(&[("Stage", "prod"), ("ApiName", "orders")])], "name orders/prod"),
            (vec![rest("prod/Canary")], "name orders/prod canary"),
            (vec![rest("prod"), rest("prod/Canary")], "name orders/prod"),
            (vec![metric(&[("ApiId", "ju6maoy9o2"), ("Stage", "$default")])], "id ju6maoy9o2/$default"),
            (vec![of_id("IntegrationLatency"), of_id("MessageCount")], "id k7v2m9x1q4/prod"),
            (vec![rest("prod"), rest("test")], "ambiguous-target"),
            (vec![rest("prod"), rest("prod/Canary"), rest("test")], "ambiguous-target"),
            (vec![rest("prod"), metric(&[("ApiName", "orders")])], "ambiguous-target"),
            (vec![metric(&[("ApiName", "a"), ("ApiId", "b"), ("Stage", "prod")])], "ambiguous-target"),
            (vec![metric(&[("ApiName", "a"), ("ApiName", "b"), ("Stage", "prod")])], "ambiguous-target"),
            (vec![metric(&[("ApiName", "orders")])], "no-stage"),
            (vec![metric(&[("ApiName", "orders"), ("Stage", "")])], "no-stage"),
            (vec![metric(&[("APIName", "orders"), ("Stage", "prod")])], "no-stage"),
            (vec![rest("prod/x")], "no-stage"),
            (vec![metric(&[])], "no-stage"),
            (vec![], "no-stage"),
            (vec![lambda], "not-api-gateway"),
        ] {
            assert_eq!(described(named_by_metrics(&metrics).map(|t| vec![t])), expected, "{metrics:?}");
        }
    }

    #[test]
    fn an_alarm_of_another_service_is_refused_with_its_namespaces() {
        let of = |namespace: &str| Metric { namespace: namespace.into(), ..metric(&[("Queue", "q")]) };
        let reason = named_by_metrics(&[of("AWS/SQS"), of("AWS/Lambda"), of("AWS/SQS")]).unwrap_err();
        assert_eq!(reason.to_string(), "the alarm watches metrics of AWS/Lambda, AWS/SQS and names no stage");
    }

    #[test]
    fn the_metrics_of_an_api_id_decide_its_protocol() {
        for (names, expected) in [
            (vec!["MessageCount"], Protocol::WebSocket),
            (vec!["4xx"], Protocol::Http),
            (vec!["IntegrationLatency"], Protocol::Http),
            (vec!["IntegrationLatency", "MessageCount"], Protocol::WebSocket),
            (vec!["MessageCount", "IntegrationLatency"], Protocol::WebSocket),
        ] {
            let of_id = |name: &&str| Metric {
                name: (*name).to_owned(),
                ..metric(&[("ApiId", "a"), ("Stage", "prod")])
            };
            let metrics: Vec<Metric> = names.iter().map(of_id).collect();
            assert_eq!(named_by_metrics(&metrics).unwrap().protocol, Some(expected), "{names:?}");
        }
    }

    #[test]
    fn a_directive_names_at_most_a_hundred_stages() {
        for (number, expected) in [(100, Ok(100)), (101, Err("no-stage"))] {
            let stages: Vec<String> = (1..=number).map(|n| format!("a/s{n}")).collect();
            let read = directives(&format!("rollback-target: {}, a/s1", stages.join(","))).unwrap();
            assert_eq!(read.map(|targets| targets.len()).map_err(|reason| reason.code()), expected);
        }
    }

    #[test]
    fn the_name_of_a_stage_is_short_and_plain() {
        for (case, name, expected) in [
            ("letters and digits", "Prod2".to_owned(), true),
            ("a hyphen and an underscore", "blue-green_2".to_owned(), true),
            ("the default stage of HTTP APIs", "$default".to_owned(), true),
            ("another dollar sign", "$prod".to_owned(), false),
            ("the longest name", "x".repeat(128), true),
            ("a longer name", "x".repeat(129), false),
            ("no name", String::new(), false),
            ("a path", "a/b".to_owned(), false),
            ("a letter beyond ASCII", "prüfung".to_owned(), false),
        ] {
            assert_eq!(is_stage_name(&name), expected, "{case}");
        }
    }

    #[test]
    fn an_alarm_names_its_stages_itself_or_names_none() {
        let orders = metric(&[("ApiName", "orders"), ("Stage", "prod")]);
        let lambda = Metric { namespace: "AWS/Lambda".into(), ..orders.clone() };
        for (case, description, watches, expected) in [
            ("a metric of a stage", None, Watches::Metrics(vec![orders.clone()]), "name orders/prod"),
            (
                "a directive comes before the metrics",
                Some("rollback-target: a/p, b/q"),
                Watches::Metrics(vec![orders]),
                "name a/p, name b/q",
            ),
            (
                "a directive of a composite alarm",
                Some("rollback-target: a/p"),
                Watches::Alarms(vec![]),
                "name a/p",
            ),
            ("a composite alarm", None, Watches::Alarms(vec!["below".into()]), ""),
            ("an invalid directive", Some("rollback-target: a"), Watches::Alarms(vec![]), ""),
            ("a metric of another service", None, Watches::Metrics(vec![lambda]), ""),
        ] {
            let description = description.map(str::to_owned);
            let alarm = Alarm { description, watches, ..Alarm::new("a", State::Alarm) };
            assert_eq!(described(Ok(stages_named_by(&alarm))), expected, "{case}");
        }
    }

    #[test]
    fn only_a_metric_of_api_gateway_is_about_a_stage() {
        let stage = [("ApiName", "orders"), ("Stage", "prod")];
        for (case, namespace, dimensions, expected) in [
            ("a metric of a stage", "AWS/ApiGateway", stage.as_slice(), "name orders/prod"),
            ("a metric of a whole API", "AWS/ApiGateway", &stage[..1], "-"),
            ("a metric of another service", "AWS/Lambda", &stage, "-"),
        ] {
            let metric = Metric { namespace: namespace.into(), ..metric(dimensions) };
            let stage = stage_of(&metric).map_or("-".into(), |target| described(Ok(vec![target])));
            assert_eq!(stage, expected, "{case}");
        }
    }

    #[test]
    fn the_metrics_of_a_stages_use_have_the_dimensions_of_its_protocol() {
        for (case, protocol, names, expected) in [
            ("a REST API", Protocol::Rest, vec!["orders"], "AWS/ApiGateway Count ApiName=orders Stage=prod"),
            (
                "a REST API with an earlier name",
                Protocol::Rest,
                vec!["orders", "shop"],
                "AWS/ApiGateway Count ApiName=orders Stage=prod, AWS/ApiGateway Count ApiName=shop Stage=prod",
            ),
            (
                "names that CloudWatch shows alike",
                Protocol::Rest,
                vec!["café", "caf"],
                "AWS/ApiGateway Count ApiName=caf Stage=prod",
            ),
            (
                "names that CloudWatch shows alike, with another one between them",
                Protocol::Rest,
                vec!["caf", "shop", "café"],
                "AWS/ApiGateway Count ApiName=caf Stage=prod, AWS/ApiGateway Count ApiName=shop Stage=prod",
            ),
            (
                "a name that CloudWatch cannot show",
                Protocol::Rest,
                vec!["é"],
                "AWS/ApiGateway Count ApiName=a1 Stage=prod",
            ),
            ("an HTTP API", Protocol::Http, vec!["orders"], "AWS/ApiGateway Count ApiId=a1 Stage=prod"),
            (
                "a WebSocket API",
                Protocol::WebSocket,
                vec!["orders"],
                "AWS/ApiGateway ConnectCount ApiId=a1 Stage=prod, AWS/ApiGateway MessageCount ApiId=a1 Stage=prod",
            ),
        ] {
            let stage = StageRef { protocol, api: "a1".into(), stage: "prod".into() };
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            let shown =
                use_of(&stage, &names).into_iter().map(|Metric { namespace, name, dimensions, .. }| {
                    let dimensions = dimensions.iter().map(|(name, value)| format!(" {name}={value}"));
                    format!("{namespace} {name}{}", dimensions.collect::<String>())
                });
            assert_eq!(shown.collect::<Vec<_>>().join(", "), expected, "{case}");
        }
    }
}
