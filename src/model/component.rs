//! The components of a release: Lambda aliases behind the API, and mappings of custom domains in front of it. The
//! settings or a stage's policy list them. No I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::protocol::Protocol;

/// The most aliases, and the most mappings, that may be listed for one stage. Every run reads each of them.
pub const MAX_COMPONENTS: usize = 100;

/// An alias of a Lambda function, written `orders:live`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct AliasRef {
    /// The function's name or ARN.
    pub function: String,
    /// The alias's name.
    pub alias: String,
}

/// The target of an alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct AliasTarget {
    /// The function's version.
    pub version: String,
    /// The share of the traffic that each other version gets, from 0 to 1, while a deployment shifts it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, String>,
}

/// A mapping of a custom domain, written `api.example.com/orders`, or `api.example.com` for its root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct MappingRef {
    /// The domain name.
    pub domain: String,
    /// The base path or API mapping key; empty for the root.
    pub path: String,
}

/// The target of a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct MappingTarget {
    /// The API's id.
    pub api: String,
    /// The stage; empty if requests name it in their path.
    pub stage: String,
}

/// The components that belong to a stage's release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedComponents {
    /// The aliases.
    pub aliases: Vec<AliasRef>,
    /// The mappings.
    pub mappings: Vec<MappingRef>,
}

impl ListedComponents {
    /// Returns whether the release consists of the stage alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.aliases.is_empty() && self.mappings.is_empty()
    }
}

impl AliasRef {
    /// Returns the function's name, even if the reference has its ARN.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.function.split(':').collect::<Vec<_>>().as_slice() {
            ["arn", _, "lambda", _, _, "function", name] => name,
            _ => &self.function,
        }
    }

    /// Returns the Region, if the reference has the function's ARN.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.function.starts_with("arn:").then(|| self.function.split(':').nth(3)).flatten()
    }
}

impl FromStr for AliasRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let split = text
            .rsplit_once(':')
            .map(|(function, alias)| Self { function: function.to_owned(), alias: alias.to_owned() });
        // A number is a version, not an alias, and `$LATEST` cannot be moved.
        let is_alias = |alias: &str| plain(alias) && alias.parse::<u64>().is_err();
        let read = split.filter(|one| plain(one.name()) && is_alias(&one.alias));
        read.ok_or_else(|| format!("`{text}` is not an alias: write `orders:live`, or the function's ARN in front of the last colon"))
    }
}

impl FromStr for MappingRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (domain, path) = text.split_once('/').unwrap_or((text, ""));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._*".contains(&b);
        let good_path = path.split('/').all(|part| !part.is_empty()) || path.is_empty();
        if domain.contains('.') && domain.bytes().all(plain) && good_path {
            return Ok(Self { domain: domain.to_owned(), path: path.to_owned() });
        }
        Err(format!(
            "`{text}` is not a mapping: write `api.example.com/orders`, or `api.example.com` for the root"
        ))
    }
}

impl MappingRef {
    /// Returns whether it is a base path mapping (`apigateway`), not an API mapping (`apigatewayv2`). Only the latter
    /// support HTTP and WebSocket APIs and paths of several levels.
    #[must_use]
    pub fn is_base_path(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Rest && !self.path.contains('/')
    }
}

impl fmt::Display for AliasRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.function, self.alias)
    }
}

impl fmt::Display for AliasTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.version)?;
        self.weights.iter().try_for_each(|(version, weight)| write!(f, " (and {version} by {weight})"))
    }
}

impl fmt::Display for MappingRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.domain)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, "/{}", self.path) }
    }
}

impl fmt::Display for MappingTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.api, self.stage)
    }
}

/// The present state of a Lambda alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveAlias {
    /// The target.
    pub target: AliasTarget,
    /// The revision. Lambda refuses a change that names another one.
    pub revision: String,
}

/// The present state of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveMapping {
    /// The target.
    pub target: MappingTarget,
    /// The id; API mappings only.
    pub id: Option<String>,
}

/// Lets serde parse the texts in records and settings with `FromStr` and print them with `Display`.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(one: $name) -> Self {
                one.to_string()
            }
        }
    )*};
}

as_text!(AliasRef, MappingRef);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_parsed_as_they_are_printed_or_refused() {
        for (text, expected) in [
            ("orders:live", Some(("orders", "live"))),
            (
                "arn:aws:lambda:eu-west-1:123456789012:function:orders:live",
                Some(("arn:aws:lambda:eu-west-1:123456789012:function:orders", "live")),
            ),
            ("orders", None),
            ("orders:", None),
            (":live", None),
            ("orders:$LATEST", None),
            ("orders:7", None),
            ("a:b:live", None),
            ("arn:aws:lambda:eu-west-1:123456789012:function:live", None),
        ] {
            let read = text.parse::<AliasRef>();
            assert_eq!(
                read.as_ref().ok().map(|a| (a.function.as_str(), a.alias.as_str())),
                expected,
                "{text}"
            );
            assert!(read.is_err() || read.unwrap().to_string() == text);
        }
        for (text, expected) in [
            ("api.example.com", Some(("api.example.com", ""))),
            ("api.example.com/orders", Some(("api.example.com", "orders"))),
            ("api.example.com/orders/v2", Some(("api.example.com", "orders/v2"))),
            ("*.example.com", Some(("*.example.com", ""))),
            ("api.example.com/", Some(("api.example.com", ""))),
            ("api.example.com//x", None),
            ("orders", None),
            ("https://api.example.com", None),
            ("", None),
        ] {
            let read = text.parse::<MappingRef>();
            assert_eq!(read.as_ref().ok().map(|m| (m.domain.as_str(), m.path.as_str())), expected, "{text}");
        }
    }

    #[test]
    fn an_arn_contains_its_region_and_its_functions_name() {
        let by_arn: AliasRef = "arn:aws:lambda:eu-west-1:123456789012:function:orders:live".parse().unwrap();
        assert_eq!((by_arn.region(), by_arn.name()), (Some("eu-west-1"), "orders"));
        let by_name: AliasRef = "orders:live".parse().unwrap();
        assert_eq!((by_name.region(), by_name.name()), (None, "orders"));
    }
}
