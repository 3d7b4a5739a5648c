//! `ingest` as a command: folders mirrored and watched, here and through a server, stopped and killed and resumed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::cli::{Folder, Server, text};

/// Writes a file as if long ago, so that it need not be read twice.
fn write(path: &Path, content: &str, seconds: u64) {
    fs::write(path, content).unwrap();
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

fn summary(folder: &Folder, arguments: &[&str]) -> Value {
    folder.json(arguments).pop().unwrap()["summary"].clone()
}

#[test]
fn a_folder_is_mirrored_and_only_changes_are_read() {
    let folder = Folder::new();
    let notes = folder.path().join("notes");
    for (name, content) in [("tea.md", "# Tea\n\nGreen tea."), ("coffee.txt", "Coffee."), ("oil.txt", "Oil.")]
    {
        write(&notes.join(name), content, 1);
    }
    let first = summary(&folder, &["ingest", "--sync", "notes"]);
    assert_eq!((&first["documents"], &first["skipped"][0]["path"].as_str().is_some()), (&3.into(), &true));
    write(&notes.join("tea.md"), "# Tea\n\nBlack tea.", 2);
    fs::remove_file(notes.join("oil.txt")).unwrap();
    let second = summary(&folder, &["ingest", "--sync", "notes"]);
    assert_eq!((&second["documents"], &second["deleted"]), (&1.into(), &1.into()), "{second}");
    assert!(second["untouched"].as_u64().unwrap() >= 1, "{second}");
    assert_eq!(second["skipped"].as_array().unwrap().len(), 1, "the broken file is named again");
    let found = folder.json(&["search", "oil"]);
    assert!(!found[0].to_string().contains("oil.txt"), "{found:?}");
    for name in ["tea.md", "coffee.txt", "broken.txt"] {
        fs::remove_file(notes.join(name)).unwrap();
    }
    let refused = folder.run(&["ingest", "--sync", "notes"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("holds no file any more"), "{}", text(&refused.stderr));
    assert_eq!(summary(&folder, &["ingest", "--sync", "notes", "--allow-empty"])["deleted"], 2);
}

#[test]
fn a_folder_is_mirrored_through_a_server() {
    let folder = Folder::new();
    let notes = folder.path().join("notes");
    fs::remove_file(notes.join("broken.txt")).unwrap();
    write(&notes.join("a b#c.md"), "Green tea.", 1);
    write(&notes.join("oil.txt"), "Oil.", 1);
    let server = Server::start(&folder);
    let arguments = ["ingest", "--sync", "notes", "--server", &server.url, "--api-key", &server.key];
    assert_eq!(summary(&folder, &arguments)["documents"], 4);
    fs::remove_file(notes.join("oil.txt")).unwrap();
    write(&notes.join("a b#c.md"), "Black tea.", 2);
    let second = summary(&folder, &arguments);
    assert_eq!((&second["documents"], &second["deleted"]), (&1.into(), &1.into()), "{second}");
    let through_the_lock = summary(&folder, &["ingest", "--sync", "notes"]);
    assert_eq!(through_the_lock["documents"], 0, "{through_the_lock}");
    assert_eq!(through_the_lock["unchanged"], 3, "another memory reads once: {through_the_lock}");
}

#[test]
fn wrong_uses_of_mirrors_are_refused() {
    let folder = Folder::new();
    for (arguments, part) in [
        (&["ingest", "--sync", "notes/tea.md"][..], "it is not a folder"),
        (&["ingest", "--sync", "missing"], "missing"),
        (&["ingest", "--watch", "notes", "notes"], "one folder"),
    ] {
        let output = folder.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(part), "{arguments:?}: {}", text(&output.stderr));
    }
    assert_eq!(folder.run(&["ingest", "--watch", "notes", "--interval", "0"]).status.code(), Some(2));
}

/// Lines of a command's output as they come.
struct Lines(BufReader<std::process::ChildStdout>);

impl Lines {
    fn of(child: &mut Child) -> Self {
        Self(BufReader::new(child.stdout.take().unwrap()))
    }

    /// The next object for which `is` holds.
    fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the output has ended");
            let value: Value = serde_json::from_str(&line).unwrap();
            if is(&value) {
                return value;
            }
        }
    }
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

