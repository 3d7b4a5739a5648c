//! Real files of every format: what is read from them, and that nothing in them stops the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{ErrorKind, Retriever, RunContext, SearchRequest, Span, TenantScope};
use agentkit_rag::load::{FileOutcome, LoadOptions, load_bytes, walk};
use agentkit_rag::{Index, SourceDocument, SourceKind};
use serde_json::Value;

/// The different words of a text, lower case. Numbers are none, since those of lists are not written in the files.
fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.contains(char::is_alphabetic));
    words.map(str::to_lowercase).collect()
}

/// How many in a hundred of the words of `expected` are in `found` too.
fn percent_found(expected: &str, found: &str) -> usize {
    let (expected, found) = (words(expected), words(found));
    expected.intersection(&found).count() * 100 / expected.len().max(1)
}

/// A folder of the shared data sets, or a visible skip.
fn dataset(name: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("AGENTKIT_DATASETS").filter(|folder| !folder.is_empty()) else {
        eprintln!("skipped: AGENTKIT_DATASETS is not set, {name} was not loaded");
        return None;
    };
    Some(Path::new(&root).join(name))
}

/// The documents of each file.
type Loaded = Vec<(PathBuf, Vec<SourceDocument>)>;

/// Loads a folder; checks what holds for every file: it is there, or refused by name.
fn outcomes(folder: &Path) -> (Loaded, Vec<(PathBuf, String)>) {
    let (mut loaded, mut skipped) = (Vec::new(), Vec::new());
    for outcome in walk(folder, &LoadOptions::default()).unwrap() {
        match outcome {
            FileOutcome::Loaded { path, documents } => {
                for document in &documents {
                    check(document);
                }
                loaded.push((path, documents));
            }
            FileOutcome::Skipped { path, error } => {
                let name = path.file_name().unwrap().to_string_lossy();
                assert!(error.message().contains(&*name), "{name} is not named in {error}");
                assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
                skipped.push((path, error.chain()));
            }
            _ => unreachable!(),
        }
    }
    (loaded, skipped)
}

/// Headings and marks come in order and begin on characters of the text.
fn check(document: &SourceDocument) {
    let headings: Vec<usize> = document.headings.iter().map(|heading| heading.offset).collect();
    let marks: Vec<usize> = document.marks.iter().map(|mark| mark.offset).collect();
    for offsets in [headings, marks] {
        assert!(offsets.is_sorted(), "{}: {offsets:?}", document.id);
        assert!(offsets.iter().all(|at| document.source_text.is_char_boundary(*at)), "{}", document.id);
    }
}

#[test]
fn real_pdf_files_have_their_text_and_their_pages() {
    let Some(folder) = dataset("docs/pdf-sample-files") else { return };
    let (loaded, skipped) = outcomes(&folder);
    assert_eq!(
        loaded.iter().filter(|(_, documents)| documents[0].kind == SourceKind::Pdf).count() + skipped.len(),
        27
    );
    let manifest = fs::read_to_string(folder.join("MANIFEST.jsonl")).unwrap();
    let (mut compared, mut short) = (0, Vec::new());
    for line in manifest.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let file = folder.join(entry["file"].as_str().unwrap());
        let expected = entry["words"].as_u64().unwrap();
        let Some((_, documents)) = loaded.iter().find(|(path, _)| *path == file) else { continue };
        let last = documents[0].marks.last().and_then(|mark| mark.page).unwrap_or(1);
        assert!(u64::from(last) <= entry["pages"].as_u64().unwrap(), "{}", file.display());
        let found = documents[0].source_text.split_whitespace().count() as u64;
        compared += 1;
        if found * 10 < expected * 9 {
            short.push(format!("{}: {found} of {expected} words", file.display()));
        }
    }
    assert!(compared > 18, "only {compared} were compared");
    // Of Arabic the reference sets the letters of a word apart.
    assert!(short.iter().all(|file| file.contains("015-arabic")), "{short:#?}");
}

#[test]
fn damaged_pdf_files_are_read_or_refused_by_name_in_time() {
    let Some(folder) = dataset("docs/pdf-malformed-qpdf") else { return };
    let started = Instant::now();
    let (loaded, skipped) = outcomes(&folder);
    let pdf = |path: &Path| path.extension().is_some_and(|extension| extension == "pdf");
    assert_eq!(loaded.iter().filter(|(path, _)| pdf(path)).count() + skipped.len(), 97);
    assert!(loaded.len() > 60, "only {} were read: {skipped:#?}", loaded.len());
    assert!(started.elapsed() < Duration::from_mins(2), "it took {:?}", started.elapsed());
}

#[test]
fn real_docx_files_hold_what_their_reference_says() {
    let Some(folder) = dataset("docs/docling-formats/docx") else { return };
    let (loaded, skipped) = outcomes(&folder.join("sources"));
    assert_eq!(skipped, []);
    let (mut compared, mut low) = (0, Vec::new());
    for (path, documents) in loaded {
        let name = format!("{}.md", path.file_name().unwrap().to_string_lossy());
        let Ok(reference) = fs::read_to_string(folder.join("groundtruth").join(name)) else { continue };
        // Formulas are told in a notation of their own there, and the targets of links.
        if reference.contains('$') || reference.contains("](") {
            continue;
        }
        compared += 1;
        let found = percent_found(&reference.replace("<!-- image -->", ""), &documents[0].source_text);
        if found < 95 {
            low.push(format!("{} {found} %", path.display()));
        }
    }
    assert!(compared > 10, "only {compared} were compared");
    // Two have the numbers of a chart or the text of a picture in their references.
    assert!(low.len() <= 2, "{low:#?}");
}

