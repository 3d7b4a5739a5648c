//! What is kept of a resumable run: its events so far, for whoever reads them.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use agentkit_core::{AgentEvent, AgentEventKind, Error, ErrorKind, RunContext, SessionId};
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Owner;
use crate::http::events::Encoded;

/// A run's events, in the form in which clients get them.
#[derive(Debug)]
pub(in crate::http) struct Record {
    id: String,
    owner: Owner,
    ctx: RunContext,
    most_bytes: usize,
    /// The conversation it belongs to, by the name its owner knows.
    session: OnceLock<SessionId>,
    log: Mutex<Log>,
    /// Tells readers that there is more.
    grown: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Log {
    /// The event number n is at n.
    events: Vec<Encoded>,
    bytes: usize,
    ended: Option<Instant>,
}

/// What there is at a place of the log.
enum At {
    Event(Encoded),
    NothingYet,
    End,
}

impl Record {
    pub(super) fn new(id: String, owner: Owner, ctx: RunContext, most_bytes: usize) -> Self {
        let (session, log, grown) = (OnceLock::new(), Mutex::default(), watch::Sender::new(()));
        Self { id, owner, ctx, most_bytes, session, log, grown }
    }

    pub(in crate::http) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Says which conversation the run belongs to, before it begins.
    pub(super) fn is_of(&self, session: Option<SessionId>) {
        if let Some(session) = session {
            // It is said once.
            let _ = self.session.set(session);
        }
    }

    pub(super) fn session(&self) -> Option<&SessionId> {
        self.session.get()
    }

    /// Stops the run; its last event tells so.
    pub(in crate::http) fn stop(&self) {
        self.ctx.cancel();
    }

    /// When the run ended, if it has.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.lock().ended
    }

    /// Adds an event; false if the run has to end because it is not to be kept whole.
    pub(super) fn write(&self, event: &AgentEvent) -> bool {
        let encoded = Encoded::of(event);
        let mut log = self.lock();
        let fits = log.bytes.saturating_add(encoded.bytes()) <= self.most_bytes;
        if fits {
            log.bytes += encoded.bytes();
            log.events.push(encoded);
        } else {
            self.ctx.cancel();
            let message = format!("the events of a resumable run may have {} bytes at most", self.most_bytes);
            end_with(&mut log, &Error::new(ErrorKind::ResourceExhausted, message));
        }
        drop(log);
        self.grown.send_replace(());
        fits
    }

    fn end(&self) {
        let mut log = self.lock();
        if !log.events.last().is_some_and(Encoded::is_last) {
            end_with(&mut log, &Error::internal("the run ended without saying how"));
        }
        log.ended = Some(Instant::now());
        drop(log);
        self.grown.send_replace(());
    }

    fn at(&self, place: usize) -> At {
        let log = self.lock();
        match log.events.get(place) {
            Some(event) => At::Event(event.clone()),
            None if log.ended.is_some() => At::End,
            None => At::NothingYet,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end_with(log: &mut Log, error: &Error) {
    let kind = AgentEventKind::Error { kind: error.kind(), message: error.message().to_owned() };
    let seq = log.events.len() as u64;
    log.events.push(Encoded::of(&AgentEvent { seq, kind }));
}

/// Ends the record when the task behind it does, even if that panics.
pub(super) struct Ending(Arc<Record>);

impl Ending {
    pub(super) fn of(record: Arc<Record>) -> Self {
        Self(record)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The events from number `next` on, those that are still to come included.
pub(in crate::http) fn follow(record: Arc<Record>, next: usize) -> impl Stream<Item = Encoded> + Send {
    let grown = record.grown.subscribe();
    stream::unfold((record, next, grown), |(record, next, mut grown)| async move {
        loop {
            match record.at(next) {
                At::Event(event) => return Some((event, (record, next + 1, grown))),
                At::End => return None,
                // The sender is in the record, so waiting cannot fail.
                At::NothingYet => grown.changed().await.ok()?,
            }
        }
    })
}
