//! The parsers alone, from the sources of the product: the AWS SDK takes many minutes to compile with a fuzzer's
//! instruments, and no parser uses it.

#[path = "../../src"]
#[expect(unused_imports, reason = "one is for the AWS adapter, which is left out")]
mod parsers {
    pub mod config;
    pub mod model;
    pub mod signal;
}

pub use parsers::*;
