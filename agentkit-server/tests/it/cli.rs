//! The binary itself: exit codes, output for people and programs, and a data directory shared with a server.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("notes")).unwrap();
        std::fs::write(folder.path().join("notes/tea.md"), "# Tea\n\nGreen tea is best at 80 degrees.\n")
            .unwrap();
        std::fs::write(folder.path().join("notes/coffee.txt"), "Coffee is brewed at 94 degrees.\n").unwrap();
        std::fs::write(folder.path().join("notes/broken.txt"), b"\xff\xfe\x00\x01").unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The binary in this folder, untouched by the environment of the test.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentkit-server"));
        command.args(arguments).args(["--embedder", "hashing"]).current_dir(self.path()).env_clear();
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The objects a successful command printed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.command(arguments).arg("--json").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A server that is ended with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    /// The key of the first start; empty at later ones.
    pub(crate) key: String,
    /// Where metrics are read without a credential, if that was set.
    pub(crate) operators: String,
}

impl Server {
    pub(crate) fn start(folder: &Folder) -> Self {
        Self::with(folder, &[])
    }

    /// A server with these variables in its environment.
    pub(crate) fn with(folder: &Folder, variables: &[(&str, &str)]) -> Self {
        let mut command = folder.command(&["serve", "--listen", "127.0.0.1:0", "--json"]);
        command.envs(variables.iter().copied());
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Ends the child also when an assertion below fails.
        let mut server = Self { child, url: String::new(), key: String::new(), operators: String::new() };
        for line in lines {
            let said: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if said["event"] == "serving" {
                said["url"].as_str().unwrap().clone_into(&mut server.url);
                return server;
            }
            match said["event"].as_str() {
                Some("metrics") => said["url"].as_str().unwrap().clone_into(&mut server.operators),
                _ => said["key"].as_str().unwrap().clone_into(&mut server.key),
            }
        }
        panic!("the server ended before it served");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as the system does, without a warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, as a supervisor would, and waits.
    #[cfg(unix)]
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn wrong_usage_and_failures_have_their_own_exit_codes() {
    let folder = Folder::new();
    for arguments in [&["frobnicate"][..], &["search"], &["ingest"], &["serve", "--embedder", "x"]] {
        assert_eq!(folder.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    for (arguments, part) in [
        (&["serve", "--insecure-dev", "--listen", "0.0.0.0:0"][..], "without credentials"),
        (&["serve", "--listen", "nowhere"], "\"nowhere\" is not an address"),
        (&["demo", "--listen", "0.0.0.0:0"], "without credentials"),
        (&["config", "check", "--config", "missing.toml"], "missing.toml"),
        (&["search", "x"], "there is no index"),
        (&["ask", " "], "the message is empty"),
        (&["ingest", "missing"], "missing"),
        (&["ingest", "notes", "--server", "nonsense"], "is not a server's address"),
        (&["serve", "--log", "==="], "log filter"),
    ] {
        let output = folder.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(part), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_names_every_command() {
    let output = Folder::new().command(&[]).arg("--help").output().unwrap();
    let help = text(&output.stdout);
    for command in
        ["demo", "serve", "ingest", "search", "ask", "eval", "bench", "keys", "audit", "models", "config"]
    {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is missing in {help}");
    }
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let folder = Folder::new();
    std::fs::write(
        folder.path().join("a.toml"),
        "[chat]\nbase_url = 'http://localhost:1/v1'\nmodel = 'm'\napi_key = 'sesame'\n",
    )
    .unwrap();
    let output = folder.run(&["config", "show", "--config", "a.toml"]);
    let shown = text(&output.stdout);
    assert!(
        shown.contains("embedder = \"hashing\"") && shown.contains("api_key = \"[redacted]\""),
        "{shown}"
    );
    assert_eq!(folder.json(&["config", "show", "--config", "a.toml"])[0]["chat.api_key"], "[redacted]");
    assert_eq!(folder.json(&["config", "check"])[0]["valid"], true);
}

#[test]
fn what_is_ingested_is_found_and_answered_with_citations() {
    let folder = Folder::new();
    let done = folder.json(&["ingest", "notes"]).pop().unwrap();
    assert_eq!(done["summary"]["documents"], 2);
    let skipped = done["summary"]["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 1);
    assert!(skipped[0]["path"].as_str().unwrap().ends_with("broken.txt"));

    let again = folder.json(&["ingest", "notes"]).pop().unwrap();
    assert_eq!((&again["summary"]["unchanged"], &again["summary"]["embedded"]), (&2.into(), &0.into()));

    let found = folder.json(&["search", "green tea degrees", "-k", "1"]).pop().unwrap();
    assert_eq!(found["hits"][0]["document_id"], "tea.md");

    let reply = folder.json(&["ask", "How hot is green tea best?"]).pop().unwrap();
    let source = std::fs::read_to_string(folder.path().join("notes/tea.md")).unwrap();
    let citations = reply["citations"].as_array().unwrap();
    assert!(!citations.is_empty(), "{reply}");
    for citation in citations.iter().filter(|citation| citation["document_id"] == "tea.md") {
        let bound = |name: &str| usize::try_from(citation["span"][name].as_u64().unwrap()).unwrap();
        assert_eq!(&source[bound("start")..bound("end")], citation["quote"].as_str().unwrap());
    }
    let told = folder.run(&["ask", "How hot is green tea best?"]);
    assert!(text(&told.stdout).contains("[1]"), "{}", text(&told.stdout));
}

#[test]
#[cfg(unix)]
fn a_server_and_the_command_line_share_the_data_directory() {
    let folder = Folder::new();
    let server = Server::start(&folder);
    let key = server.key.clone();
    let output = folder.run(&["ingest", "notes"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("holds the index; going through it"), "{}", text(&output.stderr));
    let found = folder.json(&["search", "green tea degrees", "-k", "1"]).pop().unwrap();
    assert_eq!(
        found["hits"][0]["document_id"], "tea.md",
        "the committed state is read while the server runs"
    );
    assert!(folder.path().join("agentkit-data/server.json").exists());
    assert_eq!(server.terminate(), Some(0));
    assert!(!folder.path().join("agentkit-data/server.json").exists());

    let restarted = Server::start(&folder);
    let found = folder.json(&["search", "coffee", "-k", "1"]).pop().unwrap();
    assert_eq!(found["hits"][0]["document_id"], "coffee.txt");
    assert_eq!(restarted.key, "", "a key is shown only at the first start");
    let refused = folder.run(&["ingest", "notes", "--server", &restarted.url]);
    assert!(text(&refused.stderr).contains("AGENTKIT_API_KEY"), "{}", text(&refused.stderr));
    let mut ingest = folder.command(&["ingest", "notes", "--server", &restarted.url]);
    let remote = ingest.env("AGENTKIT_API_KEY", &key).output().unwrap();
    assert!(text(&remote.stdout).contains("0 documents written, 2 unchanged"), "{}", text(&remote.stdout));
}

#[test]
fn a_backup_is_taken_beside_a_running_server_verified_and_restored() {
    let folder = Folder::new();
    folder.json(&["ingest", "notes"]);
    let server = Server::start(&folder);
    let backup = folder.json(&["backup", "copy"]);
    assert_eq!(backup[0]["documents"], 2);
    drop(server);
    assert_eq!(folder.json(&["verify", "copy"])[0]["chunks"], backup[0]["chunks"]);
    folder.json(&["restore", "copy", "--data-dir", "again"]);
    let found = folder.json(&["search", "green tea", "--data-dir", "again"]);
    assert!(found[0].to_string().contains("80 degrees"), "{found:?}");

    for wrong in [&["restore", "copy", "--data-dir", "again"][..], &["backup", "agentkit-data/inside"]] {
        let output = folder.run(wrong);
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
        assert!(text(&output.stderr).contains("name a"), "{}", text(&output.stderr));
    }
    let log = "copy/index/partitions/local/default/vectors-000001.log";
    let mut damaged = std::fs::read(folder.path().join(log)).unwrap();
    damaged[40] ^= 1;
    std::fs::write(folder.path().join(log), damaged).unwrap();
    let output = folder.run(&["verify", "copy"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("vectors-000001.log"), "{}", text(&output.stderr));
}
