//! Embedding and reranking on this machine: BERT-family models on Candle's weights, with a forward pass built for CPUs.

mod absent;
mod bert;
mod cached;

pub(crate) use self::absent::AbsentModel;
pub(crate) use self::bert::Marked;
pub use self::bert::{BertEmbedder, BertOptions, CrossEncoder, LateInteraction, Precision, TermClassifier};
pub use self::cached::CachedEmbedder;
