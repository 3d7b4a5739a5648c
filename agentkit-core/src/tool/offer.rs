//! Tools of the caller: offered to the model, called by nobody here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ToolSpec;
use crate::error::{Error, Result};

/// Most tools of an offer.
const MAX_TOOLS: usize = 128;

/// Which tools a model shall ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolChoice {
    /// Those it finds useful, or none.
    #[default]
    Auto,
    /// None, although the conversation may have calls.
    None,
    /// At least one.
    Required,
    /// The one of this name.
    Tool(String),
}

impl ToolChoice {
    /// Whether the choice is left to the model.
    #[must_use]
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// Tools that whoever asks an agent runs on their own: the model may ask for them, and the run ends with its calls.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ToolOffer {
    /// The tools.
    pub tools: Vec<ToolSpec>,
    /// Which of them the model shall ask for.
    pub choice: ToolChoice,
    /// Whether it may ask for several at once; `None` leaves it to the model.
    pub parallel: Option<bool>,
}

impl ToolOffer {
    /// An offer of `tools`, of which the model chooses.
    #[must_use]
    pub fn new(tools: Vec<ToolSpec>) -> Self {
        Self { tools, ..Self::default() }
    }

    /// Says which tools the model shall ask for.
    #[must_use]
    pub fn choice(mut self, choice: ToolChoice) -> Self {
        self.choice = choice;
        self
    }

    /// Says whether the model may ask for several tools at once.
    #[must_use]
    pub fn parallel(mut self, parallel: bool) -> Self {
        self.parallel = Some(parallel);
        self
    }

    /// Whether there is a tool that the model may ask for.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.tools.is_empty() && self.choice != ToolChoice::None
    }

    /// Checks what every provider asks of tools.
    ///
    /// # Errors
    /// Invalid input: more than 128 tools, a malformed one, two of one name, or a choice that cannot be made.
    pub fn validate(&self) -> Result<()> {
        if self.tools.len() > MAX_TOOLS {
            let message = format!("{} tools are offered, at most {MAX_TOOLS} are allowed", self.tools.len());
            return Err(Error::invalid_input(message));
        }
        let mut names = BTreeSet::new();
        for tool in &self.tools {
            tool.validate()?;
            if !names.insert(tool.name.as_str()) {
                return Err(Error::invalid_input(format!("two tools have the name {:?}", tool.name)));
            }
        }
        match &self.choice {
            ToolChoice::Required if self.tools.is_empty() => {
                Err(Error::invalid_input("a tool has to be called, but none is offered"))
            }
            ToolChoice::Tool(name) if !names.contains(name.as_str()) => {
                Err(Error::invalid_input(format!("the tool {name:?} has to be called, but is not offered")))
            }
            _ => Ok(()),
        }
    }
}
