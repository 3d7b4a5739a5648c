//! The tool calls of one step, on their way to their results.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::history::failed;
use super::step::{Decision, Deferral, DeferredCall, ReadyCall, Resolution};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Message, Part, Role, ToolCall, ToolResult};
use crate::tool::Repeat;

/// What the model is told of a call that may or may not have taken effect.
const UNKNOWN: &str = "outcome unknown: the call was started, but the run was interrupted before its result was \
    recorded. It may or may not have taken effect, and was not repeated";

/// A model's message that asks for tools, and what became of its calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) said: Message,
    pub(super) calls: Vec<PendingCall>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PendingCall {
    pub(super) call: ToolCall,
    pub(super) key: String,
    /// What to call the tool with, if not with the call's arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arguments: Option<Value>,
    decision: Decision,
    state: State,
    /// Whether the result was given to the driver.
    told: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ready,
    Started { repeat: Repeat },
    Deferred { waits_for: Deferral },
    Settled { result: ToolResult },
}

impl PendingCall {
    pub(super) fn new(call: ToolCall, key: String) -> Self {
        Self { call, key, arguments: None, decision: Decision::Open, state: State::Ready, told: false }
    }

    /// Ends the call with something its tool did not say.
    pub(super) fn refuse(&mut self, why: impl Into<String>) {
        self.state = State::Settled { result: failed(&self.call.id, why) };
    }

    /// The call with the arguments to run it with.
    fn effective(&self) -> ToolCall {
        let ToolCall { id, name, arguments } = &self.call;
        let arguments = self.arguments.as_ref().unwrap_or(arguments).clone();
        ToolCall { id: id.clone(), name: name.clone(), arguments }
    }

    fn ready(&self) -> Option<ReadyCall> {
        let ready = ReadyCall { call: self.effective(), key: self.key.clone(), decision: self.decision };
        (self.state == State::Ready).then_some(ready)
    }

    fn result(&self) -> Option<&ToolResult> {
        match &self.state {
            State::Settled { result } => Some(result),
            _ => None,
        }
    }

    fn out_of_place(&self, what: &str) -> Error {
        let message = format!("call {:?} cannot be {what}: it is {:?}", self.call.id, self.state);
        Error::new(ErrorKind::Conflict, message)
    }
}

impl Batch {
    pub(super) fn ready(&self) -> Vec<ReadyCall> {
        self.calls.iter().filter_map(PendingCall::ready).collect()
    }

    pub(super) fn deferred(&self) -> Vec<DeferredCall> {
        let waiting = self.calls.iter().filter_map(|call| match call.state {
            State::Deferred { waits_for } => Some(DeferredCall::new(call.effective(), waits_for)),
            _ => None,
        });
        waiting.collect()
    }

    pub(super) fn has_started(&self) -> bool {
        self.calls.iter().any(|call| matches!(call.state, State::Started { .. }))
    }

    pub(super) fn is_settled(&self) -> bool {
        self.calls.iter().all(|call| call.result().is_some())
    }

    pub(super) fn start(&mut self, id: &str, arguments: Option<Value>, repeat: Repeat) -> Result<()> {
        let call = self.call(id)?;
        if call.state != State::Ready {
            return Err(call.out_of_place("started"));
        }
        call.arguments = arguments.or(call.arguments.take());
        call.state = State::Started { repeat };
        Ok(())
    }

    pub(super) fn defer(&mut self, id: &str, waits_for: Deferral, arguments: Option<Value>) -> Result<()> {
        let call = self.call(id)?;
        if call.state != State::Ready {
            return Err(call.out_of_place("deferred"));
        }
        call.arguments = arguments.or(call.arguments.take());
        call.state = State::Deferred { waits_for };
        Ok(())
    }

    pub(super) fn settle(&mut self, result: ToolResult) -> Result<()> {
        let call = self.call(&result.call_id)?;
        if !matches!(call.state, State::Ready | State::Started { .. }) {
            return Err(call.out_of_place("settled"));
        }
        call.state = State::Settled { result };
        Ok(())
    }

    pub(super) fn resolve(&mut self, id: &str, resolution: Resolution) -> Result<()> {
        let call = self.call(id)?;
        let State::Deferred { waits_for } = call.state else { return Err(call.out_of_place("resolved")) };
        match resolution {
            Resolution::Approve { .. } if waits_for == Deferral::Result => {
                let message = format!("call {id:?} is run elsewhere: hand in its result, or deny it");
                return Err(Error::invalid_input(message));
            }
            Resolution::Approve { arguments } => {
                call.arguments = arguments.or(call.arguments.take());
                call.decision = Decision::Approved;
                call.state = State::Ready;
            }
            Resolution::Deny { reason } => call.refuse(format!("denied: {reason}")),
            Resolution::Return { content, is_error } => {
                let result = ToolResult { call_id: id.to_owned(), content, is_error };
                call.state = State::Settled { result };
            }
        }
        Ok(())
    }

    /// Nobody knows what became of the calls that were started: keyed ones can be made again, others cannot.
    pub(super) fn resume(&mut self) {
        for call in &mut self.calls {
            match call.state {
                State::Started { repeat: Repeat::Keyed } => {
                    call.decision = Decision::Restarted;
                    call.state = State::Ready;
                }
                State::Started { .. } => call.refuse(UNKNOWN),
                _ => {}
            }
        }
    }

    /// Ends every call that has no result.
    pub(super) fn abandon(&mut self, why: &str) {
        for call in &mut self.calls {
            match call.state {
                State::Settled { .. } => {}
                State::Started { .. } => call.refuse(UNKNOWN),
                State::Ready | State::Deferred { .. } => call.refuse(format!("not run: {why}")),
            }
        }
    }

    /// The results that can be told now, in the order of the calls: one that waits for somebody outside holds
    /// up nobody, one that is ready or runs holds up those behind it.
    pub(super) fn tell(&mut self) -> Vec<ToolResult> {
        let mut told = Vec::new();
        for call in &mut self.calls {
            match &call.state {
                State::Ready | State::Started { .. } => break,
                State::Settled { result } if !call.told => {
                    told.push(result.clone());
                    call.told = true;
                }
                State::Settled { .. } | State::Deferred { .. } => {}
            }
        }
        told
    }

    /// The two messages that this becomes in the history, once it is settled.
    pub(super) fn messages(self) -> [Message; 2] {
        let results = self.calls.into_iter().map(|call| match call.state {
            State::Settled { result } => Part::ToolResult(result),
            _ => Part::ToolResult(failed(&call.call.id, UNKNOWN)),
        });
        let results = Message { role: Role::Tool, parts: results.collect() };
        [self.said, results]
    }

    fn call(&mut self, id: &str) -> Result<&mut PendingCall> {
        let unknown = || Error::invalid_input(format!("no call {id:?} is under way"));
        self.calls.iter_mut().find(|call| call.call.id == id).ok_or_else(unknown)
    }
}
