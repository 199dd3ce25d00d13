//! Rolls an Amazon API Gateway stage back to its last known-good release when a CloudWatch alarm fires.
//!
//! The map, in the order in which the rooms build on each other. `docs/architecture.md` has the picture, the six rules
//! and the glossary.

/// Data. No I/O, no clock, no other room.
pub mod model;
/// Pure: an event becomes signals, an alarm becomes target stages.
pub mod signal;

/// Environment variables become settings. Pure over a getter.
pub mod config;
/// Pure: decides, checks, and judges evidence, claims, health and what a sweep does.
pub mod decide;

/// The port, and its adapters over the AWS SDK.
pub mod cloud;
/// What a run carries.
pub mod context;

/// Reads AWS, before anything is decided.
pub mod observe;
/// Writes stages, aliases, mappings, incidents and pins.
pub mod regions;
pub mod rollback;

/// Sends messages, events, metrics and the log line.
pub mod notify;
/// Moves traffic to a canary in steps; writes its stage and its record.
pub mod rollout;
/// Checks every protected stage; writes candidates and known-good records.
pub mod sweep;

/// Carries out the commands of operators and pipelines.
pub mod commands;
/// Reads everything and says whether a rollback would work.
pub mod doctor;

/// The whole flow on one screen.
pub mod handler;
