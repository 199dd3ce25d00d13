//! The house rules that a test can keep.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

#[test]
fn the_aws_sdk_is_used_in_one_folder_only() {
    let src = root().join("src");
    for (path, text) in sources(&src) {
        let adapter = path.starts_with(src.join("cloud/aws"));
        assert!(adapter || !text.replace("`aws_sdk_*`", "").contains("aws_sdk_"), "{}", path.display());
    }
}

/// What is pure takes time as an argument and imports nothing that reads or writes.
#[test]
fn the_pure_folders_neither_wait_nor_read_a_clock_nor_touch_the_outside() {
    let src = root().join("src");
    let forbidden = [
        "async ",
        ".await",
        "Instant::now",
        "SystemTime",
        "Utc::now",
        "std::env",
        "std::fs",
        "crate::cloud",
        "crate::commands",
        "crate::context",
        "crate::doctor",
        "crate::handler",
        "crate::notify",
        "crate::observe",
        "crate::rollback",
        "crate::sweep",
    ];
    let mut read = 0;
    for folder in ["model", "signal", "decide"] {
        for (path, text) in sources(&src.join(folder)) {
            // The tests of a pure file may read the example events.
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for word in forbidden {
                let line =
                    code.lines().find(|line| !line.trim_start().starts_with("//") && line.contains(word));
                assert_eq!(line, None, "{} has `{word}`", path.display());
            }
            read += 1;
        }
    }
    assert!(read > 20, "{read} files");
}

/// The folders of `src` in the order in which they build on each other: each imports only those before it.
#[test]
fn no_two_folders_import_each_other() {
    let order = [
        "model", "signal", "config", "decide", "cloud", "context", "observe", "rollback", "notify", "sweep",
        "commands", "doctor", "handler", "main", "bin",
    ];
    let src = root().join("src");
    let place = |room: &str| order.iter().position(|one| *one == room);
    let mut imports = 0;
    for (path, text) in sources(&src) {
        let first = path.strip_prefix(&src).unwrap().iter().next().unwrap().to_str().unwrap();
        let room = first.trim_end_matches(".rs");
        if room == "lib" {
            continue;
        }
        let ours = place(room).unwrap_or_else(|| panic!("{room} has no place in the order"));
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for rest in line.split("crate::").skip(1) {
                let other: String =
                    rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let Some(theirs) = place(&other) else { continue };
                assert!(theirs <= ours || room == "bin", "{}: {}", path.display(), line.trim());
                imports += usize::from(theirs < ours);
            }
        }
    }
    assert!(imports > 200, "{imports} imports");
}

#[test]
fn no_file_is_longer_than_500_lines() {
    for (path, text) in sources(&root().join("src")).into_iter().chain(sources(&root().join("tests"))) {
        assert!(text.lines().count() <= 500, "{} has {} lines", path.display(), text.lines().count());
    }
}

#[test]
fn the_readme_explains_every_verdict() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let verdicts = fs::read_to_string(root().join("src/model/reason.rs")).unwrap();
    let mut codes: Vec<&str> = verdicts
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|word| word.contains('-') && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
        .collect();
    codes.extend(["ok", "suppressed", "stale", "composite", "malformed"]);
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        assert!(readme.contains(&format!("| `{code}`")), "the README's table of verdicts lacks `{code}`");
    }
}

#[test]
fn every_make_target_that_the_readme_names_exists() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let named = readme.replace("`KEEP=1 make", "`make");
    let named: Vec<&str> = named.split("`make ").skip(1).filter_map(|rest| rest.split('`').next()).collect();
    for target in &named {
        let is_target = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
        assert!(is_target, "the README names `make {target}`");
    }
    assert!(named.contains(&"demo") && named.contains(&"test"));
}

/// `cargo run -- schema > docs/report.schema.json` writes it anew.
#[cfg(feature = "cli")]
#[test]
fn the_published_schema_is_that_of_the_reports() {
    let published = fs::read_to_string(root().join("docs/report.schema.json")).unwrap();
    let published: serde_json::Value = serde_json::from_str(&published).unwrap();
    assert_eq!(published, apigw_rollback::model::report::Report::schema());
}
