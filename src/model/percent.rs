//! A share of the traffic. No I/O.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A share of the traffic, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Percent(u16);

impl Percent {
    const HUNDREDTHS: f64 = 100.0;

    /// No traffic.
    pub const NONE: Self = Self(0);

    /// Reads a share as API Gateway prints it, rounded to hundredths; `None` if it is no share.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        text.trim().parse().ok().and_then(Self::rounded)
    }

    /// Reads the weight of a version, from 0 to 1, as Lambda prints it; `None` if it is no weight.
    #[must_use]
    pub fn of_weight(text: &str) -> Option<Self> {
        text.trim().parse().ok().and_then(|weight: f64| Self::rounded(weight * 100.0))
    }

    /// Returns the weight of a version that gets this share, as Lambda prints it.
    #[must_use]
    pub fn weight(self) -> String {
        (f64::from(self.0) / 10_000.0).to_string()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between 0 and 10,000"
    )]
    fn rounded(number: f64) -> Option<Self> {
        let hundredths = (number * Self::HUNDREDTHS).round();
        (0.0..=10_000.0).contains(&hundredths).then_some(Self(hundredths as u16))
    }
}

impl TryFrom<f64> for Percent {
    type Error = String;

    /// API Gateway rounds longer fractions.
    fn try_from(number: f64) -> Result<Self, String> {
        let rounded = Self::rounded(number);
        rounded
            .filter(|percent| (f64::from(*percent) - number).abs() < 1e-9)
            .ok_or_else(|| format!("{number} is no share from 0 to 100 with at most two decimals"))
    }
}

impl From<Percent> for f64 {
    fn from(percent: Percent) -> Self {
        Self::from(percent.0) / Percent::HUNDREDTHS
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f64::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_at_most_two_decimals() {
        for (number, expected) in [
            (0.0, Some("0")),
            (5.0, Some("5")),
            (12.5, Some("12.5")),
            (0.01, Some("0.01")),
            (33.33, Some("33.33")),
            (99.99, Some("99.99")),
            (100.0, Some("100")),
            (33.333, None),
            (0.001, None),
            (-1.0, None),
            (100.01, None),
            (1e9, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            let share = Percent::try_from(number).ok().map(|percent| percent.to_string());
            assert_eq!(share.as_deref(), expected, "{number}");
        }
    }

    #[test]
    fn a_share_is_read_as_api_gateway_prints_it() {
        for (text, expected) in [
            ("50", Some("50")),
            ("50.0", Some("50")),
            ("12.499999999999998", Some("12.5")),
            ("1e1", Some("10")),
            (" 5 ", Some("5")),
            ("", None),
            ("five", None),
            ("-0.2", None),
            ("101", None),
            ("NaN", None),
        ] {
            assert_eq!(Percent::read(text).map(|percent| percent.to_string()).as_deref(), expected, "{text}");
        }
    }
}
