//! Which alarms may act on a stage: those that are wired to the function and have an allowed name.

use std::fmt;

use serde::Serialize;

use super::reason::Reason;

/// The alarms that may act on one stage, by the settings and the stage's policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Admission {
    /// The ARNs of the alarm topic and of the function, as far as they are known.
    pub wired_to: Vec<String>,
    /// The beginnings of the names of alarms that need not be wired, because a rule or a queue delivers them.
    pub unwired: Vec<String>,
    /// The beginnings of the names of the alarms that may act; empty allows every name.
    pub allowed: Vec<String>,
    /// The same by the stage's policy, which can only narrow the settings.
    pub narrowed: Option<Vec<String>>,
}

impl Admission {
    /// Returns why the alarm of this name may not act; `None` if it may. `actions` are what CloudWatch notifies or invokes when
    /// it goes to ALARM.
    #[must_use]
    pub fn refuses(&self, name: &str, actions: &[String]) -> Option<Reason> {
        let is_wired = actions.iter().any(|action| self.is_wired(action));
        if !is_wired && !begins_with_one(name, &self.unwired) {
            return Some(Reason::AlarmNotWired { alarm: name.to_owned() });
        }
        self.refuses_name(name)
    }

    /// Returns why an alarm of this name may not speak about the stage, as one below a wired composite alarm; `None` if it may.
    #[must_use]
    pub fn refuses_name(&self, name: &str) -> Option<Reason> {
        let by_settings = self.allowed.is_empty() || begins_with_one(name, &self.allowed);
        let by_policy = self.narrowed.as_ref().is_none_or(|allowed| begins_with_one(name, allowed));
        let list = match (by_settings, by_policy) {
            (true, true) => return None,
            (false, _) => "the setting ALARM_PREFIXES",
            (true, false) => "the stage's policy",
        };
        Some(Reason::AlarmNotAllowed { alarm: name.to_owned(), list })
    }

    /// Whether an alarm's action notifies the topic or invokes the function, perhaps one of its versions or aliases.
    #[must_use]
    pub fn is_wired(&self, action: &str) -> bool {
        self.wired_to.iter().any(|ours| {
            action.strip_prefix(ours.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        })
    }
}

impl fmt::Display for Admission {
    /// Says which alarms may act, in a few words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |prefixes: &[String]| {
            prefixes.iter().map(|prefix| format!("`{prefix}`")).collect::<Vec<_>>().join(", ")
        };
        f.write_str("alarms that notify the topic or invoke the function")?;
        if !self.unwired.is_empty() {
            write!(f, ", and those whose names begin with {}", list(&self.unwired))?;
        }
        if !self.allowed.is_empty() {
            write!(f, "; only names that begin with {}", list(&self.allowed))?;
        }
        match self.narrowed.as_deref() {
            Some([]) => f.write_str("; none by the stage's policy"),
            Some(narrowed) => write!(f, "; by the stage's policy only {}", list(narrowed)),
            None => Ok(()),
        }
    }
}

fn begins_with_one(name: &str, prefixes: &[String]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:alarms";
    const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:rollback";

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn an_alarm_acts_only_if_it_is_wired_and_its_name_is_allowed() {
        let version = format!("{FUNCTION}:live");
        let other = format!("{FUNCTION}-of-another-team");
        let ticket = "arn:aws:sns:eu-west-1:123456789012:tickets";
        for (case, name, actions, unwired, allowed, policy, expected) in [
            ("it notifies the topic", "orders", vec![TOPIC], vec![], vec![], None, "may act"),
            ("it invokes the function", "orders", vec![FUNCTION], vec![], vec![], None, "may act"),
            ("it invokes an alias", "orders", vec![ticket, &version], vec![], vec![], None, "may act"),
            ("it has no action", "orders", vec![], vec![], vec![], None, "alarm-not-wired"),
            ("it notifies others", "orders", vec![ticket], vec![], vec![], None, "alarm-not-wired"),
            ("a function of a longer name", "orders", vec![&other], vec![], vec![], None, "alarm-not-wired"),
            ("a queue delivers it", "orders-5xx", vec![], vec!["web-", "orders-"], vec![], None, "may act"),
            ("the door is for others", "orders", vec![], vec!["orders-"], vec![], None, "alarm-not-wired"),
            ("its name is allowed", "orders-5xx", vec![TOPIC], vec![], vec!["orders-"], None, "may act"),
            ("its name is not", "evil", vec![TOPIC], vec![], vec!["orders-"], None, "alarm-not-allowed"),
            ("the door does not allow a name", "x", vec![], vec!["x"], vec!["y"], None, "alarm-not-allowed"),
            ("the policy narrows", "a-1", vec![TOPIC], vec![], vec![], Some(vec!["b"]), "alarm-not-allowed"),
            (
                "the policy does not widen",
                "b",
                vec![TOPIC],
                vec![],
                vec!["a"],
                Some(vec!["b"]),
                "alarm-not-allowed",
            ),
            ("both allow it", "a-b", vec![TOPIC], vec![], vec!["a"], Some(vec!["a-"]), "may act"),
            (
                "an empty list of the policy",
                "a",
                vec![TOPIC],
                vec![],
                vec![],
                Some(vec![]),
                "alarm-not-allowed",
            ),
        ] {
            let admission = Admission {
                wired_to: texts(&[TOPIC, FUNCTION]),
                unwired: texts(&unwired),
                allowed: texts(&allowed),
                narrowed: policy.map(|policy| texts(&policy)),
            };
            let answer = admission.refuses(name, &texts(&actions));
            assert_eq!(answer.as_ref().map_or("may act", Reason::code), expected, "{case}");
        }
        let unknown = Admission::default().refuses("orders", &texts(&[TOPIC]));
        let why = "a function that knows neither its topic nor itself cannot tell who is wired to it";
        assert!(unknown.is_some(), "{why}");
    }
}
