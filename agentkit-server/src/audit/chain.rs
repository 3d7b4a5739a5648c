//! The chain as pure functions: how a record is linked to the one before it, and how that is checked.

use agentkit_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{AuditEvent, AuditRecord};
use crate::clock::Timestamp;

/// The hash before the first record.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Where a chain begins and ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ends {
    /// The first record that is kept; older ones were removed when their time had come.
    pub(super) first: u64,
    /// The hash of the record before it.
    pub(super) anchor: String,
    /// The last record; one less than `first` if there is none.
    pub(super) last: u64,
    /// Its hash.
    pub(super) head: String,
}

impl Ends {
    /// The chain without records.
    pub(super) fn new() -> Self {
        Self { first: 1, anchor: BEGINNING.into(), last: 0, head: BEGINNING.into() }
    }

    /// Adds a record behind the last one.
    pub(super) fn append(&mut self, at: Timestamp, event: AuditEvent) -> Result<AuditRecord> {
        let (seq, previous) = (self.last + 1, self.head.clone());
        let mut record = AuditRecord { seq, at, event, previous, hash: String::new() };
        record.hash = hash(&record)?;
        self.last = seq;
        self.head.clone_from(&record.hash);
        Ok(record)
    }

    /// Forgets the records up to this one, which must be the next ones kept.
    pub(super) fn cut(&mut self, record: &AuditRecord) {
        self.first = record.seq + 1;
        self.anchor.clone_from(&record.hash);
    }
}

/// Walks along a chain and checks every link.
#[derive(Debug)]
pub(super) struct Walk {
    next: u64,
    previous: String,
}

impl Walk {
    pub(super) fn from(ends: &Ends) -> Self {
        Self { next: ends.first, previous: ends.anchor.clone() }
    }

    /// Checks that `record`, which was stored as `id`, is the next one.
    pub(super) fn step(&mut self, id: &str, record: &AuditRecord) -> Result<()> {
        let broken = |why: &str| Err(Error::corrupt(format!("the audit trail is broken: record {id} {why}")));
        if record.seq != self.next || id != self::id(record.seq) {
            return broken(&format!("stands where {} should be", self.next));
        }
        if record.previous != self.previous {
            return broken("does not follow the one before it");
        }
        if hash(record)? != record.hash {
            return broken("was changed");
        }
        self.next += 1;
        self.previous.clone_from(&record.hash);
        Ok(())
    }

    /// Checks that the walk ended where the chain does.
    pub(super) fn end(&self, ends: &Ends) -> Result<()> {
        if self.next == ends.last + 1 && self.previous == ends.head {
            return Ok(());
        }
        Err(Error::corrupt(format!(
            "the audit trail is broken: it ends with record {} instead of {}",
            self.next - 1,
            ends.last
        )))
    }
}

/// The id of a record, in the order of the chain.
pub(super) fn id(seq: u64) -> String {
    format!("{seq:020}")
}

fn hash(record: &AuditRecord) -> Result<String> {
    let canonical = AuditRecord { hash: String::new(), ..record.clone() };
    let bytes = serde_json::to_vec(&canonical)
        .map_err(|error| Error::internal("write an audit record").with_source(error))?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}
