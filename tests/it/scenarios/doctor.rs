//! The doctor: a world with one problem and the findings, through one `check()`.

use std::fmt::Write as _;
use std::time::Duration;

use apigw_rollback::cloud::{Diagnostics, FunctionNow, LogClass, RequiredPermission, Schedule};
use apigw_rollback::config::Config;
use apigw_rollback::context::Context;
use apigw_rollback::doctor::{Finding, examine, read, worst};
use apigw_rollback::model::alarm::{AlarmNow, Metric, State, Watches, time};
use apigw_rollback::model::cloud_error::CloudError;
use apigw_rollback::model::observed::MARK;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::{Hold, Incident, RollbackEntry, Rollbacks, SCHEMA, print};
use apigw_rollback::model::stage::Api;
use apigw_rollback::model::trigger::UNKNOWN;
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::Instant;

use super::doctor_upkeep::schedule;
use crate::support::harness::snapshot;
use crate::support::world::{
    FUNCTION, Facts, TOPIC, World, alarm, denied, may_invoke, prod, record, release, subscription,
};

/// An event bus that does not exist.
const GONE: &str = "arn:aws:events:eu-west-1:123456789012:event-bus/deleted";
pub(crate) const PEOPLE: &str = "arn:aws:sns:eu-west-1:123456789012:people";

/// The resources around the function: its settings, permissions and subscriptions.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) function: Option<FunctionNow>,
    pub(crate) concurrency: Option<i32>,
    /// The prefixes of the calls that the role may not make.
    pub(crate) refuses: Vec<&'static str>,
    /// The queue or topic of failed events, and the number of messages in it, if it exists.
    pub(crate) on_failure: Option<&'static str>,
    pub(crate) messages: Option<u64>,
    /// Their names, each with its class after a blank unless it is `STANDARD`.
    pub(crate) log_groups: Vec<&'static str>,
    pub(crate) log_role: Option<String>,
    pub(crate) schedules: Vec<Schedule>,
    /// The sums of the function's metrics; none has no data.
    pub(crate) sums: Vec<(&'static str, f64)>,
    /// Whether the operator may read none of this.
    pub(crate) closed: bool,
    /// The reads that the operator may not make.
    pub(crate) denied: Vec<&'static str>,
}

impl Surroundings {
    fn look<T>(&self, answer: T) -> Result<T, CloudError> {
        if self.closed { Err(denied()) } else { Ok(answer) }
    }

    fn read<T>(&self, operation: &str, answer: T) -> Result<T, CloudError> {
        if self.denied.contains(&operation) { Err(denied()) } else { self.look(answer) }
    }
}

impl Diagnostics for Surroundings {
    async fn function(&self, _name: &str) -> Result<Option<FunctionNow>, CloudError> {
        Ok(self.function.clone())
    }

    async fn reserved_concurrency(&self, _function: &str) -> Result<Option<i32>, CloudError> {
        self.look(self.concurrency)
    }

    async fn on_failure(&self, _function: &str) -> Result<Option<String>, CloudError> {
        self.read("GetFunctionEventInvokeConfig", self.on_failure.map(str::to_owned))
    }

    async fn messages(&self, _queue: &str) -> Result<Option<u64>, CloudError> {
        self.read("GetQueueAttributes", self.messages)
    }

    async fn log_class(&self, name: &str) -> Result<Option<LogClass>, CloudError> {
        let ours = self.log_groups.iter().find(|group| group.split(' ').next() == Some(name));
        self.read("DescribeLogGroups", ours.map(|group| LogClass::parse(group.split(' ').nth(1))))
    }

    async fn gateway_log_role(&self) -> Result<Option<String>, CloudError> {
        self.read("GetAccount", self.log_role.clone())
    }

    async fn schedules(&self, _function: &str) -> Result<Vec<Schedule>, CloudError> {
        self.read("ListSchedules", self.schedules.clone())
    }

    async fn sum(
        &self,
        metric: &Metric,
        _since: DateTime<Utc>,
        _until: DateTime<Utc>,
    ) -> Result<Option<f64>, CloudError> {
        let sum = self.sums.iter().find(|(name, _)| *name == metric.name).map(|(_, sum)| *sum);
        self.read("GetMetricData", sum)
    }

    async fn has_event_bus(&self, bus: &str) -> Result<bool, CloudError> {
        self.look(!bus.ends_with("deleted"))
    }

