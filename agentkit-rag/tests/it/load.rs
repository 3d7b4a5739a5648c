//! Loading from disk: what is found, in which order, and what becomes of files that cannot be read.

use std::fs;
use std::path::{Path, PathBuf};

use agentkit_core::ErrorKind;
use agentkit_rag::SourceDocument;
use agentkit_rag::chunk::{Chunker, StructureChunker};
use agentkit_rag::load::{FileOutcome, LoadEvent, LoadOptions, load_bytes, load_path, walk};
use tempfile::TempDir;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/load")
}

fn tree(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

/// Loads a path and returns the documents' ids and, for each file skipped, the message and its causes.
fn outcome(path: &Path, options: &LoadOptions) -> (Vec<String>, Vec<String>) {
    let mut skipped = Vec::new();
    let documents = load_path(path, options, &mut |event| {
        if let LoadEvent::Skipped { error, .. } = event {
            skipped.push(error.chain());
        }
    });
    (documents.unwrap().into_iter().map(|d| d.id.to_string()).collect(), skipped)
}

fn word_count(text: &str) -> usize {
    text.split_whitespace().map(|word| word.len().div_ceil(5)).sum()
}

/// Chunks a document and holds the chunks to their contract; returns how many there are.
fn chunked(document: &SourceDocument) -> usize {
    let chunks = StructureChunker::default().chunk(document, &word_count).unwrap();
    let mut end = 0;
    for chunk in &chunks {
        let quote = chunk.span.slice(&document.source_text).unwrap();
        assert!(!quote.trim().is_empty());
        assert_eq!(document.source_text[end..chunk.span.start].trim(), "", "{} lost text", document.id);
        assert!(word_count(quote) + word_count(&chunk.context) <= 253, "{}: {quote}", document.id);
        end = chunk.span.end;
    }
    assert_eq!(document.source_text[end..].trim(), "", "{} lost its end", document.id);
    chunks.len()
}

/// A folder of the shared data sets, or a visible skip.
fn dataset(name: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("AGENTKIT_DATASETS").filter(|folder| !folder.is_empty()) else {
        eprintln!("skipped: AGENTKIT_DATASETS is not set, {name} was not loaded");
        return None;
    };
    Some(Path::new(&root).join(name))
}

#[test]
fn a_folder_is_loaded_in_order_and_bad_files_are_named() {
    let mut events = Vec::new();
    let documents = load_path(&fixtures(), &LoadOptions::default(), &mut |event| {
        events.push(match event {
            LoadEvent::Found { files } => format!("found {files}"),
            LoadEvent::Loaded { path } => format!("loaded {}", path.file_name().unwrap().display()),
            LoadEvent::Skipped { error, .. } => format!("skipped {error}"),
            _ => unreachable!(),
        });
    })
    .unwrap();
    assert_eq!(events[..2], ["found 3", "loaded guide.md"]);
    assert!(events[2].starts_with("skipped") && events[2].contains("latin1.txt"), "{}", events[2]);
    assert!(events[2].contains("byte offset 3"), "{}", events[2]);
    assert_eq!(events[3], "loaded page.html");

    let [guide, page] = &documents[..] else { panic!("{documents:?}") };
    assert_eq!(guide.id.as_str(), "guide.md");
    assert_eq!(guide.uri.as_deref(), fixtures().join("guide.md").to_str());
    assert_eq!(guide.title.as_deref(), Some("The tea guide"));
    let titles: Vec<_> = guide.headings.iter().map(|h| h.title.as_str()).collect();
    assert_eq!(titles, ["Tea", "Green", "Black"]);
    assert_eq!(guide.source_text, fs::read_to_string(fixtures().join("guide.md")).unwrap());
    assert_eq!(guide.metadata.values("extension"), ["md".into()]);

    assert_eq!(page.title.as_deref(), Some("Coffee"));
    for gone in ["Home", "Shop", "track", "margin", "rights reserved", "<"] {
        assert!(!page.source_text.contains(gone), "{gone} in {}", page.source_text);
    }
    for kept in ["roasted beans", "drops run clear", "2 | 30"] {
        assert!(page.source_text.contains(kept), "no {kept} in {}", page.source_text);
    }
    assert_eq!(page.headings.last().map(|h| h.title.as_str()), Some("Filter"));
}

#[test]
fn ignore_rules_hidden_files_and_other_formats_are_respected() {
    let dir = tree(&[
        (".gitignore", b"build/\n*.log\n!keep.log\n"),
        (".ignore", b"private.md\n"),
        ("build/out.md", b"x"),
        ("a.log", b"x"),
        ("keep.log", b"x"),
        ("private.md", b"x"),
        (".hidden.md", b"x"),
        (".git/config.txt", b"x"),
        ("b/z.TXT", b"x"),
        ("b/a.md", b"x"),
        ("b.md", b"x"),
        ("sub/.gitignore", b"only-here.md\n"),
        ("sub/only-here.md", b"x"),
        ("only-here.md", b"x"),
        ("photo.jpg", b"x"),
        ("Makefile", b"x"),
    ]);
    let (ids, skipped) = outcome(dir.path(), &LoadOptions::default());
    assert_eq!(ids, ["b/a.md", "b/z.TXT", "b.md", "keep.log", "only-here.md"]);
    assert_eq!(skipped, Vec::<String>::new());
}

#[test]
fn a_file_that_cannot_be_read_does_not_stop_the_rest() {
    let long = "x".repeat(200);
    let deep = format!("{long}/{long}/{long}.md");
    let dir = tree(&[
        ("a.md", b"fine"),
        ("binary.txt", b"\x7fELF\0\0"),
        ("big.txt", &[b'x'; 101]),
        ("line\nbreak.md", b"x"),
        (&deep, b"x"),
        ("utf16.txt", b"\xFF\xFEt\0"),
        ("z.md", b"fine"),
    ]);
    let mut options = LoadOptions::default();
    options.limits.file_bytes = 100;
    options.id_prefix = "docs/".to_owned();
    let (ids, skipped) = outcome(dir.path(), &options);
    assert_eq!(ids, ["docs/a.md", "docs/z.md"]);
    let said: Vec<_> =
        ["101 bytes are over the limit of 100", "NUL byte at offset 4", "control", "UTF-16", "512 bytes"]
            .iter()
            .filter(|reason| skipped.iter().any(|message| message.contains(*reason)))
            .collect();
    assert_eq!((said.len(), skipped.len()), (5, 5), "{skipped:#?}");
    for name in ["big.txt", "binary.txt", "break.md", "utf16.txt", &long] {
        assert!(skipped.iter().any(|message| message.contains(name)), "{name} is not named in {skipped:#?}");
    }
}

#[test]
fn a_single_file_is_loaded_whatever_the_ignore_rules_say() {
    let dir = tree(&[(".ignore", b"*"), ("notes/tea.md", b"# Tea"), ("scan.xyz", b"%XYZ")]);
    let file = dir.path().join("notes/tea.md");
    let documents = load_path(&file, &LoadOptions::default(), &mut |_| ()).unwrap();
    assert_eq!(documents[0].id.as_str(), "tea.md");
    assert_eq!(documents[0].uri.as_deref(), file.to_str());
    let (ids, skipped) = outcome(&dir.path().join("scan.xyz"), &LoadOptions::default());
    assert_eq!(ids, Vec::<String>::new());
    assert!(skipped[0].contains("scan.xyz") && skipped[0].contains("supported"), "{skipped:?}");
}

#[test]
fn a_missing_path_is_an_error_and_an_empty_folder_is_none() {
    let dir = tree(&[]);
    let missing = dir.path().join("no/such");
    let error = load_path(&missing, &LoadOptions::default(), &mut |_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("no/such"), "{error}");
    assert_eq!(outcome(dir.path(), &LoadOptions::default()), (Vec::new(), Vec::new()));
}

#[test]
fn more_files_than_allowed_are_refused_before_any_is_read() {
    let dir = tree(&[("a.md", b"x"), ("b.md", b"x"), ("c.md", b"x")]);
    let mut options = LoadOptions::default();
    options.max_files = 2;
    let error = walk(dir.path(), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
}

#[test]
fn a_file_that_goes_away_after_it_was_found_is_skipped() {
    let dir = tree(&[("a.md", b"x"), ("b.md", b"x")]);
    let mut files = walk(dir.path(), &LoadOptions::default()).unwrap();
    assert_eq!(files.len(), 2);
    fs::remove_file(dir.path().join("a.md")).unwrap();
    assert!(matches!(files.next(), Some(FileOutcome::Skipped { error, .. }) if error.is_not_found()));
    assert!(matches!(files.next(), Some(FileOutcome::Loaded { .. })));
    assert!(files.next().is_none());
}

#[cfg(unix)]
#[test]
fn links_pipes_and_odd_names_are_handled() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let dir = tree(&[("real/a.md", b"x"), ("empty.md", b"")]);
    symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
    symlink(dir.path().join("real/a.md"), dir.path().join("link.md")).unwrap();
    fs::write(dir.path().join(OsStr::from_bytes(b"caf\xe9.md")), "x").unwrap();
    let (ids, skipped) = outcome(dir.path(), &LoadOptions::default());
    assert_eq!(ids, ["empty.md", "real/a.md"]);
    assert_eq!(skipped.len(), 1);
    assert!(skipped[0].contains("\\xe9.md") && skipped[0].contains("not UTF-8"), "{skipped:?}");
    assert_eq!(outcome(&dir.path().join("link"), &LoadOptions::default()).0, ["a.md"]);
}

#[test]
fn uploads_are_loaded_like_files() {
    let bytes = fs::read(fixtures().join("page.html")).unwrap();
    let upload = load_bytes("page.html", "text/html; charset=utf-8", &bytes).unwrap();
    let file = load_path(&fixtures().join("page.html"), &LoadOptions::default(), &mut |_| ()).unwrap();
    assert_eq!((&upload.source_text, &upload.title), (&file[0].source_text, &file[0].title));
    assert!(load_bytes("", "md", b"x").is_err());
}

#[test]
fn real_markdown_is_loaded_and_cut() {
    let Some(folder) = dataset("docs/md-rust-reference") else { return };
    let mut documents = load_path(&folder, &LoadOptions::default(), &mut |event| {
        assert!(!matches!(event, LoadEvent::Skipped { .. }), "{event:?}");
    })
    .unwrap();
    let spec = fs::read(dataset("docs/md-commonmark/spec.txt").unwrap()).unwrap();
    documents.push(load_bytes("spec", "md", &spec).unwrap());
    assert!(documents.len() > 90, "only {} files", documents.len());
    let untitled = documents.iter().filter(|document| document.title.is_none()).count();
    assert!(untitled <= 2, "{untitled} documents have no title");
    let chunks: usize = documents.iter().map(chunked).sum();
    assert!(chunks > 1_500, "only {chunks} chunks");
}

#[test]
fn real_pages_are_loaded_and_cut() {
    let Some(folder) = dataset("docs/docling-formats/html/sources") else { return };
    let documents = load_path(&folder, &LoadOptions::default(), &mut |event| {
        assert!(!matches!(event, LoadEvent::Skipped { .. }), "{event:?}");
    })
    .unwrap();
    assert_eq!(documents.len(), 32);
    let duck = documents.iter().find(|d| d.id.as_str() == "wiki_duck.html").unwrap();
    assert_eq!(duck.title.as_deref(), Some("Duck - Wikipedia"));
    assert!(
        duck.source_text.contains("Ducks are generally divided into three groups")
            || duck.source_text.len() > 9_000
    );
    assert!(duck.headings.iter().any(|heading| heading.title == "Etymology"), "{:?}", duck.headings);
    for document in &documents {
        assert!(chunked(document) > 0, "{} has no text", document.id);
    }
}

#[test]
fn naughty_strings_are_loaded_in_every_format() {
    let Some(file) = dataset("docs/robust-blns/blns.json") else { return };
    let strings: Vec<String> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert!(strings.len() > 500);
    let all = strings.join("\n\n");
    for text in strings.iter().chain([&all]) {
        for format in ["txt", "md", "html"] {
            match load_bytes("naughty", format, text.as_bytes()) {
                Ok(document) => {
                    chunked(&document);
                }
                Err(error) => assert!(text.contains('\0'), "{text:?}: {error}"),
            }
        }
    }
}

/// A loader with a mistake in it.
struct Panics;

impl agentkit_rag::load::Loader for Panics {
    fn extensions(&self) -> &[&str] {
        &["bad"]
    }

    fn load(&self, raw: &agentkit_rag::load::RawFile<'_>) -> agentkit_core::Result<SourceDocument> {
        panic!("{} has {} bytes", raw.name(), raw.bytes.len())
    }
}

#[test]
fn a_loader_that_panics_costs_its_file_only() {
    let dir = tree(&[("a.md", b"# Fine"), ("b.bad", b"x"), ("c.md", b"# Fine")]);
    let mut options = LoadOptions::default();
    options.loaders = options.loaders.with(std::sync::Arc::new(Panics));
    let (loaded, skipped) = outcome(dir.path(), &options);
    assert_eq!(loaded, ["a.md", "c.md"]);
    assert!(skipped.len() == 1 && skipped[0].contains("b.bad"), "{skipped:?}");
}
