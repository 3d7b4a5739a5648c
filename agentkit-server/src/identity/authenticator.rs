//! Turns what a request shows into who is asking.

use std::sync::Arc;

use agentkit_core::{Result, RunContext};

use super::keys::{Keys, unauthorized};
use super::{ApiKey, Oidc, Principal, SignIn};

/// Checks credentials, or lets everybody pass as the machine's own user.
#[derive(Debug, Clone)]
pub struct Authenticator(Option<Accepted>);

/// What counts as a credential.
#[derive(Debug, Clone)]
struct Accepted {
    keys: Keys,
    oidc: Option<Oidc>,
}

impl Authenticator {
    /// Asks for an API key.
    #[must_use]
    pub fn required(keys: Keys) -> Self {
        Self(Some(Accepted { keys, oidc: None }))
    }

    /// Takes tokens of this provider as well as keys.
    #[must_use]
    pub fn oidc(mut self, oidc: Oidc) -> Self {
        if let Some(accepted) = &mut self.0 {
            accepted.oidc = Some(oidc);
        }
        self
    }

    /// Asks for nothing: whoever reaches the service may do everything. For development on the loopback interface.
    #[must_use]
    pub fn insecure_dev() -> Self {
        Self(None)
    }

    /// Whether nobody is asked for a credential.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.0.is_none()
    }

    /// The keys that count; none where nobody is asked for one.
    pub(crate) fn keys(&self) -> Option<&Keys> {
        self.0.as_ref().map(|accepted| &accepted.keys)
    }

    /// How somebody signs in to the page at the identity provider, if they can.
    pub(crate) async fn sign_in(&self) -> Option<Arc<SignIn>> {
        self.0.as_ref()?.oidc.as_ref()?.sign_in().await
    }

    /// Who shows `credential`, the text behind `Bearer`.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is changed but what is known of keys.
    ///
    /// # Errors
    /// Unauthorized if it is missing or not good, or what the store or the provider says.
    pub async fn authenticate(&self, credential: Option<&str>, ctx: &RunContext) -> Result<Principal> {
        let Some(Accepted { keys, oidc }) = &self.0 else { return Ok(Principal::local()) };
        let missing = "this route needs a credential: `Authorization: Bearer …` with an API key or a token";
        let credential = credential.ok_or_else(|| unauthorized(missing))?;
        match (ApiKey::parse(credential), oidc) {
            (Some(key), _) => keys.verify(&key, ctx).await,
            (None, Some(oidc)) if Oidc::is_token(credential) => oidc.verify(credential, ctx).await,
            _ => Err(unauthorized("the credential does not have the form of one")),
        }
    }
}
