//! The data types of the engine, without I/O.

pub mod admission;
pub mod alarm;
pub mod alarm_setup;
pub mod cloud_error;
pub mod component;
pub mod datapoint;
pub mod guarding_alarm;
pub mod hidden;
pub mod incident;
pub mod observed;
pub mod parameter_names;
pub mod plain;
pub mod plan;
pub mod policy;
pub mod protocol;
pub mod reason;
pub mod record_fault;
pub mod records;
pub mod release;
pub mod report;
pub mod routing;
pub mod stage;
pub mod status;
pub mod target;
pub mod trigger;
pub mod wiring;
