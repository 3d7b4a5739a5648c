//! What a page needs to send somebody to the provider and to come back with a token: nothing of it is secret.

use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{Error, ErrorKind, Result};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::OidcOptions;
use super::provider::{Provider, trusted};

/// How long the provider's places are believed.
const GOOD: Duration = Duration::from_mins(5);
/// How long a provider that did not answer is not asked again.
const BAD: Duration = Duration::from_secs(5);

/// Where and how to sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SignIn {
    /// The provider, as it names itself.
    pub(crate) issuer: String,
    /// The page, as the provider knows it.
    pub(crate) client_id: String,
    /// What to ask for.
    pub(crate) scope: String,
    /// Where people sign in.
    pub(crate) authorization_endpoint: String,
    /// Where the page gets its token.
    pub(crate) token_endpoint: String,
    /// Where people sign out of the provider itself, if it has such a place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end_session_endpoint: Option<String>,
    /// Which of the tokens is the credential: `id_token` if it is the page that tokens must be meant for.
    pub(crate) credential: &'static str,
}

impl SignIn {
    /// Whom the page has to reach to get its token.
    pub(crate) fn origin(&self) -> Option<String> {
        let origin = Url::parse(&self.token_endpoint).ok()?.origin();
        origin.is_tuple().then(|| origin.ascii_serialization())
    }
}

/// What the provider says of itself.
#[derive(Deserialize)]
struct Places {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    #[serde(default)]
    end_session_endpoint: Option<String>,
}

/// What was found last, and when.
pub(super) type Found = Mutex<Option<(Instant, Option<Arc<SignIn>>)>>;

/// How to sign in, if the page may and the provider can be asked; while it cannot, what it said before.
pub(super) async fn sign_in(
    options: &OidcOptions,
    provider: &Provider,
    found: &Found,
) -> Option<Arc<SignIn>> {
    let client_id = options.client_id.as_ref()?;
    let mut found = found.lock().await;
    let before = found.as_ref().and_then(|(_, before)| before.clone());
    let lasts = if before.is_some() { GOOD } else { BAD };
    if found.as_ref().is_some_and(|(at, _)| at.elapsed() < lasts) {
        return before;
    }
    let now = match look(options, provider, client_id).await {
        Ok(now) => Some(Arc::new(now)),
        Err(error) => {
            tracing::warn!(error = error.chain(), "the provider does not say where to sign in");
            before
        }
    };
    *found = Some((Instant::now(), now.clone()));
    now
}

async fn look(options: &OidcOptions, provider: &Provider, client_id: &str) -> Result<SignIn> {
    let places: Places = provider.discover().await?;
    let unusable = |detail: &str| Error::new(ErrorKind::Unavailable, detail);
    if places.issuer != options.issuer {
        return Err(unusable("the provider calls itself by another name"));
    }
    let keeps_tls = |place: &Url| place.scheme() == "https" || !options.issuer.starts_with("https:");
    for place in [&places.authorization_endpoint, &places.token_endpoint] {
        if !keeps_tls(&trusted(place)?) {
            return Err(unusable("the provider lets people sign in without TLS"));
        }
    }
    let end = places.end_session_endpoint;
    let end = end.filter(|place| trusted(place).is_ok_and(|place| keeps_tls(&place)));
    let is_meant = options.audience == client_id;
    Ok(SignIn {
        issuer: places.issuer,
        client_id: client_id.to_owned(),
        scope: options.scope.clone(),
        authorization_endpoint: places.authorization_endpoint,
        token_endpoint: places.token_endpoint,
        end_session_endpoint: end,
        credential: if is_meant { "id_token" } else { "access_token" },
    })
}
