//! The port over the AWS SDK, with one file for each trait. Only this folder uses `aws_sdk_*`.

mod alarms;
#[cfg(feature = "cli")]
mod bundle;
mod call;
mod clients;
mod components;
mod datapoints;
#[cfg(feature = "cli")]
mod diagnostics;
mod environment;
mod gateway;
mod http;
#[cfg(feature = "cli")]
mod operator;
mod outbox;
mod parameters;
mod requests;
#[cfg(feature = "cli")]
mod settings;
mod stages;
mod throttling;
mod v2;
mod warm;
mod wiring;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::{Cloud, Spent};

#[cfg(feature = "cli")]
pub use bundle::bundle;
pub use clients::Clients;
#[cfg(feature = "cli")]
pub use diagnostics::AwsDiagnostics;
pub use environment::{Environment, environment_settings};
pub use http::Roots;
#[cfg(feature = "cli")]
pub use operator::{AwsOperator, Caller, LogEvent};
#[cfg(feature = "cli")]
pub use settings::{find_credentials, has_profile, personal_settings};

/// The port over the SDK, for one run.
#[derive(Clone, Debug)]
pub struct Aws {
    clients: Clients,
    deadline: Instant,
    /// The deadline of notifications.
    end: Instant,
    /// Whether the run has come to its notifications.
    notifies: Arc<AtomicBool>,
    spent_before: Spent,
}

impl Aws {
    fn deadline(&self) -> Instant {
        if self.notifies.load(Ordering::Relaxed) { self.end } else { self.deadline }
    }
}

impl Cloud for Aws {
    fn spent(&self) -> Spent {
        self.clients.meter.since(self.spent_before)
    }

    fn begin_to_notify(&self) {
        self.notifies.store(true, Ordering::Relaxed);
    }
}
