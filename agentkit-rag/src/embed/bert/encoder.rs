//! The forward pass: token ids of several texts in, one vector a text out, on the calling thread.
//!
//! The tokens of all texts are packed into one matrix without any padding, so linear layers see one large
//! product and attention runs per text. No text meets another's values, so a text's vector does not depend on the
//! batch it is in.

use std::sync::Arc;

use agentkit_core::{Error, Result};

use super::bytes::{self, ByteRows};
use super::config::{Activation, Pooling, Settings};
use super::engine::{Reading, Text};
use super::kernel::{self, Onto, multiply};
use super::math;
use super::panels::{Aligned, PANEL, Panels, Rows, RowsMut};
use super::weights::{Layer, Linear, Norm, Weights};

/// A model ready to run.
#[derive(Debug)]
pub(super) struct Encoder {
    weights: Weights,
    settings: Settings,
}

/// Buffers of a forward pass, kept for the next one.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    states: Aligned<f32>,
    projections: Aligned<f32>,
    mixed: Aligned<f32>,
    wide: Aligned<f32>,
    bytes: ByteRows,
    attention: Attention,
}

#[derive(Debug, Default)]
struct Attention {
    scores: Aligned<f32>,
    keys: Panels,
    values: Panels,
}

impl Encoder {
    pub(super) fn new(weights: Weights, settings: Settings) -> Self {
        Self { weights, settings }
    }

    /// The embeddings of the vocabulary.
    pub(super) fn words(&self) -> Arc<[f32]> {
        Arc::clone(&self.weights.words)
    }

    fn hidden(&self) -> usize {
        self.settings.architecture.hidden_size
    }

