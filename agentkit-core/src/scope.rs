//! The capability that every query, write, cache entry and memory is formed with.

use crate::error::Result;
use crate::id::{CollectionName, TenantId};

/// The right to act for one tenant in one collection.
///
/// No request to a [`Retriever`](crate::Retriever), [`Memory`](crate::Memory) or index can be formed
/// without a scope, so forgetting the tenant is a compile error rather than a leak. A scope is made in
/// one place, where the caller's identity has been established; it deliberately implements neither
/// `Default` nor `Deserialize`, so it can never come out of a request's body.
///
/// # Examples
/// ```
/// use agentkit_core::{CollectionName, TenantId, TenantScope};
///
/// # fn main() -> agentkit_core::Result<()> {
/// let scope = TenantScope::for_tenant(TenantId::new("acme")?);
/// let manuals = scope.in_collection(CollectionName::new("manuals")?);
/// assert_eq!(manuals.tenant().as_str(), "acme");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TenantScope {
    tenant: TenantId,
    collection: CollectionName,
}

/// The tenant of programs that have only one.
const LOCAL_TENANT: &str = "local";
/// The collection that is meant when none is named.
const DEFAULT_COLLECTION: &str = "default";

impl TenantScope {
    /// Acts for `tenant` in its `default` collection. Call this only after the caller's identity is established.
    #[must_use]
    pub fn for_tenant(tenant: TenantId) -> Self {
        Self { tenant, collection: valid(CollectionName::new(DEFAULT_COLLECTION)) }
    }

    /// The scope of a program that serves only itself: tenant `local`, collection `default`.
    #[must_use]
    pub fn local() -> Self {
        Self::for_tenant(valid(TenantId::new(LOCAL_TENANT)))
    }

    /// The same tenant in another collection.
    #[must_use]
    pub fn in_collection(&self, collection: CollectionName) -> Self {
        Self { tenant: self.tenant.clone(), collection }
    }

    /// Whom this scope acts for.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The collection it acts in.
    #[must_use]
    pub fn collection(&self) -> &CollectionName {
        &self.collection
    }
}

#[expect(clippy::expect_used, reason = "only called with this file's constants")]
fn valid<T>(name: Result<T>) -> T {
    name.expect("the constant names are well formed")
}
