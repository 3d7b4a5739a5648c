//! The keys that a provider signs its tokens with, as it tells them.

use std::fmt;

use agentkit_core::{Error, ErrorKind, Result};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Keys that signatures are checked with.
pub struct SigningKeys(Vec<Jwk>);

/// A set of keys (RFC 7517) as it is written.
#[derive(Deserialize)]
struct Told {
    keys: Vec<Value>,
}

impl SigningKeys {
    /// Reads a JSON Web Key Set. Keys of a kind that is not known here are left out, so that they do not take the others away.
    ///
    /// # Errors
    /// Unavailable, if it is no key set.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let told: Told = serde_json::from_slice(json).map_err(unreadable)?;
        Ok(Self(told.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect()))
    }

    /// The key of this id, or the only one if there is no id, for `algorithm`.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Option<DecodingKey>> {
        let fits = |key: &&Jwk| {
            let signs = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
            let named = key.common.key_algorithm.map(|named| named.to_string());
            signs && named.is_none_or(|named| named == format!("{algorithm:?}"))
        };
        let mut candidates = self.0.iter().filter(fits);
        let found = match kid {
            Some(kid) => candidates.find(|key| key.common.key_id.as_deref() == Some(kid)),
            None => candidates.next().filter(|_| candidates.next().is_none()),
        };
        let key = found.map(DecodingKey::from_jwk).transpose();
        let key = key.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "read a key of the provider").with_source(error)
        })?;
        Ok(key.filter(|key| key.family() == algorithm.family()))
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").field("count", &self.0.len()).finish()
    }
}

/// The error of an answer of the provider that makes no sense.
pub(super) fn unreadable(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "read the identity provider's answer").with_source(error)
}
