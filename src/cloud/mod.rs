//! The port: every call to AWS in the product's own words, as a few traits by what they touch. `cloud/aws` has the real
//! adapters; the tests have an in-memory twin. A verb makes one call, decides nothing, and returns a
//! [`CloudError`](crate::model::cloud_error::CloudError) if AWS refuses or does not answer in time.

mod alarms;
pub mod aws;
mod components;
mod diagnostics;
mod gateway;
mod outbox;
pub mod pace;
mod parameters;

pub use alarms::Alarms;
pub use components::Components;
pub use diagnostics::{Diagnostics, FunctionNow, RequiredPermission, Subscription};
pub use gateway::{Cache, Gateway};
pub use outbox::{Notification, Outbox};
pub use parameters::{Parameters, Write, Written};

/// How much was asked of AWS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Calls.
    pub calls: u64,
    /// Times a call was sent again.
    pub retries: u64,
}

/// The whole port, for code that acts on a stage: a rollback, a sweep, a command. Code that touches less asks for less.
pub trait Cloud: Gateway + Components + Parameters + Alarms + Outbox {
    /// What this run has asked of AWS so far.
    fn spent(&self) -> Spent;
}
