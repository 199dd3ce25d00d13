//! The deciding code of the function, without the code that reads and writes.

#[allow(
    clippy::pedantic,
    dead_code,
    unused_imports,
    unfulfilled_lint_expectations,
    reason = "a part of the function, which has lints of its own"
)]
#[path = "../../src/model/mod.rs"]
pub mod model;

#[allow(
    clippy::pedantic,
    dead_code,
    missing_docs,
    unused_imports,
    unfulfilled_lint_expectations,
    reason = "a part of the function, which has lints of its own"
)]
#[path = "../../src/signal"]
pub mod signal {
    pub mod target;
    pub mod triage;
}

#[allow(
    clippy::pedantic,
    dead_code,
    unused_imports,
    unfulfilled_lint_expectations,
    reason = "a part of the function, which has lints of its own"
)]
#[path = "../../src/decide/mod.rs"]
pub mod decide;

#[allow(
    clippy::pedantic,
    dead_code,
    unused_imports,
    unfulfilled_lint_expectations,
    reason = "a part of the function, which has lints of its own"
)]
#[path = "../../src/config/mod.rs"]
pub mod config;
