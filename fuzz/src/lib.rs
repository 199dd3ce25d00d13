//! The product's parsers, without the rest of its sources. No parser uses the AWS SDK, which takes many minutes to
//! compile with the fuzzer's instrumentation.

#[path = "../../src"]
#[expect(unused_imports, reason = "the AWS adapter, which uses one of them, is left out")]
mod parsers {
    pub mod config;
    pub mod model;
    pub mod signal;
}

pub use parsers::*;