#[test]
#[cfg(unix)]
fn a_watched_folder_is_followed_until_ctrl_c() {
    let folder = Folder::new();
    let mut command = folder.command(&["ingest", "--watch", "notes", "--interval", "1", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = Lines::of(&mut child);
    let about = |name: &'static str, event: &'static str| {
        move |value: &Value| value["event"] == event && value["path"].as_str().unwrap().ends_with(name)
    };
    lines.until(about("tea.md", "stored"));
    write(&folder.path().join("notes/cocoa.md"), "Cocoa was drunk cold.", 1);
    lines.until(about("cocoa.md", "stored"));
    fs::remove_file(folder.path().join("notes/tea.md")).unwrap();
    lines.until(about("tea.md", "gone"));
    signal(&child, "-INT");
    let done = lines.until(|value| value["event"] == "done");
    assert_eq!((&done["complete"], &done["summary"]["deleted"]), (&true.into(), &1.into()), "{done}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let found = folder.json(&["search", "cocoa cold", "-k", "1"]);
    assert_eq!(found[0]["hits"][0]["document_id"], "cocoa.md");
}

/// A folder with many files of many chunks.
fn large(folder: &Folder, files: usize) {
    let many = folder.path().join("many");
    fs::create_dir(&many).unwrap();
    for file in 0..files {
        let text: Vec<_> = (0..60)
            .map(|n| format!("Sentence {n} of file {file} says something about topic {}.", n * file))
            .collect();
        write(&many.join(format!("{file:04}.txt")), &text.join(" "), 1);
    }
}

/// Files that the mirror's memory says are done with.
fn remembered(folder: &Folder) -> usize {
    let Ok(mut mirrors) = fs::read_dir(folder.path().join("agentkit-data/mirrors")) else { return 0 };
    let journal = mirrors
        .find_map(|file| Some(file.ok()?.path()).filter(|path| path.extension() == Some("jsonl".as_ref())));
    let text = journal.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    text.matches('\n').count().saturating_sub(1)
}

/// Documents that the last commit holds, read beside whoever writes.
fn stored(folder: &Folder) -> u64 {
    folder.json(&["verify", "agentkit-data"])[0]["documents"].as_u64().unwrap()
}

#[test]
fn an_ingest_that_is_killed_goes_on_where_it_was() {
    const FILES: usize = 1500;
    let folder = Folder::new();
    large(&folder, FILES);
    let mut kills = 0;
    for moment in [1, 200, 600, 1000] {
        let mut command = folder.command(&["ingest", "--sync", "many"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while remembered(&folder) < moment && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        kills += u64::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills >= 3, "only {kills} of 4 were killed while they worked");
    let before = stored(&folder);
    let last = summary(&folder, &["ingest", "--sync", "many"]);
    let count = |name: &str| last[name].as_u64().unwrap();
    assert_eq!(count("documents"), FILES as u64 - before, "only what was missing is written: {last}");
    assert_eq!(count("documents") + count("unchanged") + count("untouched"), FILES as u64, "{last}");
    assert_eq!(count("embedded"), count("chunks"), "{last}");
    assert_eq!(stored(&folder), FILES as u64);
}

#[test]
#[cfg(unix)]
fn an_ingest_that_is_interrupted_says_what_it_has_done() {
    let folder = Folder::new();
    large(&folder, 1500);
    let mut command = folder.command(&["ingest", "--sync", "many", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    while remembered(&folder) < 100 {
        std::thread::yield_now();
    }
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let done: Value = serde_json::from_str(text(&output.stdout).lines().next().unwrap()).unwrap();
    assert_eq!((&done["event"], &done["complete"]), (&"done".into(), &false.into()), "{done}");
    let told = done["summary"]["documents"].as_u64().unwrap();
    assert!((100..1500).contains(&told) && told <= stored(&folder), "{done}");
}
