//! The protocols of APIs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The protocol of an API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum Protocol {
    /// A REST API (`apigateway`).
    #[default]
    Rest,
    /// An HTTP API (`apigatewayv2`).
    Http,
    /// A WebSocket API (`apigatewayv2`).
    WebSocket,
}

impl Protocol {
    /// Returns whether API Gateway manages it through `apigatewayv2`.
    #[must_use]
    pub fn is_v2(self) -> bool {
        self != Self::Rest
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rest => "rest",
            Self::Http => "http",
            Self::WebSocket => "websocket",
        })
    }
}
