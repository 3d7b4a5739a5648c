//! The rules that nobody should have to remember, held over every file of the workspace.
//!
//! Each rule is a function from texts to problems, so it can be shown to catch what it is for; each problem says
//! where it is and what to do.

mod code;
mod docs;
mod files;
mod signatures;

use self::files::{TextFile, Workspace};

/// Ends the test with every problem on a line of its own.
#[track_caller]
fn none(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// The checker must find something wrong with the made-up text.
#[track_caller]
fn caught(problems: &[String], about: &str) {
    assert!(problems.iter().any(|problem| problem.contains(about)), "nothing about {about:?}: {problems:?}");
}

fn file(path: &str, text: &str) -> TextFile {
    TextFile { path: path.into(), text: text.into() }
}

#[test]
fn every_rust_file_opens_with_a_sentence_that_says_what_it_is() {
    none(&code::headers(&Workspace::read().rust()));
    caught(&code::headers(&[file("a.rs", "use std::fmt;\n")]), "a.rs");
    caught(&code::headers(&[file("b.rs", "//!\n//! Late.\n")]), "b.rs");
}

#[test]
fn no_code_file_has_more_than_500_lines_of_code() {
    none(&code::sizes(&Workspace::read().rust()));
    let long = "fn f() {}\n".repeat(501);
    caught(&code::sizes(&[file("src/a.rs", &long)]), "501");
    let comments = format!("{}\n#[cfg(test)]\nmod tests {{\n{long}}}\n", "// why\n\n".repeat(600));
    none(&code::sizes(&[file("src/a.rs", &comments), file("tests/it/a.rs", &long)]));
}

#[test]
fn nothing_unexpected_lies_in_the_root() {
    let workspace = Workspace::read();
    none(&files::top_level(&workspace.top_level, &workspace.ignored));
    caught(&files::top_level(&["notes.txt".into()], &[]), "notes.txt");
    none(&files::top_level(&[".ci".into(), "agentkit-data".into()], &["/agentkit-data".into()]));
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    none(&code::leftovers(&Workspace::read().all));
    let todo = ["// TO", "DO: later"].concat();
    let ignored = ["#[ign", "ore]\nfn f() {}"].concat();
    let fence = ["/// ```ign", "ore\n"].concat();
    for text in [todo, ignored, fence] {
        caught(&code::leftovers(&[file("a.rs", &text)]), "a.rs:1");
    }
}

#[test]
fn contracts_with_wrappers_have_no_method_that_a_wrapper_could_lose() {
    let workspace = Workspace::read();
    none(&code::default_methods(&workspace.text("agentkit-core/src/model/mod.rs"), "ChatModel"));
    none(&code::default_methods(&workspace.text("agentkit-core/src/embed.rs"), "Embedder"));
    let contract =
        "pub trait A: Send {\n    fn a(&self);\n\n    async fn b(&self) -> B {\n        B\n    }\n}\n";
    let problems = code::default_methods(contract, "A");
    caught(&problems, "A::b");
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn every_feature_has_a_comment_that_rustdoc_shows() {
    none(&code::features(&Workspace::read().manifests()));
    let bare = "[features]\ndefault = []\n## Said.\na = []\nb = []\n[dependencies]\nc = \"1\"\n";
    let problems = code::features(&[file("Cargo.toml", bare)]);
    caught(&problems, "feature b");
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn every_path_that_is_named_exists() {
    let workspace = Workspace::read();
    none(&docs::paths(&workspace.all, &|path| workspace.exists(path)));
    let nothing = |_: &str| false;
    caught(&docs::paths(&[file("docs/a.md", "see `docs/b.md`\n")], &nothing), "docs/b.md");
    caught(&docs::paths(&[file("a.rs", "//! See `docs/adr/0000-x.md`.\n")], &nothing), "0000-x");
    caught(&docs::paths(&[file("docs/a.md", "see [b](../b.md#part)\n")], &nothing), "b.md");
    let harmless = "`cargo run -p agentkit-server`, [x](https://example.com/a.md)\n```\n`docs/c.md`\n```\n";
    none(&docs::paths(&[file("docs/a.md", harmless)], &nothing));
}

#[test]
fn the_library_example_of_the_readme_is_the_one_that_is_compiled() {
    let workspace = Workspace::read();
    none(&docs::example(&workspace.text("README.md"), &workspace.text("examples/rag_quickstart.rs")));
    let program = "//! Says hello.\n\nuse a::b;\n\nfn main() {}\n";
    none(&docs::example("```rust\nuse a::b;\n\nfn main() {}\n```\n", program));
    caught(&docs::example("```rust\nuse a::c;\n```\n", program), "differs");
}

#[test]
fn the_snippets_of_every_guide_are_compiled() {
    let workspace = Workspace::read();
    none(&docs::guides(&workspace.all, &workspace.text("agentkit-server/src/guides.rs")));
    let guide = file("docs/guide/a.md", "```rust,no_run\nf();\n```\n");
    caught(&docs::guides(&[guide], "#[doc = include_str!(\"../../docs/guide/b.md\")]"), "docs/guide/a.md");
}

#[test]
fn environment_names_in_code_and_documentation_are_the_same() {
    let workspace = Workspace::read();
    none(&docs::environment(&workspace.all));
    let name = |last: &str| ["AGENTKIT", "_", last].concat();
    let code = file("agentkit-x/src/a.rs", &format!("const A: &str = \"{}\";", name("SPEED")));
    let docs = file("docs/a.md", &format!("`{}`", name("COLOUR")));
    let problems = docs::environment(&[code, docs]);
    caught(&problems, "SPEED");
    caught(&problems, "COLOUR");
}

#[test]
fn routes_in_code_and_documentation_are_the_same() {
    let workspace = Workspace::read();
    let routes = workspace.text("agentkit-server/src/http/mod.rs");
    let page = workspace.text("agentkit-server/src/http/page.rs");
    none(&docs::routes(&workspace.text("docs/http-api.md"), &routes, &page));
    let code = "vec![(\"/a\", routing::get(a::a)), (\"/b/{*id}\", routing::get(b).put(c))]";
    let problems = docs::routes("`GET /a` and `PUT /b/{id}` and `POST /c`", code, "");
    caught(&problems, "GET /b/{id}");
    caught(&problems, "POST /c");
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn problem_types_in_code_and_documentation_are_the_same() {
    let workspace = Workspace::read();
    let code = workspace.text("agentkit-server/src/http/problem.rs");
    none(&docs::problems(&workspace.text("docs/http-api.md"), &code));
    let code = "fn row(self) { (StatusCode::OK, \"too-slow\", \"Too slow\") } fn status(self) {}";
    caught(&docs::problems("## Errors\n| `too-fast` | 400 | x |\n", code), "too-slow");
    caught(&docs::problems("## Errors\n| `too-fast` | 400 | x |\n", code), "too-fast");
}

#[test]
fn nothing_names_a_place_that_only_one_machine_has() {
    none(&docs::machines(&Workspace::read().all));
    let home = ["/ro", "ot/x"].concat();
    caught(&docs::machines(&[file("docs/a.md", &format!("see `{home}`"))]), "docs/a.md:1");
}

#[test]
fn core_s_public_signatures_name_no_other_crate_s_types() {
    none(&signatures::foreign(&Workspace::read().rust(), "agentkit-core/src/"));
    let caught_in = |code: &str, about: &str| {
        let text =
            format!("//! Says.\n\nuse rmcp::model::{{Tool, Other}};\nuse serde_json::Value;\n\n{code}\n");
        caught(&signatures::foreign(&[file("agentkit-core/src/a.rs", &text)], "agentkit-core/src/"), about);
    };
    caught_in("pub fn give() -> Tool {\n    todo()\n}", "Tool in fn give");
    caught_in("pub fn take(\n    one: u8,\n    other: &Other,\n) {\n}", "Other in fn take");
    caught_in("pub struct Open {\n    pub tool: Tool,\n}", "Tool in tool: Tool");
    caught_in("pub struct Pair(pub Tool, u8);", "Tool in struct Pair");
    caught_in("pub enum Kind {\n    One,\n    Two(Tool),\n}", "Tool in enum Kind");
    caught_in("pub trait Rule: Send {\n    fn rule(&self) -> rmcp::model::Tool;\n}", "rmcp in trait Rule");
    let harmless = "use rmcp::Tool;\nuse serde_json::Value;\n\npub struct Closed(Tool);\n\npub struct More {\n    tool: Tool,\n}\n\n\
        impl More {\n    pub fn json(&self) -> Value {\n        Tool::new()\n    }\n\n    fn inner(&self) -> Tool {\n    }\n}\n";
    none(&signatures::foreign(&[file("agentkit-core/src/a.rs", harmless)], "agentkit-core/src/"));
}
