//! The keys and values of the tokens a conversation has so far.

/// Keys and values of every layer and head; positions follow each other.
#[derive(Debug)]
pub(crate) struct Cache {
    tokens: Vec<u32>,
    /// A head after the other, layer by layer.
    heads: Vec<Head>,
    /// Values of a head.
    size: usize,
}

#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

impl Cache {
    /// An empty cache of `heads` heads in all layers together, `size` values each.
    pub(super) fn new(heads: usize, size: usize) -> Self {
        let heads = std::iter::repeat_with(Head::default).take(heads).collect();
        Self { tokens: Vec::new(), heads, size }
    }

    /// The tokens it holds.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many tokens at its beginning are those of `prompt`.
    pub(crate) fn common(&self, prompt: &[u32]) -> usize {
        self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count()
    }

    /// Forgets all but the first `tokens` tokens, and what a pass that was stopped has written beyond them.
    pub(crate) fn truncate(&mut self, tokens: usize) {
        self.tokens.truncate(tokens);
        let keep = self.tokens.len() * self.size;
        for head in &mut self.heads {
            head.keys.truncate(keep);
            head.values.truncate(keep);
        }
    }

    /// Counts `tokens`, whose keys and values are all there.
    pub(super) fn push(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }

    /// The heads of layer `layer` of `count` heads a layer.
    pub(super) fn layer(&mut self, layer: usize, count: usize) -> &mut [Head] {
        self.heads.chunks_exact_mut(count.max(1)).nth(layer).unwrap_or_default()
    }
}
