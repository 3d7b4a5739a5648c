//! `bench scale`: what it measures, what it refuses, and that it leaves nothing behind.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the command in `folder`, where its index goes too.
fn scale(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentkit-server"));
    command.args(["bench", "scale", "--folder", "."]).args(arguments).current_dir(folder).env_clear();
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().unwrap().next().is_none()
}

#[test]
fn a_small_index_is_built_searched_and_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let output = scale(folder.path(), &["--chunks", "1500", "--queries", "30", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["chunks"], &report["queries"]), (&1500.into(), &30.into()));
    assert_eq!((&report["reopened"]["chunks"], &report["real_vectors"]), (&1500.into(), &false.into()));
    assert_eq!(report["recall"]["at_10"], 1.0, "an index of this size is searched exactly");
    assert_eq!(report["built"]["graph_chunks"], 0);
    for searched in [&report["searched"], &report["reopened"]["searched"]] {
        for clients in ["one_client", "two_clients"] {
            for plan in ["hybrid", "dense", "bm25"] {
                let at = |name: &str| searched[clients][plan][name].as_f64().unwrap();
                assert!(0.0 < at("p50_ms") && at("p50_ms") <= at("p95_ms") && at("p95_ms") <= at("p99_ms"));
                assert!(at("per_second") > 0.0);
            }
        }
    }
    assert!(report["built"]["disk_bytes"].as_u64().unwrap() > 1500 * 384 / 2);
    if cfg!(target_os = "linux") {
        assert!(report["reopened"]["memory"]["anonymous_bytes"].as_u64().unwrap() > 1 << 20);
    }
    assert!(is_empty(folder.path()), "the index is deleted");
}

#[test]
fn people_get_a_table_and_can_keep_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = folder.path().join("base.f32");
    let rows: Vec<u8> = (0..384 * 5_u16).flat_map(|n| f32::from(n * 31 % 101).to_le_bytes()).collect();
    std::fs::write(&vectors, rows).unwrap();
    let arguments = ["--chunks", "50", "--queries", "5", "--vectors", "base.f32", "--keep"];
    let output = scale(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    for part in ["real ones perturbed", "recall@10 (5 queries)", "hybrid, two clients", "open after"] {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
    let kept = told.lines().find_map(|line| line.strip_prefix("the index is in ")).unwrap();
    assert!(folder.path().join(kept).join("index.json").is_file(), "{kept}");
}

#[test]
fn what_cannot_be_measured_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["--chunks", "0"][..], &["--queries", "0"], &["--chunks", "many"]] {
        assert_eq!(scale(folder.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
    std::fs::write(folder.path().join("odd.f32"), [0; 100]).unwrap();
    for (arguments, part) in [
        (&["--vectors", "missing.f32"][..], "missing.f32"),
        (&["--vectors", "odd.f32"], "100 bytes are not rows of 1536 bytes"),
        (&["--folder", "missing"], "create a folder in missing"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentkit-server"));
        let output =
            command.args(["bench", "scale"]).args(arguments).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(part), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
#[cfg(unix)]
fn being_stopped_leaves_nothing_behind() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    let folder = tempfile::tempdir().unwrap();
    let mut child = command(folder.path(), &["--chunks", "50000"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap());
    progress.read_line(&mut String::new()).unwrap();
    assert!(!is_empty(folder.path()), "the index is under way");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(is_empty(folder.path()), "a stopped command deletes its index");
}
