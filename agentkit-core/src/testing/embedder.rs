//! An embedder without a model: words hashed into a vector, the same on every machine.

use async_trait::async_trait;

use super::words::words;
use crate::context::RunContext;
use crate::embed::{EmbedSide, Embedder, EmbedderIdentity, Embedding};
use crate::error::Result;

/// Components of a vector unless another number is asked for.
const DIMENSION: usize = 64;
/// Words after these are not looked at.
const MAX_WORDS: usize = 512;

/// Embeds a text as its bag of words by feature hashing, so texts that share words are close.
///
/// After Weinberger et al., "Feature Hashing for Large Scale Multitask Learning" (ICML 2009): a word's hash
/// chooses its component and its sign. A text without words gets the first unit vector.
///
/// # Examples
/// ```
/// use agentkit_core::testing::HashingEmbedder;
/// use agentkit_core::{EmbedSide, Embedder, RunContext};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let embedder = HashingEmbedder::with_dimension(32);
/// let vectors = embedder.embed(EmbedSide::Query, vec!["green tea".into()], &RunContext::new()).await.unwrap();
/// assert_eq!(vectors[0].as_slice().len(), 32);
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct HashingEmbedder {
    identity: EmbedderIdentity,
}

impl HashingEmbedder {
    /// An embedder of 64 dimensions.
    #[must_use]
    pub fn new() -> Self {
        Self::with_dimension(DIMENSION)
    }

    /// An embedder of this many dimensions, at least one.
    #[must_use]
    pub fn with_dimension(dimension: usize) -> Self {
        let mut identity = EmbedderIdentity::new("agentkit/hashing", dimension.max(1), MAX_WORDS);
        identity.pooling = "sum".into();
        identity.revision = "fnv1a-1".into();
        Self { identity }
    }

    /// The same vectors under another name, to stand for another model.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.identity.name = name.into();
        self
    }

    /// Embeds one text, without a context.
    pub(super) fn vector(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0_f32; self.identity.dimension];
        for word in words(text).take(MAX_WORDS) {
            let hash = fnv1a(word.as_bytes());
            let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
            if let Some(component) = vector.get_mut(bucket(hash, self.identity.dimension)) {
                *component += sign;
            }
        }
        normalise(&mut vector);
        vector
    }
}

impl Default for HashingEmbedder {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Embedder for HashingEmbedder {
    fn identity(&self) -> &EmbedderIdentity {
        &self.identity
    }

    fn count_tokens(&self, text: &str) -> usize {
        words(text).count()
    }

    fn familiarity(&self, _text: &str) -> f32 {
        1.0
    }

    async fn embed(&self, _side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        ctx.check()?;
        let embed = |text: &String| ctx.check().and_then(|()| Embedding::new(self.vector(text)));
        texts.iter().map(embed).collect()
    }
}

fn bucket(hash: u64, dimension: usize) -> usize {
    usize::try_from((hash >> 1) % dimension as u64).unwrap_or(0)
}

/// The 64-bit FNV-1a hash of Fowler, Noll and Vo.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Words may cancel each other out, so the sum can be zero even for a text that has some.
fn normalise(vector: &mut [f32]) {
    let norm = vector.iter().map(|c| c * c).sum::<f32>().sqrt();
    if norm > 0.0 {
        for component in vector {
            *component /= norm;
        }
    } else if let Some(first) = vector.first_mut() {
        *first = 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_share_words_are_closer_than_texts_that_do_not() {
        let embedder = HashingEmbedder::with_dimension(256);
        let cosine = |a: &str, b: &str| -> f32 {
            embedder.vector(a).iter().zip(embedder.vector(b)).map(|(a, b)| a * b).sum()
        };
        let near = cosine("reset the router", "How do I reset my router?");
        let far = cosine("reset the router", "descale a kettle with vinegar");
        assert!(near > far + 0.2, "{near} against {far}");
        assert!((cosine("Tea, green!", "green tea") - 1.0).abs() < 1e-6);
    }
}
