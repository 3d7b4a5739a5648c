//! Records of the state store as values of their types.

use agentkit_core::{Error, Result, RunContext, StateQuery, StateRecord, StateSpace, StateStore};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A record that was read.
#[derive(Debug, Clone)]
pub(crate) struct Kept<T> {
    pub(crate) id: String,
    pub(crate) revision: u64,
    pub(crate) value: T,
}

/// The record `id`, if it is there.
pub(crate) async fn load<T: DeserializeOwned>(
    store: &dyn StateStore,
    space: &StateSpace,
    id: &str,
    ctx: &RunContext,
) -> Result<Option<Kept<T>>> {
    store.get(space, id, ctx).await?.map(|record| decode(space, record)).transpose()
}

/// The records that `query` names.
pub(crate) async fn page<T: DeserializeOwned>(
    store: &dyn StateStore,
    space: &StateSpace,
    query: &StateQuery,
    ctx: &RunContext,
) -> Result<Vec<Kept<T>>> {
    let found = store.list(space, query, ctx).await?;
    found.into_iter().map(|record| decode(space, record)).collect()
}

/// What a record of this value says.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal("write a record").with_source(error))
}

fn decode<T: DeserializeOwned>(space: &StateSpace, record: StateRecord) -> Result<Kept<T>> {
    let StateRecord { id, revision, value, .. } = record;
    let value = serde_json::from_str(&value).map_err(|error| {
        Error::corrupt(format!("the record {id:?} of {} is damaged", space.kind())).with_source(error)
    })?;
    Ok(Kept { id, revision, value })
}
