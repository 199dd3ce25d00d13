//! The parsers alone, from the sources of the product: the AWS SDK takes many minutes to compile with a fuzzer's
//! instruments, and no parser uses it.

#[path = "../../src"]
#[expect(unused_imports, reason = "one is for the AWS adapter, which is left out")]
mod parsers {
    pub mod alarm;
    pub mod config;
    pub mod parts;
    pub mod records;
    pub mod release;
    pub mod signal;
    pub mod target;
    pub mod triage;
    pub mod verdict;
}

pub use parsers::*;
