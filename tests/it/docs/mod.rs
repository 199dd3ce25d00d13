//! The documents: every command in them is valid, and every link leads to an existing page.

pub(crate) mod reasons;
mod repository;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use apigw_rollback::config::Config;
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::records;
use apigw_rollback::signal::{self, Signal};
use serde_json::Value;

/// A page of the documentation.
struct Page {
    path: PathBuf,
    text: String,
    /// The code blocks: the word after the fence, and the content.
    blocks: Vec<(String, String)>,
    /// The inline code.
    spans: Vec<String>,
    /// The text outside code blocks, with its inline code.
    prose: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<Page> {
    let folder = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = folder.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    paths.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    paths.sort();
    paths.into_iter().map(Page::read).collect()
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let (mut blocks, mut prose, mut fenced) = (vec![], String::new(), false);
        for line in text.lines() {
            match (line.trim_start().strip_prefix("```"), fenced) {
                (Some(word), false) => blocks.push((word.trim().to_owned(), String::new())),
                (None, true) => {
                    let (_, body) = blocks.last_mut().unwrap();
                    body.push_str(line);
                    body.push('\n');
                }
                (None, false) => {
                    prose.push_str(line);
                    prose.push('\n');
                }
                (Some(_), true) => {}
            }
            fenced ^= line.trim_start().starts_with("```");
        }
        let pieces: Vec<&str> = prose.split('`').collect();
        assert!(!fenced && pieces.len() % 2 == 1, "{}: a code mark is not closed", path.display());
        let spans = pieces.iter().skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect();
        Self { path, text, blocks, spans, prose }
    }

    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap().display().to_string()
    }

    /// Returns all code, in blocks and inline.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.blocks.iter().map(|(_, body)| body).chain(&self.spans).map(String::as_str)
    }

    /// Returns the headings as link anchors.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        let word = |c: char| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            _ => Some(c.to_ascii_lowercase()).filter(char::is_ascii_alphanumeric),
        };
        headings.map(|line| line.trim_start_matches('#').trim().chars().filter_map(word).collect()).collect()
    }
}

/// Returns the text between each `before` and the next `end`.
fn between<'a>(text: &'a str, before: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(move |rest| rest.split_once(end)).map(|(found, _)| found)
}

/// Returns the words after each `before`, up to the first character that `part` refuses.
fn words<'a>(text: &'a str, before: &'a str, part: fn(char) -> bool) -> impl Iterator<Item = &'a str> {
    let is_start = |head: &str| !head.ends_with(|c: char| c.is_alphanumeric() || "-_./".contains(c));
    text.match_indices(before)
        .filter(move |(at, _)| is_start(text.get(..*at).unwrap()))
        .map(move |(at, _)| text.get(at + before.len()..).unwrap())
        .map(move |rest| rest.split_once(|c| !part(c)).map_or(rest, |(word, _)| word))
        .filter(|word| !word.is_empty())
}

fn is_understood(command: &str) -> bool {
    let event = signal::read(command);
    event.deliveries.iter().all(|delivery| matches!(delivery.signal, Signal::Command(_)))
}

