//! What the tests share: the in-memory twin of AWS, the harness that runs an event in it, and the teller of stories.

pub(crate) mod harness;
pub(crate) mod story;
pub(crate) mod world;
