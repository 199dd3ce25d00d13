//! The names of the parameters in Parameter Store, built from a stage and parsed back. No I/O.

use crate::model::stage::StageRef;

/// The names of the parameters under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterNames {
    prefix: String,
}

impl ParameterNames {
    /// Builds names under a prefix such as `/apigw-rollback`.
    #[must_use]
    pub fn under(prefix: &str) -> Self {
        Self { prefix: prefix.trim_end_matches('/').to_owned() }
    }

    /// Returns the prefix, which distinguishes two functions that protect the same stage.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the name of a stage's known-good record.
    #[must_use]
    pub fn known_good(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "known-good")
    }

    /// Returns the name of a stage's candidate.
    #[must_use]
    pub fn candidate(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "candidate")
    }

    /// Returns the name of a stage's hold.
    #[must_use]
    pub fn hold(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "hold")
    }

    /// Returns the name of a stage's policy.
    #[must_use]
    pub fn policy(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "policy")
    }

    /// Returns the name of a stage's list of rollbacks.
    #[must_use]
    pub fn rollbacks(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "rollbacks")
    }

    /// Returns the name of a stage's rollout.
    #[must_use]
    pub fn rollout(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "rollout")
    }

    /// Returns the names of a stage's records that every decision reads with the known-good record.
    #[must_use]
    pub fn besides_known_good(&self, stage: &StageRef) -> [String; 5] {
        ["candidate", "hold", "policy", "rollbacks", "rollout"].map(|what| self.of_stage(stage, what))
    }

    /// Returns the path above the parameters of all stages.
    #[must_use]
    pub fn stages(&self) -> String {
        format!("{}/stages", self.prefix)
    }

    /// Returns the API id and the stage name that a parameter belongs to; `None` for any other name.
    #[must_use]
    pub fn stage_of(&self, parameter: &str) -> Option<(String, String)> {
        let rest = parameter.strip_prefix(&self.stages())?.strip_prefix('/')?;
        let mut segments = rest.split('/');
        Some((text(segments.next()?)?, text(segments.next()?)?))
    }

    /// Returns the prefix of the names of a stage's incidents.
    #[must_use]
    pub fn all_incidents(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "incidents/")
    }

    /// Returns the name of the incident of a release on a stage.
    #[must_use]
    pub fn incident(&self, stage: &StageRef, fingerprint: &str) -> String {
        self.of_stage(stage, &format!("incidents/{fingerprint}"))
    }

    /// Returns the name of the mark that a notification with this key was sent.
    #[must_use]
    pub fn sent_mark(&self, key: &str) -> String {
        format!("{}/{key}", self.sent_marks())
    }

    /// Returns the path above these marks.
    #[must_use]
    pub fn sent_marks(&self) -> String {
        format!("{}/told", self.prefix)
    }

    /// Returns the name of the time of the last complete sweep.
    #[must_use]
    pub fn sweep(&self) -> String {
        format!("{}/sweep", self.prefix)
    }

    /// Returns the name of an API name's index.
    #[must_use]
    pub fn api_name(&self, name: &str) -> String {
        format!("{}/names/{}", self.prefix, segment(name))
    }

    fn of_stage(&self, stage: &StageRef, what: &str) -> String {
        format!("{}/stages/{}/{}/{what}", self.prefix, segment(&stage.api), segment(&stage.stage))
    }
}

/// Encodes a text as one segment of a parameter's name: `[A-Za-z0-9.-]` stays, `_` doubles, any other byte becomes
/// `_XX`. Different texts become different segments.
fn segment(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'_' => coded.push_str("__"),
            b'.' | b'-' => coded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => coded.push(char::from(byte)),
            _ => coded.extend(['_', hex(byte >> 4), hex(byte & 15)]),
        }
    }
    coded
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap_or_default().to_ascii_uppercase()
}

/// Decodes a segment; `None` if [`segment`] never produces it.
fn text(segment: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'_' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match rest.next()? {
            b'_' => bytes.push(b'_'),
            high => bytes.push(digit(high)? * 16 + digit(rest.next()?)?),
        }
    }
    // `segment` writes upper-case digits and encodes only bytes that need it; any other code is not ours.
    String::from_utf8(bytes).ok().filter(|text| self::segment(text) == segment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameter_names_have_only_characters_that_parameter_store_allows() {
        let names = ParameterNames::under("/apigw-rollback/");
        let stage = StageRef::rest("a1b2c3d4e5", "$default");
        assert_eq!(names.known_good(&stage), "/apigw-rollback/stages/a1b2c3d4e5/_24default/known-good");
        assert_eq!(
            names.incident(&stage, "abc"),
            "/apigw-rollback/stages/a1b2c3d4e5/_24default/incidents/abc"
        );
        assert_eq!(names.api_name("My api_1/ü"), "/apigw-rollback/names/My_20api__1_2F_C3_BC");
    }

    proptest! {
        #[test]
        fn no_two_texts_share_a_segment(a in ".*", b in ".*") {
            let (one, two) = (segment(&a), segment(&b));
            let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            prop_assert!(one.chars().all(allowed));
            prop_assert_eq!(a == b, one == two);
            prop_assert_eq!(text(&one), Some(a));
        }
    }
}
