//! Thousands of real files of all formats, malformed ones and made-up hostile ones among them, ingested in one go.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{RunContext, TenantScope};
use agentkit_rag::Index;
use agentkit_rag::ingest::{FileEnd, IngestEvent, IngestJob, IngestReport};
use agentkit_rag::load::{LoadOptions, walk};

/// The most memory that the process has had, where the system says so.
fn peak_megabytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? >> 10)
}

/// A DOCX whose text unpacks to gigabytes.
fn zip_bomb(path: &Path) {
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("word/document.xml", options).unwrap();
    zip.write_all(b"<w:document><w:body>").unwrap();
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..600 {
        zip.write_all(&zeros).unwrap();
    }
    zip.finish().unwrap();
}

/// A PDF of forms each of which draws the next one twice.
#[cfg(feature = "pdf")]
fn endless_pdf() -> Vec<u8> {
    let mut pdf = "%PDF-1.7\n1 0 obj\n<</Type /Catalog /Pages 2 0 R>>\nendobj\n\
                   2 0 obj\n<</Type /Pages /Count 1 /Kids [3 0 R]>>\nendobj\n\
                   3 0 obj\n<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R \
                   /Resources <</XObject <</X 5 0 R>>>>>>\nendobj\n\
                   4 0 obj\n<</Length 5>>\nstream\n/X Do\nendstream\nendobj\n"
        .to_owned();
    for form in 5..45 {
        let next = form + 1;
        let form = format!(
            "{form} 0 obj\n<</Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources <</XObject <</X {next} 0 R>>>> \
             /Length 19>>\nstream\nq /X Do Q q /X Do Q\nendstream\nendobj\n"
        );
        pdf.push_str(&form);
    }
    pdf += "45 0 obj\n<</Type /XObject /Subtype /Form /BBox [0 0 9 9] /Length 0>>\nstream\n\nendstream\nendobj\n\
            trailer\n<</Root 1 0 R>>\n";
    pdf.into_bytes()
}

/// Files made to do harm. Each is to be refused.
fn hostile(folder: &Path) -> Vec<&'static str> {
    fs::create_dir_all(folder).unwrap();
    zip_bomb(&folder.join("bomb.docx"));
    let mut names = vec!["bomb.docx"];
    #[cfg(feature = "pdf")]
    let encrypted = "%PDF-1.7\n1 0 obj\n<</Type /Catalog /Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type /Pages /Count 0 /Kids []>>\n\
                     endobj\ntrailer\n<</Root 1 0 R /Encrypt <</Filter /Standard /V 1 /R 2 /P -4 /O (12345678901234567890123456789012) \
                     /U (12345678901234567890123456789012)>> /ID [(a) (b)]>>\n";
    for (name, content) in [
        ("deep.html", "<div>".repeat(200_000).into_bytes()),
        ("deep.json", "[".repeat(2_000_000).into_bytes()),
        ("line.txt", vec![b'z'; 100 << 20]),
        ("line.csv", vec![b'z'; 100 << 20]),
        ("binary.txt", vec![0; 1 << 20]),
        ("utf16.txt", b"\xff\xfet\0e\0a\0".to_vec()),
        ("corrupt.epub", b"PK\x03\x04 and then nothing".to_vec()),
        ("corrupt.docx", b"no archive at all".to_vec()),
        ("empty.md", Vec::new()),
        #[cfg(feature = "pdf")]
        ("encrypted.pdf", encrypted.as_bytes().to_vec()),
        #[cfg(feature = "pdf")]
        ("endless.pdf", endless_pdf()),
        #[cfg(feature = "pdf")]
        ("corrupt.pdf", b"%PDF-1.7\n%%EOF".to_vec()),
    ] {
        fs::write(folder.join(name), content).unwrap();
        names.push(name);
    }
    names
}

/// What became of every file.
type Ends = Arc<Mutex<BTreeMap<PathBuf, FileEnd>>>;

