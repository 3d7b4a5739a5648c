//! Every example runs to its end and prints what it promises.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a helper that fails ends its test")]

use std::path::PathBuf;
use std::process::Command;

/// Runs an example in a folder of its own, and gives what it prints.
fn printed(name: &str, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(program(name)).args(arguments).current_dir(folder.path()).output();
    let output = output.unwrap_or_else(|error| panic!("{name} is not built: {error}"));
    let text = String::from_utf8(output.stdout).expect("text");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed: {errors}\n{text}");
    text
}

/// Cargo builds examples beside the folder of the tests.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(|deps| deps.parent()).expect("a test stands in target/PROFILE/deps");
    target.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

#[test]
fn an_agent_uses_the_tools_of_an_mcp_server() {
    for arguments in [&[][..], &["--child"]] {
        let text = printed("mcp_tools", arguments);
        for part in ["manuals offers search: Searches the manuals.", "Boil water with citric acid"] {
            assert!(text.contains(part), "{part:?} is missing:\n{text}");
        }
    }
}

#[test]
fn each_kind_of_memory_recalls_what_it_says() {
    let text = printed("remember", &[]);
    for part in
        ["Ann likes sencha; her train", "about tea:\n  I am Ann", "the agent: Sencha.", "forgotten: 1"]
    {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
}

#[test]
fn a_front_desk_hands_a_question_on() {
    let text = printed("hand_off", &[]);
    for part in ["[hand_off ", "Invoice 7 was paid on Monday.", "What can I do for you?"] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
}
