//! Reads the policy of a topic or a function: whether it lets a service act. Pure.

use serde_json::Value;

/// A service that acts on behalf of a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// The service's principal.
    pub service: &'a str,
    /// The action, like `sns:Publish`.
    pub action: &'a str,
    /// The ARN of the topic or alarm.
    pub source: &'a str,
    /// The source's account.
    pub account: &'a str,
}

/// Whether a resource's policy lets a service act. Principals and conditions that cannot be evaluated count as met in a statement
/// that allows, and as not met in one that denies.
pub(super) fn allows(policy: &Value, caller: Caller<'_>) -> bool {
    let statements = match policy.get("Statement") {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let applies = |effect: &str, unknown: bool| {
        statements.iter().any(|statement| {
            statement.get("Effect").and_then(Value::as_str) == Some(effect)
                && means(statement, caller.service, unknown)
                && covers(statement, caller.action)
                && is_met(statement.get("Condition"), caller, unknown)
        })
    };
    applies("Allow", true) && !applies("Deny", false)
}

/// Whether a statement is about an action, which it names or does not except.
fn covers(statement: &Value, action: &str) -> bool {
    let names = |element: &str| {
        let mut patterns = texts(statement.get(element));
        patterns.any(|pattern| is_like(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase()))
    };
    if statement.get("NotAction").is_some() { !names("NotAction") } else { names("Action") }
}

/// Whether a statement's principal is the service, or everybody. `unknown` is the answer for one that excepts principals.
fn means(statement: &Value, service: &str, unknown: bool) -> bool {
    let Some(principal) = statement.get("Principal") else {
        return unknown && statement.get("NotPrincipal").is_some();
    };
    let is_everybody = |found: Option<&Value>| texts(found).any(|one| one == "*");
    is_everybody(Some(principal))
        || is_everybody(principal.get("AWS"))
        || texts(principal.get("Service")).any(|one| one == service || one == "*")
}

/// Whether a statement's conditions are met. `unknown` is the answer for a key or an operator that cannot be evaluated.
fn is_met(conditions: Option<&Value>, caller: Caller<'_>, unknown: bool) -> bool {
    let mut conditions = conditions.and_then(Value::as_object).into_iter().flatten();
    conditions.all(|(operator, keys)| {
        let mut keys = keys.as_object().into_iter().flatten();
        keys.all(|(key, patterns)| {
            let value = match key.to_ascii_lowercase().as_str() {
                "aws:sourcearn" => caller.source,
                "aws:sourceaccount" | "aws:sourceowner" => caller.account,
                _ => return unknown,
            };
            let is_listed = texts(Some(patterns)).any(|pattern| is_like(pattern, value));
            match operator.to_ascii_lowercase().trim_end_matches("ifexists") {
                "stringequals" | "stringlike" | "arnequals" | "arnlike" => is_listed,
                "stringnotequals" | "stringnotlike" | "arnnotequals" | "arnnotlike" => !is_listed,
                _ => unknown,
            }
        })
    })
}

/// The texts of a value that is a text or a list of texts.
fn texts(found: Option<&Value>) -> impl Iterator<Item = &str> {
    let all = match found {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    all.iter().filter_map(Value::as_str)
}

/// Matches a text against IAM's wildcards: `*` for any text, `?` for any one character.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut chars = pattern.chars();
    match chars.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = chars.as_str();
            let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.any(|at| text.get(at..).is_some_and(|tail| is_like(rest, tail)))
        }
        Some(wanted) => {
            let mut letters = text.chars();
            letters.next().is_some_and(|letter| wanted == '?' || wanted == letter)
                && is_like(chars.as_str(), letters.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_condition_means_what_its_operator_says_and_an_unknown_one_is_no_fault() {
        let source = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:5xx";
        let caller = Caller {
            service: "cloudwatch.amazonaws.com",
            action: "sns:Publish",
            source,
            account: "123456789012",
        };
        let statement = |effect: &str, condition: &Value| json!({"Effect": effect, "Principal": "*", "Action": "sns:Publish", "Condition": condition});
        let account = |operator: &str, account: &str| json!({operator: {"aws:SourceAccount": account}});
        let arn = |operator: &str, pattern: &str| json!({operator: {"aws:SourceArn": [pattern]}});
        for (condition, allows_by_it, denies_by_it) in [
            (account("StringEquals", "123456789012"), true, true),
            (account("StringEquals", "999999999999"), false, false),
            (account("StringEqualsIfExists", "999999999999"), false, false),
            // Policies often deny everybody but their own account.
            (account("StringNotEquals", "123456789012"), false, false),
            (account("StringNotEquals", "999999999999"), true, true),
            (account("stringnotequals", "123456789012"), false, false),
            (arn("ArnLike", "arn:aws:cloudwatch:*:123456789012:alarm:*"), true, true),
            (arn("ArnNotLike", "arn:aws:cloudwatch:*:123456789012:alarm:*"), false, false),
            (arn("ArnNotEquals", "arn:aws:s3:::uploads"), true, true),
            (arn("StringNotLike", "arn:aws:s3:*"), true, true),
            // Nobody evaluates these here.
            (json!({"Null": {"aws:SourceArn": "true"}}), true, false),
            (account("NumericLessThan", "5"), true, false),
            (json!({"StringEquals": {"aws:PrincipalOrgID": "o-1"}}), true, false),
        ] {
            let allowed = json!({"Statement": statement("Allow", &condition)});
            assert_eq!(allows(&allowed, caller), allows_by_it, "Allow if {condition}");
            let denied =
                json!({"Statement": [statement("Allow", &json!({})), statement("Deny", &condition)]});
            assert_eq!(allows(&denied, caller), !denies_by_it, "Deny if {condition}");
        }
    }

    #[test]
    fn a_policy_allows_what_its_statements_say() {
        let topic = "arn:aws:sns:eu-west-1:123456789012:alarms";
        let sns = Caller {
            service: "sns.amazonaws.com",
            action: "lambda:InvokeFunction",
            source: topic,
            account: "123456789012",
        };
        let statement = |condition: Value| {
            json!({"Statement": [{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "lambda:InvokeFunction", "Resource": "x", "Condition": condition}]})
        };
        for (condition, expected) in [
            (json!({}), true),
            (json!({"ArnLike": {"AWS:SourceArn": topic}}), true),
            (json!({"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:alarm?"}}), true),
            (json!({"ArnLike": {"AWS:SourceArn": ["x", topic]}}), true),
            (json!({"ArnLike": {"AWS:SourceArn": "arn:aws:sns:eu-west-1:123456789012:other"}}), false),
            (json!({"StringEquals": {"aws:SourceAccount": "999999999999"}}), false),
            (json!({"StringEquals": {"aws:SourceAccount": "123456789012"}}), true),
            (json!({"StringEquals": {"aws:PrincipalOrgID": "o-1"}}), true),
        ] {
            let allowed = allows(&statement(condition.clone()), sns);
            assert_eq!(allowed, expected, "{condition}");
        }
        let cloudwatch = Caller { service: "lambda.alarms.cloudwatch.amazonaws.com", ..sns };
        assert!(!allows(&statement(json!({})), cloudwatch));
        assert!(!allows(&Value::Null, sns));
    }

    #[test]
    fn a_topic_is_open_to_alarms_by_its_policy() {
        let alarm = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:orders";
        let account = "123456789012";
        let cloudwatch =
            Caller { service: "cloudwatch.amazonaws.com", action: "sns:Publish", source: alarm, account };
        let by_default = json!({"Effect": "Allow", "Principal": {"AWS": "*"},
            "Action": ["SNS:GetTopicAttributes", "SNS:Publish"],
            "Condition": {"StringEquals": {"AWS:SourceOwner": account}}});
        let of = |principal: Value, action: &str| json!({"Effect": "Allow", "Principal": principal, "Action": action});
        let service = || json!({"Service": "cloudwatch.amazonaws.com"});
        let deny = |condition: Value| json!({"Effect": "Deny", "Principal": "*", "Action": "sns:*", "Condition": condition});
        for (case, statements, expected) in [
            ("the policy of a new topic", vec![by_default.clone()], true),
            ("one for the service", vec![of(service(), "sns:Publish")], true),
            ("one with a wildcard", vec![of(service(), "SNS:Pub*")], true),
            ("one for another action", vec![of(service(), "sns:Subscribe")], false),
            (
                "one for another service",
                vec![of(json!({"Service": "events.amazonaws.com"}), "sns:Publish")],
                false,
            ),
            (
                "one for another account",
                vec![of(json!({"AWS": "arn:aws:iam::2:root"}), "sns:Publish")],
                false,
            ),
            ("no statement", vec![], false),
            ("one that denies everybody", vec![by_default.clone(), deny(json!({}))], false),
            (
                "one that denies what is not sent over TLS",
                vec![by_default, deny(json!({"Bool": {"aws:SecureTransport": "false"}}))],
                true,
            ),
        ] {
            assert_eq!(allows(&json!({"Statement": statements}), cloudwatch), expected, "{case}");
        }
    }

    #[test]
    fn a_statement_may_except_actions_and_principals() {
        let account = "123456789012";
        let cloudwatch =
            Caller { service: "cloudwatch.amazonaws.com", action: "sns:Publish", source: "x", account };
        let allow = |actions: Value| json!({"Effect": "Allow", "Principal": {"Service": "cloudwatch.amazonaws.com"}, "NotAction": actions});
        let deny = |actions: &str| {
            vec![
                json!({"Effect": "Allow", "Principal": "*", "Action": "*"}),
                json!({"Effect": "Deny", "Principal": "*", "NotAction": actions}),
            ]
        };
        let principal = |effect: &str, element: &str| json!({"Effect": effect, element: {"AWS": "2"}, "Action": "sns:Publish"});
        let everybody = json!({"Effect": "Allow", "Principal": "*", "Action": "*"});
        for (case, statements, expected) in [
            ("for all actions but another one", vec![allow(json!("sns:Subscribe"))], true),
            ("for all actions but this one", vec![allow(json!(["SNS:Pub*", "sns:Subscribe"]))], false),
            ("denies all actions but this one", deny("sns:Publish"), true),
            ("denies all actions but another one", deny("sns:Subscribe"), false),
            // Nobody evaluates these here.
            ("for all principals but one", vec![principal("Allow", "NotPrincipal")], true),
            (
                "denies all principals but one",
                vec![everybody.clone(), principal("Deny", "NotPrincipal")],
                true,
            ),
            ("for no principal", vec![principal("Allow", "Nobody")], false),
            ("denies no principal", vec![everybody, principal("Deny", "Nobody")], true),
        ] {
            assert_eq!(allows(&json!({"Statement": statements}), cloudwatch), expected, "{case}");
        }
    }

    #[test]
    fn a_pattern_has_wildcards() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a", "ab", false),
            ("*b", "abc", false),
            ("ü*", "üb", true),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }
}
