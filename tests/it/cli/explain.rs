//! `explain` over a folder of alarm events with a manifest of the expected verdicts.
//!
//! `ALARM_CORPUS` names the folders, separated by colons; without it, only the project's own events are explained.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn explain(arguments: &[&str], file: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_apigw-rollback"))
        .args(["explain", "--format", "json", "--now", "2026-11-20T10:06:00Z"])
        .args(["--account", "123456789012", "--region", "eu-west-1"])
        .args(arguments)
        .arg(file)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", file.display());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_event_of_the_corpus_gets_the_verdict_of_the_manifest() {
    let Some(folders) = std::env::var_os("ALARM_CORPUS") else {
        println!("ALARM_CORPUS is not set: only the project's own events are explained, in the next test");
        return;
    };
    for folder in std::env::split_paths(&folders) {
        check_corpus(&folder);
    }
}

fn check_corpus(folder: &Path) {
    let manifest = std::fs::read(folder.join("manifest.json"))
        .unwrap_or_else(|error| panic!("ALARM_CORPUS={}: manifest.json: {error}", folder.display()));
    let rows: Vec<Value> = serde_json::from_slice(&manifest).unwrap();
    assert!(!rows.is_empty(), "the manifest has no rows");
    // A corpus without a stale event is from any time.
    let is_of_today = rows.iter().any(|row| row["reason"] == "stale");
    let mut differences = Vec::new();
    for row in &rows {
        let file = row["file"].as_str().unwrap();
        // Recorded events are years old, so their age is ignored.
        let has_age = is_of_today && row.get("licence").is_none();
        let age: &[&str] = if has_age { &[] } else { &["--max-age", "0"] };
        let explained = explain(age, &folder.join(file));
        if (&explained["verdict"], &explained["reason"]) != (&row["verdict"], &row["reason"]) {
            differences
                .push(format!("{file}: expected {}/{}, got {explained}", row["verdict"], row["reason"]));
        }
    }
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), rows.len(), differences.join("\n"));
}

#[test]
fn every_event_of_the_project_is_explained() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("events");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let table: Vec<_> = files
        .iter()
        .map(|file| {
            let explained = explain(&[], file);
            let name = file.file_stem().unwrap().to_string_lossy();
            let targets: Vec<_> =
                explained["signals"].as_array().unwrap().iter().map(|s| s["targets"].to_string()).collect();
            format!("{name}: {} {} {}", explained["verdict"], explained["reason"], targets.join(" "))
                .replace('"', "")
        })
        .collect();
    insta::with_settings!({snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("every_event_of_the_project_is_explained", table.join("\n"));
    });
}

#[test]
fn an_unreadable_file_is_named_and_the_others_are_still_explained() {
    let good = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("events/hello.json");
    let output = Command::new(env!("CARGO_BIN_EXE_apigw-rollback"))
        .args(["explain", "no-such-file.json"])
        .arg(&good)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("no-such-file.json: cannot be read: "));
    assert!(String::from_utf8_lossy(&output.stdout).contains("hello.json: reject (not-an-alarm)"));
}
