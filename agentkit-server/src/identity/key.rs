//! The text of an API key: a prefix that scanners know, an id to find it by, and a secret.

use std::fmt;

use agentkit_core::{Error, Result};

/// What every key begins with.
const PREFIX: &str = "agk";
/// Random bytes of the id.
const ID_BYTES: usize = 8;
/// Random bytes of the secret.
const SECRET_BYTES: usize = 32;

/// A key as it is handed out, once; it shows itself only through [`ApiKey::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    id: String,
    secret: String,
}

impl ApiKey {
    /// A new random key.
    ///
    /// # Errors
    /// Unavailable, if the machine gives no random numbers.
    pub fn random() -> Result<Self> {
        Ok(Self { id: random_hex::<ID_BYTES>()?, secret: random_hex::<SECRET_BYTES>()? })
    }

    /// The key that `text` is, if it has the form of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('_');
        let (prefix, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let well_formed = prefix == PREFIX && is_hex::<ID_BYTES>(id) && is_hex::<SECRET_BYTES>(secret);
        (well_formed && parts.next().is_none()).then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// What it is found by; no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole key.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{PREFIX}_{}_{}", self.id, self.secret)
    }

    /// What is stored in its place. The secret has 256 random bits, so a fast hash is as good as a slow one.
    pub(super) fn hash(&self) -> String {
        self.digest().to_hex().to_string()
    }

    /// Whether it is the key that `hash` was stored for; takes the same time whatever the difference.
    pub(super) fn is(&self, hash: &str) -> bool {
        blake3::Hash::from_hex(hash).is_ok_and(|stored| stored == self.digest())
    }

    fn digest(&self) -> blake3::Hash {
        blake3::hash(self.expose().as_bytes())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}_{}_[redacted]", self.id)
    }
}

/// Random bytes in hexadecimal.
pub(crate) fn random_hex<const N: usize>() -> Result<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(agentkit_core::ErrorKind::Unavailable, "get random numbers from the machine")
            .with_source(error)
    })?;
    Ok(bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect())
}

fn is_hex<const N: usize>(text: &str) -> bool {
    text.len() == 2 * N && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
