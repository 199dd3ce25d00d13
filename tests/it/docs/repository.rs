//! The rules of the repository that a test can check.

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
fn only_one_folder_uses_the_aws_sdk() {
    let src = root().join("src");
    for (path, text) in sources(&src) {
        let adapter = path.starts_with(src.join("cloud/aws"));
        assert!(adapter || !text.replace("`aws_sdk_*`", "").contains("aws_sdk_"), "{}", path.display());
    }
}

/// Pure code takes time as an argument and imports nothing that reads or writes.
#[test]
fn the_pure_folders_neither_wait_nor_read_a_clock_nor_do_io() {
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
            // The unit tests of a pure file may read the example events.
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

/// The folders of `src` have an order, and each imports only those before it.
#[test]
fn no_two_folders_import_each_other() {
    let order = [
        "model", "signal", "config", "decide", "cloud", "context", "observe", "rollback", "notify",
        "rollout", "sweep", "regions", "commands", "doctor", "handler", "main", "bin",
    ];
    let src = root().join("src");
    let place = |folder: &str| order.iter().position(|one| *one == folder);
    let mut imports = 0;
    for (path, text) in sources(&src) {
        let first = path.strip_prefix(&src).unwrap().iter().next().unwrap().to_str().unwrap();
        let folder = first.trim_end_matches(".rs");
        if folder == "lib" {
            continue;
        }
        let ours = place(folder).unwrap_or_else(|| panic!("add {folder} to the order"));
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for rest in line.split("crate::").skip(1) {
                let other: String =
                    rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let Some(theirs) = place(&other) else { continue };
                assert!(theirs <= ours || folder == "bin", "{}: {}", path.display(), line.trim());
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
fn every_make_target_that_the_readme_names_exists() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let named = readme.replace("`KEEP=1 make", "`make").replace(" DIST=~/apigw-rollback-0.1.0`", "`");
    let named: Vec<&str> = named.split("`make ").skip(1).filter_map(|rest| rest.split('`').next()).collect();
    for target in &named {
        let is_target = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
        assert!(is_target, "the README names `make {target}`, which does not exist");
    }
    assert!(named.contains(&"demo") && named.contains(&"test"));
}

/// `cargo run -- schema > docs/report.schema.json` updates the schema.
#[cfg(feature = "cli")]
#[test]
fn the_published_schema_matches_the_reports() {
    let published = fs::read_to_string(root().join("docs/report.schema.json")).unwrap();
    let published: serde_json::Value = serde_json::from_str(&published).unwrap();
    assert_eq!(published, apigw_rollback::model::report::Report::schema());
}
