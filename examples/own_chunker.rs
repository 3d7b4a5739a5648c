//! A chunker of one's own, which cuts a transcript at its speakers, measured beside the default one.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{Result, RunContext, Span, TenantScope};
use agentkit_rag::chunk::{Chunk, Chunker, StructureChunker};
use agentkit_rag::eval::{SpanOptions, SpanQuestion, SpanReport, SpanSet, evaluate_spans};
use agentkit_rag::{Index, SourceDocument};

/// Makes a chunk of what each speaker says; its parent is that and what was said before.
struct TurnChunker;

/// Whether a line begins a turn: a name in capitals and a colon.
fn speaker(line: &str) -> Option<&str> {
    let (name, _) = line.split_once(':')?;
    (!name.is_empty() && name.chars().all(|c| c.is_uppercase() || c == ' ')).then_some(name)
}

impl Chunker for TurnChunker {
    fn chunk(&self, document: &SourceDocument, _: &dyn Fn(&str) -> usize) -> Result<Vec<Chunk>> {
        let mut turns: Vec<(Span, String)> = Vec::new();
        let mut at = 0;
        for line in document.source_text.split_inclusive('\n') {
            let span = Span::new(at, at + line.trim_end().len());
            at += line.len();
            match (speaker(line), turns.last_mut()) {
                _ if line.trim().is_empty() => {}
                (None, Some((turn, _))) => *turn = Span::new(turn.start, span.end),
                (speaker, _) => turns.push((span, speaker.unwrap_or_default().to_owned())),
            }
        }
        let mut before: Option<Span> = None;
        let chunks = turns.into_iter().map(|(span, speaker)| {
            let parent = Span::new(before.map_or(span.start, |before| before.start), span.end);
            before = Some(span);
            Chunk::new(document, span).with_context(speaker).with_parent(parent)
        });
        Ok(chunks.collect())
    }
}

const TRANSCRIPT: &str = "\
HOST: How do you make your tea?
ANNA: Green tea at eighty degrees, for three minutes.
And never twice from the same leaves.
HOST: And you?
BEN: I drink coffee. Ninety four degrees, twenty grams for a cup.
HOST: Do you both drink it in the evening?
ANNA: Never after six.
";

/// How well the answer is found when the transcript is cut by `chunker`.
async fn measured(chunker: Arc<dyn Chunker>) -> Result<SpanReport> {
    let folder = tempfile::tempdir().map_err(|error| agentkit_core::Error::io("make a folder", error))?;
    let (scope, ctx) = (TenantScope::local(), RunContext::new());
    let index = Index::open(folder.path(), Arc::new(HashingEmbedder::default())).await?.with_chunker(chunker);
    let document = SourceDocument::text("interview", TRANSCRIPT)?;
    let id = document.id.clone();
    let question = |id_of: &str, text: &str, answer: &str| {
        let start = TRANSCRIPT.find(answer).unwrap_or_default();
        let spans = vec![Span::new(start, start + answer.len())];
        SpanQuestion { id: id_of.to_owned(), text: text.to_owned(), document: id.clone(), spans }
    };
    let questions = vec![
        question(
            "1",
            "at how many degrees does Anna make green tea?",
            "Green tea at eighty degrees, for three minutes.",
        ),
        question("2", "how many grams of coffee for a cup?", "Ninety four degrees, twenty grams for a cup."),
    ];
    index.upsert(&scope, vec![document.clone()], &ctx).await?;
    let set = SpanSet::new(vec![document], questions)?;
    evaluate_spans(&index, &set, &SpanOptions::new(scope).top_k(1), &ctx).await
}

#[tokio::main]
async fn main() -> Result<()> {
    for (name, chunker) in [
        ("default", Arc::new(StructureChunker::default()) as Arc<dyn Chunker>),
        ("turns", Arc::new(TurnChunker)),
    ] {
        let report = measured(chunker).await?;
        println!("{name:8} recall {:.2}, precision {:.2}", report.recall.mean, report.precision.mean);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_turn_is_a_chunk_with_its_speaker_and_the_turn_before() {
        let document = SourceDocument::text("interview", TRANSCRIPT).unwrap();
        let chunks = TurnChunker.chunk(&document, &str::len).unwrap();
        assert_eq!(chunks.len(), 6);
        assert_eq!(chunks[1].context, "ANNA");
        let quote = chunks[1].span.slice(TRANSCRIPT).unwrap();
        assert!(quote.starts_with("ANNA: Green") && quote.ends_with("same leaves."), "{quote}");
        assert!(chunks[1].parent.unwrap().slice(TRANSCRIPT).unwrap().starts_with("HOST: How do you"));
    }

    #[tokio::test]
    async fn it_finds_as_much_as_the_default_one_with_less_around_it() {
        let default = measured(Arc::new(StructureChunker::default())).await.unwrap();
        let turns = measured(Arc::new(TurnChunker)).await.unwrap();
        assert_eq!((default.recall.mean, turns.recall.mean), (1.0, 1.0));
        assert!(turns.precision.mean > 2.0 * default.precision.mean, "{turns:?}");
    }
}