    /// Computes the vectors of `texts`; `check` is called between the layers and can end the work.
    pub(super) fn forward(
        &self,
        texts: &[&Text],
        scratch: &mut Scratch,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Vec<Vec<f32>>> {
        let hidden = self.hidden();
        let tokens = texts.iter().map(|text| text.ids.len()).sum::<usize>();
        scratch.states.resize(tokens * hidden);
        scratch.projections.resize(tokens * 3 * hidden);
        scratch.mixed.resize(tokens * hidden);
        self.look_up(texts, scratch.states.as_mut_slice())?;
        for layer in &self.weights.layers {
            check()?;
            self.layer(layer, texts, scratch)?;
        }
        Ok(self.read(texts, scratch.states.as_slice()))
    }

    fn look_up(&self, texts: &[&Text], states: &mut [f32]) -> Result<()> {
        let hidden = self.hidden();
        let mut rows = states.chunks_exact_mut(hidden);
        for text in texts {
            let positions = self.weights.positions.chunks_exact(hidden);
            let length = text.ids.len();
            if length > positions.len() {
                return Err(Error::internal(format!("a text of {length} tokens was not truncated")));
            }
            let tokens = text.ids.iter().enumerate();
            for (((at, id), position), state) in tokens.zip(positions).zip(&mut rows) {
                let from = *id as usize * hidden;
                let word =
                    self.weights.words.get(from..from + hidden).ok_or_else(|| {
                        Error::internal(format!("token {id} is not in the model's vocabulary"))
                    })?;
                for ((state, word), position) in state.iter_mut().zip(word).zip(position) {
                    *state = word + position;
                }
                if at >= text.second {
                    let second = &self.weights.second_type;
                    state.iter_mut().zip(second).for_each(|(state, more)| *state += more);
                }
            }
        }
        norm(&self.weights.norm, states);
        Ok(())
    }

    fn layer(&self, layer: &Layer, texts: &[&Text], scratch: &mut Scratch) -> Result<()> {
        let Scratch { states, projections, mixed, wide, bytes, attention } = scratch;
        let (states, mixed) = (states.as_mut_slice(), mixed.as_mut_slice());
        let projections = projections.as_mut_slice();
        linear(&layer.attention_in, states, projections, Onto::Nothing, bytes)?;
        self.attend(texts, projections, mixed, attention)?;
        linear(&layer.attention_out, mixed, states, Onto::Sum, bytes)?;
        norm(&layer.attention_norm, states);
        for states in states.chunks_mut(layer.block_rows() * self.hidden()) {
            self.feed_forward(layer, states, wide, bytes)?;
        }
        Ok(())
    }

    fn feed_forward(
        &self,
        layer: &Layer,
        states: &mut [f32],
        wide: &mut Aligned<f32>,
        bytes: &mut ByteRows,
    ) -> Result<()> {
        let architecture = &self.settings.architecture;
        wide.resize(states.len() / self.hidden() * architecture.intermediate_size);
        let wide = wide.as_mut_slice();
        linear(&layer.forward_in, states, wide, Onto::Nothing, bytes)?;
        match architecture.hidden_act {
            Activation::Gelu => kernel::gelu(wide),
            Activation::GeluNew => kernel::gelu_tanh(wide),
            Activation::Relu => wide.iter_mut().for_each(|value| *value = value.max(0.0)),
        }
        linear(&layer.forward_out, wide, states, Onto::Sum, bytes)?;
        norm(&layer.forward_norm, states);
        Ok(())
    }

    fn attend(
        &self,
        texts: &[&Text],
        mut projections: &[f32],
        mut mixed: &mut [f32],
        attention: &mut Attention,
    ) -> Result<()> {
        let hidden = self.hidden();
        let size = self.settings.architecture.head_size();
        for text in texts {
            let (now, later) = projections.split_at(text.ids.len() * 3 * hidden);
            let (out, out_later) = std::mem::take(&mut mixed).split_at_mut(text.ids.len() * hidden);
            for from in (0..hidden).step_by(size) {
                attention.head(text.ids.len(), now, (hidden, from, size), out)?;
            }
            (projections, mixed) = (later, out_later);
        }
        Ok(())
    }

    /// What is to be read off each text's states.
    fn read(&self, texts: &[&Text], mut states: &[f32]) -> Vec<Vec<f32>> {
        let hidden = self.hidden();
        let mut vectors = Vec::with_capacity(texts.len());
        for text in texts {
            let (now, later) = states.split_at(text.ids.len() * hidden);
            vectors.push(match text.reading {
                Reading::Vector => self.pool(now),
                Reading::First => now.get(..hidden).unwrap_or(now).to_vec(),
                Reading::Tokens => each_of_norm_1(now, hidden),
                Reading::States => now.to_vec(),
            });
            states = later;
        }
        vectors
    }

    fn pool(&self, states: &[f32]) -> Vec<f32> {
        let hidden = self.hidden();
        let mut rows = states.chunks_exact(hidden);
        #[expect(clippy::cast_precision_loss, reason = "texts are far shorter than 2^24 tokens")]
        let share = (rows.len() as f32).recip();
        let mut vector = rows.next().unwrap_or_default().to_vec();
        if self.settings.pooling == Pooling::Mean {
            for row in rows {
                vector.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            for sum in &mut vector {
                *sum *= share;
            }
        }
        if self.settings.normalize {
            math::normalize(&mut vector);
        }
        vector
    }
}

fn each_of_norm_1(states: &[f32], hidden: usize) -> Vec<f32> {
    let mut vectors = states.to_vec();
    vectors.chunks_exact_mut(hidden).for_each(math::normalize);
    vectors
}

impl Attention {
    /// One head of one text: softmax of queries times keys, times values.
    fn head(
        &mut self,
        tokens: usize,
        projections: &[f32],
        (hidden, from, size): (usize, usize, usize),
        out: &mut [f32],
    ) -> Result<()> {
        let part = |number: usize| {
            let data = projections.get(number * hidden + from..).unwrap_or_default();
            Rows { data, stride: 3 * hidden }
        };
        self.keys.set_columns(part(1), size, tokens)?;
        self.values.set_rows(part(2), tokens, size)?;
        let stride = tokens.next_multiple_of(PANEL);
        self.scores.resize(tokens * stride);
        let scores = self.scores.as_mut_slice();
        multiply(part(0), tokens, &self.keys, &mut RowsMut { data: scores, stride }, Onto::Nothing)?;
        kernel::softmax(scores, stride, tokens);
        let mut out = RowsMut { data: out.get_mut(from..).unwrap_or_default(), stride: hidden };
        multiply(Rows { data: scores, stride }, tokens, &self.values, &mut out, Onto::Nothing)
    }
}

/// Writes or adds `input · weights + bias` to `out`.
fn linear(layer: &Linear, input: &[f32], out: &mut [f32], onto: Onto, bytes: &mut ByteRows) -> Result<()> {
    match layer {
        Linear::Single { weights, bias } => {
            for row in out.chunks_exact_mut(bias.len()) {
                match onto {
                    Onto::Nothing => row.copy_from_slice(bias),
                    Onto::Sum => row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias),
                }
            }
            let stride = weights.width();
            let rows = out.len() / stride.max(1);
            let input = Rows { data: input, stride: weights.depth() };
            multiply(input, rows, weights, &mut RowsMut { data: out, stride }, Onto::Sum)
        }
        Linear::Int8(weights) => {
            bytes.set(input, weights.depth());
            bytes::multiply(bytes, weights, &mut RowsMut { data: out, stride: weights.width() }, onto)
        }
    }
}

fn norm(norm: &Norm, rows: &mut [f32]) {
    kernel::layer_norm(rows, &norm.gain, &norm.bias, norm.epsilon);
}
