//! What `eval` puts around the retriever it measures: a rewriter of questions, and a reranker.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use agentkit_core::{
    ChatModel, Error, Hyde, ModelRewriter, MultiQuery, QueryRewriter, Reranker, RerankingRetriever, Result,
    Retriever, RewritingRetriever,
};
use agentkit_rag::answer::{HistoryRewriter, QueryResolver};
use agentkit_rag::embed::{BertEmbedder, CrossEncoder, LateInteraction};
use clap::{Args, ValueEnum};

use crate::cli::Session;
use crate::cli::output::Unit;
use crate::config::Config;
use crate::engine::{chat_model, resolver_of};

/// What is put around the retriever.
#[derive(Debug, Clone, Args)]
pub(super) struct Around {
    /// Search for what this makes of each query; `model`, `multi-query` and `hyde` ask the chat model of the configuration
    #[arg(long, value_enum, value_name = "NAME", default_value_t)]
    pub(super) rewriter: Rewriter,
    /// Order the best hits anew: `maxsim`, or the folder of a cross-encoder
    #[arg(long, value_name = "NAME")]
    rerank: Option<Rerank>,
    /// How many hits to order anew
    #[arg(long, value_name = "N", default_value_t = 20)]
    rerank_candidates: usize,
}

/// What is made of a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Rewriter {
    /// Words of the conversation that the embedding model finds to be lacking, as the service searches
    #[default]
    Resolver,
    /// Words of the conversation by what they look like and where they stand
    History,
    /// The question as it was asked
    None,
    /// The question as a model writes it out in full
    Model,
    /// Several wordings of a model
    MultiQuery,
    /// A made-up answer of a model
    Hyde,
}

/// What looks at hits again.
#[derive(Debug, Clone)]
enum Rerank {
    MaxSim,
    CrossEncoder(PathBuf),
}

impl FromStr for Rerank {
    type Err = std::convert::Infallible;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(if name == "maxsim" { Self::MaxSim } else { Self::CrossEncoder(name.into()) })
    }
}

impl Around {
    /// `retriever` with all of this around it, asked for questions in a conversation or alone.
    pub(super) async fn put(
        &self,
        retriever: Arc<dyn Retriever>,
        session: &Session,
        in_conversation: bool,
    ) -> Result<Arc<dyn Retriever>> {
        let rewriter =
            if in_conversation || self.rewriter.rewrites_any() { self.rewriter } else { Rewriter::None };
        let rewritten: Arc<dyn Retriever> = match rewriter.build(session).await? {
            Some(rewriter) => Arc::new(RewritingRetriever::new(retriever, rewriter)),
            None => retriever,
        };
        let Some(rerank) = &self.rerank else { return Ok(rewritten) };
        let reranker = rerank.load(&session.config).await?;
        Ok(Arc::new(RerankingRetriever::new(rewritten, reranker).candidates(self.rerank_candidates)))
    }
}

impl Rewriter {
    /// Whether it makes something of a question without a conversation.
    fn rewrites_any(self) -> bool {
        matches!(self, Self::MultiQuery | Self::Hyde)
    }

    /// What this stands for; without the embedding model that can read conversations `resolver` is `history`.
    pub(super) async fn build(self, session: &Session) -> Result<Option<Arc<dyn QueryRewriter>>> {
        Ok(match self {
            Self::Resolver => match resolver(session).await? {
                Some(resolver) => Some(Arc::new(resolver)),
                None => Some(Arc::new(HistoryRewriter::new())),
            },
            Self::History => Some(Arc::new(HistoryRewriter::new())),
            Self::None => None,
            Self::Model => Some(Arc::new(ModelRewriter::new(model(session).await?))),
            Self::MultiQuery => Some(Arc::new(MultiQuery::new(model(session).await?))),
            Self::Hyde => Some(Arc::new(Hyde::new(model(session).await?))),
        })
    }
}

pub(super) async fn resolver(session: &Session) -> Result<Option<QueryResolver>> {
    let progress = session.out.progress("opening", Unit::Bytes);
    resolver_of(&session.config, &progress, &session.ctx).await
}

async fn model(session: &Session) -> Result<Arc<dyn ChatModel>> {
    let chat = session.config.chat.as_ref().ok_or_else(|| {
        Error::invalid_input("this rewriter asks a chat model; configure one, or leave --rewriter out")
    })?;
    let progress = session.out.progress("opening", Unit::Bytes);
    chat_model(Some(chat), &progress, &session.ctx).await
}

impl Rerank {
    async fn load(&self, config: &Config) -> Result<Arc<dyn Reranker>> {
        Ok(match (self, &config.model) {
            (Self::MaxSim, Some(folder)) => Arc::new(LateInteraction::new(BertEmbedder::load(folder).await?)),
            (Self::MaxSim, None) => Arc::new(LateInteraction::new(BertEmbedder::minilm().await?)),
            (Self::CrossEncoder(folder), _) => Arc::new(CrossEncoder::load(folder).await?),
        })
    }
}
