//! Measuring chunks: how much of the passages that answer a question is found, and how much else with it.
//!
//! The measures are those of B. Smith and A. Troynikov, "Evaluating Chunking Strategies for Retrieval" (Chroma, 2024), in
//! characters of the source texts.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use agentkit_core::{
    DocumentId, Error, Result, Retriever, RunContext, SearchPlan, SearchRequest, Span, TenantScope,
};
use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::stats::{Interval, Resampling};
use crate::load::load_bytes;
use crate::source::SourceDocument;

/// Searches at once.
const CONCURRENCY: usize = 4;

/// A question, and where in one document its answer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanQuestion {
    /// Names it.
    pub id: String,
    /// What is asked.
    pub text: String,
    /// The document with the answer.
    pub document: DocumentId,
    /// The passages that answer it.
    pub spans: Vec<Span>,
}

/// Documents, and questions whose answers stand in known places of them.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanSet {
    texts: HashMap<DocumentId, String>,
    documents: Vec<SourceDocument>,
    questions: Vec<SpanQuestion>,
}

/// How well the passages of a question were found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpanScores {
    /// The part of the passages that was found.
    pub recall: f64,
    /// The part of what was found that is in the passages.
    pub precision: f64,
    /// The intersection of both over their union.
    pub iou: f64,
}

/// Figures over all questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpanReport {
    /// Hits asked for with each question.
    pub top_k: usize,
    /// Mean recall.
    pub recall: Interval,
    /// Mean precision.
    pub precision: Interval,
    /// Mean intersection over union.
    pub iou: Interval,
    /// The scores of each question, by its id, in the order of the set.
    pub questions: Vec<(String, SpanScores)>,
}

/// How it is asked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SpanOptions {
    /// Where the documents of the set are, and nothing else.
    pub scope: TenantScope,
    /// Hits asked for with each question; 5 unless set.
    pub top_k: usize,
    /// How is searched.
    pub plan: SearchPlan,
    /// How intervals are made.
    pub resampling: Resampling,
}

impl SpanOptions {
    /// Five hits of the default plan, in `scope`.
    #[must_use]
    pub fn new(scope: TenantScope) -> Self {
        Self { scope, top_k: 5, plan: SearchPlan::default(), resampling: Resampling::default() }
    }

    /// Asks for so many hits.
    #[must_use]
    pub fn top_k(mut self, hits: usize) -> Self {
        self.top_k = hits;
        self
    }

    /// Searches by this plan.
    #[must_use]
    pub fn plan(mut self, plan: SearchPlan) -> Self {
        self.plan = plan;
        self
    }
}

/// A line of `questions.jsonl`.
#[derive(Deserialize)]
struct Line {
    id: String,
    question: String,
    corpus: String,
    references: Vec<Reference>,
}

/// A passage, in Unicode code points.
#[derive(Deserialize)]
struct Reference {
    start_index: usize,
    end_index: usize,
}

impl SpanSet {
    /// A set of these documents and questions.
    ///
    /// # Errors
    /// Invalid input, if a question's document is missing, or a passage is empty or not on characters of it.
    pub fn new(documents: Vec<SourceDocument>, questions: Vec<SpanQuestion>) -> Result<Self> {
        let texts: HashMap<_, _> =
            documents.iter().map(|document| (document.id.clone(), document.source_text.clone())).collect();
        for question in &questions {
            let text = texts.get(&question.document).ok_or_else(|| {
                Error::invalid_input(format!(
                    "question {:?} is about a document that is not there",
                    question.id
                ))
            })?;
            let fits = |span: &Span| span.start < span.end && span.slice(text).is_some();
            if question.spans.is_empty() || !question.spans.iter().all(fits) {
                return Err(Error::invalid_input(format!(
                    "question {:?} has an impossible passage",
                    question.id
                )));
            }
        }
        Ok(Self { texts, documents, questions })
    }

