//! Rules that keep the documentation and the code saying the same.

use std::collections::BTreeSet;

use super::code::{is_test, without_tests};
use super::files::{TextFile, has_extension};

/// What a code span has to begin with to be taken for a path of this repository.
const PATHS: [&str; 7] =
    ["agentkit-core/", "agentkit-rag/", "agentkit-server/", "docs/", "examples/", "benches/", ".ci/"];
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

fn is_documentation(path: &str) -> bool {
    path == "README.md" || (path.starts_with("docs/") && has_extension(path, "md"))
}

/// Paths in code spans and links that lead nowhere.
pub(super) fn paths(files: &[TextFile], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        let (named, linked) = if is_documentation(&file.path) {
            (spans(&file.text), links(&file.text))
        } else if has_extension(&file.path, "rs") && !is_test(&file.path) {
            (comment_spans(&file.text), Vec::new())
        } else {
            continue;
        };
        let is_path = |span: &&String| {
            PATHS.iter().any(|start| span.starts_with(start)) && !span.contains([' ', '*', '<'])
        };
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let named = named.iter().filter(is_path).cloned();
        let linked = linked.iter().map(|target| resolved(folder, target));
        let missing = named.chain(linked).filter(|path| !exists(path));
        problems.extend(missing.map(|path| format!("{}: there is no {path}", file.path)));
    }
    problems
}

/// The lines of Markdown outside fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

/// The code spans of Markdown.
fn spans(text: &str) -> Vec<String> {
    prose(text).flat_map(|line| line.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

fn comment_spans(text: &str) -> Vec<String> {
    let comments = text.lines().map(str::trim).filter(|line| line.starts_with("//"));
    spans(&comments.map(|line| line.trim_start_matches(['/', '!'])).collect::<Vec<_>>().join("\n"))
}

/// The targets of links to other files of the repository.
fn links(text: &str) -> Vec<String> {
    let targets =
        prose(text).flat_map(|line| line.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
    let paths =
        targets.filter(|target| !target.contains("://")).filter_map(|target| target.split('#').next());
    paths.filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

/// `target` seen from `folder`, as a path below the root.
fn resolved(folder: &str, target: &str) -> String {
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in target.split('/') {
        match name {
            "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

/// Whether the first Rust block of the page is the program without its header.
pub(super) fn example(page: &str, program: &str) -> Vec<String> {
    let block = page.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
    let starts = |line: &&str| !line.starts_with("//!") && !line.starts_with("#![") && !line.is_empty();
    let body = program.lines().skip_while(|line| !starts(line)).collect::<Vec<_>>().join("\n");
    if block.trim_end() == body {
        Vec::new()
    } else {
        vec!["the README's example differs from the file's".into()]
    }
}

/// Guides with Rust in them that `compiled` does not include.
pub(super) fn guides(files: &[TextFile], compiled: &str) -> Vec<String> {
    let has_rust = |file: &&TextFile| file.path.starts_with("docs/guide/") && file.text.contains("```rust");
    let left_out = |file: &&TextFile| !compiled.contains(&format!("{}\"", file.path));
    files
        .iter()
        .filter(has_rust)
        .filter(left_out)
        .map(|file| format!("{} is not compiled", file.path))
        .collect()
}

/// Variables that only the code or only the documentation names.
pub(super) fn environment(files: &[TextFile]) -> Vec<String> {
    let (mut used, mut known, mut documented) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for file in files {
        if is_documentation(&file.path) {
            documented.extend(variables(&file.text));
        } else {
            known.extend(variables(&file.text));
            if !is_test(&file.path) {
                used.extend(variables(without_tests(&file.text)));
            }
        }
    }
    let missing =
        used.difference(&documented).map(|name| format!("{name}: name it in docs/configuration.md"));
    let invented = documented.difference(&known).map(|name| format!("{name}: nothing reads it"));
    missing.chain(invented).collect()
}

fn variables(text: &str) -> impl Iterator<Item = String> {
    let prefix = ["AGENTKIT", "_"].concat();
    let rests: Vec<&str> = text.split(prefix.as_str()).skip(1).collect();
    let names = rests.into_iter().map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len());
        rest[..end].to_owned()
    });
    names.filter(|name| !name.is_empty() && !name.ends_with('_')).map(move |name| format!("{prefix}{name}"))
}

/// Routes that only the code or only the documentation has; those of the page need no documentation.
pub(super) fn routes(page: &str, code: &str, undocumented: &str) -> Vec<String> {
    let (declared, extra) = (declared(code), declared(undocumented));
    let documented = documented(page);
    let missing = declared.difference(&documented).map(|route| format!("{route}: is not documented"));
    let invented = documented.iter().filter(|route| !declared.contains(*route) && !extra.contains(*route));
    missing.chain(invented.map(|route| format!("{route}: is not served"))).collect()
}

/// Every `METHOD /path` in code spans.
fn documented(page: &str) -> BTreeSet<String> {
    let routes = spans(page).into_iter().filter(|span| {
        span.split_once(' ').is_some_and(|(method, path)| METHODS.contains(&method) && path.starts_with('/'))
    });
    routes.collect()
}

/// Every method of every path in a table of routes.
fn declared(code: &str) -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    for entry in without_tests(code).split("\"/").skip(1) {
        let Some((path, handlers)) = entry.split_once('"') else { continue };
        let path = path.replace("{*", "{");
        for method in METHODS {
            let lower = method.to_lowercase();
            if handlers.contains(&format!("routing::{lower}(")) || handlers.contains(&format!(").{lower}(")) {
                routes.insert(format!("{method} /{path}"));
            }
        }
    }
    routes
}

/// Types of problems that only the code or only the documentation has.
pub(super) fn problems(page: &str, code: &str) -> Vec<String> {
    let table =
        code.split("fn row(").nth(1).and_then(|rest| rest.split("fn status(").next()).unwrap_or_default();
    let is_name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let declared: BTreeSet<&str> = table.split('"').skip(1).step_by(2).filter(|text| is_name(text)).collect();
    let errors = page.split("## Errors").nth(1).unwrap_or_default();
    let rows = errors.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: BTreeSet<&str> = rows.collect();
    let missing = declared.difference(&documented).map(|name| format!("{name}: is not documented"));
    missing.chain(documented.difference(&declared).map(|name| format!("{name}: is no problem"))).collect()
}

/// Places that exist on the machine of whoever wrote them; tests may make some up.
pub(super) fn machines(files: &[TextFile]) -> Vec<String> {
    let places = [["/ro", "ot/"], ["/wo", "rk/"], ["/Us", "ers/"]].map(|parts| parts.concat());
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| !is_test(&file.path)) {
        for (number, line) in (1..).zip(file.text.lines()) {
            if places.iter().any(|place| line.contains(place.as_str())) {
                problems.push(format!("{}:{number}: a path of one machine", file.path));
            }
        }
    }
    problems
}
