//! Reads any text as the value of each kind of parameter. The parser must refuse it with a reason, or be able to write
//! and read it again. Any text as an API and a stage must lead to a valid parameter name, and back.

#![no_main]

use apigw_rollback_fuzz::model::parameter_names::ParameterNames;
use apigw_rollback_fuzz::model::records::{
    Candidate, Hold, Incident, LastSweep, NameIndex, Record, Rollbacks, Stored, parse, print,
};
use apigw_rollback_fuzz::model::stage::StageRef;
use libfuzzer_sys::fuzz_target;

fn round_trip<T: Stored + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    match parse::<T>(text) {
        Ok(read) => {
            // A value can be too long to print although its text was not: printing adds every optional field.
            if let Ok(text) = print(&read) {
                assert!(text.len() <= 8192 && !text.contains("{{"), "{text}");
                assert_eq!(parse::<T>(&text).as_ref(), Ok(&read));
            }
            Some(read)
        }
        Err(why) => {
            assert!(!why.to_string().is_empty());
            None
        }
    }
}

fuzz_target!(|text: &str| {
    if let Some(record) = round_trip::<Record>(text) {
        let release = &record.release;
        assert_eq!(release.fingerprint().len(), 12);
        assert_eq!(release.over(release), *release);
    }
    if let Some(incident) = round_trip::<Incident>(text) {
        let same = incident.bad == incident.good;
        assert!(!same || incident.bad.fingerprint() == incident.good.fingerprint());
    }
    round_trip::<Candidate>(text);
    round_trip::<Hold>(text);
    round_trip::<Rollbacks>(text);
    round_trip::<NameIndex>(text);
    round_trip::<LastSweep>(text);
    let names = ParameterNames::under("/apigw-rollback");
    let (api, stage) = text.split_once('/').unwrap_or((text, ""));
    let name = names.known_good(&StageRef::rest(api, stage));
    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)), "{name}");
    assert_eq!(names.stage_of(&name), Some((api.to_owned(), stage.to_owned())));
    if let Some((api, stage)) = names.stage_of(text) {
        let ours = names.known_good(&StageRef::rest(api, stage));
        assert!(
            ours.strip_suffix("known-good").is_some_and(|ours| format!("{text}/").starts_with(ours)),
            "{ours}"
        );
    }
});