    /// Reads `corpora/*.md` and `questions.jsonl` of a folder. A line of the latter has `id`, `question`, `corpus`, which is a file's
    /// name without its extension, and `references` with `start_index` and `end_index` in Unicode code points.
    ///
    /// # Errors
    /// Not found or unavailable, and invalid input that names the line.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let documents = corpora(&folder.join("corpora"))?;
        let path = folder.join("questions.jsonl");
        let lines = fs::read_to_string(&path)
            .map_err(|error| Error::io(format!("read {}", path.display()), error))?;
        let questions =
            lines.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()).map(|(line, number)| {
                question(line, &documents).map_err(|error| {
                    Error::invalid_input(format!("read line {number} of {}", path.display()))
                        .with_source(error)
                })
            });
        let questions = questions.collect::<Result<_>>()?;
        Self::new(documents, questions)
    }

    /// The documents, to be stored before they are searched.
    #[must_use]
    pub fn documents(&self) -> &[SourceDocument] {
        &self.documents
    }

    /// The questions.
    #[must_use]
    pub fn questions(&self) -> &[SpanQuestion] {
        &self.questions
    }

    /// How well `found` holds the passages of `question`. Documents that the set does not know count nothing.
    #[must_use]
    pub fn scores(&self, question: &SpanQuestion, found: &[(DocumentId, Span)]) -> SpanScores {
        let length = |document: &DocumentId, span: Span| {
            let text = self.texts.get(document).and_then(|text| span.slice(text));
            text.map_or(0, |text| text.chars().count())
        };
        let ours =
            || found.iter().filter(|(document, _)| *document == question.document).map(|(_, span)| *span);
        let of_ours =
            |spans: Vec<Span>| -> usize { spans.iter().map(|span| length(&question.document, *span)).sum() };
        let wanted = united(question.spans.clone());
        let covered = united(ours().collect());
        let common = of_ours(common(&wanted, &covered));
        let wanted = of_ours(wanted);
        let all: usize = found.iter().map(|(document, span)| length(document, *span)).sum();
        SpanScores {
            recall: share(common, wanted),
            precision: share(common, all),
            iou: share(common, all + wanted - common),
        }
    }
}

/// Asks every question of `set` and scores the hits by their spans.
///
/// # Cancel safety
/// Cancel safe: searching changes nothing.
///
/// # Errors
/// The first error of the retriever, or stopped.
pub async fn evaluate_spans(
    retriever: &dyn Retriever,
    set: &SpanSet,
    options: &SpanOptions,
    ctx: &RunContext,
) -> Result<SpanReport> {
    let ask = |question: SpanQuestion| async move {
        let request = SearchRequest::new(options.scope.clone(), question.text.as_str());
        let request = request.top_k(options.top_k).plan(options.plan.clone());
        let hits = retriever.search(&request, ctx).await?.hits;
        let found: Vec<_> = hits.into_iter().map(|hit| (hit.passage.document_id, hit.passage.span)).collect();
        let scores = set.scores(&question, &found);
        Ok::<_, Error>((question.id, scores))
    };
    let asked: Vec<_> = set.questions.iter().cloned().map(ask).collect();
    let asked = futures_util::stream::iter(asked).buffered(CONCURRENCY).try_collect::<Vec<_>>();
    let questions = ctx.run(Box::pin(asked)).await?;
    let mean = |part: fn(&SpanScores) -> f64| {
        let values: Vec<f64> = questions.iter().map(|(_, scores)| part(scores)).collect();
        options.resampling.interval(&values)
    };
    let (recall, precision) = (mean(|scores| scores.recall), mean(|scores| scores.precision));
    Ok(SpanReport { top_k: options.top_k, recall, precision, iou: mean(|scores| scores.iou), questions })
}

/// Every Markdown file of a folder as a document, by name.
fn corpora(folder: &Path) -> Result<Vec<SourceDocument>> {
    let failed = |error| Error::io(format!("read {}", folder.display()), error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    let markdown = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let load = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        load_bytes(name, "md", &fs::read(path).map_err(failed)?)
    };
    markdown.map(load).collect()
}

