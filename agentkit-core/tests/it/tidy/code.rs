//! Rules over code and manifests.

use super::files::TextFile;

/// Most lines of code of a file.
const MAX_LINES: usize = 500;

/// Files that do not begin with a sentence about themselves.
pub(super) fn headers(files: &[TextFile]) -> Vec<String> {
    let is_sentence = |line: &str| {
        line.strip_prefix("//! ").is_some_and(|words| words.len() > 10 && !words.starts_with(['#', '-']))
    };
    let without = files.iter().filter(|file| !file.text.lines().next().is_some_and(is_sentence));
    without.map(|file| format!("{}: begin it with `//!` and what it is", file.path)).collect()
}

/// Code files that are too long; tests are not counted.
pub(super) fn sizes(files: &[TextFile]) -> Vec<String> {
    let counted = files.iter().filter(|file| !is_test(&file.path));
    let long = counted.map(|file| (file, code_lines(&file.text))).filter(|(_, lines)| *lines > MAX_LINES);
    long.map(|(file, lines)| format!("{}: {lines} lines of code, split it", file.path)).collect()
}

/// Whether a file is nothing but tests.
pub(super) fn is_test(path: &str) -> bool {
    path.contains("tests/") || path.ends_with("tests.rs")
}

/// The file without the tests at its end.
pub(super) fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn code_lines(text: &str) -> usize {
    let lines = without_tests(text).lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

/// Notes to self, tests that are switched off, and examples that are not compiled.
pub(super) fn leftovers(files: &[TextFile]) -> Vec<String> {
    // Put together here, so that this file does not find itself.
    let marks =
        [["TO", "DO"], ["FIX", "ME"], ["#[ign", "ore"], ["```ign", "ore"]].map(|parts| parts.concat());
    let mut problems = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.text.lines()) {
            let found = marks.iter().filter(|mark| line.contains(mark.as_str()));
            problems.extend(found.map(|mark| format!("{}:{number}: do it or drop it: {mark}", file.path)));
        }
    }
    problems
}

/// Features without a `##` comment above them.
pub(super) fn features(manifests: &[TextFile]) -> Vec<String> {
    let mut problems = Vec::new();
    for manifest in manifests {
        let (mut inside, mut before) = (false, "");
        for line in manifest.text.lines() {
            if line.starts_with('[') {
                inside = line == "[features]";
            }
            let name = line.split_once('=').map(|(name, _)| name.trim());
            let is_feature = inside && name.is_some_and(|name| name != "default") && !line.starts_with('#');
            if is_feature && !before.starts_with("## ") {
                let name = name.unwrap_or_default();
                problems.push(format!("{}: say in a `##` comment what feature {name} is", manifest.path));
            }
            before = line;
        }
    }
    problems
}

/// Methods of a trait that have a body: a wrapper that does not know one would lose it silently.
pub(super) fn default_methods(text: &str, contract: &str) -> Vec<String> {
    let body = text.split(&format!("pub trait {contract}:")).nth(1).and_then(|rest| rest.split("\n}").next());
    let body = body.expect(contract);
    let methods = body.split("\n    fn ").flat_map(|part| part.split("\n    async fn ")).skip(1);
    let with_body = methods.filter(|method| method.split(';').next().is_some_and(|head| head.contains('{')));
    let names = with_body.filter_map(|method| method.split('(').next());
    names
        .map(|name| format!("{contract}::{name}: make it required, and forward it in every wrapper"))
        .collect()
}
