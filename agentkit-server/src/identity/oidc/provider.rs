//! A provider's signing keys: found by discovery, kept for a while, fetched again when they are missed.
//!
//! One fetch at a time, and no more than one a second whatever tokens come, unless keys are to be fetched more often. They
//! are fetched again aside when half of their time is over, so that under load a key that was taken back never counts for all of it. A token whose key is not known waits for
//! the next fetch, so a key that was rotated in is found at once; only a token whose key is still missing after a fetch
//! that began later than the token came is refused. While the provider cannot be reached, known keys go on for an hour.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use agentkit_core::{Error, ErrorKind, Result};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::signing_keys::{SigningKeys, unreadable};

/// How long the provider may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The least time between two fetches.
const PAUSE: Duration = Duration::from_secs(1);
/// How long keys are used although they cannot be fetched again.
const STALE: Duration = Duration::from_hours(1);
/// Longest answer of the provider in bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Where keys come from.
pub(super) struct Provider {
    issuer: String,
    discovery: Url,
    refresh: Duration,
    client: reqwest::Client,
    known: RwLock<Option<Known>>,
    /// When the last fetch began; held while one is under way.
    fetching: Mutex<Option<Instant>>,
}

/// The keys of one fetch.
struct Known {
    keys: SigningKeys,
    fetched: Instant,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Provider {
    pub(super) fn new(issuer: &str, refresh: Duration) -> Result<Self> {
        let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let discovery = trusted(&discovery)?;
        // Keys come from where the configuration says and from nowhere else.
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
        let client = client.build();
        let client = client.map_err(|error| Error::internal("start the HTTP client").with_source(error))?;
        Ok(Self {
            issuer: issuer.to_owned(),
            discovery,
            refresh,
            client,
            known: RwLock::default(),
            fetching: Mutex::default(),
        })
    }

    /// The key of this id, or the only one if there is no id, for `algorithm`.
    pub(super) async fn key(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<DecodingKey>> {
        let came = Instant::now();
        match self.look(kid, algorithm)? {
            (Some(key), Some(age)) if age < STALE => {
                if age >= self.refresh && self.fetch_if_rested().await {
                    return Ok(self.look(kid, algorithm)?.0);
                }
                if age >= self.refresh / 2 {
                    self.refresh_aside();
                }
                Ok(Some(key))
            }
            _ => {
                self.fetch_since(came).await?;
                Ok(self.look(kid, algorithm)?.0)
            }
        }
    }

    /// Fetches keys that nobody asked for in a while, since the known ones may have been taken back; says whether it
    /// could. Of those who come while the provider is away, one waits for it, and none longer than it may take.
    async fn fetch_if_rested(&self) -> bool {
        let Ok(last) = self.fetching.try_lock() else { return false };
        if last.is_some_and(|last| last.elapsed() < self.refresh.max(PAUSE)) {
            return false;
        }
        let fetched = self.fetch_while(last).await;
        if let Err(error) = &fetched {
            tracing::warn!(error = error.chain(), "the provider's keys could not be fetched again");
        }
        fetched.is_ok()
    }

    /// Fetches the keys while the known ones go on, unless somebody does or has just tried.
    fn refresh_aside(self: &Arc<Self>) {
        let provider = self.clone();
        tokio::spawn(async move {
            let Ok(last) = provider.fetching.try_lock() else { return };
            if last.is_some_and(|last| last.elapsed() < PAUSE.min(provider.refresh / 2)) {
                return;
            }
            if let Err(error) = provider.fetch_while(last).await {
                tracing::warn!(error = error.chain(), "the provider's keys could not be fetched again");
            }
        });
    }

    /// The key as far as it is known, and how old that knowledge is.
    fn look(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<(Option<DecodingKey>, Option<Duration>)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Known { keys, fetched }) = &*known else { return Ok((None, None)) };
        Ok((keys.find(kid, algorithm)?, Some(fetched.elapsed())))
    }

    /// Fetches the keys, unless somebody began to after `moment`.
    async fn fetch_since(&self, moment: Instant) -> Result<()> {
        let last = self.fetching.lock().await;
        if last.is_some_and(|last| last > moment) {
            return Ok(());
        }
        if let Some(last) = *last {
            tokio::time::sleep_until(last + PAUSE).await;
        }
        self.fetch_while(last).await
    }

    async fn fetch_while(&self, mut last: MutexGuard<'_, Option<Instant>>) -> Result<()> {
        let fetched = Instant::now();
        *last = Some(fetched);
        let keys = self.fetch().await?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Known { keys, fetched });
        Ok(())
    }

    async fn fetch(&self) -> Result<SigningKeys> {
        let found: Discovery = self.discover().await?;
        if found.issuer != self.issuer {
            let message = format!("the provider calls itself {:?} and not {:?}", found.issuer, self.issuer);
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let jwks = trusted(&found.jwks_uri)?;
        if self.discovery.scheme() == "https" && jwks.scheme() != "https" {
            return Err(Error::new(ErrorKind::Unavailable, "the provider hands out its keys without TLS"));
        }
        SigningKeys::from_json(&self.read(jwks).await?)
    }

    /// What the provider says of itself.
    pub(super) async fn discover<T: DeserializeOwned>(&self) -> Result<T> {
        self.get(self.discovery.clone()).await
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T> {
        serde_json::from_slice(&self.read(url).await?).map_err(unreadable)
    }

    async fn read(&self, url: Url) -> Result<Vec<u8>> {
        let failed = |error: reqwest::Error| {
            let message = format!("ask the identity provider at {}", self.issuer);
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        };
        let answer = self.client.get(url).send().await.map_err(failed)?;
        let mut answer = answer.error_for_status().map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_ANSWER_BYTES {
                return Err(Error::new(ErrorKind::Unavailable, "the identity provider's answer is too long"));
            }
        }
        Ok(bytes)
    }
}

/// A URL that keys may come from.
pub(super) fn trusted(url: &str) -> Result<Url> {
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    parsed.ok_or_else(|| Error::invalid_input(format!("{url:?} is not the URL of an identity provider")))
}
