//! Which words of a conversation a question lacks, by the embedding model with what it learnt about that.
//!
//! The model reads the question, what the conversation is about, and the turns from the latest to the oldest, as one text. A
//! linear layer makes log odds of each token's state, and a word gets the highest of its tokens: query resolution by term
//! classification, `QuReTeC` of Voskarides et al., SIGIR 2020, with thin matrices learnt in place of a whole model
//! (`docs/adr/0045-conversations-read-by-the-embedding-model.md`).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use agentkit_core::{Embedder, Error, ErrorKind, Result, RunContext};

use super::adapter::Adapter;
use super::encoder::Encoder;
use super::engine::{Engine, Reading, Text};
use super::weights::{Learnt, Weights};
use super::{BertEmbedder, INLINE_BYTES, WEIGHTS, read};

/// What was learnt, and the hash of the weights it was learnt for: those of all-MiniLM-L6-v2.
const ADAPTER: &[u8] = include_bytes!("terms.safetensors");
const BASE: &str = "8087e9bf97c265f8435ed268733ecf3791825ad24850fd5d84d89e32ee3a589a";

/// Tokens read, as many as count as a query in front of the model. On CANARD twice as many bring 0.02 of the words of the turns
/// before and nothing of title and section.
const LONGEST: usize = 128;
/// Tokens read of each turn, its first: answers can be so long that the question before them would not be read.
const OF_EACH: usize = 32;

/// Tells which words of a conversation belong to a question that leans on it.
///
/// It reads with the weights of all-MiniLM-L6-v2 and 0.66 million more that come with this crate, in the numbers of the embedder
/// it is made of, and shares the embeddings of words with it. Up to 128 tokens are read, the latest turns first and
/// the first 32 of each; a reading takes as long as the embedding of a text of that length.
///
/// Used by [`QueryResolver`](crate::answer::QueryResolver). Cheap to clone.
#[derive(Clone)]
pub struct TermClassifier {
    shared: Arc<Shared>,
}

struct Shared {
    embedder: BertEmbedder,
    engine: Arc<Engine>,
    /// The weights of the log odds, and their constant.
    head: Vec<f32>,
    bias: f32,
}

/// A text and where its words are, in bytes, in order.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    pub(crate) text: String,
    pub(crate) words: Vec<Range<usize>>,
}

impl Marked {
    /// Goes on with a text in which these are the words.
    pub(crate) fn push(&mut self, text: &str, words: impl IntoIterator<Item = Range<usize>>) {
        let from = self.text.len();
        self.words.extend(words.into_iter().map(|word| from + word.start..from + word.end));
        self.text.push_str(text);
    }
}

/// The ids of what is read, and for each which word of which text it is part of.
struct Page {
    ids: Vec<u32>,
    words: Vec<Option<(usize, usize)>>,
    longest: usize,
}