    async fn refused(
        &self,
        _role: &str,
        required_permissions: &[RequiredPermission],
    ) -> Result<Vec<RequiredPermission>, CloudError> {
        let is_refused = |want: &&RequiredPermission| {
            let call = format!("{} {}", want.action, want.resource);
            self.refuses.iter().any(|start| call.starts_with(start))
        };
        self.look(required_permissions.iter().filter(is_refused).cloned().collect())
    }
}

/// An alarm that watches the function itself.
pub(crate) fn own_alarm(namespace: &str, dimension: &str, value: &str) -> AlarmNow {
    let mut now = alarm("apigw-rollback-function-gave-up", State::Ok, &[(dimension, value)]);
    if let Watches::Metrics(metrics) = &mut now.alarm.watches {
        metrics[0].namespace = namespace.to_owned();
    }
    now.actions = vec![PEOPLE.to_owned()];
    now
}

/// A healthy setup: the known-good release is live and pinned, and every link from alarm to function works.
pub(crate) fn healthy() -> (Facts, Surroundings) {
    let names = ParameterNames::under("/apigw-rollback");
    let mut facts = Facts::bad_release();
    facts.stage().release = release("d1", &[("release", "1")]);
    let mut parked = facts.stage().clone();
    parked.description = format!("{MARK}: x");
    parked.closed = true;
    facts.stages.insert(prod().parked(), parked);
    for alarm in &mut facts.alarms {
        alarm.alarm.state = State::Ok;
    }
    facts.alarms.push(own_alarm("AWS/SQS", "QueueName", "dead-letters"));
    let sweep = |at: &str| json!({"schema": 1, "at": at, "run": "r", "stages": 1}).to_string();
    let sweeps = ["2026-11-20T09:55:00Z", "2026-11-20T10:00:00Z", "2026-11-20T10:05:00Z"].map(sweep);
    facts.parameters.insert("/apigw-rollback/sweep".to_owned(), sweeps.into());
    facts.parameters.insert(names.rollbacks(&prod()), vec![r#"{"schema":1,"past":[]}"#.to_owned()]);
    facts.topics.insert(PEOPLE.to_owned(), vec![subscription("email", "oncall@example.com", true)]);
    let surroundings = Surroundings {
        function: Some(FunctionNow {
            arn: FUNCTION.to_owned(),
            role: "arn:aws:iam::123456789012:role/apigw-rollback".to_owned(),
            state: Some("Active".to_owned()),
            ..FunctionNow::default()
        }),
        concurrency: None,
        refuses: vec![],
        on_failure: Some("arn:aws:sqs:eu-west-1:123456789012:dead-letters"),
        messages: Some(0),
        log_groups: vec!["/aws/lambda/apigw-rollback"],
        log_role: None,
        schedules: vec![schedule("rate(5 minutes)", true)],
        sums: vec![("Errors", 0.0), ("Throttles", 0.0)],
        closed: false,
        denied: vec![],
    };
    (facts, surroundings)
}

fn setting(settings: &[(&str, &str)], name: &str) -> Option<String> {
    let given = settings.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    given.or_else(|| match name {
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "PROTECTED_STAGES" => Some(crate::support::harness::PROTECTED.to_owned()),
        "ALARM_TOPIC_ARN" => Some(TOPIC.to_owned()),
        "NOTIFICATION_TOPIC_ARN" => Some(PEOPLE.to_owned()),
        _ => None,
    })
}

pub(crate) fn config(settings: &[(&str, &str)]) -> Config {
    Config::read(|name| setting(settings, name)).unwrap()
}

/// Returns the doctor's findings in this world.
pub(crate) fn found(world: &World, surroundings: &Surroundings, settings: &[(&str, &str)]) -> Vec<Finding> {
    let config = config(settings);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let run = Context {
            cloud: world,
            config: &config,
            trigger: &UNKNOWN,
            id: "run",
            trace: None,
            function: None,
            now: world.facts().now,
            began,
            deadline: began + Duration::from_secs(20),
        };
        let facts = read(&run, surroundings, "apigw-rollback").await;
        examine(&config, &facts)
    })
}

/// Appends the problems that the doctor finds in the healthy world with this twist.
pub(crate) fn check(
    shown: &mut String,
    story: &str,
    settings: &[(&str, &str)],
    twist: impl FnOnce(&mut Facts, &mut Surroundings),
) {
    let (mut facts, mut surroundings) = healthy();
    twist(&mut facts, &mut surroundings);
    let world = World::new(facts);
    writeln!(shown, "== {story}\n{}", described(&found(&world, &surroundings, settings), false)).unwrap();
    let writes = ["Put", "Create", "Update"];
    let calls = world.take_calls();
    assert!(!calls.iter().any(|call| writes.iter().any(|write| call.starts_with(write))), "{calls:?}");
}

