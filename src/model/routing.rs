//! The routing of a custom domain: which of its requests the mappings get.

use super::component::MappingRef;

/// How a custom domain routes its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// By its mappings alone.
    #[default]
    Mappings,
    /// By its routing rules alone: no mapping gets a request.
    Rules,
    /// By its routing rules, and by its mappings if no rule matches.
    RulesThenMappings(Vec<RoutingRule>),
}

/// A routing rule of a custom domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingRule {
    /// The rule's priority, for messages.
    pub priority: i32,
    /// The base paths of which one must match; empty if every path does.
    pub base_paths: Vec<String>,
}

impl Routing {
    /// Returns why a mapping does not get all the requests of its path: the end of a sentence that begins with it.
    #[must_use]
    pub fn overrides(&self, mapping: &MappingRef) -> Option<String> {
        match self {
            Self::Mappings => None,
            Self::Rules => Some("gets no requests, because its domain uses only routing rules".to_owned()),
            Self::RulesThenMappings(rules) => {
                let rule = rules.iter().find(|rule| rule.may_match(&mapping.path))?;
                Some(format!("gets only the requests that routing rule {} leaves", rule.priority))
            }
        }
    }
}

impl RoutingRule {
    /// Whether it may match a request of a mapping's path. Its headers are not known, so they may match.
    fn may_match(&self, path: &str) -> bool {
        let is_below = |path: &str, of: &str| {
            of.is_empty() || path == of || path.strip_prefix(of).is_some_and(|rest| rest.starts_with('/'))
        };
        let overlaps =
            |base: &String| is_below(base.trim_matches('/'), path) || is_below(path, base.trim_matches('/'));
        self.base_paths.is_empty() || self.base_paths.iter().any(overlaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_overrides_a_mapping_if_it_may_match_its_path() {
        let rules = |base_paths: &[&str]| {
            let base_paths = base_paths.iter().map(|path| (*path).to_owned()).collect();
            Routing::RulesThenMappings(vec![RoutingRule { priority: 10, base_paths }])
        };
        for (routing, mapping, overrides) in [
            (Routing::Mappings, "api.example.com/orders", false),
            (Routing::Rules, "api.example.com/orders", true),
            (Routing::RulesThenMappings(vec![]), "api.example.com/orders", false),
            (rules(&[]), "api.example.com/orders", true),
            (rules(&["orders"]), "api.example.com/orders", true),
            (rules(&["/orders"]), "api.example.com/orders", true),
            (rules(&["orders/v2"]), "api.example.com/orders", true),
            (rules(&["orders"]), "api.example.com/orders/v2", true),
            (rules(&["billing", "orders"]), "api.example.com/orders", true),
            (rules(&["billing"]), "api.example.com/orders", false),
            (rules(&["order"]), "api.example.com/orders", false),
            (rules(&["billing"]), "api.example.com", true),
        ] {
            let mapping: MappingRef = mapping.parse().unwrap();
            assert_eq!(routing.overrides(&mapping).is_some(), overrides, "{routing:?} {mapping}");
        }
    }
}
