//! The effect of a reason, and its fixed texts.

/// The effect of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing is wrong, and nothing needs to be done.
    Ignore,
    /// The signal or command can never have an effect; an operator must correct it.
    Reject,
    /// A rollback was possible, but the run did not carry it out.
    Hold,
}

impl Kind {
    /// Returns the word for it in reports and in `explain`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Reject => "reject",
            Self::Hold => "hold",
        }
    }
}

/// The fixed texts of a reason. `docs/reasons.md` is generated from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The stable code in reports and in `explain`.
    pub code: &'static str,
    /// The effect.
    pub kind: Kind,
    /// The meaning, in full sentences.
    pub meaning: &'static str,
    /// The next step for an operator, as an imperative clause; empty if there is none.
    pub advice: &'static str,
}

/// Makes a row of the table of reasons.
pub(super) const fn entry(
    code: &'static str,
    kind: Kind,
    meaning: &'static str,
    advice: &'static str,
) -> Entry {
    Entry { code, kind, meaning, advice }
}