pub(crate) fn described(findings: &[Finding], all: bool) -> String {
    let mut shown = format!("worst: {}\n", worst(findings));
    for Finding { check, level, stage, message, next } in findings {
        if !all && level.to_string() == "ok" {
            continue;
        }
        let stage = stage.as_ref().map(|stage| format!(" {stage}")).unwrap_or_default();
        writeln!(shown, "{level} {check}{stage}: {message}").unwrap();
        if !next.is_empty() {
            writeln!(shown, "  next: {next}").unwrap();
        }
    }
    shown
}

#[test]
fn a_healthy_setup_has_no_problems() {
    let mut shown = String::new();
    let (facts, surroundings) = healthy();
    snapshot("doctor all is well", &described(&found(&World::new(facts), &surroundings, &[]), true));
    check(&mut shown, "finds nothing in a healthy world", &[], |_, _| {});
    check(&mut shown, "finds a bad release that can be rolled back", &[], |facts, _| {
        facts.stage().release = release("d2", &[]);
    });
    snapshot("doctor finds nothing wrong with a healthy setup", &shown);
}

#[test]
fn the_path_of_an_alarm_is_followed() {
    let mut shown = String::new();
    check(&mut shown, "no function", &[], |_, surroundings| surroundings.function = None);
    check(&mut shown, "the function is stopped", &[], |_, surroundings| surroundings.concurrency = Some(0));
    check(&mut shown, "one run at a time", &[], |_, surroundings| surroundings.concurrency = Some(1));
    check(&mut shown, "nobody is subscribed", &[], |facts, _| {
        facts.topics.values_mut().for_each(Vec::clear);
    });
    check(&mut shown, "subscriptions are not confirmed", &[], |facts, _| {
        facts.topics.values_mut().flatten().for_each(|one| one.confirmed = false);
    });
    check(&mut shown, "the alarm topic is gone", &[], |facts, _| {
        facts.topics.remove(TOPIC);
    });
    check(&mut shown, "CloudWatch may not use the topic's key", &[], |facts, _| {
        facts.alarm_topic.key = Some("arn:aws:kms:eu-west-1:123456789012:alias/aws/sns".to_owned());
    });
    check(&mut shown, "CloudWatch may not publish to the topic", &[], |facts, _| {
        facts.alarm_topic.policy = Some(json!({"Statement": []}).to_string());
    });
    check(&mut shown, "SNS may not invoke the function", &[], |facts, _| {
        facts.policy =
            Some(json!({"Statement": [may_invoke("sns.amazonaws.com", "arn:aws:sns:x")]}).to_string());
    });
    check(&mut shown, "an alarm invokes the function directly without permission", &[], |facts, _| {
        facts.alarms[0].actions = vec![FUNCTION.to_owned()];
    });
    check(
        &mut shown,
        "an alarm invokes the function directly with permission",
        &[("ALARM_TOPIC_ARN", "")],
        |facts, _| {
            facts.alarms[0].actions = vec![FUNCTION.to_owned()];
            let cloudwatch =
                may_invoke("lambda.alarms.cloudwatch.amazonaws.com", "arn:aws:cloudwatch:*:alarm:orders-*");
            facts.policy = Some(json!({"Statement": cloudwatch}).to_string());
        },
    );
    check(&mut shown, "nobody is notified", &[("NOTIFICATION_TOPIC_ARN", "")], |_, _| {});
    check(&mut shown, "the event bus is gone", &[("EVENT_BUS", "deleted")], |_, _| {});
    check(&mut shown, "the event bus is gone, by its ARN", &[("EVENT_BUS", GONE)], |_, _| {});
    check(&mut shown, "an operator who may read nothing", &[], |facts, surroundings| {
        surroundings.closed = true;
        facts.wiring_refused = Some(denied());
    });
    snapshot("doctor follows the path of an alarm", &shown);
}

