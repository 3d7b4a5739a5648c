//! The forward pass of a llama on the CPU, one thread a conversation.
//!
//! Why: Candle's own multiplies a token at a time and has no vector kernel for four-bit weights with a least value.
//! How: weights stay quantised, in panels for the kernels; states are cut into bytes before each product, as
//! llama.cpp does; a prompt goes through the layers in passes of [`PASS`] tokens, so that the weights are read once
//! for many. Always true: a token's result does not depend on how a prompt was cut into passes.

mod cache;
mod config;
mod kernel;
mod math;
mod matrix;
mod weights;

use agentkit_core::{Error, Result};

pub(super) use self::cache::Cache;
use self::cache::Head;
pub(super) use self::config::Config;
pub use self::kernel::twins::panel_products;
use self::math::Heads;
use self::matrix::{ByteRows, Matrix};
use self::weights::{Layer, Weights};
use super::gguf::Gguf;

/// Tokens that go through the layers together: enough that reading the weights is hidden behind arithmetic, few enough
/// that a layer ends within milliseconds, which is when a pass can be stopped.
pub(super) const PASS: usize = 64;

/// A model that continues tokens.
#[derive(Debug)]
pub(super) struct Llama {
    config: Config,
    weights: Weights,
}

/// What a pass needs beside the model, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    states: Vec<f32>,
    normed: Vec<f32>,
    bytes: ByteRows,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    mixed: Vec<f32>,
    out: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    scores: Vec<f32>,
    turns: Vec<[f32; 2]>,
    logits: Vec<f32>,
}

