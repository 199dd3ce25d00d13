//! Checks the access logs from which CloudWatch should extract metrics, for the alarms of fast detection. Pure.

use super::facts::{Readings, StageReadings, Watcher, by_stage};
use super::{Finding, Level};
use crate::cloud::LogClass;
use crate::model::access_log::{API, AccessLog, Counted, NAMESPACE, STAGE, STATUS};
use crate::model::alarm::Metric;
use crate::model::cloud_error::Fetched;
use crate::model::guarding_alarm::Leaf;
use crate::model::observed::Observed;
use crate::model::protocol::Protocol;
use crate::model::stage::StageRef;

const CHECK: &str = "access log";

/// A stage that asks for fast detection: an alarm watches the metrics of its access log, or the log has their format.
pub(super) struct FastStage<'a> {
    pub(super) stage: &'a StageRef,
    observed: &'a Observed,
    log: Option<&'a AccessLog>,
    has_canary: bool,
    /// The guarding alarms that watch the metrics.
    alarms: Vec<&'a Watcher>,
}

impl<'a> FastStage<'a> {
    /// Returns the stage if it asks for fast detection and exists.
    pub(super) fn of(facts: &'a StageReadings, watchers: &'a Fetched<Vec<Watcher>>) -> Option<Self> {
        let (stage, observed) = (&facts.stage, facts.observed.as_ref().ok()?);
        let live = observed.live.as_ref()?;
        let log = live.access_log.as_ref();
        let is_fast = |watcher: &&Watcher| {
            watcher.guard.leaves.iter().flat_map(Leaf::metrics).any(|metric| is_about(metric, stage))
        };
        let alarms: Vec<&Watcher> = watchers.iter().flatten().filter(is_fast).collect();
        let asks = !alarms.is_empty() || log.is_some_and(|log| log.counted().is_some());
        let has_canary = live.release.canary.is_some();
        asks.then_some(Self { stage, observed, log, has_canary, alarms })
    }

    /// Returns the log groups that its lines go to: its own one, and that of a canary.
    pub(super) fn groups(&self) -> Vec<String> {
        let Some(group) = self.log.and_then(|log| group(&log.destination)) else { return vec![] };
        let canary = self.has_canary.then(|| format!("{group}/Canary"));
        [group.to_owned()].into_iter().chain(canary).collect()
    }

    /// Whether API Gateway writes the log with the role of the account. HTTP APIs write it without one.
    pub(super) fn needs_role(&self) -> bool {
        self.stage.protocol != Protocol::Http
    }

    /// Returns the command that prints the right format.
    fn command(&self) -> &'static str {
        match self.stage.protocol {
            Protocol::Rest => "`apigw-rollback access-log rest`",
            Protocol::Http => "`apigw-rollback access-log http`",
            Protocol::WebSocket => "`apigw-rollback access-log websocket`",
        }
    }

    fn names(&self) -> String {
        let names: Vec<String> =
            self.alarms.iter().map(|watcher| format!("`{}`", watcher.guard.alarm.name)).collect();
        names.join(", ")
    }

    /// Whether the check of the alarms already says that one of these alarms had no data, or that this is unknown.
    fn is_told(&self, facts: &Readings) -> bool {
        let ours = by_stage(facts.watchers.as_deref().unwrap_or_default(), self.stage);
        ours.iter().map(|watcher| &watcher.guard).any(|guard| {
            let is_fast = self.alarms.iter().any(|one| one.guard.alarm.name == guard.alarm.name);
            let may_act = self.observed.admission.refuses(&guard.alarm.name, &guard.actions).is_none();
            is_fast
                && match facts.wiring.samples.get(&guard.alarm.name) {
                    Some(Ok(samples)) => *samples <= 0.0 && guard.actions_enabled && may_act,
                    Some(Err(_)) => true,
                    None => false,
                }
        })
    }
}

/// Returns the metric of a stage's status codes.
pub(super) fn status_of(stage: &StageRef) -> Metric {
    let dimensions = [(API, &stage.api), (STAGE, &stage.stage)];
    Metric {
        namespace: NAMESPACE.to_owned(),
        name: STATUS.to_owned(),
        dimensions: dimensions.map(|(name, value)| (name.to_owned(), value.clone())).into(),
        account: None,
    }
}

fn is_about(metric: &Metric, stage: &StageRef) -> bool {
    metric.namespace == NAMESPACE
        && metric.values(API).any(|api| api == stage.api)
        && metric.values(STAGE).any(|name| name == stage.stage)
}

/// Returns the name in the ARN of a log group, which may end in `:*`.
fn group(arn: &str) -> Option<&str> {
    match arn.splitn(7, ':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "logs", _, _, "log-group", name] => Some(name.strip_suffix(":*").unwrap_or(name)),
        _ => None,
    }
}

/// Checks the role with which API Gateway writes the logs of REST and WebSocket APIs.
pub(super) fn of_all_stages(facts: &Readings) -> Option<Finding> {
    match facts.access_logs.role.as_ref()? {
        Err(error) => Some(Finding::unknown(CHECK, error)),
        Ok(Some(_)) => None,
        Ok(None) => Some(Finding::warning(
            CHECK,
            "API Gateway has no role for writing logs in this account and Region, so the access logs of REST and WebSocket \
             APIs stay empty",
            "create a role that API Gateway may assume, with the policy AmazonAPIGatewayPushToCloudWatchLogs, and set it: \
             aws apigateway update-account --patch-operations op=replace,path=/cloudwatchRoleArn,value=ROLE-ARN",
        )),
    }
}