#[test]
fn the_role_must_be_allowed_to_make_every_call() {
    let mut shown = String::new();
    check(&mut shown, "the role may not change the stage", &[], |_, surroundings| {
        surroundings.refuses = vec!["apigateway:PATCH", "ssm:PutParameter"];
    });
    let settings = [
        ("FLUSH_CACHE", "on"),
        ("EVENT_BUS", "default"),
        ("HOOK_FUNCTION", "arn:aws:lambda:eu-west-1:123456789012:function:hook"),
        (
            "PROTECTED_STAGES",
            r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod","aliases":["orders:live"],
                "mappings":["api.example.com/orders"]}]"#,
        ),
    ];
    check(&mut shown, "the role may do nothing at all", &settings, |_, surroundings| {
        surroundings.refuses = vec![""];
    });
    check(&mut shown, "the role may not pin, notify, promote or sweep", &[], |_, surroundings| {
        surroundings.refuses = vec![
            "apigateway:POST",
            "sns:Publish",
            "ssm:DeleteParameter",
            "ssm:PutParameter arn:aws:ssm:eu-west-1:123456789012:parameter/apigw-rollback/sweep",
            "ssm:PutParameter arn:aws:ssm:eu-west-1:123456789012:parameter/apigw-rollback/stages/a1b2c3d4e5/prod/c",
        ];
    });
    let both = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod"},
        {"api":"b2c3d4e5f6","name":"carts-api","stage":"prod"}]"#;
    check(
        &mut shown,
        "the role may not change the other stage",
        &[("PROTECTED_STAGES", both)],
        |_, surroundings| {
            surroundings.refuses =
                vec!["apigateway:PATCH arn:aws:apigateway:eu-west-1::/restapis/b2c3d4e5f6/"];
        },
    );
    snapshot("doctor checks the permissions of the role", &shown);
}

#[test]
fn the_alarms_are_checked() {
    let mut shown = String::new();
    check(&mut shown, "no alarm at all", &[], |facts, _| facts.alarms.clear());
    check(&mut shown, "alarms without actions", &[], |facts, _| {
        facts.alarms.iter_mut().for_each(|alarm| alarm.actions.clear());
    });
    check(&mut shown, "alarms with disabled actions", &[], |facts, _| {
        facts.alarms.iter_mut().for_each(|alarm| alarm.actions_enabled = false);
    });
    check(&mut shown, "alarms without data", &[], |facts, _| facts.samples = 0.0);
    let allowed = [("ALARM_PREFIXES", "orders-prod-5"), ("UNWIRED_ALARM_PREFIXES", "queue-")];
    check(&mut shown, "an alarm whose name is not allowed", &allowed, |_, _| {});
    check(&mut shown, "another API of the name", &[], |facts, _| {
        let api = Api { protocol: Protocol::Rest, id: "b2".to_owned(), name: "orders-api".to_owned() };
        facts.apis.push(api);
    });
    check(&mut shown, "an alarm with insufficient data", &[], |facts, _| {
        facts.alarms[0].alarm.state = State::InsufficientData;
    });
    check(&mut shown, "alarms of other stages", &[], |facts, _| {
        let dimensions = [("ApiName", "orders-api"), ("Stage", "test")];
        facts.alarms.push(alarm("orders-test-5xx", State::Ok, &dimensions));
        facts.alarms.push(alarm("orders-5xx", State::Ok, &dimensions[..1]));
    });
    snapshot("doctor checks the alarms", &shown);
}

#[test]
fn the_known_good_release_is_checked() {
    let mut shown = String::new();
    let names = ParameterNames::under("/apigw-rollback");
    check(&mut shown, "no record", &[], |facts, _| {
        facts.parameters.remove(&names.known_good(&prod()));
    });
    check(&mut shown, "an unusable record", &[], |facts, _| facts.known_good("v7"));
    check(&mut shown, "the deployment is gone", &[], |facts, _| {
        facts.deployments.retain(|(_, id)| id != "d1");
    });
    check(&mut shown, "no pin", &[], |facts, _| {
        facts.stages.remove(&prod().parked());
    });
    check(&mut shown, "no pin, and another release is live", &[], |facts, _| {
        facts.stage().release = release("d2", &[]);
        facts.stages.remove(&prod().parked());
    });
    check(&mut shown, "no pin, and the last sweep met an obstacle", &[], |facts, _| {
        facts.stages.remove(&prod().parked());
        let states =
            json!({(prod().to_string()): "the known-good deployment is not pinned: the API has no room"});
        let sweep =
            json!({"schema": 1, "at": "2026-11-20T10:05:00Z", "run": "r", "stages": 1, "states": states});
        facts.parameters.insert("/apigw-rollback/sweep".to_owned(), vec![sweep.to_string()]);
    });
    check(&mut shown, "pinning is off", &[("PIN", "off")], |facts, _| {
        facts.stages.remove(&prod().parked());
    });
    check(&mut shown, "no stage", &[], |facts, _| facts.stages.clear());
    check(&mut shown, "auto deploy", &[], |facts, _| facts.stage().auto_deploy = true);
    check(&mut shown, "a managed stage", &[], |facts, _| facts.stage().managed = true);
    check(&mut shown, "no protected stage", &[("PROTECTED_STAGES", "")], |facts, _| facts.parameters.clear());
    let aliases = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod","aliases":["orders:live"]}]"#;
    check(&mut shown, "a listed alias is missing", &[("PROTECTED_STAGES", aliases)], |_, _| {});
    snapshot("doctor checks the known-good release", &shown);
}

