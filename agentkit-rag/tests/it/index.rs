//! The index against a plain model, and against everything that may go wrong around it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{
    Boosts, CollectionName, DocumentId, ErrorKind, Expansion, Filter, Leg, Matching, Metadata, Range,
    Retriever, RunContext, Scalar, SearchPlan, SearchRequest, TenantId, TenantScope,
};
use agentkit_rag::{Heading, Index, SourceDocument};
use proptest::prelude::*;

async fn open(folder: &Path) -> Index {
    Index::open(folder, Arc::new(HashingEmbedder::default())).await.expect("the index opens")
}

fn document(id: &str, text: &str) -> SourceDocument {
    SourceDocument::text(id, text).expect("a valid id")
}

fn id(id: &str) -> DocumentId {
    DocumentId::new(id).expect("a valid id")
}

fn ctx() -> RunContext {
    RunContext::new()
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(test);
}

async fn found(index: &Index, request: SearchRequest) -> Vec<(String, f32)> {
    let response = index.search(&request, &ctx()).await.expect("the search succeeds");
    response.hits.into_iter().map(|hit| (hit.passage.document_id.to_string(), hit.score)).collect()
}

/// A graph that is overtaken while it is built must be followed by the next one although nobody writes any more.
#[test]
fn the_graph_catches_up_after_the_last_write() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let scope = TenantScope::local();
        let embedder = Arc::new(HashingEmbedder::with_dimension(32));
        let index = Index::open(folder.path(), embedder).await.unwrap();
        for (first, last) in [(0, 20_000), (20_000, 24_000), (24_000, 28_000)] {
            let texts =
                (first..last).map(|n| document(&format!("d{n}"), &format!("word{} and word{}", n % 997, n)));
            index.upsert(&scope, texts.collect(), &ctx()).await.unwrap();
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_mins(2);
        loop {
            let stats = index.stats(&scope).await.unwrap();
            if stats.graph_chunks >= stats.chunks - stats.chunks / 4 {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{} of {}", stats.graph_chunks, stats.chunks);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        index.close().await.unwrap();
    });
}

#[test]
fn an_answer_survives_reopening_and_cites_the_source() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let scope = TenantScope::local();
        let text = "The kettle was invented in 1891.\n\nGreen tea is best at 80 degrees. Größe 東京.";
        let index = open(folder.path()).await;
        let report = index.upsert(&scope, vec![document("tea", text)], &ctx()).await.unwrap();
        assert_eq!((report.documents, report.embedded), (1, report.chunks));
        index.close().await.unwrap();

        let index = open(folder.path()).await;
        let stored = index.get(&scope, &id("tea"), &ctx()).await.unwrap().unwrap();
        assert_eq!(stored.source_text, text);
        let response = index.search(&SearchRequest::new(scope.clone(), "green tea"), &ctx()).await.unwrap();
        assert!(!response.hits.is_empty());
        for hit in &response.hits {
            assert_eq!(hit.passage.span.slice(text), Some(hit.passage.text.as_str()));
            let sum: f32 = hit.explanation.legs.iter().map(|leg| leg.contribution).sum();
            assert!((sum - hit.score).abs() < 1e-6, "the explanation adds up");
        }
        let legs: Vec<Leg> = response.hits[0].explanation.legs.iter().map(|leg| leg.leg).collect();
        assert_eq!(legs, [Leg::Dense, Leg::Lexical]);
    });
}

#[test]
fn unchanged_documents_are_left_alone_and_unchanged_chunks_keep_their_vectors() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let scope = TenantScope::local();
        let index = open(folder.path()).await;
        let paragraph =
            |n: usize| format!("# Part {n}\n\n{}\n\n", format!("sentence {n} about topic {n}. ").repeat(40));
        let whole = |parts: &[usize]| parts.iter().map(|n| paragraph(*n)).collect::<String>();
        let first = index.upsert(&scope, vec![document("d", &whole(&[1, 2, 3, 4]))], &ctx()).await.unwrap();
        assert!(first.chunks >= 4, "{first:?}");
        let same = index.upsert(&scope, vec![document("d", &whole(&[1, 2, 3, 4]))], &ctx()).await.unwrap();
        assert_eq!((same.documents, same.unchanged, same.generation), (0, 1, first.generation));
        let titled = document("d", &whole(&[1, 2, 3, 4])).with_metadata(Metadata::new().with("a", 1));
        let metadata_only = index.upsert(&scope, vec![titled], &ctx()).await.unwrap();
        assert_eq!((metadata_only.documents, metadata_only.embedded), (1, 0));
        let changed = index.upsert(&scope, vec![document("d", &whole(&[1, 2, 3, 9]))], &ctx()).await.unwrap();
        assert!(changed.embedded > 0 && changed.embedded < changed.chunks, "{changed:?}");
        let stats = index.stats(&scope).await.unwrap();
        assert_eq!((stats.documents, stats.chunks), (1, changed.chunks));
    });
}

