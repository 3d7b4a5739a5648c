//! Making one answer: read the prompt, then choose and read token after token.

use agentkit_core::{ChatEvent, FinishReason, Result, RunContext, Usage};

use super::Sampling;
use super::engine::{Conversation, Engine};
use super::llama::PASS;
use super::sampling::Sampler;
use super::schema::Constraint;
use super::text::Text;

/// What has to be done for a request.
#[derive(Debug)]
pub(super) struct Job {
    /// At least one token, and fewer than the context has.
    pub(super) prompt: Vec<u32>,
    /// Most tokens of the answer.
    pub(super) most: usize,
    pub(super) stops: Vec<String>,
    pub(super) sampling: Sampling,
    pub(super) seed: Option<u64>,
    /// What the answer has to be.
    pub(super) constraint: Option<Constraint>,
}

/// A job under way.
pub(super) struct Generation<'a> {
    pub(super) engine: &'a Engine,
    pub(super) job: Job,
    pub(super) ctx: &'a RunContext,
    /// Hands an event to whoever waits for it; fails when nobody does.
    pub(super) emit: &'a dyn Fn(ChatEvent) -> Result<()>,
}

impl Generation<'_> {
    /// Emits the whole answer.
    ///
    /// # Errors
    /// Stopped, or internal; the conversation then holds what was read until then.
    pub(super) fn run(mut self, conversation: &mut Conversation) -> Result<()> {
        self.read_prompt(conversation)?;
        let mut text = Text::new(std::mem::take(&mut self.job.stops));
        let mut said = Vec::new();
        let reason = self.speak(conversation, &mut text, &mut said)?;
        self.delta(text.finish())?;
        let count = |tokens: &[u32]| tokens.len() as u64;
        let usage = Usage { input_tokens: count(&self.job.prompt), output_tokens: count(&said) };
        (self.emit)(ChatEvent::Usage(usage))?;
        (self.emit)(ChatEvent::Finished { reason })
    }

    /// Reads what the conversation does not have of the prompt, and at least the last token.
    fn read_prompt(&self, conversation: &mut Conversation) -> Result<()> {
        let prompt = &self.job.prompt;
        let reused = conversation.cache.common(prompt).min(prompt.len().saturating_sub(1));
        conversation.cache.truncate(reused);
        self.engine.count(0, reused);
        self.read(prompt.get(reused..).unwrap_or_default(), conversation)
    }

    fn read(&self, tokens: &[u32], Conversation { cache, scratch }: &mut Conversation) -> Result<()> {
        for tokens in tokens.chunks(PASS) {
            self.engine.llama().extend(tokens, cache, scratch, &|| self.ctx.check())?;
            self.engine.count(tokens.len(), 0);
        }
        Ok(())
    }

    /// Chooses tokens until one ends the answer, and says why it is over.
    fn speak(
        &mut self,
        conversation: &mut Conversation,
        text: &mut Text,
        said: &mut Vec<u32>,
    ) -> Result<FinishReason> {
        let vocabulary = self.engine.vocabulary();
        let mut sampler = Sampler::new(self.job.sampling, self.job.seed);
        loop {
            if said.len() >= self.job.most {
                return Ok(FinishReason::Length);
            }
            if let Some(last) = said.last() {
                self.read(&[*last], conversation)?;
            }
            let scores = self.engine.llama().logits(&mut conversation.scratch)?;
            if let Some(constraint) = &self.job.constraint {
                constraint.restrict(scores, vocabulary)?;
            }
            let token = sampler.choose(scores, said)?;
            said.push(token);
            if vocabulary.is_end(token) {
                return Ok(FinishReason::Stop);
            }
            self.delta(text.push(vocabulary.bytes(token)))?;
            let over = self.job.constraint.as_mut().is_some_and(|constraint| {
                constraint.push(vocabulary.bytes(token));
                constraint.is_over()
            });
            if over || text.is_stopped() {
                return Ok(FinishReason::Stop);
            }
        }
    }

    fn delta(&self, text: String) -> Result<()> {
        if text.is_empty() { self.ctx.check() } else { (self.emit)(ChatEvent::Delta { text }) }
    }
}
