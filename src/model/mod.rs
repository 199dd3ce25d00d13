//! The data of the engine, without I/O.

pub mod alarm;
pub mod component;
pub mod parameter_names;
pub mod plan;
pub mod reason;
pub mod records;
pub mod release;
pub mod report;
