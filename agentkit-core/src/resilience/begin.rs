//! The start of an answer as one step: until its first event is there, nothing has been said and all can be redone.

use futures_util::{StreamExt, stream};

use crate::context::RunContext;
use crate::error::{Error, Result};
use crate::model::{ChatEvent, ChatModel, ChatRequest, ChatStream};

/// Starts an answer and waits for its first event, which the stream gives again.
///
/// An error before the first event is an error of this call, so a caller that gets a stream knows that
/// something has been said and must not be said twice.
pub(super) async fn begin<M>(model: &M, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream>
where
    M: ChatModel + ?Sized,
{
    let mut rest = model.stream(request, ctx).await?;
    match rest.next().await {
        Some(first) => Ok(ChatStream::new(stream::iter([Ok(first?)]).chain(rest))),
        None => Err(Error::internal("the model's stream ended before it began")),
    }
}

/// Whether nothing follows `event`.
pub(super) fn is_last(event: &Result<ChatEvent>) -> bool {
    matches!(event, Err(_) | Ok(ChatEvent::Finished { .. }))
}
