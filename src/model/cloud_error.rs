//! A call to AWS that failed.

use std::fmt;

/// What kind of failure a call met, as far as the engine acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 409, or 412 for an alias: somebody else changes the same thing. The SDK does not retry it.
    Conflict,
    /// 400: API Gateway does not accept the request as it is.
    Refused,
    /// 404: it does not exist.
    Missing,
    /// No answer: time-out, or the connection broke. The call may have had its effect.
    NoAnswer,
    /// Anything else AWS says, throttling and its own faults after all retries included.
    Other,
}

/// A failed call: which, on what, and AWS's own code and message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CloudError {
    /// The kind.
    pub failure: Failure,
    /// The operation, in AWS's spelling.
    pub operation: &'static str,
    /// What it was done on.
    pub subject: String,
    /// AWS's error code, or ours for what never reached AWS.
    pub code: String,
    /// AWS's message.
    pub message: String,
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failure: _, operation, subject, code, message } = self;
        write!(f, "{operation} on `{subject}` failed: {code}: {message}")
    }
}

impl CloudError {
    /// Whether AWS says that we may not, or not with these credentials.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        // Which of them API Gateway's management calls use is not documented.
        let denials = [
            "AccessDeniedException",
            "AccessDenied",
            "UnauthorizedException",
            "ForbiddenException",
            "HTTP 403",
        ];
        denials.contains(&self.code.as_str())
    }

    /// What a person can do about it; empty where the message says it all.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self.code.as_str() {
            _ if self.is_denial() => {
                "let the function's role do this call: the template's policies list what it needs"
            }
            "TooManyRequestsException" | "ThrottlingException" | "LimitExceededException" | "Throttling" => {
                "the account's request quota is used up by others: wait, or send the command again"
            }
            "ExpiredTokenException" | "UnrecognizedClientException" => "renew the credentials",
            _ => "",
        }
    }
}

/// A fact, or the call that failed to read it.
pub type Fetched<T> = Result<T, CloudError>;
