//! The rule that agentkit-core's public signatures are made of its own types and the standard library's.
//!
//! It reads sources as rustfmt leaves them: what a file imports from other crates must not stand in what it makes public.

use std::collections::BTreeSet;

use super::code::{is_test, without_tests};
use super::files::TextFile;
use crate::dependencies::CORE_MAY_USE;

/// Crates whose names may stand anywhere.
const OWN: [&str; 7] = ["std", "core", "alloc", "crate", "self", "super", "agentkit_core"];
/// What may stand in signatures all the same: JSON and its traits, which are the language of tools and events, the bound of
/// typed tools (`docs/adr/0020-typed-tools.md`), and that of streams, which the standard library does not have yet.
const ALLOWED: [&str; 7] =
    ["Value", "Serialize", "Serializer", "Deserialize", "DeserializeOwned", "JsonSchema", "Stream"];
/// What begins an item that is public.
const ITEMS: [&str; 9] = ["fn", "async", "struct", "enum", "trait", "type", "const", "static", "unsafe"];

/// Public signatures of the crate below `folder` that name what is another crate's.
pub(super) fn foreign(files: &[TextFile], folder: &str) -> Vec<String> {
    let counted = files.iter().filter(|file| file.path.starts_with(folder) && !is_test(&file.path));
    counted.flat_map(in_file).collect()
}

fn in_file(file: &TextFile) -> Vec<String> {
    let code: Vec<&str> = without_tests(&file.text).lines().filter(|line| !is_aside(line)).collect();
    let imported = imported(&code);
    let mut problems = Vec::new();
    for signature in signatures(&code) {
        // A path that begins at home leads to nobody else's.
        let paths = signature.split(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
        let away = paths.filter(|path| !OWN.contains(&path.split("::").next().unwrap_or_default()));
        let words = away.flat_map(|path| path.split(':'));
        let is_foreign = |word: &&str| {
            let is_crate = CORE_MAY_USE.contains(&word.replace('_', "-").as_str());
            let is_root = is_crate && signature.contains(&format!("{word}::"));
            !ALLOWED.contains(word) && (is_root || imported.contains(*word))
        };
        let found: BTreeSet<&str> = words.filter(|word| !word.is_empty()).filter(is_foreign).collect();
        problems.extend(found.iter().map(|name| format!("{}: {name} in {signature}", file.path)));
    }
    problems
}

/// Whether the line is a comment or an attribute.
fn is_aside(line: &str) -> bool {
    line.trim_start().starts_with("//") || line.trim_start().starts_with("#[")
}

/// The types that the file imports from other crates, by the names it knows them by.
fn imported(code: &[&str]) -> BTreeSet<String> {
    let text = code.join("\n");
    let statements = text.split("\nuse ").skip(1).filter_map(|rest| rest.split(';').next());
    let first = text.strip_prefix("use ").and_then(|rest| rest.split(';').next());
    let mut found = BTreeSet::new();
    for statement in statements.chain(first) {
        let Some((root, path)) = statement.split_once("::") else { continue };
        if OWN.contains(&root) {
            continue;
        }
        let items = path.split(['{', '}', ',', '\n']).map(str::trim);
        let names = items.map(|item| item.rsplit([' ', ':']).next().unwrap_or_default());
        let types = names.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()));
        found.extend(types.map(str::to_owned));
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
        let first = format!("{:indent$}{}", "", signature.lines().last().unwrap_or_default().trim_start());
        let mut ended = ends(&first) || is_open && signature.trim_end().ends_with("{}");
        while !ended {
            let Some(next) = lines.next() else { break };
            signature = format!("{signature}\n{next}");
            ended = ends(next);
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
