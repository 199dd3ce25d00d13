//! A stage as a signal names it.

use super::protocol::Protocol;
use super::stage::StageRef;

/// An API as an alarm, a directive or a command names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiRef {
    /// By its id.
    Id(String),
    /// By its name, which need not be unique.
    Name(String),
}

impl ApiRef {
    /// Reads what a person wrote. Ten lower-case letters and digits are an id, as API Gateway makes them.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let id = text.len() == 10 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if id { Self::Id(text.to_owned()) } else { Self::Name(text.to_owned()) }
    }

    /// The id or name.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Id(text) | Self::Name(text) => text,
        }
    }
}

/// A stage as a signal names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The API.
    pub api: ApiRef,
    /// The stage's own name, without `/Canary`.
    pub stage: String,
    /// Whether the signal is about the stage's canary alone.
    pub canary: bool,
    /// The kind of API, where the signal tells it.
    pub protocol: Option<Protocol>,
}

/// The target that names this stage, whose API also has these names: the one place that says whether an alarm names a
/// stage.
#[must_use]
pub fn naming<'a>(targets: &'a [Target], stage: &StageRef, api_names: &[String]) -> Option<&'a Target> {
    let is_its_api = |text: &str| text == stage.api || api_names.iter().any(|name| name == text);
    targets.iter().find(|target| target.stage == stage.stage && is_its_api(target.api.text()))
}