impl Llama {
    /// Reads the weights; `check` is asked between layers.
    ///
    /// # Errors
    /// Corrupt, unsupported, or what `check` says.
    pub(super) fn read(file: &mut Gguf, check: &dyn Fn() -> Result<()>) -> Result<Self> {
        let config = Config::read(file)?;
        Ok(Self { weights: Weights::read(file, &config, check)?, config })
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Tokens the model knows.
    pub(super) fn vocabulary(&self) -> usize {
        self.weights.embedding.width()
    }

    /// Bytes of the weights in memory.
    pub(super) fn bytes(&self) -> usize {
        self.weights.bytes()
    }

    /// An empty cache for a conversation.
    pub(super) fn cache(&self) -> Cache {
        Cache::new(self.config.layers * self.config.shared_heads, self.config.head)
    }

    /// Puts `tokens`, at most [`PASS`], behind those of `cache`; `check` is asked between layers.
    ///
    /// What the model says of the last token is then in [`Llama::logits`].
    ///
    /// # Errors
    /// What `check` says; the cache is then as it was.
    pub(super) fn extend(
        &self,
        tokens: &[u32],
        cache: &mut Cache,
        scratch: &mut Scratch,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let passed = self.pass(tokens, cache, scratch, check);
        if passed.is_ok() {
            cache.push(tokens);
        } else {
            cache.truncate(cache.tokens().len());
        }
        passed
    }

    fn pass(
        &self,
        tokens: &[u32],
        cache: &mut Cache,
        scratch: &mut Scratch,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        self.embed(tokens, scratch)?;
        self.turns(cache.tokens().len(), tokens.len(), scratch);
        for (number, layer) in self.weights.layers.iter().enumerate() {
            check()?;
            self.attention(layer, cache.layer(number, self.config.shared_heads), scratch)?;
            self.feed_forward(layer, scratch)?;
        }
        Ok(())
    }

    /// What the model says of the last token that was put into a cache: a number for every token that may follow.
    ///
    /// # Errors
    /// Internal, if sizes do not fit.
    pub(super) fn logits<'s>(&self, scratch: &'s mut Scratch) -> Result<&'s mut [f32]> {
        let width = self.config.width;
        let last = scratch.states.len().saturating_sub(width);
        let state = scratch.states.get(last..).unwrap_or_default();
        scratch.normed.resize(width, 0.0);
        kernel::rms_norm(state, &self.weights.norm, self.config.epsilon, &mut scratch.normed);
        scratch.bytes.set(&scratch.normed, width);
        self.weights.output().multiply(&scratch.bytes, &mut scratch.logits)?;
        Ok(&mut scratch.logits)
    }

    fn embed(&self, tokens: &[u32], scratch: &mut Scratch) -> Result<()> {
        let width = self.config.width;
        scratch.states.resize(tokens.len() * width, 0.0);
        for (token, state) in tokens.iter().zip(scratch.states.chunks_exact_mut(width)) {
            let row = usize::try_from(*token).ok().filter(|row| *row < self.vocabulary());
            let row = row.ok_or_else(|| Error::internal(format!("token {token} is not one of the model")))?;
            self.weights.embedding.row(row, state);
        }
        Ok(())
    }

    /// Cosine and sine of every angle by which `count` tokens from position `from` on are turned (Su et al. 2021).
    fn turns(&self, from: usize, count: usize, scratch: &mut Scratch) {
        scratch.turns.clear();
        for position in from..from + count {
            #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^24")]
            let position = position as f32;
            scratch.turns.extend(self.weights.frequencies.iter().map(|frequency| {
                let (sine, cosine) = (position * frequency).sin_cos();
                [cosine, sine]
            }));
        }
    }

    fn attention(&self, layer: &Layer, heads: &mut [Head], s: &mut Scratch) -> Result<()> {
        let Config { heads: count, shared_heads, head, .. } = self.config;
        self.normalise(&layer.attention_norm, s);
        layer.query.multiply(&s.bytes, &mut s.queries)?;
        layer.key.multiply(&s.bytes, &mut s.keys)?;
        layer.value.multiply(&s.bytes, &mut s.values)?;
        turn(&mut s.queries, head, count, &s.turns);
        turn(&mut s.keys, head, shared_heads, &s.turns);
        let group = count / shared_heads * head;
        s.mixed.resize(s.queries.len(), 0.0);
        let tokens = s.keys.chunks_exact(shared_heads * head).zip(s.values.chunks_exact(shared_heads * head));
        let places = s.queries.chunks_exact(count * head).zip(s.mixed.chunks_exact_mut(count * head));
        for ((keys, values), (queries, mixed)) in tokens.zip(places) {
            let shared = heads.iter_mut().zip(keys.chunks_exact(head).zip(values.chunks_exact(head)));
            let groups = queries.chunks_exact(group).zip(mixed.chunks_exact_mut(group));
            for ((held, (key, value)), (queries, mixed)) in shared.zip(groups) {
                held.keys.extend_from_slice(key);
                held.values.extend_from_slice(value);
                let heads = Heads { queries, keys: &held.keys, values: &held.values, size: head };
                kernel::attend(&heads, &mut s.scores, mixed);
            }
        }
        s.bytes.set(&s.mixed, count * head);
        layer.mix.multiply(&s.bytes, &mut s.out)?;
        add(&mut s.states, &s.out);
        Ok(())
    }

    fn feed_forward(&self, layer: &Layer, s: &mut Scratch) -> Result<()> {
        self.normalise(&layer.feed_norm, s);
        layer.gate.multiply(&s.bytes, &mut s.gate)?;
        layer.up.multiply(&s.bytes, &mut s.up)?;
        kernel::swiglu(&mut s.gate, &s.up);
        s.bytes.set(&s.gate, self.config.inner);
        layer.down.multiply(&s.bytes, &mut s.out)?;
        add(&mut s.states, &s.out);
        Ok(())
    }

    /// Normalises every state and cuts it into bytes.
    fn normalise(&self, gain: &[f32], s: &mut Scratch) {
        let width = self.config.width;
        s.normed.resize(s.states.len(), 0.0);
        for (state, normed) in s.states.chunks_exact(width).zip(s.normed.chunks_exact_mut(width)) {
            kernel::rms_norm(state, gain, self.config.epsilon, normed);
        }
        s.bytes.set(&s.normed, width);
    }
}

/// Turns pairs of neighbours in every head of every token, as the files of this family are laid out for.
fn turn(rows: &mut [f32], head: usize, heads: usize, turns: &[[f32; 2]]) {
    let tokens = rows.chunks_exact_mut(head * heads).zip(turns.chunks_exact((head / 2).max(1)));
    for (row, turns) in tokens {
        for head in row.chunks_exact_mut(head) {
            for (pair, [cosine, sine]) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                let [a, b] = *pair;
                *pair = [a * cosine - b * sine, a * sine + b * cosine];
            }
        }
    }
}

fn add(states: &mut [f32], more: &[f32]) {
    for (state, more) in states.iter_mut().zip(more) {
        *state += more;
    }
}