/// Ids of the documents that BM25 finds, in order.
async fn by_words(index: &Index, text: &str) -> Vec<String> {
    let request = SearchRequest::new(TenantScope::local(), text).plan(SearchPlan::lexical());
    let hits = index.search(&request, &ctx()).await.unwrap().hits;
    let mut ids: Vec<String> = hits.into_iter().map(|hit| hit.passage.document_id.to_string()).collect();
    ids.sort();
    ids
}

#[test]
fn every_language_of_a_mixed_collection_is_searched_in_its_own_way() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path()).await;
        let documents = [
            (
                "de",
                "Die Häuser am Fluss wurden im Jahr 1920 von einem Architekten gebaut und später verkauft.",
            ),
            (
                "en",
                "The houses by the river were built in 1920 by an architect and were sold to their tenants.",
            ),
            ("es", "Los jugadores anotaron muchos puntos durante la temporada y ganaron todos los partidos."),
            ("zh", "黑豹队的防守只丢了308分，在联赛中排名第六。"),
            ("ja", "東京の夏はとても暑いです。"),
            ("ko", "서울에서 가장 높은 건물은 롯데월드타워이다."),
        ];
        let documents = documents.map(|(id, text)| document(id, text)).to_vec();
        index.upsert(&TenantScope::local(), documents, &ctx()).await.unwrap();
        for (query, expected) in [
            ("Haus", vec!["de"]),
            ("house", vec!["en"]),
            ("the house", vec!["en"]),
            ("jugador", vec!["es"]),
            ("黑豹防守", vec!["zh"]),
            ("夏の東京", vec!["ja"]),
            ("서울", vec!["ko"]),
            ("Häuser houses 1920", vec!["de", "en"]),
        ] {
            assert_eq!(by_words(&index, query).await, expected, "{query}");
        }
        index.delete(&TenantScope::local(), &[id("de")], &ctx()).await.unwrap();
        assert!(by_words(&index, "Haus").await.is_empty(), "nothing is left that is stemmed by German rules");
    });
}

/// The documents that a plan finds, in order of their rank.
async fn by_plan(index: &Index, text: &str, plan: SearchPlan) -> Vec<String> {
    let request = SearchRequest::new(TenantScope::local(), text).plan(plan);
    let hits = index.search(&request, &ctx()).await.unwrap().hits;
    for hit in &hits {
        let again = hit.explanation.recomputed().unwrap();
        assert!((again - hit.score).abs() < 1e-6, "{:?}", hit.explanation);
    }
    hits.into_iter().map(|hit| hit.passage.document_id.to_string()).collect()
}

