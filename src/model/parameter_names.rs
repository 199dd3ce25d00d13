//! The names of the parameters in Parameter Store, from a stage and back. No I/O.

use crate::model::stage::StageRef;

/// The names of the parameters under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterNames {
    prefix: String,
}

impl ParameterNames {
    /// Names under a prefix such as `/apigw-rollback`.
    #[must_use]
    pub fn under(prefix: &str) -> Self {
        Self { prefix: prefix.trim_end_matches('/').to_owned() }
    }

    /// The known-good record of a stage.
    #[must_use]
    pub fn known_good(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "known-good")
    }

    /// The candidate of a stage.
    #[must_use]
    pub fn candidate(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "candidate")
    }

    /// The hold on a stage.
    #[must_use]
    pub fn hold(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "hold")
    }

    /// The policy of a stage.
    #[must_use]
    pub fn policy(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "policy")
    }

    /// The latest rollbacks of a stage.
    #[must_use]
    pub fn rollbacks(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "rollbacks")
    }

    /// The path above all stages' parameters.
    #[must_use]
    pub fn stages(&self) -> String {
        format!("{}/stages", self.prefix)
    }

    /// The API and the stage that a parameter belongs to.
    #[must_use]
    pub fn stage_of(&self, parameter: &str) -> Option<(String, String)> {
        let rest = parameter.strip_prefix(&self.stages())?.strip_prefix('/')?;
        let mut segments = rest.split('/');
        Some((text(segments.next()?)?, text(segments.next()?)?))
    }

    /// How the names of a stage's incidents begin.
    #[must_use]
    pub fn all_incidents(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "incidents/")
    }

    /// The incident of a release on a stage.
    #[must_use]
    pub fn incident(&self, stage: &StageRef, fingerprint: &str) -> String {
        self.of_stage(stage, &format!("incidents/{fingerprint}"))
    }

    /// The mark that people were told something of this key.
    #[must_use]
    pub fn sent_mark(&self, key: &str) -> String {
        format!("{}/{key}", self.sent_marks())
    }

    /// The path above all such marks.
    #[must_use]
    pub fn sent_marks(&self) -> String {
        format!("{}/told", self.prefix)
    }

    /// When the last sweep went through.
    #[must_use]
    pub fn sweep(&self) -> String {
        format!("{}/sweep", self.prefix)
    }

    /// The index of an API's name.
    #[must_use]
    pub fn api_name(&self, name: &str) -> String {
        format!("{}/names/{}", self.prefix, segment(name))
    }

    fn of_stage(&self, stage: &StageRef, what: &str) -> String {
        format!("{}/stages/{}/{}/{what}", self.prefix, segment(&stage.api), segment(&stage.stage))
    }
}

/// A text as one segment of a parameter's name: `[A-Za-z0-9.-]` stays, `_` doubles, any other byte
/// becomes `_XX`. No two texts become the same segment.
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

/// A segment's text again; `None` where [`segment`] makes no such segment.
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
    // Lower-case digits, or the code of a letter that needs none, are somebody else's.
    String::from_utf8(bytes).ok().filter(|text| self::segment(text) == segment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameter_names_keep_to_what_ssm_allows() {
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
