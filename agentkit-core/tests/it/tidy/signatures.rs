//! The rule that agentkit-core's public signatures are made of its own types and the standard library's.
//!
//! It reads sources as rustfmt leaves them: what a file imports from other crates must not stand in what it makes public.

use std::collections::BTreeSet;

use super::code::{is_test, without_tests};
use super::files::TextFile;

/// Crates whose names may stand anywhere.
const OWN: [&str; 7] = ["std", "core", "alloc", "crate", "self", "super", "agentkit_core"];
/// What may stand in signatures all the same: JSON and its traits, which are the language of tools and events, and the bound of
/// typed tools (`docs/adr/0020-typed-tools.md`).
const ALLOWED: [&str; 6] =
    ["Value", "Serialize", "Serializer", "Deserialize", "DeserializeOwned", "JsonSchema"];
/// What begins an item that is public.
const ITEMS: [&str; 9] = ["fn", "async", "struct", "enum", "trait", "type", "const", "static", "unsafe"];

/// Public signatures of the crate below `folder` that name what is another crate's.
pub(super) fn foreign(files: &[TextFile], folder: &str) -> Vec<String> {
    let counted = files.iter().filter(|file| file.path.starts_with(folder) && !is_test(&file.path));
    counted.flat_map(in_file).collect()
}

fn in_file(file: &TextFile) -> Vec<String> {
    let code: Vec<&str> = without_tests(&file.text).lines().filter(|line| !is_comment(line)).collect();
    let imported = imported(&code);
    let roots: BTreeSet<&str> = imported.iter().map(|(root, _)| root.as_str()).collect();
    let is_foreign = |word: &&str| {
        !ALLOWED.contains(word) && (roots.contains(word) || imported.iter().any(|(_, name)| name == word))
    };
    let mut problems = Vec::new();
    for signature in signatures(&code) {
        let words = signature.split(|c: char| !c.is_alphanumeric() && c != '_');
        let found: BTreeSet<&str> = words.filter(is_foreign).collect();
        problems.extend(found.iter().map(|name| format!("{}: {name} in {signature}", file.path)));
    }
    problems
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// The types that the file imports from other crates, each with its crate.
fn imported(code: &[&str]) -> Vec<(String, String)> {
    let text = code.join("\n");
    let statements = text.split("\nuse ").skip(1).filter_map(|rest| rest.split(';').next());
    let first = text.strip_prefix("use ").and_then(|rest| rest.split(';').next());
    let mut found = Vec::new();
    for statement in statements.chain(first) {
        let Some((root, path)) = statement.split_once("::") else { continue };
        if OWN.contains(&root) {
            continue;
        }
        let names = path.split(|c: char| !c.is_alphanumeric() && c != '_');
        let types = names.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()));
        found.extend(types.map(|name| (root.to_owned(), name.to_owned())));
        found.push((root.to_owned(), String::new()));
    }
    found
}

/// What the file makes public, each as one line.
fn signatures(code: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = code.iter().copied();
    while let Some(line) = lines.next() {
        let Some(item) = line.trim_start().strip_prefix("pub ") else { continue };
        if !ITEMS.iter().any(|word| item.split(' ').next() == Some(word)) {
            // A field; re-exports are of this crate, or are found where they stand.
            if item.contains(": ") && item.ends_with(',') {
                found.push(item.to_owned());
            }
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let is_open = item.starts_with("trait ") || item.starts_with("enum ");
        let ends = |line: &str| {
            let last = line.trim_end();
            if is_open {
                last.trim_start() == "}" && last.len() == indent + 1
            } else {
                last.ends_with(['{', ';', '}'])
            }
        };
        let mut signature = item.to_owned();
        while !ends(&format!("{:indent$}{}", "", signature.lines().last().unwrap_or_default().trim_start()))
            && !(is_open && signature.trim_end().ends_with("{}"))
        {
            let Some(next) = lines.next() else { break };
            signature = format!("{signature}\n{next}");
            if ends(next) {
                break;
            }
        }
        found.push(without_private(&signature));
    }
    found
}

/// The signature without what is private in it, and without bodies, on one line.
fn without_private(signature: &str) -> String {
    let line = signature.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((head, fields)) = line.split_once('(').filter(|(head, _)| head.starts_with("struct ")) else {
        return line;
    };
    let public = fields.split(',').map(str::trim).filter(|field| field.starts_with("pub "));
    format!("{head}({})", public.collect::<Vec<_>>().join(", "))
}
