//! Failed calls to AWS.

use std::fmt;

/// The kind of a failure, as far as the engine distinguishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 409, or 412 for an alias: another caller is changing the same resource, or has changed it. A throttled change counts
    /// as one, too.
    Conflict,
    /// 400: API Gateway does not accept the request as it is.
    Refused,
    /// 404: the resource does not exist.
    Missing,
    /// The endpoint does not know the operation: an older partition, or an emulator.
    NoSuchOperation,
    /// No answer or a server error: a time-out, a broken connection, a 5xx. The call may nevertheless have taken effect.
    NoAnswer,
    /// Any other error of AWS, including throttling after all retries.
    Other,
}

/// A failed call, with AWS's code and message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CloudError {
    /// The kind.
    pub failure: Failure,
    /// The operation, in AWS's spelling.
    pub operation: &'static str,
    /// The resource on which it was called.
    pub subject: String,
    /// AWS's error code, or our own if the call never reached AWS.
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
    /// Returns the error of a change that was not sent, because its subject is no longer as it was read.
    #[must_use]
    pub fn changed_meanwhile(operation: &'static str, subject: &str) -> Self {
        Self {
            failure: Failure::Conflict,
            operation,
            subject: subject.to_owned(),
            code: "ChangedMeanwhile".to_owned(),
            message: "somebody else changed it after it was read, so the call was not sent".to_owned(),
        }
    }

    /// Returns whether AWS refused the call because of too many requests. Such a call has no effect.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        const CODES: [&str; 9] = [
            "HTTP 429",
            "LimitExceededException",
            "TooManyRequestsException",
            "ThrottlingException",
            "Throttling",
            "ThrottledException",
            "RequestLimitExceeded",
            "RequestThrottled",
            // Parameter Store, for rival writes of one parameter.
            "TooManyUpdates",
        ];
        CODES.contains(&self.code.as_str())
    }

    /// Returns whether AWS denied the call, in general or with these credentials.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        // AWS does not document which of them API Gateway's management calls use.
        let denials = [
            "AccessDeniedException",
            "AccessDenied",
            "UnauthorizedException",
            "ForbiddenException",
            "HTTP 403",
        ];
        denials.contains(&self.code.as_str())
    }

    /// Returns the next step for an operator; empty if the message is enough.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self.code.as_str() {
            _ if self.is_denial() => {
                "allow this call for the function's role: the template's policies list the permissions that it needs"
            }
            "TooManyRequestsException" | "ThrottlingException" | "LimitExceededException" | "Throttling" => {
                "other callers use up the account's request quota: wait, then send the command again"
            }
            "ExpiredTokenException" | "UnrecognizedClientException" => "renew the credentials",
            _ => "",
        }
    }
}

/// A fact, or the error of the call that reads it.
pub type Fetched<T> = Result<T, CloudError>;