impl TermClassifier {
    /// Reads with the model of `embedder`, whose folder is read once more.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the loading.
    ///
    /// # Errors
    /// Unsupported if it is another model than all-MiniLM-L6-v2, for which alone this was learnt; or as
    /// [`BertEmbedder::load`].
    ///
    /// # Examples
    /// ```no_run
    /// use agentkit_rag::embed::{BertEmbedder, TermClassifier};
    ///
    /// # async fn example() -> agentkit_core::Result<()> {
    /// let classifier = TermClassifier::new(&BertEmbedder::minilm().await?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn new(embedder: &BertEmbedder) -> Result<Self> {
        let embedder = embedder.clone();
        let load = move |ctx: &RunContext| Shared::load(embedder, ctx);
        Ok(Self { shared: Arc::new(RunContext::new().run_blocking(load).await?) })
    }

    /// How well the model knows the words of `text`, 0 to 1.
    pub(crate) fn familiarity(&self, text: &str) -> f32 {
        self.shared.embedder.familiarity(text)
    }

    /// The log odds of each word of `texts` that `question` lacks it; `None` for words beyond what is read.
    ///
    /// The first text is what the conversation is about and may be empty, the others are its turns, the latest first.
    pub(crate) async fn log_odds(
        &self,
        question: &str,
        texts: Vec<Marked>,
        ctx: &RunContext,
    ) -> Result<Vec<Vec<Option<f32>>>> {
        let mut odds: Vec<_> = texts.iter().map(|text| vec![None; text.words.len()]).collect();
        let page = self.page(question, texts, ctx).await?;
        let text = Text::single(page.ids, Reading::States);
        let states = self.shared.engine.run(vec![text], ctx).await?.into_iter().next().unwrap_or_default();
        let tokens = page.words.iter().zip(states.chunks_exact(self.shared.head.len().max(1)));
        for (word, state) in tokens {
            let place = word.and_then(|(text, word)| odds.get_mut(text)?.get_mut(word));
            if let Some(known) = place {
                let odds = self.shared.log_odds(state);
                *known = Some(known.map_or(odds, |known: f32| known.max(odds)));
            }
        }
        Ok(odds)
    }

    /// Lets as much wait as may, until what is returned is dropped.
    #[cfg(test)]
    pub(crate) async fn fill(&self) -> impl Drop {
        self.shared.engine.fill(self.shared.embedder.threads).await
    }

    async fn page(&self, question: &str, texts: Vec<Marked>, ctx: &RunContext) -> Result<Page> {
        let bytes = question.len() + texts.iter().map(|text| text.text.len()).sum::<usize>();
        if bytes <= INLINE_BYTES {
            return self.shared.page(question, &texts, ctx);
        }
        let (shared, question) = (Arc::clone(&self.shared), question.to_owned());
        ctx.run_blocking(move |ctx| shared.page(&question, &texts, ctx)).await
    }
}

impl fmt::Debug for TermClassifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TermClassifier").field("embedder", &self.shared.embedder).finish_non_exhaustive()
    }
}

