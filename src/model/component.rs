//! The parts of a release that are not in its stage: Lambda aliases behind the API and mappings of custom
//! domains in front of it. A stage's policy or the settings list them. No I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::protocol::Protocol;

/// The most aliases, and the most mappings, that may be listed for one stage: each is asked for in every run.
pub const MAX_COMPONENTS: usize = 100;

/// An alias of a Lambda function, written `orders:live`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct AliasRef {
    /// The function's name or its ARN.
    pub function: String,
    /// The alias.
    pub alias: String,
}

/// What an alias points at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct AliasTarget {
    /// The function's version.
    pub version: String,
    /// The share of the traffic that other versions get, from 0 to 1, while a deployment shifts it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, String>,
}

/// A mapping of a custom domain, written `api.example.com/orders`, or `api.example.com` for its root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct MappingRef {
    /// The domain's name.
    pub domain: String,
    /// The base path, or API mapping key; empty for the root.
    pub path: String,
}

/// What a mapping points at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct MappingTarget {
    /// The API's id.
    pub api: String,
    /// The stage; empty where requests name it in their path.
    pub stage: String,
}

/// The parts that belong to a stage's release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedComponents {
    /// The aliases.
    pub aliases: Vec<AliasRef>,
    /// The mappings.
    pub mappings: Vec<MappingRef>,
}

impl ListedComponents {
    /// Whether the stage alone is the release.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.aliases.is_empty() && self.mappings.is_empty()
    }
}

impl AliasRef {
    /// The function's own name, also where it is given by its ARN.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.function.split(':').collect::<Vec<_>>().as_slice() {
            ["arn", _, "lambda", _, _, "function", name] => name,
            _ => &self.function,
        }
    }

    /// The region, where the function is given by its ARN.
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
        read.ok_or_else(|| format!("`{text}` is no alias; one looks like `orders:live`, or has the function's ARN in front of the colon"))
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
            "`{text}` is no mapping; one looks like `api.example.com/orders`, or `api.example.com` for the root"
        ))
    }
}

impl MappingRef {
    /// Whether it is a base path mapping (`apigateway`) and not an API mapping (`apigatewayv2`): only the
    /// latter know HTTP and WebSocket APIs and paths of several levels.
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

/// A Lambda alias as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveAlias {
    /// What it points at.
    pub target: AliasTarget,
    /// Its revision: a change that names another one is refused.
    pub revision: String,
}

/// A mapping of a custom domain as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveMapping {
    /// What it points at.
    pub target: MappingTarget,
    /// Its id; API mappings only.
    pub id: Option<String>,
}

/// The texts in records and settings are read by `FromStr` and printed by `Display`.
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
    fn parts_are_read_as_they_are_printed_or_refused() {
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
    fn an_arn_tells_its_region_and_its_functions_name() {
        let by_arn: AliasRef = "arn:aws:lambda:eu-west-1:123456789012:function:orders:live".parse().unwrap();
        assert_eq!((by_arn.region(), by_arn.name()), (Some("eu-west-1"), "orders"));
        let by_name: AliasRef = "orders:live".parse().unwrap();
        assert_eq!((by_name.region(), by_name.name()), (None, "orders"));
    }
}
