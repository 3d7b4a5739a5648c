//! A memory that finds earlier turns of a conversation by their meaning.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{Memory, SessionKey, SessionSummary};
use crate::context::RunContext;
use crate::embed::{EmbedSide, Embedder, Embedding};
use crate::error::{Error, Result};
use crate::id::{SessionId, TenantId};
use crate::message::{Message, Role};
use crate::scope::TenantScope;
use crate::tool::{FunctionTool, Tool};

/// Newest messages that are recalled whatever they are about, unless told otherwise.
const RECENT: usize = 8;
/// Messages of a conversation that are looked through.
const LOOKED_THROUGH: usize = 1_000;
/// Bytes of a turn that its vector is made of.
const TURN_BYTES: usize = 4 * 1024;
/// Conversations whose vectors are kept.
const MAX_SESSIONS: usize = 256;
/// Messages a model is told when it asks what was said earlier.
const TOLD: usize = 6;

/// Recalls, beside the newest messages, those earlier turns whose meaning is nearest to what was asked last.
///
/// [`Memory::recall`] with a limit gives the newest messages, 8 by default, and fills the rest of the limit with older turns
/// that are nearest to the last thing the user said, all in the order they were said. Where the limit holds the whole
/// conversation, it is recalled as it is. [`VectorMemory::about`] asks for anything else, and [`VectorMemory::tool`] lets
/// a model do so. The newest 1,000 messages are looked through.
///
/// Vectors are made when they are needed and kept in this process only, for up to 256 conversations. Forgetting a
/// conversation drops them.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::testing::HashingEmbedder;
/// use agentkit_core::{Memory, Message, RunContext, SessionId, SessionKey, TenantScope, VectorMemory, WindowMemory};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let memory = VectorMemory::new(Arc::new(WindowMemory::new()), Arc::new(HashingEmbedder::new()));
/// let key = SessionKey::new(TenantScope::local(), SessionId::new("s").unwrap());
/// let ctx = RunContext::new();
/// for text in ["my favourite tea is sencha", "the train leaves at nine", "it may rain tomorrow"] {
///     memory.append(&key, vec![Message::user(text), Message::assistant("Noted.")], &ctx).await.unwrap();
/// }
/// let found = memory.about(&key, "which tea do I like?", 2, &ctx).await.unwrap();
/// assert_eq!(found[0], Message::user("my favourite tea is sencha"));
/// # });
/// ```
#[derive(Clone)]
pub struct VectorMemory {
    inner: Arc<dyn Memory>,
    embedder: Arc<dyn Embedder>,
    recent: usize,
    vectors: Arc<Mutex<Vectors>>,
}

type Name = (TenantId, SessionId);

/// The vectors of turns by their texts, of the conversations that were asked about last.
#[derive(Default)]
struct Vectors {
    sessions: BTreeMap<Name, (u64, HashMap<String, Embedding>)>,
    /// Grows with every use, so that the one used longest ago is known.
    clock: u64,
    /// Grows with every forgetting, so that vectors under way are not kept.
    forgotten: u64,
}

/// Messages that belong together: what a user said, and everything up to the next thing.
struct Turn {
    messages: Vec<Message>,
    text: String,
}

impl VectorMemory {
    /// Keeps conversations in `inner` and finds their turns by `embedder`.
    #[must_use]
    pub fn new(inner: Arc<dyn Memory>, embedder: Arc<dyn Embedder>) -> Self {
        Self { inner, embedder, recent: RECENT, vectors: Arc::default() }
    }

    /// How many of the newest messages are recalled whatever they are about; 8 by default.
    #[must_use]
    pub fn recent(mut self, messages: usize) -> Self {
        self.recent = messages;
        self
    }