#[test]
fn words_match_as_phrases_by_their_beginning_and_with_slips() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path()).await;
        let documents = [
            ("ring", "The water kettle rings when the water boils."),
            ("order", "The kettle holds the water."),
            ("prefix", "Kettledrums are played with sticks."),
            ("zh", "水的温度是八十度。"),
        ];
        let titled = document("title", "Nothing of it in the text.").with_title("Kettle");
        let documents = documents.map(|(id, text)| document(id, text)).into_iter().chain([titled]);
        index.upsert(&TenantScope::local(), documents.collect(), &ctx()).await.unwrap();
        let by = SearchPlan::matching;
        assert_eq!(by_plan(&index, "water kettle", by(Matching::Phrase)).await, ["ring"]);
        assert_eq!(by_plan(&index, "温度是", by(Matching::Phrase)).await, ["zh"]);
        assert!(by_plan(&index, "kettle water", by(Matching::Phrase)).await.is_empty());
        assert!(by_plan(&index, "kettled", by(Matching::Prefix)).await.contains(&"prefix".to_owned()));
        assert!(by_plan(&index, "ketle", by(Matching::Terms)).await.is_empty());
        assert_eq!(by_plan(&index, "ketle", by(Matching::Fuzzy { edits: 1 })).await.len(), 3);
        assert_eq!(
            by_plan(&index, "水", by(Matching::Terms)).await,
            ["zh"],
            "a letter finds the pairs it begins"
        );
        assert_eq!(by_plan(&index, "温", by(Matching::Terms)).await, ["zh"]);
        let boosts = |text, context| SearchPlan::Lexical {
            candidates: 100,
            matching: Matching::Terms,
            boosts: Boosts { text, context },
        };
        assert_eq!(by_plan(&index, "kettle", boosts(0.0, 1.0)).await, ["title"]);
        assert!(!by_plan(&index, "kettle", boosts(1.0, 0.0)).await.contains(&"title".to_owned()));
        assert_eq!(by_plan(&index, "kettle", boosts(1.0, 50.0)).await[0], "title");
    });
}

#[test]
fn passages_are_widened_to_their_neighbours_and_sections() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path()).await;
        let section = |n: usize| {
            let sentence = |m: usize| format!("Sentence {m} of section {n} says filler words here. ");
            format!("# Section {n}\n\n{}\n\n", (0..60).map(sentence).collect::<String>())
        };
        let text: String = (0..4).map(section).collect();
        let mut sections = document("d", &text);
        sections.headings = (0..4)
            .map(|n| {
                let title = format!("Section {n}");
                let offset = text.find(&format!("# {title}")).unwrap();
                Heading { offset, level: 1, title }
            })
            .collect();
        index.upsert(&TenantScope::local(), vec![sections], &ctx()).await.unwrap();
        let best = |plan: SearchPlan| {
            let request = SearchRequest::new(TenantScope::local(), "sentence 30 of section 2").plan(plan);
            let index = index.clone();
            async move { index.search(&request, &ctx()).await.unwrap().hits }
        };
        let plain = best(SearchPlan::lexical().limit(3)).await;
        let around = Expansion::Neighbours { before: 1, after: 1 };
        let wide = best(SearchPlan::lexical().limit(3).expand(around)).await;
        assert!(wide.len() <= plain.len());
        assert_eq!((wide[0].score, &wide[0].passage.chunk_id), (plain[0].score, &plain[0].passage.chunk_id));
        for hit in &wide {
            assert_eq!(hit.passage.span.slice(&text), Some(hit.passage.text.as_str()));
        }
        assert!(wide[0].passage.text.len() > plain[0].passage.text.len());
        let parent = best(SearchPlan::lexical().limit(1).expand(Expansion::Parent)).await;
        let whole = &parent[0].passage;
        assert!(
            whole.text.contains("Sentence 0 of section 2") && whole.text.contains("Sentence 59 of section 2")
        );
        assert!(!whole.text.contains("section 1") && !whole.text.contains("section 3"));
    });
}

#[test]
fn pages_are_cut_out_of_one_ranking_of_one_state() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path()).await;
        let documents = (0..50).map(|n| document(&format!("d{n}"), &format!("common words and number{n}")));
        index.upsert(&TenantScope::local(), documents.collect(), &ctx()).await.unwrap();
        let request = SearchRequest::new(TenantScope::local(), "common number7").top_k(50);
        let all = index.search(&request, &ctx()).await.unwrap();
        let mut pages = Vec::new();
        for offset in (0..60).step_by(7) {
            let page = request.clone().top_k(7).offset(offset).at_generation(all.generation);
            pages.extend(index.search(&page, &ctx()).await.unwrap().hits);
        }
        assert_eq!(pages, all.hits);
        index.delete(&TenantScope::local(), &[id("d7")], &ctx()).await.unwrap();
        let next = request.offset(7).at_generation(all.generation);
        assert_eq!(index.search(&next, &ctx()).await.unwrap_err().kind(), ErrorKind::Conflict);
    });
}

