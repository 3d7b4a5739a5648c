//! The shape of a model, read from its file's metadata and held to what the forward pass computes.

use agentkit_core::{Error, ErrorKind, Result};

use super::super::gguf::Gguf;

/// Layers that a model may have at most.
const MAX_LAYERS: usize = 512;
/// Values of a state that a model may have at most.
const MAX_WIDTH: usize = 1 << 16;

/// The shape of a llama.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Config {
    pub(crate) layers: usize,
    /// Values of a state.
    pub(crate) width: usize,
    /// Values inside a feed-forward layer.
    pub(crate) inner: usize,
    /// Heads of queries.
    pub(crate) heads: usize,
    /// Heads of keys and values, each shared by as many heads of queries.
    pub(crate) shared_heads: usize,
    /// Values of a head.
    pub(crate) head: usize,
    /// Tokens it was made for.
    pub(crate) context: usize,
    pub(crate) epsilon: f32,
    /// The base of the angles of rotary positions.
    pub(crate) base: f32,
}

impl Config {
    /// Reads the shape.
    ///
    /// # Errors
    /// Unsupported, if the model is of another kind; corrupt, if a number is missing or makes no sense.
    pub(crate) fn read(file: &Gguf) -> Result<Self> {
        let architecture = file.text("general.architecture")?;
        if architecture != "llama" {
            let message =
                format!("{} holds a model of kind {architecture:?}; only llama is supported", file.name());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let heads = file.count("llama.attention.head_count")?;
        let width = file.count("llama.embedding_length")?;
        let config = Self {
            layers: file.count("llama.block_count")?,
            width,
            inner: file.count("llama.feed_forward_length")?,
            heads,
            shared_heads: file.count_or("llama.attention.head_count_kv", heads)?,
            head: file.count_or("llama.attention.key_length", width / heads.max(1))?,
            context: file.count("llama.context_length")?,
            epsilon: file.number_or("llama.attention.layer_norm_rms_epsilon", 1e-5)?,
            base: file.number_or("llama.rope.freq_base", 10_000.0)?,
        };
        config.check(file)?;
        Ok(config)
    }

    fn check(&self, file: &Gguf) -> Result<()> {
        let queries = self.heads.saturating_mul(self.head);
        let sane = (1..=MAX_LAYERS).contains(&self.layers)
            && [self.width, self.inner, queries].iter().all(|n| (1..=MAX_WIDTH).contains(n))
            && self.heads.checked_rem(self.shared_heads) == Some(0)
            && self.head.is_multiple_of(2)
            && self.context > 0
            && self.epsilon > 0.0
            && self.base > 1.0
            && (self.epsilon + self.base).is_finite();
        if !sane {
            return Err(Error::corrupt(format!("{} describes an impossible model: {self:?}", file.name())));
        }
        let scaling = file.text_or("llama.rope.scaling.type", "none")?;
        let rotated = file.count_or("llama.rope.dimension_count", self.head)?;
        let values = file.count_or("llama.attention.value_length", self.head)?;
        let experts = file.count_or("llama.expert_count", 0)?;
        if scaling != "none" || rotated != self.head || values != self.head || experts != 0 {
            let message = format!(
                "{} needs what this forward pass does not compute: {experts} experts, rotary scaling {scaling:?}, \
                 heads of {} values of which {rotated} are rotated, and of {values} values",
                file.name(),
                self.head
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(())
    }
}