#[test]
fn every_command_for_the_function_is_valid() {
    let mut seen = 0;
    for page in pages() {
        for code in page.code() {
            // The runbook defines its own shell function, `ask`, to invoke the function.
            for payload in between(code, "--payload '", '\'').chain(between(code, "ask '", '\'')) {
                seen += 1;
                assert!(
                    is_understood(payload),
                    "{}: {payload}: {:?}",
                    page.name(),
                    signal::read(payload).deliveries
                );
            }
        }
        for span in page.spans.iter().filter(|span| span.starts_with(r#"{"command""#)) {
            seen += 1;
            assert!(is_understood(span), "{}: {span}", page.name());
        }
    }
    assert!(seen > 10, "only {seen} commands were found");
}

/// Every JSON block must be of a known kind, so that none goes unchecked.
#[test]
fn every_json_block_is_valid() {
    for page in pages() {
        let blocks = page.blocks.iter().filter(|(word, _)| word == "json").map(|(_, body)| body);
        let values = page.code().flat_map(|code| between(code, "--value '", '\''));
        for text in blocks.map(String::as_str).chain(values) {
            let at = page.name();
            let value: Value =
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{at}: {error}: {text}"));
            let has = |key: &str| value.get(key).is_some();
            if value.is_array() {
                let setting = |name: &str| {
                    Some(if name == "AWS_REGION" { "eu-west-1" } else { text }.to_owned())
                        .filter(|_| ["AWS_REGION", "PROTECTED_STAGES"].contains(&name))
                };
                Config::read(setting).unwrap_or_else(|error| panic!("{at}: {error}: {text}"));
            } else if has("command") {
                assert!(is_understood(text), "{at}: {:?}: {text}", signal::read(text).deliveries);
            } else if has("schema") && !has("phase") {
                records::parse::<PolicyOverrides>(text)
                    .unwrap_or_else(|error| panic!("{at}: {error}: {text}"));
            } else {
                // The hook's payload, an EventBridge pattern or an IAM policy.
                let known = ["phase", "detail-type", "Statement"].into_iter().any(has);
                assert!(known, "{at}: unknown kind of JSON block: {text}");
            }
        }
    }
}

#[test]
fn every_make_target_exists() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    for page in pages() {
        let named = page.code().flat_map(|code| words(code, "make ", part));
        for target in named {
            let there = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            assert!(there, "{}: the Makefile has no target `{target}`", page.name());
        }
    }
}

#[test]
fn every_template_parameter_exists() {
    let template = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    let parameters = template.split("\nParameters:\n").nth(1).unwrap().split("\nRules:").next().unwrap();
    for page in pages() {
        let settings = page.spans.iter().filter_map(|span| span.split_once('=')).map(|(name, _)| name);
        let is_name = |name: &&str| {
            name.starts_with(|c: char| c.is_ascii_uppercase())
                && name.contains(|c: char| c.is_ascii_lowercase())
                && name.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        for name in settings.filter(is_name) {
            let there = parameters.lines().any(|line| line == format!("  {name}:"));
            assert!(there, "{}: the template has no parameter `{name}`", page.name());
        }
    }
}

#[test]
fn every_linked_file_and_heading_exists() {
    let pages = pages();
    for page in &pages {
        let at = page.name();
        for link in between(&page.prose, "](", ')').filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = page.path.parent().unwrap();
            let linked = if path.is_empty() { page.path.clone() } else { folder.join(path) };
            let linked = linked.canonicalize().unwrap_or_else(|error| panic!("{at}: {link}: {error}"));
            let same = |other: &&Page| other.path.canonicalize().unwrap() == linked;
            let there = anchor.is_empty()
                || pages.iter().find(same).is_some_and(|other| other.anchors().contains(anchor));
            assert!(there, "{at}: {link}: the heading does not exist");
        }
        let file = |c: char| c.is_ascii_alphanumeric() || "-_.*".contains(c);
        for event in words(&page.text, "events/", file).map(|name| name.trim_end_matches('.')) {
            let there = event.contains('*') || root().join("events").join(event).is_file();
            assert!(there, "{at}: events/{event} does not exist");
        }
    }
}

