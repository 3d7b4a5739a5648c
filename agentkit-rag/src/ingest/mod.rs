//! Ingest: files and folders into a collection, as a job that can be watched, stopped and resumed.
//!
//! [`IngestJob`] takes files from reading to the commit; [`Mirror`] remembers a folder, so that a sync reads only what has
//! changed. Where the documents go is an [`IngestTarget`]: an [`Index`](crate::Index), or a server that holds one.

mod batch;
mod job;
mod journal;
mod mirror;
mod read;
mod report;
mod target;

pub use job::IngestJob;
pub use mirror::Mirror;
pub use report::{FileEnd, IngestEvent, IngestReport, SkippedFile};
pub use target::IngestTarget;

#[cfg(test)]
mod tests;
