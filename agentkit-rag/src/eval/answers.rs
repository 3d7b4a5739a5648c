//! Measuring an agent's answers: whether they hold what was asked for, cite the right document, and are refused when the
//! documents do not answer.

use std::fmt;
use std::sync::Arc;

use agentkit_core::{Agent, AgentInput, AgentReply, Error, Outcome, Result, RunContext, TenantScope};
use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::abstention::Abstention;
use super::contain::holds_any;
use super::questions::Question;
use super::stats::{Interval, Resampling};

/// Cited passages that are looked into for an answer.
const CITED: usize = 5;
/// Characters of an answer that are looked into.
const ANSWER_CHARS: usize = 600;
/// Questions in flight at once unless told otherwise.
const CONCURRENCY: usize = 2;

type OnProgress = Arc<dyn Fn(usize) + Send + Sync>;

/// How to measure answers.
#[derive(Clone)]
pub struct AnswerOptions {
    scope: TenantScope,
    concurrency: usize,
    on_progress: Option<OnProgress>,
}

impl AnswerOptions {
    /// Asks in `scope`, two questions at a time.
    #[must_use]
    pub fn new(scope: TenantScope) -> Self {
        Self { scope, concurrency: CONCURRENCY, on_progress: None }
    }

    /// How many questions are asked at once, at least 1.
    #[must_use]
    pub fn concurrency(mut self, questions: usize) -> Self {
        self.concurrency = questions.max(1);
        self
    }

    /// Calls this after each question with how many are done.
    #[must_use]
    pub fn on_progress(mut self, call: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(call));
        self
    }
}

impl fmt::Debug for AnswerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("AnswerOptions");
        debug.field("scope", &self.scope).field("concurrency", &self.concurrency).finish_non_exhaustive()
    }
}

/// An answer and what is right about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JudgedAnswer {
    /// The question.
    pub id: String,
    /// Whether the documents answer it.
    pub answerable: bool,
    /// How the run ended.
    pub outcome: Outcome,
    /// Whether a known answer stands in the first 600 characters; `None` if none is known.
    pub in_answer: Option<bool>,
    /// Whether a known answer stands in the first five passages cited; `None` if none is known.
    pub in_cited: Option<bool>,
    /// How many citations there are.
    pub citations: usize,
    /// How many of them are of the question's own document; `None` if it is not known.
    pub right_citations: Option<usize>,
}

/// The answers to the questions of a data set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AnswerReport {
    /// One for each question, in the order of the questions.
    pub answers: Vec<JudgedAnswer>,
}

/// What the answers of a report come to; a figure is absent if there is no question that it is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AnswerFigures {
    /// Share of the answerable questions whose answer holds a known one. Refusals hold none.
    pub in_answer: Option<Interval>,
    /// Share of the answerable questions with a known answer in the passages cited.
    pub in_cited: Option<Interval>,
    /// Of the answers to answerable questions that cite: the share of citations of the right document, averaged over the
    /// answers.
    pub citation_precision: Option<Interval>,
    /// Of the same answers: the share with a citation of the right document.
    pub citation_recall: Option<Interval>,
    /// Share of the unanswerable questions that are refused, which is right.
    pub refused_unanswerable: Option<Interval>,
    /// Share of the answerable questions that are refused, which is wrong.
    pub refused_answerable: Option<Interval>,
}

/// Asks `agent` every question and judges its answers.
///
/// # Cancel safety
/// Cancel safe: each question is a conversation of its own.
///
/// # Errors
/// The first error of the agent, with its question named, or stopped.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::testing::MemoryRetriever;
/// use agentkit_core::{Metadata, RunContext, TenantScope};
/// use agentkit_rag::answer::{ExtractiveModel, RagAgent};
/// use agentkit_rag::eval::{AnswerOptions, Question, Resampling, evaluate_answers};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let scope = TenantScope::local();
/// let retriever = MemoryRetriever::new();
/// retriever.add_text(&scope, "tea", "Green tea is best at 80 degrees.", &Metadata::new())?;
/// let agent = RagAgent::new(Arc::new(retriever), Arc::new(ExtractiveModel::new()));
///
/// let questions = [
///     Question::new("q1", "At how many degrees is green tea best?").answers(["80 degrees"]).context_id("tea"),
///     Question::new("q2", "Who painted the ceiling of the chapel?").unanswerable(),
/// ];
/// let options = AnswerOptions::new(scope);
/// let report = evaluate_answers(&agent, &questions, &options, &RunContext::new()).await?;
/// let figures = report.figures(&Resampling::default());
/// assert_eq!(figures.in_answer.unwrap().mean, 1.0);
/// assert_eq!(figures.citation_precision.unwrap().mean, 1.0);
/// assert_eq!(figures.refused_unanswerable.unwrap().mean, 1.0);
/// # Ok::<_, agentkit_core::Error>(())
/// # }).unwrap();
/// ```
pub async fn evaluate_answers(
    agent: &dyn Agent,
    questions: &[Question],
    options: &AnswerOptions,
    ctx: &RunContext,
) -> Result<AnswerReport> {
    let asked: Vec<_> = questions.iter().map(|question| ask(agent, question, options, ctx)).collect();
    let mut judged = futures_util::stream::iter(asked).buffered(options.concurrency);
    let mut answers = Vec::new();
    while let Some(answer) = ctx.run(judged.try_next()).await? {
        answers.push(answer);
        if let Some(call) = &options.on_progress {
            call(answers.len());
        }
    }
    Ok(AnswerReport { answers })
}

