//! The weights of a model, taken out of its file tensor by tensor.

use std::collections::BTreeSet;

use agentkit_core::{Error, ErrorKind, Result};

use super::super::gguf::Gguf;
use super::{Config, Matrix};

/// What a layer is made of.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention_norm: Vec<f32>,
    pub(super) query: Matrix,
    pub(super) key: Matrix,
    pub(super) value: Matrix,
    pub(super) mix: Matrix,
    pub(super) feed_norm: Vec<f32>,
    pub(super) gate: Matrix,
    pub(super) up: Matrix,
    pub(super) down: Matrix,
}

/// All weights.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) embedding: Matrix,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Vec<f32>,
    /// `None` if the embedding is the output as well.
    output: Option<Matrix>,
    /// By how much a position turns each pair of a head.
    pub(super) frequencies: Vec<f32>,
}

impl Weights {
    pub(super) fn read(file: &mut Gguf, config: &Config, check: &dyn Fn() -> Result<()>) -> Result<Self> {
        let mut source = Source { unread: file.tensors(), file };
        let embedding = source.matrix("token_embd.weight", None, config.width)?;
        let layers = (0..config.layers).map(|number| {
            check()?;
            source.layer(number, config)
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        let norm = source.vector("output_norm.weight", config.width)?;
        let output = if source.has("output.weight") {
            Some(source.matrix("output.weight", Some(embedding.width()), config.width)?)
        } else {
            None
        };
        let frequencies = source.frequencies(config)?;
        source.all_read()?;
        Ok(Self { embedding, layers, norm, output, frequencies })
    }

    pub(super) fn output(&self) -> &Matrix {
        self.output.as_ref().unwrap_or(&self.embedding)
    }

    pub(super) fn bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(|layer| {
            [&layer.query, &layer.key, &layer.value, &layer.mix, &layer.gate, &layer.up, &layer.down]
        });
        layers.chain([&self.embedding]).chain(&self.output).map(Matrix::bytes).sum()
    }
}

/// A file and which of its tensors nobody has asked for.
struct Source<'f> {
    file: &'f mut Gguf,
    unread: BTreeSet<String>,
}

impl Source<'_> {
    fn has(&self, name: &str) -> bool {
        self.unread.contains(name)
    }

    fn layer(&mut self, number: usize, config: &Config) -> Result<Layer> {
        let name = |part: &str| format!("blk.{number}.{part}.weight");
        let (width, inner) = (config.width, config.inner);
        let (queries, shared) = (config.heads * config.head, config.shared_heads * config.head);
        Ok(Layer {
            attention_norm: self.vector(&name("attn_norm"), width)?,
            query: self.matrix(&name("attn_q"), Some(queries), width)?,
            key: self.matrix(&name("attn_k"), Some(shared), width)?,
            value: self.matrix(&name("attn_v"), Some(shared), width)?,
            mix: self.matrix(&name("attn_output"), Some(width), queries)?,
            feed_norm: self.vector(&name("ffn_norm"), width)?,
            gate: self.matrix(&name("ffn_gate"), Some(inner), width)?,
            up: self.matrix(&name("ffn_up"), Some(inner), width)?,
            down: self.matrix(&name("ffn_down"), Some(width), inner)?,
        })
    }

    fn matrix(&mut self, name: &str, width: Option<usize>, depth: usize) -> Result<Matrix> {
        self.unread.remove(name);
        let tensor = self.file.tensor(name, &[width, Some(depth)])?;
        Matrix::new(&tensor)
    }

    fn vector(&mut self, name: &str, size: usize) -> Result<Vec<f32>> {
        self.unread.remove(name);
        let tensor = self.file.tensor(name, &[Some(size)])?;
        let numbers = tensor.dequantize(&candle_core::Device::Cpu).and_then(|tensor| tensor.to_vec1::<f32>());
        let numbers = numbers.map_err(|error| Error::internal(format!("read {name}")).with_source(error))?;
        if numbers.iter().all(|number| number.is_finite()) {
            return Ok(numbers);
        }
        Err(Error::corrupt(format!("{name} of {} has values that are not finite", self.file.name())))
    }

    /// The angles of rotary positions; some files bring factors that slow them down.
    fn frequencies(&mut self, config: &Config) -> Result<Vec<f32>> {
        let pairs = config.head / 2;
        let factors = if self.has("rope_freqs.weight") {
            self.vector("rope_freqs.weight", pairs)?
        } else {
            vec![1.0; pairs]
        };
        if factors.iter().any(|factor| *factor <= 0.0) {
            let message =
                format!("rope_freqs.weight of {} has factors that are not positive", self.file.name());
            return Err(Error::corrupt(message));
        }
        #[expect(clippy::cast_precision_loss, reason = "heads are far smaller than 2^24")]
        let frequency = |pair: usize| config.base.powf(-2.0 * pair as f32 / config.head as f32);
        Ok(factors.iter().enumerate().map(|(pair, factor)| frequency(pair) / factor).collect())
    }

    /// A tensor that is left over would have changed the result.
    fn all_read(&self) -> Result<()> {
        let Some(name) = self.unread.first() else { return Ok(()) };
        let message =
            format!("{} has a tensor {name} that this forward pass does not compute", self.file.name());
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}
