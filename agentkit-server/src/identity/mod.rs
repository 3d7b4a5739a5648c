//! Who is asking: API keys, tokens, roles, and for whom a request may act.

mod authenticator;
mod key;
mod keys;
mod oidc;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use agentkit_core::{CollectionName, Error, Result, TenantId, TenantScope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::authenticator::Authenticator;
pub use self::key::ApiKey;
pub(crate) use self::key::random_hex;
pub use self::keys::{KeyRecord, KeySpec, Keys};
pub(crate) use self::oidc::SignIn;
pub use self::oidc::{Oidc, OidcOptions, SigningKeys};

/// Longest name of a person in bytes.
pub const MAX_SUBJECT_BYTES: usize = 256;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Everything within the tenant.
    Admin,
    /// Change documents, and what a user may.
    Editor,
    /// Ask, search, read documents, keep conversations.
    User,
    /// Read the audit trail, and nothing else.
    Auditor,
}

impl Role {
    /// Every role, the mightiest first.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Editor, Self::User, Self::Auditor];

    /// The role's name, as it is written in keys and tokens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::User => "user",
            Self::Auditor => "auditor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or_else(|| {
            Error::invalid_input(format!("there is no role {name:?}; use admin, editor, user or auditor"))
        })
    }
}

/// Somebody whose credential was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// Whose documents and conversations it is about.
    pub tenant: TenantId,
    /// Who it is within the tenant.
    pub subject: String,
    /// What they may do.
    pub role: Role,
    /// The collections they may use; all if `None`.
    pub collections: Option<BTreeSet<CollectionName>>,
    /// The id of the key, or what else they showed.
    pub credential: String,
}

impl Principal {
    /// Somebody of `tenant` with `role` in every collection.
    #[must_use]
    pub fn new(tenant: TenantId, subject: impl Into<String>, role: Role) -> Self {
        Self { tenant, subject: subject.into(), role, collections: None, credential: String::new() }
    }

    /// The machine's own user, who may do everything where nobody is asked for a credential.
    #[must_use]
    pub fn local() -> Self {
        let tenant = TenantScope::local().tenant().clone();
        Self { credential: "insecure-dev".into(), ..Self::new(tenant, "local", Role::Admin) }
    }

    /// The scope in `collection`, or in the one that is meant if none is named: `default`, or the only one there is.
    ///
    /// # Errors
    /// Not found, if this principal may not use it, whether or not it exists.
    pub fn scope(&self, collection: Option<CollectionName>) -> Result<TenantScope> {
        let home = TenantScope::for_tenant(self.tenant.clone());
        let Some(allowed) = &self.collections else {
            return Ok(collection.map_or_else(|| home.clone(), |name| home.in_collection(name)));
        };
        let only = || allowed.first().filter(|_| allowed.len() == 1).cloned();
        let named = collection.or_else(only).unwrap_or_else(|| home.collection().clone());
        if allowed.contains(&named) {
            return Ok(home.in_collection(named));
        }
        Err(Error::not_found(format!("there is no collection {:?} for this credential", named.as_str())))
    }
}

/// The tenant whose audit trail has what is nobody's: a credential that was refused. No token can name it.
pub(crate) const SERVICE_TENANT: &str = "service";

/// Refuses names that no person has.
fn check_subject(subject: &str) -> Result<()> {
    let fits = (1..=MAX_SUBJECT_BYTES).contains(&subject.len());
    if fits && !subject.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::invalid_input(format!(
        "a user's name must have 1 to {MAX_SUBJECT_BYTES} bytes without control characters"
    )))
}