#[test]
fn tenants_and_collections_never_meet() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path()).await;
        let scopes = [
            TenantScope::local(),
            TenantScope::for_tenant(TenantId::new("acme").unwrap()),
            TenantScope::local().in_collection(CollectionName::new("other").unwrap()),
        ];
        for (n, scope) in scopes.iter().enumerate() {
            index
                .upsert(scope, vec![document("same-id", &format!("secret canary{n}"))], &ctx())
                .await
                .unwrap();
        }
        for (n, scope) in scopes.iter().enumerate() {
            let response =
                index.search(&SearchRequest::new(scope.clone(), "secret canary"), &ctx()).await.unwrap();
            assert_eq!(response.hits.len(), 1);
            assert_eq!(response.hits[0].passage.text, format!("secret canary{n}"));
        }
        index.delete(&scopes[0], &[id("same-id")], &ctx()).await.unwrap();
        assert!(index.get(&scopes[1], &id("same-id"), &ctx()).await.unwrap().is_some());
        let unknown = TenantScope::for_tenant(TenantId::new("nobody").unwrap());
        assert!(found(&index, SearchRequest::new(unknown.clone(), "secret")).await.is_empty());
        assert_eq!(index.stats(&unknown).await.unwrap().documents, 0);
    });
}

#[test]
fn query_syntax_and_stop_words_are_plain_text() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let scope = TenantScope::local();
        let index = open(folder.path()).await;
        index.upsert(&scope, vec![document("d", "the field is open")], &ctx()).await.unwrap();
        for text in [
            "field:(",
            "the",
            "?!",
            "AND OR NOT",
            "\"unclosed",
            "a^2 ~3 *",
            "[x TO y]",
            "{}",
            "\\",
            "🦀",
            "東京",
        ] {
            for plan in [SearchPlan::hybrid(), SearchPlan::dense(), SearchPlan::lexical()] {
                let request = SearchRequest::new(scope.clone(), text).plan(plan.clone());
                let answered = index.search(&request, &ctx()).await;
                let hits = answered.unwrap_or_else(|error| panic!("{text:?}: {error:?}")).hits.len();
                assert!(hits == 1 || plan == SearchPlan::lexical(), "{text:?}");
            }
        }
    });
}

#[test]
fn bad_requests_and_documents_are_typed_errors_and_change_nothing() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let scope = TenantScope::local();
        let index = open(folder.path()).await;
        let good = document("good", "good text");
        for bad in [document("bad", ""), document("bad", " \n"), document("bad", "nul\0byte")] {
            let error = index.upsert(&scope, vec![good.clone(), bad], &ctx()).await.unwrap_err();
            assert!(error.is_invalid_input() && error.message().contains("bad"), "{error:?}");
        }
        assert_eq!(index.stats(&scope).await.unwrap().documents, 0, "a batch goes in whole or not at all");
        for request in [
            SearchRequest::new(scope.clone(), ""),
            SearchRequest::new(scope.clone(), "x").top_k(0),
            SearchRequest::new(scope.clone(), "x").top_k(1001),
            SearchRequest::new(scope.clone(), "x".repeat(100_000)),
            SearchRequest::new(scope.clone(), "x").filter(Filter::eq("f", f64::NAN)),
        ] {
            assert!(index.search(&request, &ctx()).await.unwrap_err().is_invalid_input());
        }
        let stopped = ctx();
        stopped.cancel();
        let error = index.upsert(&scope, vec![good], &stopped).await.unwrap_err();
        assert!(error.is_stopped());
    });
}

#[test]
fn a_second_writer_and_another_model_are_refused_but_readers_are_welcome() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let scope = TenantScope::local();
        let missing =
            Index::open_read_only(folder.path(), Arc::new(HashingEmbedder::default())).await.unwrap_err();
        assert!(missing.is_not_found());
        let index = open(folder.path()).await;
        index.upsert(&scope, vec![document("d", "some text")], &ctx()).await.unwrap();

        let second = Index::open(folder.path(), Arc::new(HashingEmbedder::default())).await.unwrap_err();
        assert_eq!(second.kind(), ErrorKind::Conflict);
        assert!(second.message().contains(&std::process::id().to_string()), "{second:?}");

        let reader =
            Index::open_read_only(folder.path(), Arc::new(HashingEmbedder::default())).await.unwrap();
        assert_eq!(found(&reader, SearchRequest::new(scope.clone(), "text")).await.len(), 1);
        let refused = reader.upsert(&scope, vec![document("e", "more")], &ctx()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);

        index.close().await.unwrap();
        let other = HashingEmbedder::with_dimension(32).named("another-model");
        let error = Index::open(folder.path(), Arc::new(other)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        assert!(error.message().contains("another-model"), "{error:?}");
    });
}

