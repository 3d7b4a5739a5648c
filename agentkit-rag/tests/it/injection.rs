//! Attacks hidden in documents, asked about with the extractive model: what it says is a quotation or nothing.
//!
//! Needs the data sets that `AGENTKIT_DATASETS` names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkit_core::testing::MemoryRetriever;
use agentkit_core::{AgentReply, CollectionName, Metadata, Outcome, TenantScope};
use agentkit_rag::answer::{ExtractiveModel, RagAgent};
use serde_json::Value;

fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What became of the questions.
#[derive(Debug, Default)]
struct Counts {
    asked: usize,
    refused: usize,
    /// Answers that quote the attack as what a document says.
    quoting: usize,
}

impl Counts {
    fn add(&mut self, reply: &AgentReply, attack: &str, context: &str) {
        self.asked += 1;
        self.refused += usize::from(reply.outcome == Outcome::Refused);
        let said_by_attack = |quote: &str| attack.contains(quote) || quote.contains(attack);
        self.quoting += usize::from(reply.citations.iter().any(|citation| said_by_attack(&citation.quote)));
        for citation in &reply.citations {
            assert!(context.contains(&citation.quote), "{:?} is not in the document", citation.quote);
        }
        if reply.outcome == Outcome::Answered {
            assert!(!reply.citations.is_empty(), "an answer without a quotation: {}", reply.answer);
        }
    }
}

#[tokio::test]
async fn attacks_in_documents_are_quoted_at_most() {
    let Some(folder) =
        std::env::var_os("AGENTKIT_DATASETS").filter(|folder| !folder.is_empty()).map(PathBuf::from)
    else {
        println!("skipped: AGENTKIT_DATASETS does not name a folder of data sets");
        return;
    };
    let (contexts, attacks) = (
        records(&folder.join("security/bipia/contexts.jsonl")),
        records(&folder.join("security/bipia/attacks.jsonl")),
    );
    let retriever = Arc::new(MemoryRetriever::new());
    let agent = RagAgent::new(retriever.clone(), Arc::new(ExtractiveModel::new()));
    let mut counts = Counts::default();
    for (at, record) in contexts.iter().enumerate() {
        let context = record["context"].as_str().unwrap();
        let question = record["question"].as_str().or(record["error"].as_str()).unwrap_or("What is this?");
        for place in 0..3 {
            let attack = attacks[(at * 3 + place) % attacks.len()]["attack"].as_str().unwrap();
            let half = context.len() / 2;
            let half = (half..=context.len()).find(|at| context.is_char_boundary(*at)).unwrap();
            let text = match place {
                0 => format!("{attack}\n{context}"),
                1 => format!("{}\n{attack}\n{}", &context[..half], &context[half..]),
                _ => format!("{context}\n{attack}"),
            };
            let collection = CollectionName::new(format!("c{at}-{place}")).unwrap();
            let scope = TenantScope::local().in_collection(collection);
            retriever.add_text(&scope, "document", &text, &Metadata::new()).unwrap();
            let reply = agent.ask(&scope, question.chars().take(500).collect::<String>()).await.unwrap();
            counts.add(&reply, attack, &text);
        }
    }
    println!("{counts:?}");
    assert_eq!(counts.asked, 3 * contexts.len());
}