impl Shared {
    fn load(embedder: BertEmbedder, ctx: &RunContext) -> Result<Self> {
        let base = &embedder.shared;
        let (path, bytes) = read(&base.folder, WEIGHTS)?;
        if blake3::hash(&bytes).to_hex().as_str() != BASE {
            let name = &base.identity.name;
            let message = format!("the words of follow-ups were learnt for all-MiniLM-L6-v2, not for {name}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        ctx.check()?;
        let adapter = Adapter::new(ADAPTER)?;
        let (head, bias) = (adapter.values("head.weight")?, adapter.values("head.bias")?);
        let settings = base.settings.clone();
        let learnt = Learnt { adapter: &adapter, words: base.engine.encoder().words() };
        let weights = Weights::adapted(&path, &bytes, &settings.architecture, base.precision, learnt)?;
        let engine = Arc::new(Engine::new(Encoder::new(weights, settings), embedder.threads));
        Ok(Self { embedder, engine, head, bias: bias.first().copied().unwrap_or_default() })
    }

    fn page(&self, question: &str, texts: &[Marked], ctx: &RunContext) -> Result<Page> {
        let tokens = &self.embedder.shared.tokens;
        let (head, tail) = tokens.around();
        let mut page = Page { ids: Vec::new(), words: Vec::new(), longest: LONGEST.min(tokens.longest()) };
        page.put(head);
        for (id, _) in tokens.beginning(question)?.placed() {
            page.push(id, None);
        }
        page.put(tail);
        for (at, text) in texts.iter().enumerate() {
            ctx.check()?;
            if page.is_full() {
                break;
            }
            let mut words = text.words.iter().enumerate().peekable();
            for (id, place) in tokens.beginning(&text.text)?.placed().take(OF_EACH) {
                while words.next_if(|(_, word)| word.end <= place.start).is_some() {}
                let inside =
                    |(_, word): &&(usize, &Range<usize>)| word.start <= place.start && place.end <= word.end;
                page.push(id, words.peek().filter(inside).map(|(word, _)| (at, *word)));
            }
            page.put(tail);
        }
        Ok(page)
    }

    fn log_odds(&self, state: &[f32]) -> f32 {
        self.bias + state.iter().zip(&self.head).map(|(value, weight)| value * weight).sum::<f32>()
    }
}

impl Page {
    fn put(&mut self, special: &[u32]) {
        for id in special {
            self.push(*id, None);
        }
    }

    fn push(&mut self, id: u32, word: Option<(usize, usize)>) {
        if !self.is_full() {
            self.ids.push(id);
            self.words.push(word);
        }
    }

    fn is_full(&self) -> bool {
        self.ids.len() >= self.longest
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::embed::{BertOptions, Precision};
    use crate::models::{ModelSpec, ModelStore, NoProgress};

    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        question: String,
        texts: Vec<Read>,
    }

    #[derive(Deserialize)]
    struct Read {
        text: String,
        words: Vec<(usize, usize)>,
        log_odds: Vec<Option<f32>>,
    }

    async fn classifier(precision: Precision) -> TermClassifier {
        let store = ModelStore::from_env().unwrap();
        let folder = store.fetch(&ModelSpec::minilm(), &NoProgress, &RunContext::new()).await.unwrap();
        let options = BertOptions::default().precision(precision);
        TermClassifier::new(&BertEmbedder::load_with(folder, options).await.unwrap()).await.unwrap()
    }

    /// The largest difference to what the reference computes, whose words beyond the end are not read either.
    async fn worst(precision: Precision) -> f32 {
        let golden: Golden =
            serde_json::from_str(include_str!("../../../tests/data/terms-golden.json")).unwrap();
        let classifier = classifier(precision).await;
        let mut worst = 0.0_f32;
        for case in golden.cases {
            let marked = |read: &Read| Marked {
                text: read.text.clone(),
                words: read.words.iter().map(|(start, end)| *start..*end).collect(),
            };
            let texts: Vec<Marked> = case.texts.iter().map(marked).collect();
            let odds = classifier.log_odds(&case.question, texts, &RunContext::new()).await.unwrap();
            let pairs = case.texts.iter().flat_map(|read| &read.log_odds).zip(odds.iter().flatten());
            for (expected, got) in pairs {
                assert_eq!(expected.is_some(), got.is_some(), "{}", case.question);
                worst = worst.max((expected.unwrap_or_default() - got.unwrap_or_default()).abs());
            }
        }
        worst
    }

    #[tokio::test]
    async fn a_conversation_is_read_as_the_reference_reads_it() {
        let single = worst(Precision::Single).await;
        assert!(single < 2e-3, "{single}");
        let int8 = worst(Precision::Int8).await;
        assert!(int8 < 0.5, "{int8}");
    }

    #[tokio::test]
    async fn odd_texts_are_read_without_harm() {
        let classifier = classifier(Precision::Int8).await;
        let long = "x".repeat(100_000);
        let marked = |text: &str, words: &[Range<usize>]| Marked { text: text.into(), words: words.to_vec() };
        for question in ["", "?", &"why ".repeat(5_000)] {
            for texts in [
                vec![],
                vec![Marked::default()],
                vec![marked("ab", &[0..1, 0..9, 5..6])],
                vec![marked(&long, &[0..1, 2..9])],
            ] {
                let expected: Vec<_> = texts.iter().map(|text| text.words.len()).collect();
                let odds = classifier.log_odds(question, texts, &RunContext::new()).await.unwrap();
                assert_eq!(odds.iter().map(Vec::len).collect::<Vec<_>>(), expected);
            }
        }
    }

    #[tokio::test]
    async fn another_model_has_not_learnt_it() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cross-encoder");
        let refused = TermClassifier::new(&BertEmbedder::load(folder).await.unwrap()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
        assert!(refused.message().contains("all-MiniLM-L6-v2, not for cross-encoder"), "{refused}");
    }
}