async fn ingested(paths: &[PathBuf], seconds: u64) -> (IngestReport, BTreeMap<PathBuf, FileEnd>, u64) {
    let home = tempfile::tempdir().unwrap();
    let index = Index::open(home.path(), Arc::new(HashingEmbedder::with_dimension(64))).await.unwrap();
    let (ends, scope, ctx) = (Ends::default(), TenantScope::local(), RunContext::new());
    let seen = ends.clone();
    let mut options = LoadOptions::default();
    options.limits.time = Duration::from_secs(seconds);
    let mut job =
        IngestJob::new(Arc::new(index.clone()), scope.clone()).load_options(options).observer(move |event| {
            if let IngestEvent::File { path, end } = event {
                assert!(
                    seen.lock().unwrap().insert(path.to_path_buf(), *end).is_none(),
                    "{} ended twice",
                    path.display()
                );
            }
        });
    job.run(paths, &ctx).await.unwrap();
    let documents = index.stats(&scope).await.unwrap().documents;
    let ends = std::mem::take(&mut *ends.lock().unwrap());
    (job.report().clone(), ends, documents)
}

/// Every refusal is told with the file's name.
fn named(report: &IngestReport) {
    for skipped in &report.skipped {
        let name = skipped.path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(skipped.error.contains(&name), "{name} is not named in {}", skipped.error);
        assert!(!skipped.error.contains("panicked"), "{}", skipped.error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_are_refused_by_name_and_the_rest_goes_in() {
    let folder = tempfile::tempdir().unwrap();
    let bad = hostile(folder.path());
    fs::write(folder.path().join("a.md"), "# Fine\n\nTea.").unwrap();
    fs::write(folder.path().join("z.md"), "# Fine\n\nCoffee.").unwrap();
    let (report, ends, documents) = ingested(&[folder.path().to_owned()], 2).await;
    named(&report);
    assert_eq!((report.documents, documents), (2, 2), "{report:?}");
    for name in &bad {
        assert_eq!(ends.get(&folder.path().join(name)), Some(&FileEnd::Skipped), "{name}");
    }
    assert_eq!(report.skipped.len(), bad.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_real_files_are_taken_in_or_refused_by_name() {
    let Some(root) = std::env::var_os("AGENTKIT_DATASETS").filter(|folder| !folder.is_empty()) else {
        eprintln!("skipped: AGENTKIT_DATASETS is not set, no real files were ingested");
        return;
    };
    let docs = Path::new(&root).join("docs");
    let folder = tempfile::tempdir().unwrap();
    let bad = hostile(&folder.path().join("hostile"));
    let unpacked = folder.path().join("tldr");
    fs::create_dir(&unpacked).unwrap();
    let tar = Command::new("tar")
        .arg("xzf")
        .arg(docs.join("md-tldr/pages.tar.gz"))
        .arg("-C")
        .arg(&unpacked)
        .status();
    assert!(tar.unwrap().success());
    let mut paths: Vec<PathBuf> = fs::read_dir(&docs).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_dir());
    paths.sort();
    // Each in an index of its own, since equal paths would be equal ids.
    paths.extend([unpacked, folder.path().join("hostile")]);
    let (mut files, mut stored, mut skipped, mut documents, mut chunks) = (0, 0, Vec::new(), 0, 0);
    let started = Instant::now();
    for path in paths {
        let found = walk(&path, &LoadOptions::default()).unwrap().len();
        let (report, ends, kept) = ingested(std::slice::from_ref(&path), 10).await;
        named(&report);
        assert_eq!(ends.len(), found, "every file of {} has an end", path.display());
        assert_eq!(report.documents, kept, "{}", path.display());
        files += found;
        stored += ends.values().filter(|end| matches!(end, FileEnd::Stored { .. })).count();
        documents += kept;
        chunks += report.chunks;
        skipped.extend(report.skipped);
    }
    let peak = peak_megabytes();
    eprintln!(
        "{files} files: {stored} stored as {documents} documents in {chunks} chunks, {} refused, in {:?}; peak {peak:?} MB",
        skipped.len(),
        started.elapsed()
    );
    assert!(files > 7_000 && stored > 6_500, "{stored} of {files}");
    assert!(skipped.len() >= bad.len());
    // Files of up to 32 MiB, and text of up to 64 on its way.
    assert!(peak.is_none_or(|megabytes| megabytes < 1_500), "{peak:?} MB");
}
