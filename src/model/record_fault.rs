//! Why a stored record cannot be used, and what to do about it.

use std::fmt;

/// Why a stored value cannot be used. `Display` prints the end of a sentence that begins with the parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// A newer version of the function wrote it.
    Newer(String),
    /// It belongs to another stage or Region.
    Foreign(String),
    /// It is no record, or not a complete one.
    Damaged(String),
}

impl RecordFault {
    /// Returns the next step for an operator.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Newer(_) => {
                "update the function to the version that wrote the record; do not delete the parameter, because it holds the newer record"
            }
            Self::Foreign(_) => {
                "give this function its own PARAMETER_PREFIX, or delete the parameter if nothing else uses it; then record a good release"
            }
            Self::Damaged(_) => {
                "delete the parameter, or restore one of its older versions; then record a good release"
            }
        }
    }
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Newer(why) | Self::Foreign(why) | Self::Damaged(why)) = self;
        f.write_str(why)
    }
}
