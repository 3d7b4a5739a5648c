//! The files of the workspace, read once a test.

use std::fs;
use std::path::{Path, PathBuf};

/// Names that may lie in the root, beside dotfiles and what version control ignores.
const TOP_LEVEL: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "agentkit-core",
    "agentkit-rag",
    "agentkit-server",
    "examples",
    "benches",
    "fuzz",
    "docs",
];
/// Folders that hold nothing written by hand.
const SKIPPED: [&str; 4] = ["target", ".git", "tests/data", "agentkit-data"];

/// A file and its path below the root, with `/` between names.
#[derive(Debug, Clone)]
pub(super) struct TextFile {
    pub(super) path: String,
    pub(super) text: String,
}

/// What the rules look at.
pub(super) struct Workspace {
    root: PathBuf,
    pub(super) all: Vec<TextFile>,
    pub(super) top_level: Vec<String>,
    pub(super) ignored: Vec<String>,
}

impl Workspace {
    pub(super) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut all = Vec::new();
        collect(&root, "", &mut all);
        let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        Self { top_level: names(&root), ignored: ignored.lines().map(str::to_owned).collect(), all, root }
    }

    pub(super) fn rust(&self) -> Vec<TextFile> {
        self.ending(".rs")
    }

    pub(super) fn manifests(&self) -> Vec<TextFile> {
        self.ending("Cargo.toml")
    }

    pub(super) fn text(&self, path: &str) -> String {
        self.all.iter().find(|file| file.path == path).expect(path).text.clone()
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    fn ending(&self, end: &str) -> Vec<TextFile> {
        let found: Vec<_> = self.all.iter().filter(|file| file.path.ends_with(end)).cloned().collect();
        assert!(!found.is_empty(), "the walk found no {end}");
        found
    }
}

/// Names in the root that are neither expected nor ignored.
pub(super) fn top_level(names: &[String], ignored: &[String]) -> Vec<String> {
    let is_ignored = |name: &str| ignored.iter().any(|line| line.trim_matches('/') == name);
    let unexpected = names
        .iter()
        .filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()) && !is_ignored(name));
    unexpected.map(|name| format!("{name}: does not belong in the root")).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Reads what is written by hand below `folder`; links lead to what is read anyway.
fn collect(folder: &Path, prefix: &str, files: &mut Vec<TextFile>) {
    for name in names(folder) {
        let (full, path) = (folder.join(&name), format!("{prefix}{name}"));
        let kind = full.symlink_metadata().unwrap().file_type();
        let is_skipped =
            SKIPPED.iter().any(|skipped| path == *skipped || path.ends_with(&format!("/{skipped}")));
        if kind.is_dir() && !is_skipped {
            collect(&full, &format!("{path}/"), files);
        } else if kind.is_file() && is_text(&path) {
            files.push(TextFile { text: fs::read_to_string(&full).expect(&path), path });
        }
    }
}

fn is_text(path: &str) -> bool {
    path.starts_with(".ci/") || ["rs", "md", "toml"].iter().any(|extension| has_extension(path, extension))
}

pub(super) fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}
