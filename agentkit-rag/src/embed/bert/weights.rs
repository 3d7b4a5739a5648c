//! The weights of a BERT model, read with Candle and laid out for the kernel.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use agentkit_core::{Error, ErrorKind, Result};
use candle_core::{DType, Device, Tensor};

use super::adapter::Adapter;
use super::bytes::BytePanels;
use super::config::{Architecture, Precision};
use super::panels::Panels;

/// All weights a forward pass needs.
#[derive(Debug)]
pub(super) struct Weights {
    /// A row a token; shared by models that differ in an adapter.
    pub(super) words: Arc<[f32]>,
    /// A row a position; the embedding of the first token type is added in.
    pub(super) positions: Vec<f32>,
    /// What the second token type has more than the first; empty if there is none.
    pub(super) second_type: Vec<f32>,
    pub(super) norm: Norm,
    pub(super) layers: Vec<Layer>,
}

/// One transformer layer.
#[derive(Debug)]
pub(super) struct Layer {
    /// Query, key and value side by side; the query is scaled by `1 / sqrt(head size)`.
    pub(super) attention_in: Linear,
    pub(super) attention_out: Linear,
    pub(super) attention_norm: Norm,
    pub(super) forward_in: Linear,
    pub(super) forward_out: Linear,
    pub(super) forward_norm: Norm,
}

impl Layer {
    /// Rows that go through the feed-forward layers together. Weights of bytes fit the second-level cache beside the
    /// wide states of some rows; those in single precision do not, and are best read once.
    pub(super) fn block_rows(&self) -> usize {
        match self.forward_in {
            Linear::Single { .. } => 1 << 16,
            Linear::Int8(_) => 96,
        }
    }
}

/// A product and an addition.
#[derive(Debug)]
pub(super) enum Linear {
    /// In single precision.
    Single { weights: Panels, bias: Vec<f32> },
    /// In bytes; the bias is with the weights.
    Int8(BytePanels),
}

impl Linear {
    fn new(precision: Precision, columns: &[f32], depth: usize, bias: Vec<f32>) -> Result<Self> {
        Ok(match precision {
            Precision::Single => {
                Self::Single { weights: Panels::from_columns(columns, depth, bias.len())?, bias }
            }
            Precision::Int8 => Self::Int8(BytePanels::from_columns(columns, depth, &bias)?),
        })
    }
}

/// Layer normalisation.
#[derive(Debug)]
pub(super) struct Norm {
    pub(super) gain: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) epsilon: f32,
}

impl Weights {
    /// Reads the content of a safetensors `file`.
    pub(super) fn new(
        file: &Path,
        bytes: &[u8],
        architecture: &Architecture,
        precision: Precision,
    ) -> Result<Self> {
        Reader::open(file, bytes, architecture, precision)?.weights()
    }

    /// The same with what was learnt on top.
    pub(super) fn adapted(
        file: &Path,
        bytes: &[u8],
        architecture: &Architecture,
        precision: Precision,
        learnt: Learnt<'_>,
    ) -> Result<Self> {
        let mut reader = Reader::open(file, bytes, architecture, precision)?;
        reader.learnt = Some(learnt);
        reader.weights()
    }
}

/// What a model has learnt on top of another.
pub(super) struct Learnt<'a> {
    /// What is added to the linear layers.
    pub(super) adapter: &'a Adapter,
    /// The embeddings of words, which are those of the other model.
    pub(super) words: Arc<[f32]>,
}

/// The head of a classifier: what makes a score of the first token's state.
#[derive(Debug)]
pub(super) struct Head {
    /// A row an output.
    pooler: Vec<f32>,
    pooler_bias: Vec<f32>,
    /// The weights of the score, and its constant.
    classifier: Vec<f32>,
    classifier_bias: f32,
}

impl Head {
    /// Reads the head in the content of a safetensors `file`: of one label, which is the score, or of two, whose difference is.
    pub(super) fn new(file: &Path, bytes: &[u8], architecture: &Architecture) -> Result<Self> {
        let hidden = architecture.hidden_size;
        let mut reader = Reader::open(file, bytes, architecture, Precision::Single)?;
        let pooler = reader.take("pooler.dense.weight", hidden * hidden)?;
        let pooler_bias = reader.take("pooler.dense.bias", hidden)?;
        let (rows, biases) = (reader.any("classifier.weight")?, reader.any("classifier.bias")?);
        let (classifier, classifier_bias) = match biases.as_slice() {
            [bias] if rows.len() == hidden => (rows, *bias),
            [no, yes] if rows.len() == 2 * hidden => {
                let (against, for_it) = rows.split_at(hidden);
                (for_it.iter().zip(against).map(|(yes, no)| yes - no).collect(), yes - no)
            }
            labels => {
                let message = format!("{}: a head of {} labels is no reranker", file.display(), labels.len());
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        Ok(Self { pooler, pooler_bias, classifier, classifier_bias })
    }

    /// The score of a pair whose first token has this state.
    pub(super) fn score(&self, state: &[f32]) -> f32 {
        let dot = |row: &[f32]| row.iter().zip(state).map(|(weight, value)| weight * value).sum::<f32>();
        let pooled = self.pooler.chunks_exact(state.len().max(1)).zip(&self.pooler_bias);
        let pooled = pooled.map(|(row, bias)| (dot(row) + bias).tanh());
        pooled.zip(&self.classifier).map(|(value, weight)| value * weight).sum::<f32>() + self.classifier_bias
    }
}

struct Reader<'a> {
    file: &'a Path,
    tensors: HashMap<String, Tensor>,
    architecture: &'a Architecture,
    precision: Precision,
    learnt: Option<Learnt<'a>>,
}

impl<'a> Reader<'a> {
    fn open(
        file: &'a Path,
        bytes: &[u8],
        architecture: &'a Architecture,
        precision: Precision,
    ) -> Result<Self> {
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(|error| {
            Error::corrupt(format!("{} is damaged; fetch the model again", file.display())).with_source(error)
        })?;
        Ok(Self { file, tensors, architecture, precision, learnt: None })
    }

