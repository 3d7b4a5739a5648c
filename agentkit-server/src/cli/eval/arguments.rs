//! The flags of `eval`.

use std::path::PathBuf;
use std::str::FromStr;

use agentkit_core::{Error, Result};
use agentkit_rag::eval::{
    Conversations, Dataset, Dimension, Metric, Minimum, NamedPlan, Question, read_conversations,
    read_questions,
};
use clap::Args;

use super::around::Around;
use super::chunking::Cut;
use crate::cli::Collection;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentkit-server eval --dataset DIR
  agentkit-server eval --chunking DIR --chunker sentence
  agentkit-server eval --dataset DIR --conversations FILE
  agentkit-server eval --rewriting FILE
  agentkit-server eval --dataset DIR --sweep weights=[1,1],[3,1] --report sweep.md
  agentkit-server eval --dataset DIR --server http://127.0.0.1:8080 --collection docs
  agentkit-server eval --dataset DIR --min ndcg@10=0.70 --baseline before.json")]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    pub(super) input: Input,
    #[command(flatten)]
    pub(super) target: Where,
    #[command(flatten)]
    pub(super) method: Method,
    #[command(flatten)]
    pub(super) around: Around,
    /// Ask the agent the questions of questions.jsonl as well and judge its answers
    #[arg(long)]
    pub(super) answers: bool,
    #[command(flatten)]
    pub(super) files: Files,
    #[command(flatten)]
    pub(super) conditions: Conditions,
}

/// What is asked and what is right.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Input {
    /// Folder with corpus.jsonl, queries.jsonl and qrels.tsv, or questions.jsonl in place of the last two
    #[arg(long, value_name = "DIR", required_unless_present_any = ["qrels", "chunking", "rewriting"])]
    dataset: Option<PathBuf>,
    /// Queries in place of the data set's: JSON Lines, TREC topics, or ids and texts with tabs between
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Judgements in place of the data set's, in the form of BEIR or TREC
    #[arg(long, value_name = "FILE")]
    qrels: Option<PathBuf>,
    /// Ask each query in its conversation: one JSON object a line with the query's id and its turns
    #[arg(long, value_name = "FILE", requires = "dataset")]
    conversations: Option<PathBuf>,
    /// Count the words that follow-ups take along, beside those that people added: dialogs as in CANARD
    #[arg(long, value_name = "FILE")]
    pub(super) rewriting: Option<PathBuf>,
    /// Questions with answers in place of the data set's questions.jsonl
    #[arg(long, value_name = "FILE")]
    questions: Option<PathBuf>,
    /// Folder with corpora/*.md and questions.jsonl with the passages that answer them: measure how documents are cut
    #[arg(long, value_name = "DIR", conflicts_with_all = ["dataset", "queries", "qrels", "server"])]
    pub(super) chunking: Option<PathBuf>,
    /// How documents are cut with --chunking [default: structure]
    #[arg(long, value_enum, value_name = "NAME", requires = "chunking", conflicts_with_all = ["dataset", "queries", "qrels"])]
    pub(super) chunker: Option<Cut>,
}

/// What is measured.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// Ask a running server instead of an index made for the purpose
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<String>,
    #[command(flatten)]
    pub(super) collection: Collection,
    /// Store the data set's documents in the server's collection first
    #[arg(long, requires = "server")]
    pub(super) upload: bool,
}

/// How it is measured.
#[derive(Debug, Args)]
pub(super) struct Method {
    /// Measure this search plan; may be repeated [default: bm25, dense and hybrid]
    #[arg(long, value_name = "NAME=JSON")]
    pub(super) plan: Vec<PlanArgument>,
    /// Try every value of a parameter of the plans, in every combination if repeated, such as candidates=10,100
    #[arg(long, value_name = "NAME=VALUES")]
    pub(super) sweep: Vec<Dimension>,
    /// Score these rankings of any tool, in TREC form, instead of searching
    #[arg(long, value_name = "FILE")]
    pub(super) score: Vec<PathBuf>,
    /// Metrics to show, such as ndcg@10,recall@100,mrr,map,precision@5,hit@3
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(super) metrics: Vec<Metric>,
    /// Documents ranked for each query; with 10 every plan is asked for as much as a user asks [default: 100]
    #[arg(long, value_name = "N")]
    pub(super) depth: Option<usize>,
    /// Searches in flight at once; use 1 to measure latency [default: 4]
    #[arg(long, value_name = "N")]
    pub(super) concurrency: Option<usize>,
    /// Where the chance of intervals and tests begins
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(super) seed: u64,
}

