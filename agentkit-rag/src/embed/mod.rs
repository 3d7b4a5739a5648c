//! Embedding on this machine: BERT-family models on Candle's weights, with a forward pass built for CPUs.

mod bert;
mod cached;

pub use self::bert::{BertEmbedder, BertOptions, Precision};
pub use self::cached::CachedEmbedder;
