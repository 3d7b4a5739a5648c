//! Every byte of every file of a small index, flipped and cut off: a typed error, or the right answer.

use agentkit_core::ErrorKind;

use super::super::storage::simulated::End;
use super::*;

async fn small_index(disk: &Simulated) -> BTreeMap<String, SourceDocument> {
    let index = open(disk).await.unwrap();
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let documents = [
        document("a", "common words about green tea and how it is made", "tea"),
        document("b", "common words about coffee, which is roasted first", "coffee"),
    ];
    index.upsert(&scope, documents.to_vec(), &ctx).await.unwrap();
    index.upsert(&scope, vec![document("gone", "common and gone", "tea")], &ctx).await.unwrap();
    index.delete(&scope, &[id("gone")], &ctx).await.unwrap();
    index.close().await.unwrap();
    documents.into_iter().map(|document| (document.id.to_string(), document)).collect()
}

/// Opens and reads everything: right, or an error that names a file.
async fn right_or_refused(
    disk: &Simulated,
    documents: &BTreeMap<String, SourceDocument>,
    what: &str,
) -> bool {
    let read = async {
        let index = open(disk).await?;
        let stored = contents(&index).await?;
        assert_eq!(stored, model_of(documents), "{what}");
        check_legs(&index, documents).await
    };
    match read.await {
        Ok(()) => true,
        Err(error) => {
            let chain = error.chain();
            assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Mismatch), "{what}: {chain}");
            assert!(
                chain.contains('/') || chain.contains("text index"),
                "{what}: no file is named in {chain:?}"
            );
            false
        }
    }
}

#[test]
fn a_flipped_bit_or_a_cut_anywhere_is_refused_or_makes_no_difference() {
    run(async {
        let disk = Simulated::default();
        let documents = small_index(&disk).await;
        let disk = disk.after(End::Killed);
        let (mut refused, mut harmless) = (0, 0);
        for (path, whole) in disk.files() {
            for at in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << (at % 8);
                let what = format!("{} with byte {at} of {} flipped", path.display(), whole.len());
                let right = right_or_refused(&disk.with_file(&path, flipped), &documents, &what).await;
                let what = format!("{} cut to {at} of {}", path.display(), whole.len());
                let cut =
                    right_or_refused(&disk.with_file(&path, whole[..at].to_vec()), &documents, &what).await;
                for right in [right, cut] {
                    *(if right { &mut harmless } else { &mut refused }) += 1;
                }
            }
        }
        eprintln!("{refused} damages were refused, {harmless} made no difference");
        assert!(refused > harmless);
    });
}
