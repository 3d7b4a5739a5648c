//! A whole index of which files are changed at will, Tantivy's among them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{
    Embedder, ErrorKind, Result, Retriever, RunContext, SearchPlan, SearchRequest, TenantScope,
};
use agentkit_rag::{Index, SourceDocument, verify};

use crate::run;

const TEXTS: [(&str, &str); 3] = [
    ("tea", "common words about green tea and how it is made"),
    ("coffee", "common words about coffee, which is roasted first"),
    ("water", "common words about water"),
];

fn embedder() -> Arc<dyn Embedder> {
    Arc::new(HashingEmbedder::with_dimension(16))
}

/// The files of a small sound index with several commits, a deletion among them.
static FILES: LazyLock<Vec<(PathBuf, Vec<u8>)>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    run(async {
        let (scope, ctx) = (TenantScope::local(), RunContext::new());
        let index = Index::open(folder.path(), embedder()).await?;
        for (id, text) in TEXTS {
            index.upsert(&scope, vec![SourceDocument::text(id, text)?], &ctx).await?;
        }
        let gone = SourceDocument::text("gone", "common words that go")?;
        let id = gone.id.clone();
        index.upsert(&scope, vec![gone], &ctx).await?;
        index.delete(&scope, &[id], &ctx).await?;
        index.close().await
    })
    .expect("a sound index");
    let mut files = Vec::new();
    collect(folder.path(), folder.path(), &mut files);
    files.sort();
    files
});

fn collect(root: &Path, folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            collect(root, &entry, files);
        } else {
            let name = entry.strip_prefix(root).expect("a file in the folder").to_owned();
            files.push((name, fs::read(&entry).expect("a file")));
        }
    }
}

/// Each five bytes of the input change the files: what to do, which file, where (two bytes), and with what.
pub fn index(data: &[u8]) {
    LazyLock::force(&QUIET);
    let mut files: BTreeMap<PathBuf, Vec<u8>> = FILES.iter().cloned().collect();
    for edit in data.as_chunks::<5>().0.iter().take(8) {
        change(&mut files, *edit);
    }
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("room for a folder");
        fs::write(path, content).expect("room for a file");
    }
    // Errors of a kind are welcome; wrong texts, and panics that get out or only ended a thread, are not.
    let outcomes = [
        run(verify(folder.path(), &RunContext::new())).map(|_| ()),
        run(read(folder.path(), false)),
        run(read(folder.path(), true)),
    ];
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert_ne!(error.kind(), ErrorKind::Internal, "{}", error.chain());
    }
}

/// Panics that the index contains are its own business: without its own hook libFuzzer only hears of those that get out.
static QUIET: LazyLock<()> = LazyLock::new(|| std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))));

fn change(files: &mut BTreeMap<PathBuf, Vec<u8>>, [what, which, high, low, with]: [u8; 5]) {
    let Some(name) = files.keys().nth(usize::from(which) % files.len().max(1)).cloned() else { return };
    let Some(content) = files.get_mut(&name) else { return };
    let at = (usize::from(high) << 8 | usize::from(low)) % content.len().max(1);
    match what % 5 {
        0 => content.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= with.max(1)),
        1 => content.truncate(at),
        2 => content.extend(std::iter::repeat_n(with, at % 64)),
        3 => drop(files.remove(&name)),
        _ => content.clone_from(&FILES[usize::from(with) % FILES.len()].1),
    }
}

async fn read(folder: &Path, writes: bool) -> Result<()> {
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let index = if writes {
        Index::open(folder, embedder()).await?
    } else {
        Index::open_read_only(folder, embedder()).await?
    };
    for plan in [SearchPlan::dense(), SearchPlan::lexical()] {
        let found = index.search(&SearchRequest::new(scope.clone(), "common").plan(plan), &ctx).await?;
        for hit in found.hits {
            let known = TEXTS.iter().any(|(_, text)| *text == hit.passage.text);
            assert!(known || hit.passage.text == "common words that go", "{:?}", hit.passage.text);
        }
    }
    for listed in index.list(&scope, None, 10, &ctx).await? {
        if let Some(stored) = index.get(&scope, &listed.id, &ctx).await? {
            let known = TEXTS.iter().any(|(_, text)| *text == stored.source_text);
            assert!(known || stored.source_text == "common words that go", "{:?}", stored.source_text);
        }
    }
    index.close().await
}
