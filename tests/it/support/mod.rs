//! The shared test support: the in-memory twin of AWS, the harness that runs an event in it, and the story builder.

pub(crate) mod harness;
pub(crate) mod story;
pub(crate) mod world;
