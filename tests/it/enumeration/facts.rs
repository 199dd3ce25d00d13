//! Spaces of facts: every combination of the values of some facts, each with a number.

/// The values of a fact.
pub(crate) trait Values: Copy + Sized + 'static {
    /// All of them.
    const ALL: &'static [Self];
}

impl Values for bool {
    const ALL: &'static [Self] = &[false, true];
}

/// A space of facts.
pub(crate) trait Facts: Copy + std::fmt::Debug {
    /// The number of combinations.
    const NUMBER: u64;

    /// Returns the combination of this number.
    fn nth(nth: u64) -> Self;
}

/// Takes the next fact from the number of a combination.
pub(crate) fn digit<T: Values>(nth: &mut u64) -> T {
    let values = T::ALL;
    let number = values.len() as u64;
    let at = usize::try_from(*nth % number).unwrap_or_default();
    *nth /= number;
    values[at]
}

/// Declares facts with few values.
macro_rules! values {
    ($($(#[$doc:meta])* $fact:ident { $($(#[$of:meta])* $value:ident),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $fact { $($(#[$of])* $value),+ }

        impl $crate::enumeration::facts::Values for $fact {
            const ALL: &'static [Self] = &[$(Self::$value),+];
        }
    )+};
}

/// Declares a space: a struct with a field for each fact.
macro_rules! space {
    ($(#[$doc:meta])* $space:ident { $($(#[$of:meta])* $fact:ident: $values:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $space { $($(#[$of])* pub(crate) $fact: $values),+ }

        impl $crate::enumeration::facts::Facts for $space {
            const NUMBER: u64 = 1 $(* <$values as $crate::enumeration::facts::Values>::ALL.len() as u64)+;

            fn nth(mut nth: u64) -> Self {
                Self { $($fact: $crate::enumeration::facts::digit(&mut nth)),+ }
            }
        }
    };
}

pub(crate) use {space, values};