#[test]
fn every_damaged_file_is_an_error_that_names_it_or_is_rebuilt() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let scope = TenantScope::local();
        let index = open(folder.path()).await;
        index.upsert(&scope, vec![document("d", "the quick brown fox")], &ctx()).await.unwrap();
        let expected = found(&index, SearchRequest::new(scope.clone(), "fox")).await;
        index.close().await.unwrap();
        let mut damaged = 0;
        for path in files(folder.path()) {
            let whole = std::fs::read(&path).unwrap();
            let step = (whole.len() / 12).max(1);
            for at in (0..whole.len()).step_by(step) {
                let mut bytes = whole.clone();
                bytes[at] ^= 0x20;
                for bytes in [bytes, whole[..at].to_vec()] {
                    std::fs::write(&path, &bytes).unwrap();
                    match outcome(folder.path(), &scope).await {
                        Ok(hits) => assert_eq!(hits, expected, "{} at {at}", path.display()),
                        Err(error) => {
                            damaged += 1;
                            assert!(
                                matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Mismatch),
                                "{} at {at}: {error:?}",
                                path.display()
                            );
                        }
                    }
                }
            }
            std::fs::write(&path, &whole).unwrap();
        }
        assert!(damaged > 50, "only {damaged} damages were noticed");
        assert_eq!(outcome(folder.path(), &scope).await.unwrap(), expected);
    });
}

/// What a search of a reader finds, since a writer would repair what it may.
async fn outcome(folder: &Path, scope: &TenantScope) -> agentkit_core::Result<Vec<(String, f32)>> {
    let index = Index::open_read_only(folder, Arc::new(HashingEmbedder::default())).await?;
    let response = index.search(&SearchRequest::new(scope.clone(), "fox"), &ctx()).await?;
    Ok(response.hits.into_iter().map(|hit| (hit.passage.document_id.to_string(), hit.score)).collect())
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn concurrent_writers_share_commits_and_none_is_lost() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let scope = TenantScope::local();
        let index = open(folder.path()).await;
        let mut writers = tokio::task::JoinSet::new();
        for n in 0..60 {
            let (index, scope) = (index.clone(), scope.clone());
            writers.spawn(async move {
                let id = format!("d{n:02}");
                index
                    .upsert(&scope, vec![document(&id, &format!("text number{n}"))], &ctx())
                    .await
                    .unwrap()
                    .generation
            });
        }
        let generations = writers.join_all().await;
        let stats = index.stats(&scope).await.unwrap();
        assert_eq!(stats.documents, 60);
        assert!(stats.generation < 60, "some of 60 writers shared a commit: {}", stats.generation);
        assert!(generations.iter().all(|generation| *generation <= stats.generation));
        let listed = index.list(&scope, Some(&id("d09")), 5, &ctx()).await.unwrap();
        let ids: Vec<&str> = listed.iter().map(|document| document.id.as_str()).collect();
        assert_eq!(ids, ["d10", "d11", "d12", "d13", "d14"]);
    });
}

/// One step of a random life of an index.
#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Reopen,
    Search(u8, Filter),
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        (-3..3_i32).prop_map(Scalar::from),
        prop::sample::select(vec!["", "a", "ab", "b", "ä", "a\0b"]).prop_map(Scalar::from),
        any::<bool>().prop_map(Scalar::from),
    ]
}

fn field() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["x", "y", "xy"]).prop_map(String::from)
}

