//! Who may depend on whom, held against what cargo resolves.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::Command;

/// What agentkit-core may name as a dependency, features included.
pub(crate) const CORE_MAY_USE: [&str; 20] = [
    "async-trait",
    "bytes",
    "document-features",
    "futures-core",
    "futures-util",
    "http",
    "http-body-util",
    "httpdate",
    "jsonschema",
    "moka",
    "process-wrap",
    "reqwest",
    "rmcp",
    "schemars",
    "serde",
    "serde_json",
    "thiserror",
    "tokio",
    "tokio-util",
    "tracing",
];
/// What agentkit-core must not reach, even through others: engines, model runtimes, databases, frameworks.
const CORE_NEVER_REACHES: [&str; 14] = [
    "agentkit-rag",
    "agentkit-server",
    "axum",
    "candle-core",
    "candle-nn",
    "candle-transformers",
    "clap",
    "hnsw_rs",
    "rayon",
    "redis",
    "sqlx",
    "tantivy",
    "tokenizers",
    "utoipa",
];
/// What agentkit-rag must not reach.
const RAG_NEVER_REACHES: [&str; 5] = ["agentkit-server", "axum", "clap", "figment", "utoipa"];

/// The names of everything `package` depends on at run time, directly or down to any depth.
fn dependencies(package: &str, features: &[&str], directly: bool) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "-p", package]);
    command.args(features).args(if directly { &["--depth", "1"][..] } else { &[] });
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != package).map(str::to_owned).collect()
}

/// Those of `found` that are in `list`, or with `wanted` false that are not.
fn of<'f>(found: &'f BTreeSet<String>, list: &[&str], wanted: bool) -> Vec<&'f str> {
    found.iter().map(String::as_str).filter(|name| list.contains(name) == wanted).collect()
}

#[test]
fn core_depends_only_on_what_the_list_allows() {
    for features in [&[][..], &["--features", "openai"], &["--all-features"]] {
        let direct = dependencies("agentkit-core", features, true);
        assert!(direct.contains("tokio"), "cargo tree gave {direct:?}");
        assert_eq!(of(&direct, &CORE_MAY_USE, false), [""; 0], "{features:?}");
    }
}

#[test]
fn core_reaches_no_engine_no_database_and_no_framework() {
    let all = dependencies("agentkit-core", &["--all-features"], false);
    assert_eq!(of(&all, &CORE_NEVER_REACHES, true), [""; 0]);
}

#[test]
fn core_has_no_http_client_unless_asked_for_one() {
    let http = ["reqwest", "hyper", "rustls"];
    assert_eq!(of(&dependencies("agentkit-core", &[], false), &http, true), [""; 0]);
    assert_eq!(of(&dependencies("agentkit-core", &[], false), &["rmcp", "process-wrap"], true), [""; 0]);
    assert_eq!(of(&dependencies("agentkit-core", &["--features", "openai"], false), &http, true).len(), 3);
}

#[test]
fn rag_knows_nothing_of_the_server() {
    let all = dependencies("agentkit-rag", &["--all-features"], false);
    assert!(all.contains("agentkit-core"), "cargo tree gave {all:?}");
    assert_eq!(of(&all, &RAG_NEVER_REACHES, true), [""; 0]);
}

#[test]
fn rag_has_no_database_client_unless_asked_for_one() {
    assert_eq!(of(&dependencies("agentkit-rag", &[], false), &["sqlx"], true), [""; 0]);
}

#[test]
fn a_dependency_outside_the_list_is_caught() {
    let found = BTreeSet::from(["serde".to_owned(), "tantivy".to_owned()]);
    assert_eq!(of(&found, &CORE_MAY_USE, false), ["tantivy"]);
    assert_eq!(of(&found, &CORE_NEVER_REACHES, true), ["tantivy"]);
}
