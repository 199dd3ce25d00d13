//! Puts an Amazon API Gateway stage back on its last-known-good release when a CloudWatch alarm fires.
//!
//! The way of the data, and the order to read the code in:
//!
//! ```text
//! JSON in -> signal -> triage -> target -> observe -> decide (pure) -> check (pure) -> apply -> report -> JSON out
//! ```
//!
//! Six rules hold everywhere:
//!
//! 1. Nothing between observe and apply does I/O or reads the clock; time is an argument.
//! 2. A plan leaves no choice to apply, and a second, dumber function ([`decide::check`]) must accept it first.
//! 3. The alarm is a hint: the world is read again, and the decision is taken from the world. Running the
//!    same signal twice changes nothing the second time.
//! 4. The stage's deployment is only ever left alone or set to a recorded known-good release that exists.
//! 5. In doubt nothing is written and somebody is told.
//! 6. Every run ends in exactly one report, also when nothing was done.

pub mod cloud;
pub mod commands;
pub mod config;
pub mod context;
pub mod decide;
pub mod doctor;
pub mod handler;
pub mod model;
pub mod notify;
pub mod observe;
pub mod rollback;
pub mod signal;
pub mod sweep;