#[test]
fn odd_docx_files_are_read_or_refused_by_name() {
    for name in ["docs/docx-mammoth", "docs/docx-python-docx"] {
        let Some(folder) = dataset(name) else { return };
        let (loaded, skipped) = outcomes(&folder);
        let docx = loaded.iter().filter(|(_, documents)| documents[0].kind == SourceKind::Docx).count();
        assert!(docx > 10, "only {docx} of {name}");
        assert!(skipped.len() <= 2, "{skipped:#?}");
    }
}

#[test]
fn real_tables_keep_their_rows() {
    let Some(folder) = dataset("docs/docling-formats/csv/sources") else { return };
    let (loaded, skipped) = outcomes(&folder);
    assert_eq!(skipped, []);
    assert_eq!(loaded.len(), 9);
    for (path, documents) in loaded {
        let [document] = &documents[..] else { panic!("{}", path.display()) };
        let lines = fs::read_to_string(&path).unwrap().lines().count() as u64;
        let last = document.marks.last().and_then(|mark| mark.row).unwrap();
        assert!(last <= lines && last + 1 >= lines, "{}: row {last} of {lines}", path.display());
        assert_eq!(
            percent_found(&fs::read_to_string(&path).unwrap(), &document.source_text),
            100,
            "{}",
            path.display()
        );
    }
}

#[test]
fn json_is_read_just_where_it_is_json() {
    let Some(folder) = dataset("docs/robust-json/test_parsing") else { return };
    let (mut read, mut refused) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let outcome = load_bytes(name.as_str(), "json", &fs::read(&path).unwrap());
        match (name.split('_').next(), &outcome) {
            (Some("y"), Ok(_)) => read += 1,
            (Some("n"), Err(error)) => {
                assert!(error.message().contains(&name), "{error}");
                refused += 1;
            }
            // These are left to the parser.
            (Some("i"), _) => {}
            // Several values one after the other are what JSON Lines is.
            (Some("n"), Ok(document)) => assert!(document.source_text.len() < 100, "{name} was read"),
            (_, outcome) => panic!("{name}: {outcome:?}"),
        }
    }
    assert!(read > 90 && refused > 170, "{read} read, {refused} refused");
}

#[test]
fn every_file_of_a_mixed_folder_is_read_or_refused_by_name() {
    let Some(folder) = dataset("docs") else { return };
    let (loaded, skipped) = outcomes(&folder);
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for document in loaded.iter().flat_map(|(_, documents)| documents) {
        *kinds.entry(format!("{:?}", document.kind)).or_default() += 1;
    }
    eprintln!("{} files loaded as {kinds:?}, {} refused", loaded.len(), skipped.len());
    assert!(loaded.len() > 500 && kinds.len() >= 7, "{kinds:?}");
}

#[test]
fn a_bomb_between_files_is_named_and_the_rest_goes_in() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("a.md", "# Fine".to_owned()),
        ("deep.html", "<div>".repeat(100_000)),
        ("deep.json", "[".repeat(1_000_000)),
        ("line.csv", format!("a,b\n{},1\n", "x".repeat(20 << 20))),
        ("line.jsonl", format!("{{\"a\": \"{}\"}}\n", "y".repeat(20 << 20))),
        ("line.txt", "z".repeat(20 << 20)),
        ("huge.txt", "z".repeat(33 << 20)),
        ("no.docx", "no archive".to_owned()),
        ("no.epub", "PK\u{3}\u{4}".to_owned()),
        ("no.pdf", "%PDF-1.4".to_owned()),
        ("z.md", "# Fine".to_owned()),
    ] {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let (loaded, skipped) = outcomes(dir.path());
    let names = |paths: Vec<&PathBuf>| -> Vec<String> {
        paths.into_iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    let loaded = names(loaded.iter().map(|(path, _)| path).collect());
    assert_eq!(loaded, ["a.md", "line.csv", "line.jsonl", "line.txt", "z.md"]);
    let skipped = names(skipped.iter().map(|(path, _)| path).collect());
    assert_eq!(skipped, ["deep.html", "deep.json", "huge.txt", "no.docx", "no.epub", "no.pdf"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_quoted_is_found_in_its_table() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path(), Arc::new(HashingEmbedder::with_dimension(16))).await.unwrap();
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let table = load_bytes("drinks.csv", "csv", b"drink,degrees\ngreen tea,80\ncoffee,94\n").unwrap();
    index.upsert(&scope, vec![table], &ctx).await.unwrap();
    let found = index.search(&SearchRequest::new(scope, "coffee"), &ctx).await.unwrap();
    let passage = &found.hits[0].passage;
    assert_eq!(passage.locator.row, Some(2), "the passage begins below the header");
    let at = passage.text.find("drink: coffee").unwrap();
    let quote = Span::new(at, passage.text.len()).shifted(passage.span.start);
    assert_eq!(passage.locator.narrowed(passage.span, quote).row, Some(3));
}
