//! What a made-up collection promises: the same every time, with the shape of language, and files checked.

use std::collections::HashMap;
use std::sync::Arc;

use agentkit_core::testing::conformance;

use super::*;

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn two_collections_of_the_same_size_are_the_same() {
    let [one, other] = [(); 2].map(|()| Collection::new(5000, None).unwrap());
    for number in [0, 1, 4999] {
        assert_eq!(one.text(number), other.text(number));
        let text = one.text(number);
        assert_eq!(one.vector(&text).unwrap(), other.vector(&text).unwrap());
        assert_eq!(one.query(number).unwrap(), other.query(number).unwrap());
    }
    assert_ne!(one.text(0), one.text(1));
}

#[test]
fn texts_have_the_shape_of_language() {
    let collection = Collection::new(2000, None).unwrap();
    let mut counts: HashMap<String, u32> = HashMap::new();
    for number in 0..2000 {
        let text = collection.text(number);
        let words: Vec<&str> = text.split(' ').collect();
        assert!((60..=120).contains(&words.len()), "{} words", words.len());
        for word in words {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    let total: u32 = counts.values().sum();
    let once = counts.values().filter(|count| **count == 1).count();
    assert!(counts["the"] * 100 > total * 4, "the most common word is common: {} of {total}", counts["the"]);
    assert!(once * 3 > counts.len(), "many words are rare: {once} of {}", counts.len());
}

#[test]
fn a_query_is_about_its_source() {
    let collection = Collection::new(500, None).unwrap();
    for number in 0..50 {
        let query = collection.query(number).unwrap();
        let text = collection.text(query.source);
        assert_eq!(query.text.split(' ').count(), 8);
        assert!(text.contains(&query.text));
        let vector = collection.vector(&text).unwrap();
        assert!((cosine(&query.vector, &query.vector) - 1.0).abs() < 1e-5);
        assert!(cosine(&query.vector, &vector) > 0.7, "{}", cosine(&query.vector, &vector));
    }
}

#[test]
fn ids_lead_back_to_numbers() {
    let collection = Collection::new(10, None).unwrap();
    assert_eq!(Collection::number(&collection.document(7).unwrap().id), Some(7));
    assert_eq!(Collection::number(&DocumentId::new("notes.md").unwrap()), None);
}

#[test]
fn rows_of_a_file_are_perturbed_a_little() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.f32");
    let row: Vec<u8> = (0..384_u16).flat_map(|n| f32::from(n).to_le_bytes()).collect();
    std::fs::write(&path, &row).unwrap();
    let collection = Collection::new(10, Some(&path)).unwrap();
    assert!(collection.has_real_vectors());
    let [a, b] = [0, 1].map(|number| collection.vector(&collection.text(number)).unwrap());
    assert!(a != b && cosine(&a, &b) > 0.8, "{}", cosine(&a, &b));
}

#[test]
fn files_that_hold_no_vectors_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.f32");
    let open = || Collection::new(10, Some(&path));
    assert!(open().unwrap_err().is_not_found());
    for (bytes, part) in [(vec![], "0 bytes"), (vec![0; 1535], "1535 bytes")] {
        std::fs::write(&path, bytes).unwrap();
        let error = open().unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains(part), "{error:?}");
    }
    for component in [0.0, f32::NAN] {
        std::fs::write(&path, component.to_le_bytes().repeat(384)).unwrap();
        let error = open().unwrap().vector("x").unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains("row 0"), "{error:?}");
    }
    assert!(Collection::new(0, None).unwrap_err().is_invalid_input());
}

#[tokio::test]
async fn the_embedder_keeps_the_contract() {
    let collection = Arc::new(Collection::new(10, None).unwrap());
    let query = collection.query(0).unwrap();
    let embedder = CollectionEmbedder::new(collection, std::slice::from_ref(&query));
    conformance::embedder(&embedder).await;
    let found = embedder.embed(EmbedSide::Query, vec![query.text.clone()], &RunContext::new()).await.unwrap();
    assert_eq!(found[0].as_slice(), query.vector);
}
