//! What `eval` puts around the retriever it measures: a rewriter of questions, and a reranker.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use agentkit_core::{
    ChatModel, Error, Hyde, ModelRewriter, MultiQuery, QueryRewriter, Reranker, RerankingRetriever, Result,
    Retriever, RewritingRetriever,
};
use agentkit_rag::answer::HistoryRewriter;
use agentkit_rag::embed::{BertEmbedder, CrossEncoder, LateInteraction};
use clap::{Args, ValueEnum};

use crate::cli::Session;
use crate::cli::output::Unit;
use crate::config::Config;
use crate::engine::chat_model;

/// What is put around the retriever.
#[derive(Debug, Clone, Args)]
pub(super) struct Around {
    /// Search for what this makes of each query; all but `history` and `none` ask the chat model of the configuration
    #[arg(long, value_enum, value_name = "NAME", default_value_t)]
    rewriter: Rewriter,
    /// Order the best hits anew: `maxsim`, or the folder of a cross-encoder
    #[arg(long, value_name = "NAME")]
    rerank: Option<Rerank>,
    /// How many hits to order anew
    #[arg(long, value_name = "N", default_value_t = 20)]
    rerank_candidates: usize,
}

/// What is made of a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Rewriter {
    /// Words of the conversation, without a model
    #[default]
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
    /// `retriever` with all of this around it.
    pub(super) async fn put(
        &self,
        retriever: Arc<dyn Retriever>,
        session: &Session,
    ) -> Result<Arc<dyn Retriever>> {
        let rewritten: Arc<dyn Retriever> = match self.rewriter.build(session).await? {
            Some(rewriter) => Arc::new(RewritingRetriever::new(retriever, rewriter)),
            None => retriever,
        };
        let Some(rerank) = &self.rerank else { return Ok(rewritten) };
        let reranker = rerank.load(&session.config).await?;
        Ok(Arc::new(RerankingRetriever::new(rewritten, reranker).candidates(self.rerank_candidates)))
    }
}

impl Rewriter {
    async fn build(self, session: &Session) -> Result<Option<Arc<dyn QueryRewriter>>> {
        Ok(match self {
            Self::History => Some(Arc::new(HistoryRewriter::new())),
            Self::None => None,
            Self::Model => Some(Arc::new(ModelRewriter::new(model(session).await?))),
            Self::MultiQuery => Some(Arc::new(MultiQuery::new(model(session).await?))),
            Self::Hyde => Some(Arc::new(Hyde::new(model(session).await?))),
        })
    }
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