async fn ask(
    agent: &dyn Agent,
    question: &Question,
    options: &AnswerOptions,
    ctx: &RunContext,
) -> Result<JudgedAnswer> {
    let input = AgentInput::new(options.scope.clone(), &question.question);
    let run = async { agent.run(input, ctx).await?.collect().await };
    let reply = run.await.map_err(|error| {
        Error::new(error.kind(), format!("ask question {:?}", question.id)).with_source(error)
    })?;
    Ok(JudgedAnswer::new(question, &reply))
}

impl JudgedAnswer {
    /// Judges a reply to a question.
    #[must_use]
    pub fn new(question: &Question, reply: &AgentReply) -> Self {
        let is_known = question.answerable && !question.answers.is_empty();
        let answer: String = reply.answer.chars().take(ANSWER_CHARS).collect();
        let document = question.context_id.as_deref().filter(|_| question.answerable);
        let right = |document| {
            reply.citations.iter().filter(|citation| citation.document_id.as_str() == document).count()
        };
        Self {
            id: question.id.clone(),
            answerable: question.answerable,
            outcome: reply.outcome,
            in_answer: is_known
                .then(|| reply.outcome != Outcome::Refused && holds_any(&answer, &question.answers)),
            in_cited: is_known.then(|| cited(reply).iter().any(|text| holds_any(text, &question.answers))),
            citations: reply.citations.len(),
            right_citations: document.map(right),
        }
    }

    fn is_refused(&self) -> bool {
        self.outcome == Outcome::Refused
    }

    /// Share of the citations that are right, if there are any.
    fn precision(&self) -> Option<f64> {
        let right = u32::try_from(self.right_citations?).ok()?;
        let all = u32::try_from(self.citations).ok().filter(|all| *all > 0)?;
        Some(f64::from(right) / f64::from(all))
    }
}

/// The first passages that the answer cites, each once.
fn cited(reply: &AgentReply) -> Vec<&str> {
    let mut numbers: Vec<usize> = Vec::new();
    for citation in &reply.citations {
        if !numbers.contains(&citation.number) && numbers.len() < CITED {
            numbers.push(citation.number);
        }
    }
    let is_cited = |number| numbers.contains(&number);
    let sources = reply.sources.iter().filter(|source| is_cited(source.number));
    sources.map(|source| source.passage.text.as_str()).collect()
}

impl AnswerReport {
    /// What the answers come to.
    #[must_use]
    pub fn figures(&self, resampling: &Resampling) -> AnswerFigures {
        let mean = |value: fn(&JudgedAnswer) -> Option<f64>| {
            let values: Vec<f64> = self.answers.iter().filter_map(value).collect();
            (!values.is_empty()).then(|| resampling.interval(&values))
        };
        AnswerFigures {
            in_answer: mean(|answer| answer.in_answer.map(share)),
            in_cited: mean(|answer| answer.in_cited.map(share)),
            citation_precision: mean(JudgedAnswer::precision),
            citation_recall: mean(|answer| answer.precision().map(|precision| share(precision > 0.0))),
            refused_unanswerable: mean(|answer| (!answer.answerable).then(|| share(answer.is_refused()))),
            refused_answerable: mean(|answer| answer.answerable.then(|| share(answer.is_refused()))),
        }
    }

    /// How well refusing tells answerable from unanswerable questions: an agent says no more than that.
    #[must_use]
    pub fn abstention(&self) -> Abstention {
        let score = |answer: &JudgedAnswer| (answer.answerable, share(!answer.is_refused()));
        Abstention::new(self.answers.iter().map(score))
    }
}

impl AnswerFigures {
    /// The figures that are there, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Interval)> {
        let named = [
            ("in_answer", self.in_answer),
            ("in_cited", self.in_cited),
            ("citation_precision", self.citation_precision),
            ("citation_recall", self.citation_recall),
            ("refused_unanswerable", self.refused_unanswerable),
            ("refused_answerable", self.refused_answerable),
        ];
        named.into_iter().filter_map(|(name, figure)| Some((name, figure?)))
    }
}

fn share(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}
