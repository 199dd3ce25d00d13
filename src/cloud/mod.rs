//! The port: a few traits, one for each group of AWS resources. Their verbs are all that the product does on AWS.
//! `cloud/aws` implements the traits with the SDK; the tests implement them in memory.
//!
//! A verb names the AWS call that it makes, and decides nothing. If AWS refuses the call or does not answer before the
//! run's deadline, the verb returns a [`CloudError`](crate::model::cloud_error::CloudError).

mod alarms;
pub mod aws;
mod components;
mod diagnostics;
mod gateway;
mod outbox;
pub mod pace;
mod parameters;
mod seen;
pub mod tries;
mod wiring;

pub use alarms::Alarms;
pub use components::Components;
pub use diagnostics::{Diagnostics, FunctionNow, LogClass, RequiredPermission, Schedule};
pub use gateway::{Cache, Gateway};
pub use outbox::{Notification, Outbox};
pub use parameters::{Parameters, Write, Written, is_next};
pub use seen::{FRESH, Look, Queue, Seen, send_while_fresh};
pub use wiring::Wiring;

/// How much a run has asked of AWS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Calls, each counted once.
    pub calls: u64,
    /// Attempts after the first one, over all calls.
    pub retries: u64,
}

/// The whole port, for a rollback, a sweep or a command. Code that needs less takes only the traits it needs.
pub trait Cloud: Gateway + Components + Parameters + Alarms + Wiring + Outbox {
    /// Returns what this run has asked of AWS so far. Makes no call.
    fn spent(&self) -> Spent;

    /// Lets the calls from now on use the time that is kept for notifications.
    fn begin_to_notify(&self);
}