/// What is written.
#[derive(Debug, Args)]
pub(super) struct Files {
    /// Write the fused ranking here in TREC form, and every other beside it as FILE.NAME
    #[arg(long, value_name = "FILE")]
    pub(super) run: Option<PathBuf>,
    /// Write the figures here: .json with every query's values, .md as tables, .svg as a picture; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(super) report: Vec<PathBuf>,
}

/// What must be reached.
#[derive(Debug, Args)]
pub(super) struct Conditions {
    /// End with code 3 unless the mean is at least this; of `hybrid`, or the last run, or as RUN:METRIC=VALUE
    #[arg(long, value_name = "METRIC=VALUE")]
    pub(super) min: Vec<Minimum>,
    /// End with code 3 if a mean is worse than in this report (.json), or this ranking in TREC form
    #[arg(long, value_name = "FILE")]
    pub(super) baseline: Option<PathBuf>,
    /// How much worse than the baseline a mean may be [default: 0.005]
    #[arg(long, value_name = "VALUE", requires = "baseline")]
    pub(super) max_drop: Option<f64>,
}

/// A plan with its name.
#[derive(Debug, Clone)]
pub(super) struct PlanArgument(pub(super) NamedPlan);

impl FromStr for PlanArgument {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, json) = named.ok_or_else(|| {
            Error::invalid_input("write a plan as NAME=JSON, such as 'words={\"lexical\":{}}'")
        })?;
        let plan: agentkit_core::SearchPlan = serde_json::from_str(json)
            .map_err(|error| Error::invalid_input(format!("{json} is not a plan: {error}")))?;
        plan.validate()?;
        Ok(Self(NamedPlan::new(name, plan)))
    }
}

impl Arguments {
    /// Whether rankings are to be searched for, and not only read.
    pub(super) fn measures_retrieval(&self) -> bool {
        self.method.score.is_empty() || !self.method.plan.is_empty() || !self.method.sweep.is_empty()
    }

    /// Whether anything is to be asked.
    pub(super) fn searches(&self) -> bool {
        self.measures_retrieval() || self.answers
    }
}

impl Input {
    pub(super) fn dataset(&self) -> Result<Dataset> {
        let Self { dataset, queries, qrels, .. } = self;
        match (dataset, queries, qrels) {
            (Some(folder), None, None) => Dataset::load(folder),
            (Some(folder), queries, qrels) => {
                let queries = queries.clone().unwrap_or_else(|| folder.join("queries.jsonl"));
                let qrels = qrels.clone().unwrap_or_else(|| Dataset::qrels(folder));
                Ok(Dataset::read(queries, qrels)?.corpus(folder.join("corpus.jsonl")))
            }
            (None, Some(queries), Some(qrels)) => Dataset::read(queries, qrels),
            _ => Err(Error::invalid_input("name the data set with --dataset, or with --queries and --qrels")),
        }
    }

    /// Whether there is anything to be asked, beside words to be counted.
    pub(super) fn is_named(&self) -> bool {
        self.dataset.is_some() || self.qrels.is_some()
    }

    /// What was said before the queries; nothing unless it is named.
    pub(super) fn has_conversations(&self) -> bool {
        self.conversations.is_some()
    }

    pub(super) fn conversations(&self) -> Result<Conversations> {
        self.conversations.as_ref().map_or_else(|| Ok(Conversations::new()), read_conversations)
    }

    pub(super) fn questions(&self) -> Result<Vec<Question>> {
        let own = self.dataset.as_ref().map(|folder| folder.join("questions.jsonl"));
        let file = self.questions.clone().or(own);
        read_questions(file.ok_or_else(|| Error::invalid_input("name the questions with --questions"))?)
    }
}