/// The added `--help` ends each command after parsing, so it makes no call to AWS.
#[test]
fn every_line_for_the_command_line_tool_is_valid() {
    let parsed = |arguments: &[&str]| {
        let tool = Command::new(env!("CARGO_BIN_EXE_apigw-rollback")).args(arguments).arg("--help").output();
        tool.unwrap().status.success()
    };
    let is_whole = parsed(&["status"]);
    for page in pages() {
        let lines = page.blocks.iter().filter(|(word, _)| word != "text").flat_map(|(_, body)| body.lines());
        let lines = lines.map(str::trim).chain(page.spans.iter().map(String::as_str));
        let lines = lines.filter_map(|line| {
            line.strip_prefix("apigw-rollback ").or_else(|| line.strip_prefix("cargo run -- "))
        });
        for line in lines {
            let mut arguments = Vec::new();
            // Only quoted arguments may contain spaces; the test ignores the rest of a shell line.
            for (nth, piece) in line.split(['\'', '"']).enumerate() {
                if nth % 2 == 1 { arguments.push(piece) } else { arguments.extend(piece.split_whitespace()) }
            }
            let shell = |word: &&str| ["#", "|", "||", "&&", ">"].contains(word);
            let end = arguments.iter().position(shell).unwrap_or(arguments.len());
            arguments.truncate(end);
            let known = is_whole || ["explain", "schema"].contains(&arguments[0]);
            assert!(!known || parsed(&arguments), "{}: apigw-rollback {line}", page.name());
        }
    }
}

#[test]
fn every_page_is_linked_from_another() {
    let pages = pages();
    let linked = |page: &Page, wanted: &Path| {
        let folder = page.path.parent().unwrap().to_owned();
        between(&page.prose, "](", ')').any(|link| {
            let path = link.split('#').next().unwrap();
            folder.join(path).canonicalize().is_ok_and(|path| path == wanted.canonicalize().unwrap())
        })
    };
    let unlinked = pages.iter().filter(|page| page.path.starts_with(root().join("docs")));
    let unlinked = unlinked
        .filter(|page| !pages.iter().any(|other| other.path != page.path && linked(other, &page.path)));
    let unlinked: Vec<String> = unlinked.map(Page::name).collect();
    assert!(unlinked.is_empty(), "no page links to {unlinked:?}");
}

/// Returns the first word of each line, up to one of these characters.
fn first_words(text: &str, end: &[char]) -> Vec<String> {
    let words = text.lines().filter_map(|line| line.split_once(end)).map(|(word, _)| word.trim().to_owned());
    let name = |word: &String| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    words.filter(name).collect()
}

#[test]
fn every_dependency_is_justified() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let crates = |path: &str| {
        let text = read(path);
        let sections = text.split("\n[").filter(|section| section.contains("dependencies]\n"));
        sections.flat_map(|section| first_words(section, &[' ', '='])).collect::<Vec<_>>()
    };
    let mut used: BTreeSet<String> =
        ["Cargo.toml", "fuzz/Cargo.toml", "proof/Cargo.toml"].into_iter().flat_map(crates).collect();
    let makefile = read("Makefile");
    used.extend(between(&makefile, "$(TOOLS)/", '@').map(str::to_owned).filter(|name| !name.contains('/')));
    for pins in std::fs::read_dir(root().join("tests/e2e/requirements")).unwrap() {
        used.extend(first_words(&std::fs::read_to_string(pins.unwrap().path()).unwrap(), &['=']));
    }
    let npm: Value = serde_json::from_str(&read("deploy/cdk/package.json")).unwrap();
    for kind in ["dependencies", "devDependencies"] {
        used.extend(npm[kind].as_object().unwrap().keys().cloned());
    }
    let page = Page::read(root().join("docs/dependencies.md"));
    let rows = page.text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let mut described = BTreeSet::new();
    for (names, rest) in rows {
        described.extend(names.split("`, `").map(|name| name.trim_end_matches('`').to_owned()));
        let cells: Vec<&str> = rest.trim_end_matches(" |").split(" | ").collect();
        let is_date =
            |text: &str| text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        assert!(cells.len() == 3 && is_date(cells[2]), "{names}: {rest}");
    }
    assert!(used.len() > 40, "{used:?}");
    let missing: Vec<_> = used.difference(&described).collect();
    let unused: Vec<_> = described.difference(&used).collect();
    assert!(
        missing.is_empty() && unused.is_empty(),
        "docs/dependencies.md lacks {missing:?} and lists the unused {unused:?}"
    );
}