fn question(line: &str, documents: &[SourceDocument]) -> Result<SpanQuestion> {
    let line: Line = serde_json::from_str(line)
        .map_err(|error| Error::invalid_input("it is no question with references").with_source(error))?;
    let document = documents.iter().find(|document| document.id.as_str() == line.corpus);
    let document = document.ok_or_else(|| {
        Error::invalid_input(format!("there is no file {}.md among the corpora", line.corpus))
    })?;
    let text = &document.source_text;
    // A byte order mark is not in the source text but was counted.
    let skipped = usize::from(document.original_start > 0);
    let byte = |at: usize| {
        let at = at.saturating_sub(skipped);
        text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(at)
    };
    let span = |reference: &Reference| {
        let range = byte(reference.start_index).zip(byte(reference.end_index));
        range.map(|(start, end)| Span::new(start, end)).ok_or_else(|| {
            Error::invalid_input(format!("its passage at {} is beyond the text", reference.start_index))
        })
    };
    let spans = line.references.iter().map(span).collect::<Result<_>>()?;
    Ok(SpanQuestion { id: line.id, text: line.question, document: document.id.clone(), spans })
}

/// The same places, in order and without overlaps.
fn united(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| span.start);
    let mut united: Vec<Span> = Vec::new();
    for span in spans {
        match united.last_mut() {
            Some(last) if span.start <= last.end => *last = Span::new(last.start, last.end.max(span.end)),
            _ => united.push(span),
        }
    }
    united
}

/// What is in both.
fn common(one: &[Span], other: &[Span]) -> Vec<Span> {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a.start.max(b.start), a.end.min(b.end))));
    pairs.filter(|(start, end)| start < end).map(|(start, end)| Span::new(start, end)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "texts are shorter than 2^52 characters")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> SpanSet {
        let document = SourceDocument::text("d", "äbcdefghij0123456789").unwrap();
        let id = document.id.clone();
        let question = SpanQuestion {
            id: "q".into(),
            text: "?".into(),
            document: id,
            spans: vec![Span::new(0, 5), Span::new(11, 13)],
        };
        let other = SourceDocument::text("e", "x".repeat(100)).unwrap();
        SpanSet::new(vec![document, other], vec![question]).unwrap()
    }

    #[test]
    fn scores_count_characters_once() {
        let set = set();
        let question = &set.questions()[0];
        let (d, e) = (DocumentId::new("d").unwrap(), DocumentId::new("e").unwrap());
        // The passages have 4 and 2 characters.
        for (found, recall, precision, iou) in [
            (vec![], 0.0, 0.0, 0.0),
            (vec![(d.clone(), Span::new(0, 21))], 1.0, 6.0 / 20.0, 6.0 / 20.0),
            (
                vec![(d.clone(), Span::new(0, 5)), (d.clone(), Span::new(2, 5))],
                4.0 / 6.0,
                4.0 / 7.0,
                4.0 / 9.0,
            ),
            (vec![(d, Span::new(11, 15)), (e, Span::new(0, 16))], 2.0 / 6.0, 2.0 / 20.0, 2.0 / 24.0),
        ] {
            assert_eq!(set.scores(question, &found), SpanScores { recall, precision, iou }, "{found:?}");
        }
    }

    #[test]
    fn a_folder_is_read_with_offsets_in_characters() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("corpora")).unwrap();
        fs::write(folder.path().join("corpora/tea.md"), "äöü tea").unwrap();
        let line = |corpus: &str, end: usize| {
            format!(
                "{{\"id\":\"1\",\"question\":\"?\",\"corpus\":\"{corpus}\",\"references\":[{{\"start_index\":4,\"end_index\":{end}}}]}}\n"
            )
        };
        let questions = folder.path().join("questions.jsonl");
        fs::write(&questions, line("tea", 7)).unwrap();
        let set = SpanSet::load(folder.path()).unwrap();
        assert_eq!(set.questions()[0].spans[0].slice(&set.documents()[0].source_text), Some("tea"));
        for (bad, said) in
            [(line("oil", 7), "oil.md"), (line("tea", 9), "beyond"), ("x".into(), "no question")]
        {
            fs::write(&questions, bad).unwrap();
            let error = SpanSet::load(folder.path()).unwrap_err();
            assert!(error.chain().contains(said) && error.message().contains("line 1"), "{}", error.chain());
        }
        fs::write(&questions, line("tea", 4)).unwrap();
        assert!(SpanSet::load(folder.path()).unwrap_err().message().contains("impossible"));
    }
}