#[test]
fn operator_settings_are_reported() {
    let mut shown = String::new();
    let names = ParameterNames::under("/apigw-rollback");
    check(&mut shown, "observe mode", &[("MODE", "observe")], |_, _| {});
    check(&mut shown, "a stage in observe mode", &[], |facts, _| {
        let policy = json!({"schema": 1, "mode": "observe"}).to_string();
        facts.parameters.insert(names.policy(&prod()), vec![policy]);
    });
    check(&mut shown, "a policy that cannot be read", &[], |facts, _| {
        facts.parameters.insert(names.policy(&prod()), vec!["{}".to_owned()]);
    });
    check(&mut shown, "a hold", &[], |facts, _| {
        let hold = Hold {
            schema: SCHEMA,
            until: time("2026-11-20T12:00:00Z").unwrap(),
            by: Some("eve".to_owned()),
            why: Some("load test".to_owned()),
        };
        facts.parameters.insert(names.hold(&prod()), vec![print(&hold).unwrap()]);
    });
    let policy = PolicyOverrides { schema: SCHEMA, ..PolicyOverrides::default() };
    check(&mut shown, "an empty policy", &[], |facts, _| {
        facts.parameters.insert(names.policy(&prod()), vec![print(&policy).unwrap()]);
    });
    snapshot("doctor reports operator settings", &shown);
}

fn after_a_rollback(facts: &mut Facts, lifted: bool) {
    let names = ParameterNames::under("/apigw-rollback");
    let (bad, good) = (release("d2", &[]), release("d1", &[("release", "1")]));
    let at = time("2026-11-20T09:00:00Z").unwrap();
    let incident = Incident {
        schema: SCHEMA,
        stage: prod(),
        bad: bad.clone().into(),
        good: good.into(),
        version: 1,
        at,
        by: "orders-prod-5xx".to_owned(),
        alarm_at: Some(at),
        other_source: false,
        why: String::new(),
        run: "run-0".to_owned(),
        since: None,
        undone: false,
        by_alarm: true,
        sibling: None,
        recovered_at: Some(at),
        lifted_by: lifted.then(|| "eve".to_owned()),
    };
    facts.parameters.insert(names.incident(&prod(), &bad.fingerprint()), vec![print(&incident).unwrap()]);
    let past = RollbackEntry {
        at,
        fingerprint: bad.fingerprint(),
        alarm: Some("orders-prod-5xx".to_owned()),
        alarm_at: Some(at),
        other_source: false,
        recovered_at: Some(at),
        lifted,
    };
    let list = Rollbacks::default().with(past);
    facts.parameters.insert(names.rollbacks(&prod()), vec![print(&list).unwrap()]);
}

#[test]
fn the_stack_may_still_describe_the_bad_release() {
    let mut shown = String::new();
    check(&mut shown, "drift after a rollback", &[], |facts, _| after_a_rollback(facts, false));
    check(&mut shown, "no drift after the quarantine was lifted", &[], |facts, _| {
        after_a_rollback(facts, true);
    });
    check(&mut shown, "no drift after another promotion", &[], |facts, _| {
        after_a_rollback(facts, false);
        let mut fixed = record(release("d3", &[]));
        fixed.recorded_at = time("2026-11-20T10:00:00Z").unwrap();
        facts.known_good(&print(&fixed).unwrap());
        facts.deployments.push(("a1b2c3d4e5".to_owned(), "d3".to_owned()));
        let parked = prod().parked();
        for stage in [prod(), parked] {
            facts.stages.get_mut(&stage).unwrap().release = release("d3", &[]);
        }
    });
    snapshot("doctor the stack may still describe the bad release", &shown);
}