fn filter() -> impl Strategy<Value = Filter> {
    let ordered = || scalar().prop_filter("booleans have no order", |s| !matches!(s, Scalar::Bool(_)));
    let bound = move || prop::option::of(ordered());
    let leaf = prop_oneof![
        (field(), scalar()).prop_map(|(field, value)| Filter::Eq { field, value }),
        (field(), prop::collection::vec(scalar(), 0..3))
            .prop_map(|(field, values)| Filter::In { field, values }),
        (field(), prop::sample::select(vec!["", "a", "b"]))
            .prop_map(|(field, value)| Filter::Prefix { field, value: value.into() }),
        field().prop_map(|field| Filter::Exists { field }),
        (field(), bound(), bound(), bound(), ordered()).prop_map(|(field, gt, gte, lt, lte)| Filter::Range(
            Range { field, gt, gte, lt, lte: Some(lte) }
        )),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::Or),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..8_u8, any::<u8>()).prop_map(|(doc, version)| Step::Put(doc, version)),
        2 => (0..8_u8).prop_map(Step::Delete),
        1 => Just(Step::Reopen),
        4 => (any::<u8>(), filter()).prop_map(|(word, filter)| Step::Search(word % 5, filter)),
    ]
}

/// The document of a version: some words, some metadata, sometimes several chunks.
fn version(doc: u8, version: u8) -> SourceDocument {
    let words = (0..5).filter(|n| version >> n & 1 == 1).map(|n| format!("word{n}")).collect::<Vec<_>>();
    let text = format!("always {} end{version}. ", words.join(" ")).repeat(usize::from(version % 3) * 60 + 1);
    let mut metadata = Metadata::new();
    if version & 1 == 1 {
        metadata.insert("x", f64::from(version % 5) - 2.0);
    }
    if version & 2 == 2 {
        metadata.insert("y", vec!["a", if version & 4 == 4 { "ab" } else { "b" }]);
    }
    if version & 8 == 8 {
        metadata.insert("xy", version & 16 == 16);
    }
    document(&format!("doc{doc}"), &text).with_metadata(metadata)
}

async fn check_against(model: &BTreeMap<String, SourceDocument>, index: &Index, word: u8, filter: &Filter) {
    let scope = TenantScope::local();
    let matching = |document: &&SourceDocument| filter.matches(&document.metadata);
    let word = format!("word{word}");
    for (plan, needs_word) in [(SearchPlan::dense(), false), (SearchPlan::lexical(), true)] {
        let request =
            SearchRequest::new(scope.clone(), word.clone()).plan(plan).top_k(1000).filter(filter.clone());
        let mut ids: Vec<String> = found(index, request).await.into_iter().map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids.dedup();
        let expected: Vec<String> = model
            .values()
            .filter(matching)
            .filter(|document| !needs_word || document.source_text.contains(&word))
            .map(|document| document.id.to_string())
            .collect();
        assert_eq!(ids, expected, "{word} {filter:?}");
    }
    let stats = index.stats(&scope).await.unwrap();
    assert_eq!(stats.documents, model.len() as u64);
    let listed = index.list(&scope, None, 100, &ctx()).await.unwrap();
    assert_eq!(
        listed.iter().map(|d| d.id.to_string()).collect::<Vec<_>>(),
        model.keys().cloned().collect::<Vec<_>>()
    );
    assert_eq!(listed.iter().map(|d| d.chunks).sum::<u64>(), stats.chunks);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_life_of_the_index_agrees_with_a_plain_map(steps in prop::collection::vec(step(), 1..25)) {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let scope = TenantScope::local();
            let mut model = BTreeMap::new();
            let mut index = open(folder.path()).await;
            for step in steps {
                match step {
                    Step::Put(doc, number) => {
                        let document = version(doc, number);
                        index.upsert(&scope, vec![document.clone()], &ctx()).await.unwrap();
                        model.insert(document.id.to_string(), document);
                    }
                    Step::Delete(doc) => {
                        let name = format!("doc{doc}");
                        let existed = index.delete(&scope, &[id(&name)], &ctx()).await.unwrap();
                        assert_eq!(existed, u64::from(model.remove(&name).is_some()));
                    }
                    Step::Reopen => {
                        index.close().await.unwrap();
                        index = open(folder.path()).await;
                    }
                    Step::Search(word, filter) => check_against(&model, &index, word, &filter).await,
                }
            }
            check_against(&model, &index, 1, &Filter::And(vec![])).await;
            for document in model.values() {
                let stored = index.get(&scope, &document.id, &ctx()).await.unwrap().unwrap();
                assert_eq!(stored.source_text, document.source_text);
                assert_eq!(stored.metadata, document.metadata);
            }
        });
    }
}