    /// Whole turns whose meaning is nearest to `question`, in the order they were said, at most `limit` messages.
    ///
    /// # Cancel safety
    /// Cancel safe: asking changes nothing but what is kept of vectors.
    ///
    /// # Errors
    /// As of the store and the embedder, or stopped.
    pub async fn about(
        &self,
        key: &SessionKey,
        question: &str,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<Message>> {
        let messages = self.inner.recall(key, LOOKED_THROUGH, ctx).await?;
        self.nearest(key, turns(messages), (question, limit), ctx).await
    }

    /// A tool named `recall_earlier` by which a model asks what was said earlier in this one conversation.
    #[must_use]
    pub fn tool(&self, key: SessionKey) -> Arc<dyn Tool> {
        #[derive(Deserialize, JsonSchema)]
        struct Arguments {
            /// What it was about.
            about: String,
        }
        let (memory, key) = (self.clone(), Arc::new(key));
        let description = "Finds what was said earlier in this conversation about something.";
        Arc::new(FunctionTool::new("recall_earlier", description, move |asked: Arguments, ctx| {
            let (memory, key) = (memory.clone(), Arc::clone(&key));
            async move {
                let found = memory.about(&key, &asked.about, TOLD, &ctx).await?;
                let said =
                    found.iter().map(|message| json!({"role": message.role, "text": message.joined_text()}));
                Ok(said.collect::<Vec<_>>())
            }
        }))
    }

    async fn nearest(
        &self,
        key: &SessionKey,
        turns: Vec<Turn>,
        (question, limit): (&str, usize),
        ctx: &RunContext,
    ) -> Result<Vec<Message>> {
        if turns.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let asked = ctx.run(self.embedder.embed(EmbedSide::Query, vec![question.to_owned()], ctx)).await?;
        let asked = asked.into_iter().next().ok_or_else(too_few)?;
        let known = self.vectors_of(key, &turns, ctx).await?;
        let mut ranked: Vec<(usize, f32)> = turns
            .iter()
            .enumerate()
            .map(|(at, turn)| (at, known.get(&turn.text).map_or(f32::MIN, |vector| cosine(&asked, vector))))
            .collect();
        ranked.sort_by(|(at, near), (other, nearer)| nearer.total_cmp(near).then(other.cmp(at)));
        let mut left = limit;
        let mut chosen = HashSet::new();
        for (at, _) in ranked {
            let messages = turns.get(at).map_or(0, |turn| turn.messages.len());
            if let Some(rest) = left.checked_sub(messages) {
                left = rest;
                chosen.insert(at);
            }
        }
        let in_order = turns.into_iter().enumerate().filter(|(at, _)| chosen.contains(at));
        Ok(in_order.flat_map(|(_, turn)| turn.messages).collect())
    }

    /// The vectors of the turns, of which only those that are not known are made.
    async fn vectors_of(
        &self,
        key: &SessionKey,
        turns: &[Turn],
        ctx: &RunContext,
    ) -> Result<HashMap<String, Embedding>> {
        let (mut known, forgotten) = self.lock().of(key);
        let texts: HashSet<&String> = turns.iter().map(|turn| &turn.text).collect();
        known.retain(|text, _| texts.contains(text));
        let missing: Vec<String> =
            texts.into_iter().filter(|text| !known.contains_key(*text)).cloned().collect();
        let made = ctx.run(self.embedder.embed(EmbedSide::Document, missing.clone(), ctx)).await?;
        if made.len() != missing.len() {
            return Err(too_few());
        }
        known.extend(missing.into_iter().zip(made));
        self.lock().keep(key, forgotten, known.clone());
        Ok(known)
    }

    fn lock(&self) -> MutexGuard<'_, Vectors> {
        self.vectors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest messages, and older turns that bear on what the user said last.
    async fn selected(
        &self,
        key: &SessionKey,
        messages: Vec<Message>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<Message>> {
        let mut older = messages;
        let mut newest = older.split_off(older.len().saturating_sub(self.recent));
        let last = older.iter().chain(&newest).rev().find(|message| message.role == Role::User);
        let question = last.map(Message::joined_text).unwrap_or_default();
        // The turn in which the newest messages begin stays whole.
        let first = newest.iter().position(|message| message.role == Role::User).unwrap_or(0);
        let cut = newest.split_off(first);
        older.extend(newest);
        let mut found =
            self.nearest(key, turns(older), (&question, limit.saturating_sub(cut.len())), ctx).await?;
        found.extend(cut);
        Ok(found)
    }
}

impl Vectors {
    fn of(&self, key: &SessionKey) -> (HashMap<String, Embedding>, u64) {
        let known = self.sessions.get(&name(key)).map(|(_, known)| known.clone());
        (known.unwrap_or_default(), self.forgotten)
    }

    fn keep(&mut self, key: &SessionKey, forgotten: u64, known: HashMap<String, Embedding>) {
        if self.forgotten != forgotten {
            return;
        }
        self.clock += 1;
        self.sessions.insert(name(key), (self.clock, known));
        if self.sessions.len() > MAX_SESSIONS {
            let oldest =
                self.sessions.iter().min_by_key(|(_, (used, _))| *used).map(|(name, _)| name.clone());
            oldest.map(|name| self.sessions.remove(&name));
        }
    }

    fn forget(&mut self, key: &SessionKey) {
        self.forgotten += 1;
        self.sessions.remove(&name(key));
    }
}

fn name(key: &SessionKey) -> Name {
    (key.scope().tenant().clone(), key.session().clone())
}

fn turns(messages: Vec<Message>) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for message in messages {
        let text = message.joined_text();
        match turns.last_mut() {
            Some(turn) if message.role != Role::User => {
                turn.text = format!("{}\n{text}", turn.text);
                turn.messages.push(message);
            }
            _ => turns.push(Turn { messages: vec![message], text }),
        }
    }
    for turn in &mut turns {
        let end = (0..=TURN_BYTES.min(turn.text.len())).rev().find(|at| turn.text.is_char_boundary(*at));
        turn.text.truncate(end.unwrap_or(0));
    }
    turns
}

fn cosine(one: &Embedding, other: &Embedding) -> f32 {
    let (one, other) = (one.as_slice(), other.as_slice());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let norms = (dot(one, one) * dot(other, other)).sqrt();
    if norms > 0.0 { dot(one, other) / norms } else { 0.0 }
}

fn too_few() -> Error {
    Error::internal("the embedder gave another number of vectors than it was given texts")
}

#[async_trait]
impl Memory for VectorMemory {
    async fn append(&self, key: &SessionKey, turn: Vec<Message>, ctx: &RunContext) -> Result<()> {
        self.inner.append(key, turn, ctx).await
    }

