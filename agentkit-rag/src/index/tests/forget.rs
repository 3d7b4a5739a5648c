//! What was forgotten is in no file: looked for in raw bytes, stored records, terms and vectors.

use super::super::layout;
use super::super::snapshot::Snapshot;
use super::super::storage::simulated::End;
use super::super::store;
use super::*;

/// The edition of an index that was never embedded anew.
const FIRST: [(&str, usize); 1] = [("partitions", DIMENSION)];
pub(super) const CANARY: &str = "xylocanary";

/// Where the canary can still be found on the disk, in raw bytes or in the default collection of one of the editions,
/// given as folder and dimension. An empty vector is not looked for.
pub(super) fn traces(disk: &Simulated, vector: &[f32], editions: &[(&str, usize)]) -> Vec<String> {
    let mut traces = Vec::new();
    for (path, content) in disk.files() {
        if content.windows(CANARY.len()).any(|window| window.eq_ignore_ascii_case(CANARY.as_bytes())) {
            traces.push(format!("{}: raw text", path.display()));
        }
        let bytes: Vec<u8> = vector.iter().flat_map(|component| component.to_le_bytes()).collect();
        if !bytes.is_empty() && content.windows(bytes.len()).any(|window| window == bytes) {
            traces.push(format!("{}: raw vector", path.display()));
        }
    }
    let root = Folder::new(Arc::new(disk.clone()), Path::new(ROOT));
    for (folder, dimension) in editions {
        let partition = layout::partition(&root.folder(folder), &TenantScope::local());
        traces.extend(traces_in(&store::read(&partition, *dimension).unwrap()));
    }
    traces
}

fn traces_in(snapshot: &Snapshot) -> Vec<String> {
    let mut traces = Vec::new();
    for reader in snapshot.searcher.segment_readers() {
        let store = reader.get_store_reader(1).unwrap();
        for doc in 0..reader.max_doc() {
            let record: tantivy::TantivyDocument = store.get(doc).unwrap();
            let record: serde_json::Value = snapshot.fields.decode(&record).unwrap();
            if record.to_string().contains(CANARY) {
                traces.push(format!("stored record {doc}"));
            }
        }
        for (field, _) in reader.schema().fields() {
            let Ok(index) = reader.inverted_index(field) else { continue };
            let mut terms = index.terms().stream().unwrap();
            while terms.advance() {
                if String::from_utf8_lossy(terms.key()).contains(&CANARY[..8]) {
                    traces.push("term dictionary".to_owned());
                }
            }
        }
    }
    traces
}

#[test]
fn nothing_of_a_forgotten_document_is_left() {
    run(async {
        let disk = Simulated::default();
        let (scope, ctx) = (TenantScope::local(), RunContext::new());
        let index = open(&disk).await.unwrap();
        let secret = |n: usize| document("secret", &format!("common {CANARY} version {n}"), CANARY);
        let others: Vec<_> =
            (0..20).map(|n| document(&format!("d{n}"), &format!("common text {n}"), "tea")).collect();
        index.upsert(&scope, others.clone(), &ctx).await.unwrap();
        for version in 0..3 {
            index.upsert(&scope, vec![secret(version)], &ctx).await.unwrap();
        }
        let partition = index.shared.readable(&scope).await.unwrap().1.unwrap();
        let (_, slot) = partition.snapshot().chunks_of(&id("secret")).unwrap().pop().unwrap();
        let vector = partition.snapshot().vectors.row(slot).to_vec();
        drop(partition);
        let before = traces(&disk.after(End::Killed), &vector, &FIRST);
        for kind in ["raw vector", "stored record", "term dictionary"] {
            assert!(before.iter().any(|trace| trace.contains(kind)), "the probe finds no {kind}: {before:?}");
        }
        assert_eq!(index.forget(&scope, &[id("secret")], &ctx).await.unwrap(), 1);
        assert_eq!(traces(&disk.after(End::Killed), &vector, &FIRST), Vec::<String>::new());
        let documents = others.into_iter().map(|document| (document.id.to_string(), document)).collect();
        check_legs(&index, &documents).await.unwrap();
        index.close().await.unwrap();
        check_legs(&open(&disk.after(End::PowerLoss)).await.unwrap(), &documents).await.unwrap();
    });
}

#[test]
fn compacting_goes_on_beside_reads_and_writes() {
    run(async {
        let disk = Simulated::default();
        let (scope, ctx) = (TenantScope::local(), RunContext::new());
        let index = open(&disk).await.unwrap();
        let mut documents = BTreeMap::new();
        let mut compactions = Vec::new();
        for n in 0..40_usize {
            let new = document(&format!("d{}", n % 7), &format!("common text {n}"), "coffee");
            documents.insert(new.id.to_string(), new.clone());
            index.upsert(&scope, vec![new], &ctx).await.unwrap();
            if n % 5 == 4 {
                let (index, scope, ctx) = (index.clone(), scope.clone(), ctx.clone());
                compactions.push(tokio::spawn(async move { index.compact(&scope, &ctx).await }));
            }
            check_legs(&index, &documents).await.unwrap();
        }
        for compaction in compactions {
            compaction.await.unwrap().unwrap();
        }
        index.compact(&scope, &ctx).await.unwrap();
        check_legs(&index, &documents).await.unwrap();
        let live = index.stats(&scope).await.unwrap().chunks;
        index.close().await.unwrap();
        let root = Folder::new(Arc::new(disk.clone()), Path::new(ROOT));
        let snapshot =
            store::read(&layout::partition(&root.folder("partitions"), &scope), DIMENSION).unwrap();
        let stored = (0..u32::try_from(snapshot.vectors.len()).unwrap())
            .filter(|slot| !snapshot.vectors.row(*slot).is_empty());
        assert_eq!(stored.count() as u64, live, "dead vectors are gone");
        assert!(snapshot.searcher.segment_readers().iter().all(|segment| !segment.has_deletes()));
    });
}
