//! A stage as named by a signal.

use std::borrow::Cow;

use super::protocol::Protocol;
use super::stage::StageRef;

/// An API as named by an alarm, a directive or a command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiRef {
    /// By its id.
    Id(String),
    /// By its name, which need not be unique.
    Name(String),
}

impl ApiRef {
    /// Parses the text of an operator. Ten lower-case letters and digits are an id, as API Gateway generates them.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let id = text.len() == 10 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if id { Self::Id(text.to_owned()) } else { Self::Name(text.to_owned()) }
    }

    /// Returns the id or the name.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Id(text) | Self::Name(text) => text,
        }
    }
}

/// A stage as named by a signal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The API.
    pub api: ApiRef,
    /// The stage's name, without `/Canary`.
    pub stage: String,
    /// Whether the signal is about the stage's canary only.
    pub canary: bool,
    /// The API's protocol, if the signal says it.
    pub protocol: Option<Protocol>,
}

/// Returns the name of an API in CloudWatch's metrics: API Gateway drops what is not ASCII, and uses the id if nothing is left.
#[must_use]
pub fn metric_name<'a>(name: &'a str, id: &'a str) -> Cow<'a, str> {
    if name.is_ascii() {
        return Cow::Borrowed(if name.is_empty() { id } else { name });
    }
    let ascii: String = name.chars().filter(char::is_ascii).collect();
    if ascii.is_empty() { Cow::Borrowed(id) } else { Cow::Owned(ascii) }
}

/// Whether a text means the API with this id and name: it is one of them, or the name in CloudWatch's metrics.
#[must_use]
pub fn means(text: &str, id: &str, name: &str) -> bool {
    text == id || text == name || text == metric_name(name, id)
}

/// Returns the target that names this stage, if any; its API is also known by `api_names`. Only this function decides
/// whether an alarm names a stage.
#[must_use]
pub fn naming<'a>(targets: &'a [Target], stage: &StageRef, api_names: &[String]) -> Option<&'a Target> {
    let is_its_api =
        |text: &str| text == stage.api || api_names.iter().any(|name| means(text, &stage.api, name));
    targets.iter().find(|target| target.stage == stage.stage && is_its_api(target.api.text()))
}