/// Checks the access log of a stage that asks for fast detection.
pub(super) fn of_stage(facts: &Readings, stage: &StageReadings) -> Vec<Finding> {
    let Some(stage) = FastStage::of(stage, &facts.watchers) else { return vec![] };
    let (group, counted) = match usable(&stage) {
        Err(why) => return vec![unusable(&stage, &why)],
        Ok(usable) => usable,
    };
    let groups = stage.groups();
    let mut findings: Vec<Finding> =
        groups.iter().filter_map(|name| class(facts, name, name != group)).collect();
    let has_no_role = stage.needs_role() && matches!(facts.access_logs.role, Some(Ok(None)));
    let is_explained = has_no_role || findings.iter().any(|one| one.level == Level::Warning);
    if !is_explained && !stage.is_told(facts) {
        findings.extend(data(facts, stage.stage));
    }
    if stage.stage.protocol == Protocol::Rest && counted == Counted::ByStage {
        findings.push(Finding::warning(
            CHECK,
            "the metrics of the access log do not name the deployment, so they do not tell releases apart",
            format!("set the format that {} prints, unless API Gateway has refused it", stage.command()),
        ));
    }
    if findings.is_empty() && !has_no_role {
        let by = if counted == Counted::ByDeployment { "stage and deployment" } else { "stage" };
        let what = format!("CloudWatch extracts metrics by {by} from the log group `{group}`");
        findings.push(Finding::ok(CHECK, what));
    }
    findings
}

/// Why CloudWatch extracts no metrics from the access log of a stage.
enum Unusable<'a> {
    NoLog,
    Format,
    Destination(&'a str),
}

/// Returns the log's group, and by which dimensions its lines count.
fn usable<'a>(stage: &FastStage<'a>) -> Result<(&'a str, Counted), Unusable<'a>> {
    let log = stage.log.ok_or(Unusable::NoLog)?;
    let counted = log.counted().ok_or(Unusable::Format)?;
    let group = group(&log.destination).ok_or(Unusable::Destination(&log.destination))?;
    Ok((group, counted))
}

fn unusable(stage: &FastStage<'_>, why: &Unusable<'_>) -> Finding {
    let (names, command) = (stage.names(), stage.command());
    match *why {
        Unusable::NoLog => Finding::warning(
            CHECK,
            format!("the stage has no access log, so these alarms have no data: {names}"),
            format!("give the stage an access log with the format that {command} prints"),
        ),
        Unusable::Format => Finding::warning(
            CHECK,
            format!(
                "the format of the stage's access log makes no metrics, so these alarms have no data: {names}"
            ),
            format!("set the format that {command} prints"),
        ),
        Unusable::Destination(destination) => {
            let to = match destination {
                "" => "has no destination".to_owned(),
                arn if arn.split(':').nth(2) == Some("firehose") => {
                    format!("goes to the Firehose stream {arn}")
                }
                other => format!("goes to {other}"),
            };
            Finding::warning(
                CHECK,
                format!("the stage's access log {to}, and CloudWatch extracts metrics only from a log group"),
                "set a log group of the class STANDARD as the destination of the access log",
            )
        }
    }
}

/// Checks that a log group exists, and that CloudWatch extracts metrics from its class.
fn class(facts: &Readings, name: &str, is_canary: bool) -> Option<Finding> {
    let lost = if is_canary { "requests to the canary are not counted" } else { "no request is counted" };
    match facts.access_logs.groups.get(name)? {
        Err(error) => Some(Finding::unknown(CHECK, error)),
        Ok(Some(LogClass::Standard)) => None,
        Ok(None) => Some(Finding::warning(
            CHECK,
            format!("the log group `{name}` of the access log does not exist, so {lost}"),
            "create a log group of this name, in the class STANDARD",
        )),
        Ok(Some(LogClass::Other(class))) => Some(Finding::warning(
            CHECK,
            format!(
                "the log group `{name}` has the class {class}, in which CloudWatch extracts no metrics, so {lost}"
            ),
            if is_canary {
                "delete the group, and create it in the class STANDARD: the class of a group cannot be changed"
            } else {
                "set another group as the access log, in the class STANDARD: the class of a group cannot be changed"
            },
        )),
    }
}

/// Checks that CloudWatch has extracted values.
fn data(facts: &Readings, stage: &StageRef) -> Option<Finding> {
    match facts.access_logs.statuses.get(stage)? {
        Err(error) => Some(Finding::unknown(CHECK, error)),
        Ok(Some(_)) => None,
        Ok(None) => Some(Finding::warning(
            CHECK,
            "CloudWatch extracted no metrics from the stage's access log in the last 24 hours",
            "check that the stage had requests; `EMFParsingErrors` and `EMFValidationErrors` in the namespace `AWS/Logs` \
             count the lines that CloudWatch could not use",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_log_group_is_in_its_arn() {
        for (arn, name) in [
            ("arn:aws:logs:eu-west-1:1:log-group:/apigateway/orders", Some("/apigateway/orders")),
            ("arn:aws:logs:eu-west-1:1:log-group:orders:*", Some("orders")),
            ("arn:aws-cn:logs:cn-north-1:1:log-group:a", Some("a")),
            ("arn:aws:firehose:eu-west-1:1:deliverystream/amazon-apigateway-x", None),
            ("arn:aws:logs:eu-west-1:1:log-group", None),
            ("orders", None),
            ("", None),
        ] {
            assert_eq!(group(arn), name, "{arn}");
        }
    }
}
