//! What each input makes of a run.

use std::time::Duration;

use serde_json::Value;

use super::batch::{Batch, PendingCall};
use super::end::{RunEnd, StopReason};
use super::history::{CallIds, calls, failed, said};
use super::step::{RunChange, RunInput};
use super::{AgentRun, Phase};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{ToolCall, ToolResult};
use crate::model::{ChatResponse, FinishReason};

/// What the model is told of arguments that cannot stand in a history as they are, and so cannot be run.
const MALFORMED: &str =
    "not run: the arguments are no JSON object, or nest more than 64 deep; mend them and call it again";
/// How deep arguments may nest: a snapshot holds them some levels deeper, and no reader takes more than 128.
const MAX_DEPTH: usize = 64;

/// The calls that were asked for, and why the run has to stop, if it has to.
type Verdict = (Vec<ToolCall>, Option<StopReason>);

impl AgentRun {
    /// Takes in what happened, and says which calls were asked for and which results can be told.
    ///
    /// # Errors
    /// Conflict, if nothing of the kind could happen now, and invalid input, if it names a call that is not under
    /// way or resolves one in a way that does not fit. The run is then unchanged.
    pub fn apply(&mut self, input: RunInput) -> Result<RunChange> {
        let (asked, stop) = match (&mut self.phase, input) {
            (_, RunInput::Elapsed { by }) => {
                self.totals.elapsed = self.totals.elapsed.saturating_add(by);
                (Vec::new(), self.late(Duration::ZERO))
            }
            (Phase::Over(_) | Phase::Model, RunInput::Resumed) => Verdict::default(),
            (Phase::Over(_), input) => return Err(out_of_place(&input, "the run is over")),
            (_, RunInput::Stop(reason)) => (Vec::new(), Some(reason)),
            (Phase::Model, RunInput::ModelAnswered(answer)) => self.answered(answer),
            (Phase::Model, RunInput::ModelInterrupted { text, usage, reason }) => {
                self.totals.count(usage, self.settings.price.as_ref());
                self.settings.request.messages.extend(said(&text, &[]));
                (Vec::new(), Some(reason))
            }
            (Phase::Model, input) => return Err(out_of_place(&input, "the model is to be called")),
            (Phase::Tools(batch), input) => (Vec::new(), advance(batch, input)?),
        };
        let settled = match stop {
            Some(reason) => self.stop(reason),
            None => self.settle(),
        };
        Ok(RunChange { asked, settled })
    }

    fn answered(&mut self, answer: ChatResponse) -> Verdict {
        self.totals.count(answer.usage, self.settings.price.as_ref());
        if answer.finish_reason == FinishReason::ContentFilter {
            self.settings.request.messages.extend(said(&answer.text, &[]));
            return (Vec::new(), Some(StopReason::ContentFilter));
        }
        let mut ids = CallIds::of(self.messages());
        let malformed: Vec<bool> =
            answer.tool_calls.iter().map(|call| is_malformed(&call.arguments)).collect();
        let asked: Vec<ToolCall> = answer.tool_calls.into_iter().map(|call| ids.normalised(call)).collect();
        let message = said(&answer.text, &asked);
        if asked.is_empty() {
            return (asked, self.finish(message, answer.finish_reason));
        }
        let Some(said) = message else { return Verdict::default() };
        let first = self.totals.tool_calls;
        self.totals.tool_calls = first.saturating_add(u32::try_from(asked.len()).unwrap_or(u32::MAX));
        let keys = (first..).map(|number| format!("{}/{number}", self.settings.id));
        let calls = asked.iter().cloned().zip(keys).map(|(call, key)| PendingCall::new(call, key)).collect();
        let mut batch = Batch { said, calls };
        for (call, _) in batch.calls.iter_mut().zip(malformed).filter(|(_, malformed)| *malformed) {
            call.refuse(MALFORMED);
        }
        let insisted = self.refuse_repetitions(&mut batch, &asked);
        self.phase = Phase::Tools(batch);
        (asked, self.exhausted().or(insisted))
    }

    /// Ends the run with the model's last message, or says why there is no answer.
    fn finish(
        &mut self,
        message: Option<crate::message::Message>,
        reason: FinishReason,
    ) -> Option<StopReason> {
        let end = match reason {
            FinishReason::Length => RunEnd::Truncated,
            FinishReason::Refused => RunEnd::Refused,
            _ if message.is_none() => return Some(StopReason::EmptyAnswer),
            _ => RunEnd::Answered,
        };
        self.settings.request.messages.extend(message);
        self.phase = Phase::Over(end);
        None
    }

