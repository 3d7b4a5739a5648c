//! How much a run may use, and how much it has used.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Usage;

/// How much a run may use before it is stopped.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use agentkit_core::{Cost, RunLimits};
///
/// let limits = RunLimits::new().steps(4).tokens(20_000).cost(Cost::from_micros(50_000)).time(Duration::from_secs(30));
/// assert_eq!(limits.steps, 4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RunLimits {
    /// Most calls of the model.
    pub steps: u32,
    /// Most calls of tools; a step that asks for more is not begun.
    pub tool_calls: u32,
    /// Most tokens, input and output together. The last answer may exceed it by what its input was.
    pub tokens: Option<u64>,
    /// Most cost, by the run's price.
    pub cost: Option<Cost>,
    /// Longest time at work; waiting for somebody outside does not count.
    pub time: Option<Duration>,
    /// How often a tool is run with the same arguments. The model is told once that the call has been made; when
    /// it insists, the run is stopped.
    pub identical_calls: u32,
}

impl RunLimits {
    /// 16 steps, 64 tool calls, 3 identical ones; tokens, cost and time are not limited.
    #[must_use]
    pub fn new() -> Self {
        Self { steps: 16, tool_calls: 64, tokens: None, cost: None, time: None, identical_calls: 3 }
    }

    /// Most calls of the model.
    #[must_use]
    pub fn steps(mut self, steps: u32) -> Self {
        self.steps = steps;
        self
    }

    /// Most calls of tools.
    #[must_use]
    pub fn tool_calls(mut self, calls: u32) -> Self {
        self.tool_calls = calls;
        self
    }

    /// Most tokens, input and output together.
    #[must_use]
    pub fn tokens(mut self, tokens: u64) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Most cost; counts nothing unless the run has a price.
    #[must_use]
    pub fn cost(mut self, cost: Cost) -> Self {
        self.cost = Some(cost);
        self
    }

    /// Longest time at work.
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// How often a tool is run with the same arguments.
    #[must_use]
    pub fn identical_calls(mut self, calls: u32) -> Self {
        self.identical_calls = calls;
        self
    }
}

impl Default for RunLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// An amount of money in millionths of whatever currency the price is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cost(u64);

impl Cost {
    /// So many millionths.
    #[must_use]
    pub fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The amount in millionths.
    #[must_use]
    pub fn micros(self) -> u64 {
        self.0
    }
}

/// What a model's tokens cost: amounts for a million tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// A million tokens of input.
    pub input: Cost,
    /// A million tokens of output.
    pub output: Cost,
}

impl Price {
    /// What `usage` costs, rounded up.
    ///
    /// # Examples
    /// ```
    /// use agentkit_core::{Cost, Price, Usage};
    ///
    /// let price = Price { input: Cost::from_micros(3_000_000), output: Cost::from_micros(15_000_000) };
    /// let usage = Usage { input_tokens: 1_000, output_tokens: 100 };
    /// assert_eq!(price.of(usage), Cost::from_micros(4_500));
    /// ```
    #[must_use]
    pub fn of(&self, usage: Usage) -> Cost {
        let part = |tokens: u64, cost: Cost| u128::from(tokens).saturating_mul(u128::from(cost.0));
        let whole =
            part(usage.input_tokens, self.input).saturating_add(part(usage.output_tokens, self.output));
        Cost(u64::try_from(whole.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

/// What a run has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunTotals {
    /// Calls of the model.
    pub steps: u32,
    /// Calls of tools the model asked for, run or not.
    pub tool_calls: u32,
    /// Tokens of all calls of the model, as far as it stated them.
    pub usage: Usage,
    /// What they cost; zero if the run has no price.
    pub cost: Cost,
    /// Time at work.
    pub elapsed: Duration,
}

impl RunTotals {
    /// Counts a call of the model.
    pub(super) fn count(&mut self, usage: Usage, price: Option<&Price>) {
        self.steps = self.steps.saturating_add(1);
        let total = &mut self.usage;
        total.input_tokens = total.input_tokens.saturating_add(usage.input_tokens);
        total.output_tokens = total.output_tokens.saturating_add(usage.output_tokens);
        self.cost = price.map_or(self.cost, |price| price.of(self.usage));
    }
}
