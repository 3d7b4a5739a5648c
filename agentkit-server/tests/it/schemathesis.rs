//! The running binary held against its own description by schemathesis, where `AGENTKIT_SCHEMATHESIS` names its program `st`:
//! every check, every route, with a key for everything.

use std::process::Command;

use crate::cli::{Folder, Server, text};

const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/protocols/schemathesis.toml");

#[test]
fn the_service_does_what_its_description_says() {
    let Some(program) = std::env::var_os("AGENTKIT_SCHEMATHESIS").filter(|program| !program.is_empty())
    else {
        println!("skipped: AGENTKIT_SCHEMATHESIS does not name the program st");
        return;
    };
    let folder = Folder::new();
    let server = Server::start(&folder);
    let run = Command::new(program)
        .args(["--config-file", SETTINGS, "run", &format!("{}/openapi.json", server.url)])
        .args(["--header", &format!("Authorization: Bearer {}", server.key)])
        .args(["--checks", "all", "--continue-on-failure", "--request-timeout", "20", "--no-color"])
        .args(["--max-examples", "10", "--generation-database", "none"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}{}", text(&run.stdout), text(&run.stderr));
    println!("{}", text(&run.stdout));
}