    /// Tells the model that it repeats itself; gives the reason to stop when an earlier answer was told so.
    fn refuse_repetitions(&self, batch: &mut Batch, asked: &[ToolCall]) -> Option<StopReason> {
        let limit = usize::try_from(self.settings.limits.identical_calls).unwrap_or(usize::MAX);
        let mut insisted = None;
        for (at, call) in batch.calls.iter_mut().enumerate() {
            let same = |other: &&ToolCall| {
                (&other.name, &other.arguments) == (&call.call.name, &call.call.arguments)
            };
            let before = calls(self.added()).filter(same).count();
            let made = before + asked.iter().take(at).filter(same).count();
            if before > limit {
                insisted = Some(StopReason::Repetition { tool: call.call.name.clone() });
            } else if made >= limit {
                call.refuse(format!(
                    "not run: this call has been made {made} times with these arguments; use what it gave, or do \
                     something else"
                ));
            }
        }
        insisted
    }

    /// Why there must be no further step, if there must not.
    pub(super) fn exhausted(&self) -> Option<StopReason> {
        let (limits, totals) = (&self.settings.limits, &self.totals);
        let tokens = limits.tokens.filter(|limit| totals.usage.total() >= *limit);
        let cost = limits.cost.filter(|limit| totals.cost >= *limit && self.settings.price.is_some());
        if totals.tool_calls > limits.tool_calls {
            return Some(StopReason::ToolCallLimit { limit: limits.tool_calls });
        }
        if totals.steps >= limits.steps {
            return Some(StopReason::StepLimit { limit: limits.steps });
        }
        let tokens = tokens.map(|limit| StopReason::TokenLimit { limit });
        tokens.or(cost.map(|limit| StopReason::CostLimit { limit: limit.micros() }))
    }

    /// Whether the time is over `by` from now; the reason, if it is.
    pub(crate) fn late(&self, by: Duration) -> Option<StopReason> {
        let elapsed = self.totals.elapsed.saturating_add(by);
        let limit = self.settings.limits.time.filter(|limit| elapsed >= *limit)?;
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.end().is_none().then_some(StopReason::TimeLimit { limit_ms })
    }

    /// Ends the run where it is: calls without a result get one that says so.
    fn stop(&mut self, reason: StopReason) -> Vec<ToolResult> {
        let mut settled = Vec::new();
        if let Phase::Tools(batch) = &mut self.phase {
            batch.abandon(reason.to_error().message());
            settled = batch.tell();
        }
        self.leave_tools(Phase::Over(RunEnd::Stopped(reason)));
        settled
    }

    /// Goes on to the model if all calls have their results.
    fn settle(&mut self) -> Vec<ToolResult> {
        let Phase::Tools(batch) = &mut self.phase else { return Vec::new() };
        let told = batch.tell();
        if batch.is_settled() {
            self.leave_tools(Phase::Model);
        }
        told
    }

    fn leave_tools(&mut self, next: Phase) {
        if let Phase::Tools(batch) = std::mem::replace(&mut self.phase, next) {
            self.settings.request.messages.extend(batch.messages());
        }
    }
}

/// Takes in what became of a tool; gives the reason if the run has to stop.
fn advance(batch: &mut Batch, input: RunInput) -> Result<Option<StopReason>> {
    match input {
        RunInput::ToolStarted { call_id, arguments, repeat } => batch.start(&call_id, arguments, repeat)?,
        RunInput::ToolDeferred { call_id, waits_for, arguments } => {
            batch.defer(&call_id, waits_for, arguments)?;
        }
        RunInput::ToolSettled(result) => batch.settle(result)?,
        RunInput::Resolved { call_id, resolution } => batch.resolve(&call_id, resolution)?,
        RunInput::Resumed => batch.resume(),
        RunInput::ToolFailed { call_id, reason } => {
            batch.settle(failed(&call_id, reason.to_error().message()))?;
            return Ok(Some(reason));
        }
        input => return Err(out_of_place(&input, "tools are being run")),
    }
    Ok(None)
}

fn is_malformed(arguments: &Value) -> bool {
    !arguments.is_object() || is_deeper(arguments, MAX_DEPTH)
}

fn is_deeper(value: &Value, most: usize) -> bool {
    let Some(rest) = most.checked_sub(1) else { return matches!(value, Value::Array(_) | Value::Object(_)) };
    match value {
        Value::Array(values) => values.iter().any(|value| is_deeper(value, rest)),
        Value::Object(fields) => fields.values().any(|value| is_deeper(value, rest)),
        _ => false,
    }
}

fn out_of_place(input: &RunInput, state: &str) -> Error {
    let what = match input {
        RunInput::Elapsed { .. } => "time",
        RunInput::ModelAnswered(_) => "an answer of the model",
        RunInput::ModelInterrupted { .. } => "an interruption of the model",
        RunInput::ToolStarted { .. } => "the start of a tool",
        RunInput::ToolDeferred { .. } => "the deferral of a tool",
        RunInput::ToolSettled(_) => "the result of a tool",
        RunInput::ToolFailed { .. } => "the failure of a tool",
        RunInput::Resolved { .. } => "the answer to a deferred call",
        RunInput::Resumed => "a resumption",
        RunInput::Stop(_) => "a stop",
    };
    Error::new(ErrorKind::Conflict, format!("the run cannot take in {what}: {state}"))
}
