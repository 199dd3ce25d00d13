//! The reads that only the command-line tool needs: the caller's identity and the function's log.

use std::time::Duration;

use aws_config::SdkConfig;
use tokio::time::Instant;

use super::{Aws, Clients};
use crate::model::cloud_error::CloudError;

/// How long the tool waits for the caller's identity, which is only shown and recorded.
const IDENTITY: Duration = Duration::from_secs(3);

/// How long the tool waits for a page of the log.
const LOG: Duration = Duration::from_secs(30);

/// The tool's clients, in addition to those of the port.
#[derive(Clone, Debug)]
pub struct AwsOperator {
    clients: Clients,
    sts: aws_sdk_sts::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
}

/// The owner of the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account: String,
    /// The user, or the role and its session, such as `assumed-role/Admin/jane`.
    pub name: String,
}

/// An event of a log group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// Its id, unique in the log group.
    pub id: String,
    /// Its time, in milliseconds since 1970.
    pub at: i64,
    /// Its text.
    pub text: String,
}

impl AwsOperator {
    /// Builds the clients for these settings.
    #[must_use]
    pub fn new(settings: &SdkConfig, clients: &Clients) -> Self {
        let (sts, logs) = (aws_sdk_sts::Client::new(settings), aws_sdk_cloudwatchlogs::Client::new(settings));
        Self { clients: clients.clone(), sts, logs }
    }

    fn within(&self, time: Duration) -> Aws {
        let until = Instant::now() + time;
        self.clients.until(until, until)
    }

    /// Reads the owner of the credentials (`GetCallerIdentity`, which needs no permission).
    ///
    /// # Errors
    /// The call failed, or had no answer for three seconds.
    pub async fn caller(&self) -> Result<Caller, CloudError> {
        let call = self.sts.get_caller_identity();
        let aws = self.within(IDENTITY);
        let answer = aws.call("GetCallerIdentity", "your credentials", || call.clone().send()).await?;
        let arn = answer.arn.unwrap_or_default();
        let name = arn.splitn(6, ':').nth(5).unwrap_or(&arn).to_owned();
        Ok(Caller { account: answer.account.unwrap_or_default(), name })
    }

    /// Reads a page of the reports in a log group since a time in milliseconds, and the token of the next page
    /// (`FilterLogEvents`).
    ///
    /// # Errors
    /// A failed call.
    pub async fn reports(
        &self,
        group: &str,
        since: i64,
        page: Option<String>,
    ) -> Result<(Vec<LogEvent>, Option<String>), CloudError> {
        let call = self.logs.filter_log_events().log_group_name(group).start_time(since);
        let call = call.filter_pattern(r#"{ $.message = "report" }"#).set_next_token(page.clone());
        let answer = self.within(LOG).call("FilterLogEvents", group, || call.clone().send()).await?;
        let event = |event: aws_sdk_cloudwatchlogs::types::FilteredLogEvent| {
            let (at, text) = (event.timestamp?, event.message?);
            // Emulators leave the id out.
            let unnamed = || format!("{} {at} {text}", event.log_stream_name.unwrap_or_default());
            Some(LogEvent { id: event.event_id.unwrap_or_else(unnamed), at, text })
        };
        let events = answer.events.unwrap_or_default().into_iter().filter_map(event).collect();
        // A token that returns itself would never end.
        let next = answer.next_token.filter(|next| !next.is_empty() && Some(next) != page.as_ref());
        Ok((events, next))
    }
}