    async fn recall(&self, key: &SessionKey, limit: usize, ctx: &RunContext) -> Result<Vec<Message>> {
        if limit <= self.recent {
            return self.inner.recall(key, limit, ctx).await;
        }
        let mut messages = self.inner.recall(key, limit.max(LOOKED_THROUGH), ctx).await?;
        if messages.len() <= limit {
            return Ok(messages);
        }
        match self.selected(key, messages.clone(), limit, ctx).await {
            Ok(selected) => Ok(selected),
            Err(error) if ctx.check().is_err() => Err(error),
            Err(error) => {
                tracing::warn!(error = error.chain(), "earlier turns were not found by their meaning");
                Ok(messages.split_off(messages.len().saturating_sub(limit)))
            }
        }
    }

    async fn sessions(
        &self,
        scope: &TenantScope,
        after: Option<&SessionId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<SessionSummary>> {
        self.inner.sessions(scope, after, limit, ctx).await
    }

    async fn forget(&self, key: &SessionKey, ctx: &RunContext) -> Result<bool> {
        self.lock().forget(key);
        let existed = self.inner.forget(key, ctx).await?;
        // Vectors that were made while it was being forgotten.
        self.lock().forget(key);
        Ok(existed)
    }
}

impl fmt::Debug for VectorMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VectorMemory")
            .field("embedder", self.embedder.identity())
            .field("recent", &self.recent)
            .finish_non_exhaustive()
    }
}