    fn weights(mut self) -> Result<Weights> {
        let &Architecture { hidden_size: hidden, vocab_size, max_position_embeddings, .. } =
            self.architecture;
        let words = match &self.learnt {
            Some(learnt) => Arc::clone(&learnt.words),
            None => self.take("embeddings.word_embeddings.weight", vocab_size * hidden)?.into(),
        };
        let mut positions =
            self.take("embeddings.position_embeddings.weight", max_position_embeddings * hidden)?;
        let types = self.any("embeddings.token_type_embeddings.weight")?;
        for row in positions.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types).for_each(|(position, kind)| *position += kind);
        }
        let second = types.get(hidden..2 * hidden).unwrap_or_default();
        let second_type = second.iter().zip(&types).map(|(second, first)| second - first).collect();
        let norm = self.norm("embeddings.LayerNorm")?;
        let layers = (0..self.architecture.num_hidden_layers)
            .map(|number| self.layer(number))
            .collect::<Result<_>>()?;
        Ok(Weights { words, positions, second_type, norm, layers })
    }

    fn layer(&mut self, number: usize) -> Result<Layer> {
        let &Architecture { hidden_size: hidden, intermediate_size: wide, .. } = self.architecture;
        let name = |part: &str| format!("encoder.layer.{number}.{part}");
        Ok(Layer {
            attention_in: self.attention_in(&name("attention.self"))?,
            attention_out: self.linear(&name("attention.output.dense"), hidden, hidden)?,
            attention_norm: self.norm(&name("attention.output.LayerNorm"))?,
            forward_in: self.linear(&name("intermediate.dense"), hidden, wide)?,
            forward_out: self.linear(&name("output.dense"), wide, hidden)?,
            forward_norm: self.norm(&name("output.LayerNorm"))?,
        })
    }

    fn attention_in(&mut self, name: &str) -> Result<Linear> {
        let hidden = self.architecture.hidden_size;
        #[expect(clippy::cast_precision_loss, reason = "head sizes are far smaller than 2^24")]
        let scale = (self.architecture.head_size() as f32).sqrt().recip();
        let (mut columns, mut bias) = (Vec::new(), Vec::new());
        for part in ["query", "key", "value"] {
            columns.extend(self.columns(&format!("{name}.{part}"), hidden * hidden)?);
            bias.extend(self.take(&format!("{name}.{part}.bias"), hidden)?);
            if part == "query" {
                columns.iter_mut().chain(&mut bias).for_each(|value| *value *= scale);
            }
        }
        Linear::new(self.precision, &columns, hidden, bias)
    }

    fn linear(&mut self, name: &str, depth: usize, width: usize) -> Result<Linear> {
        let columns = self.columns(name, depth * width)?;
        let bias = self.take(&format!("{name}.bias"), width)?;
        Linear::new(self.precision, &columns, depth, bias)
    }

    /// The weights of a linear layer, with what the adapter adds to them.
    fn columns(&mut self, name: &str, length: usize) -> Result<Vec<f32>> {
        let mut columns = self.take(&format!("{name}.weight"), length)?;
        if let Some(learnt) = &self.learnt {
            learnt.adapter.add_to(name, &mut columns)?;
        }
        Ok(columns)
    }

    /// Old models call gain and bias gamma and beta.
    fn norm(&mut self, name: &str) -> Result<Norm> {
        let hidden = self.architecture.hidden_size;
        let old = self.find(&format!("{name}.gamma")).is_some();
        let (gain, bias) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        #[expect(clippy::cast_possible_truncation, reason = "the model computes in single precision")]
        let epsilon = self.architecture.layer_norm_eps as f32;
        let (gain, bias) = (format!("{name}.{gain}"), format!("{name}.{bias}"));
        Ok(Norm { gain: self.take(&gain, hidden)?, bias: self.take(&bias, hidden)?, epsilon })
    }

    fn take(&mut self, name: &str, length: usize) -> Result<Vec<f32>> {
        let values = self.any(name)?;
        if values.len() == length {
            return Ok(values);
        }
        let message = format!(
            "{}: tensor {name} has {} values where config.json asks for {length}",
            self.file.display(),
            values.len()
        );
        Err(Error::corrupt(message))
    }

    fn any(&mut self, name: &str) -> Result<Vec<f32>> {
        let file = self.file.display();
        let found = self.find(name).and_then(|name| self.tensors.remove(&name));
        let tensor = found
            .ok_or_else(|| Error::corrupt(format!("{file} has no tensor {name}; it is not a BERT model")))?;
        tensor.to_dtype(DType::F32).and_then(|tensor| tensor.flatten_all()?.to_vec1()).map_err(|error| {
            Error::corrupt(format!("{file}: tensor {name} cannot be read")).with_source(error)
        })
    }

    /// Models with a head keep their tensors under `bert.`.
    fn find(&self, name: &str) -> Option<String> {
        let prefixed = format!("bert.{name}");
        [name.to_owned(), prefixed].into_iter().find(|name| self.tensors.contains_key(name))
    }
}
