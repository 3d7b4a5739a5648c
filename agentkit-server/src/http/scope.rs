//! The one place where a request's tenant is established.

use std::convert::Infallible;

use agentkit_core::{CollectionName, TenantScope};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;

/// For whom a request acts; a handler without it cannot touch data.
#[derive(Debug, Clone)]
pub(super) struct Scope(TenantScope);

impl Scope {
    /// Whoever reaches the loopback interface is the machine's own user.
    pub(super) fn of(_parts: &Parts) -> Self {
        Self(TenantScope::local())
    }

    /// The scope in the collection the request names, or in the default one.
    pub(super) fn in_collection(&self, collection: Option<CollectionName>) -> TenantScope {
        collection.map_or_else(|| self.0.clone(), |collection| self.0.in_collection(collection))
    }
}

impl<S: Sync> FromRequestParts<S> for Scope {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}
