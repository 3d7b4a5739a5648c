//! Responses of `/v1/responses` that are kept, to be given again and to be continued.
//!
//! The id of a response begins with the moment it was made, so a person's responses are listed by their age. Each holds what
//! was new in it and the id of the one before, so a conversation is read by going back, and a response that is deleted is gone.

use std::time::Duration;

use agentkit_core::{
    Error, MAX_RECORD_BYTES, Message, Result, Role, RunContext, StateChange, StateQuery, StateSpace,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Personal;
use crate::clock::Timestamp;
use crate::records::{self, Kept};

/// What the ids of responses begin with.
pub(crate) const PREFIX: &str = "resp_";
/// Digits of an id: when it was made, its trace, and some that tell responses of one trace apart.
const DIGITS: usize = 12 + 32 + 8;
/// Most responses of a person that are kept.
const MOST: usize = 200;
/// How long a response is given.
const LIFETIME: Duration = Duration::from_hours(30 * 24);
/// Most responses that are gone back.
const MAX_BACK: usize = 100;

/// A response that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredResponse {
    /// As it was given.
    pub(crate) response: Value,
    /// What was new in it: the messages of its input, and the answer.
    pub(crate) messages: Vec<Message>,
    /// The response it continues.
    pub(crate) previous: Option<String>,
}

impl Personal {
    /// Keeps a response, and forgets the oldest beyond what is kept; false if it is too large to be kept.
    pub(crate) async fn keep_response(
        &self,
        id: &str,
        stored: &StoredResponse,
        now: Timestamp,
        ctx: &RunContext,
    ) -> Result<bool> {
        let value = records::encode(stored)?;
        let digits = digits(id).ok_or_else(|| Error::internal("a response has an id of another form"))?;
        if value.len() > MAX_RECORD_BYTES {
            return Ok(false);
        }
        let mut changes = vec![StateChange::put(self.responses_space(), self.own(digits), value)];
        let query = StateQuery::new(MOST + 1).prefix(self.own(""));
        let kept = self.state.list(&self.responses_space(), &query, ctx).await?;
        let too_many = (kept.len() + 1).saturating_sub(MOST);
        let oldest = self.own(&now.before(LIFETIME).sortable());
        let gone = kept.into_iter().enumerate().filter(|(at, record)| *at < too_many || record.id < oldest);
        changes.extend(gone.map(|(_, record)| StateChange::delete(self.responses_space(), record.id)));
        self.state.commit(changes, ctx).await?;
        Ok(true)
    }

    /// The response of this id, if it is the person's and kept.
    pub(crate) async fn response(
        &self,
        id: &str,
        now: Timestamp,
        ctx: &RunContext,
    ) -> Result<Option<StoredResponse>> {
        let is_old = |digits: &&str| **digits < *now.before(LIFETIME).sortable();
        let Some(digits) = digits(id).filter(|digits| !is_old(digits)) else { return Ok(None) };
        let found = records::load(&*self.state, &self.responses_space(), &self.own(digits), ctx).await?;
        Ok(found.map(|kept| kept.value))
    }

    /// What was said up to the end of a response, at most the `most` latest messages; what is not kept any more is left out.
    pub(crate) async fn said_until(
        &self,
        id: &str,
        most: usize,
        (now, ctx): (Timestamp, &RunContext),
    ) -> Result<Option<Vec<Message>>> {
        let Some(mut stored) = self.response(id, now, ctx).await? else { return Ok(None) };
        let mut turns = vec![stored.messages];
        let mut count = turns.iter().map(Vec::len).sum::<usize>();
        while let Some(before) = stored.previous.filter(|_| turns.len() < MAX_BACK && count < most) {
            let Some(found) = self.response(&before, now, ctx).await? else { break };
            stored = found;
            count += stored.messages.len();
            turns.push(std::mem::take(&mut stored.messages));
        }
        let said = turns.into_iter().rev().flatten().skip(count.saturating_sub(most));
        // The result of a call that is not kept any more answers nothing.
        Ok(Some(said.skip_while(|message| message.role == Role::Tool).collect()))
    }

    /// Deletes a response; says whether there was one.
    pub(crate) async fn forget_response(&self, id: &str, now: Timestamp, ctx: &RunContext) -> Result<bool> {
        let existed = self.response(id, now, ctx).await?.is_some();
        if let Some(digits) = digits(id).filter(|_| existed) {
            let gone = StateChange::delete(self.responses_space(), self.own(digits));
            self.state.commit(vec![gone], ctx).await?;
        }
        Ok(existed)
    }

    /// The person's responses by their age.
    pub(super) async fn responses(
        &self,
        after: &str,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<Kept<StoredResponse>>> {
        let query = StateQuery::new(limit).prefix(self.own("")).after(after);
        records::page(&*self.state, &self.responses_space(), &query, ctx).await
    }

    pub(super) fn responses_space(&self) -> StateSpace {
        StateSpace::of_tenant("responses", &self.home)
    }
}

/// The digits of an id, if it is one.
fn digits(id: &str) -> Option<&str> {
    let digits = id.strip_prefix(PREFIX)?;
    (digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digits)
}
