//! Tokens of an `OpenID` Connect provider: JWTs whose signature, issuer, audience and time are checked.
//!
//! The provider's keys are found by discovery and fetched again when a token names one that is not known, so its keys
//! can be rotated at any time. Which algorithms count is fixed by the configuration, never by the token.

mod provider;
mod sign_in;
mod signing_keys;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{Error, ErrorKind, Result, RunContext, TenantId};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use self::provider::Provider;
pub(crate) use self::sign_in::SignIn;
pub use self::signing_keys::SigningKeys;
use super::keys::unauthorized;
use super::{Principal, Role, SERVICE_TENANT, check_subject};

/// How far the clocks of the provider and this machine may be apart.
const SKEW: Duration = Duration::from_secs(30);
/// Longest token in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// What signs tokens unless something else is asked for. Only signatures by a private key may be named.
const ALGORITHMS: [&str; 2] = ["RS256", "ES256"];

/// Whose tokens count, and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OidcOptions {
    /// The provider, as it names itself: its discovery document is below it.
    pub issuer: String,
    /// Whom the tokens must be meant for.
    pub audience: String,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The claim that names the role or roles.
    pub role_claim: String,
    /// The algorithms that count.
    pub algorithms: Vec<String>,
    /// How long a key may count after the provider took it back.
    pub refresh: Duration,
    /// What the provider calls the page, as a public client; without it the page takes no sign-in at the provider.
    pub client_id: Option<String>,
    /// What the page asks the provider for.
    pub scope: String,
}

impl OidcOptions {
    /// Tokens of `issuer` for `audience`, with the claims `tenant_id` and `roles`.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            tenant_claim: "tenant_id".into(),
            role_claim: "roles".into(),
            algorithms: ALGORITHMS.map(str::to_owned).to_vec(),
            refresh: Duration::from_mins(1),
            client_id: None,
            scope: "openid".into(),
        }
    }
}

/// Checks tokens of one provider; cheap to clone.
#[derive(Clone)]
pub struct Oidc(Arc<Inner>);

struct Inner {
    options: OidcOptions,
    algorithms: Vec<Algorithm>,
    provider: Arc<Provider>,
    sign_in: sign_in::Found,
}

impl Oidc {
    /// Checks tokens as `options` say. The provider is asked when the first token comes.
    ///
    /// # Errors
    /// Invalid input, if an option is wrong.
    pub fn new(options: OidcOptions) -> Result<Self> {
        let algorithms: Result<Vec<_>> = options.algorithms.iter().map(|name| algorithm(name)).collect();
        let algorithms = algorithms?;
        if algorithms.is_empty() || options.audience.is_empty() {
            return Err(Error::invalid_input("OpenID Connect needs an audience and an algorithm"));
        }
        let provider = Arc::new(Provider::new(&options.issuer, options.refresh)?);
        Ok(Self(Arc::new(Inner { options, algorithms, provider, sign_in: sign_in::Found::default() })))
    }

    /// How somebody signs in to the page at the provider, if they can.
    pub(super) async fn sign_in(&self) -> Option<Arc<SignIn>> {
        let Inner { options, provider, sign_in, .. } = &*self.0;
        sign_in::sign_in(options, provider, sign_in).await
    }

    /// Whether `credential` may be a token at all.
    #[must_use]
    pub(super) fn is_token(credential: &str) -> bool {
        credential.split('.').count() == 3
    }

    /// Who shows `token`.
    ///
    /// # Cancel safety
    /// Cancel safe: at most keys are fetched in vain.
    ///
    /// # Errors
    /// Unauthorized if the token does not count, unavailable if the provider cannot be asked.
    pub async fn verify(&self, token: &str, ctx: &RunContext) -> Result<Principal> {
        let header = self.header(token)?;
        let kid = header.kid.as_deref();
        let key = ctx.run(self.0.provider.key(kid, header.alg)).await?;
        self.checked(token, header.alg, key)
    }

    /// Who shows `token`, by keys that are known already: the provider is not asked.
    ///
    /// # Errors
    /// Unauthorized if the token does not count, unavailable if its key makes no sense.
    pub fn verify_with(&self, token: &str, keys: &SigningKeys) -> Result<Principal> {
        let header = self.header(token)?;
        let key = keys.find(header.kid.as_deref(), header.alg)?;
        self.checked(token, header.alg, key)
    }

    fn checked(&self, token: &str, algorithm: Algorithm, key: Option<DecodingKey>) -> Result<Principal> {
        let key =
            key.ok_or_else(|| unauthorized("the token is signed by a key the provider does not have"))?;
        self.principal(&self.claims(token, &key, algorithm)?)
    }

    fn header(&self, token: &str) -> Result<Header> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(unauthorized("the token is too long"));
        }
        let header = decode_header(token);
        let header = header.map_err(|error| unauthorized("the token cannot be read").with_source(error))?;
        if !self.0.algorithms.contains(&header.alg) {
            return Err(unauthorized("the token is signed by an algorithm that does not count here"));
        }
        Ok(header)
    }

    fn claims(&self, token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<Map<String, Value>> {
        let mut checks = Validation::new(algorithm);
        checks.leeway = SKEW.as_secs();
        checks.validate_nbf = true;
        checks.set_issuer(&[self.0.options.issuer.as_str()]);
        checks.set_audience(&[self.0.options.audience.as_str()]);
        checks.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let decoded = decode::<Map<String, Value>>(token, key, &checks);
        Ok(decoded.map_err(|error| unauthorized(refusal(&error)).with_source(error))?.claims)
    }

    fn principal(&self, claims: &Map<String, Value>) -> Result<Principal> {
        let OidcOptions { tenant_claim, role_claim, .. } = &self.0.options;
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str).unwrap_or_default();
        let tenant = TenantId::new(text(tenant_claim))
            .ok()
            .filter(|tenant| tenant.as_str() != SERVICE_TENANT)
            .ok_or_else(|| unauthorized(&format!("the token's claim {tenant_claim} names no tenant")))?;
        let role = claims.get(role_claim).and_then(mightiest);
        let role =
            role.ok_or_else(|| unauthorized(&format!("the token's claim {role_claim} names no role")))?;
        check_subject(text("sub")).map_err(|_| unauthorized("the token's claim sub names nobody"))?;
        let mut principal = Principal::new(tenant, text("sub"), role);
        principal.credential = "oidc".into();
        Ok(principal)
    }
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Oidc").field(&self.0.options).finish()
    }
}

/// Why a token does not count, without repeating anything of it.
fn refusal(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind as Kind;
    match error.kind() {
        Kind::ExpiredSignature => "the token is expired",
        Kind::ImmatureSignature => "the token is not good yet",
        Kind::InvalidIssuer => "the token is of another issuer",
        Kind::InvalidAudience => "the token is meant for another audience",
        Kind::InvalidSignature => "the token's signature is wrong",
        Kind::MissingRequiredClaim(_) => "the token lacks one of exp, iss, aud and sub",
        _ => "the token cannot be read",
    }
}

/// The first of the roles that the claim names, one or several.
fn mightiest(claim: &Value) -> Option<Role> {
    let named: Vec<&str> = match claim {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        Value::String(names) => names.split(' ').collect(),
        _ => Vec::new(),
    };
    Role::ALL.into_iter().find(|role| named.contains(&role.name()))
}

/// The algorithm of this name, if it signs by a private key.
fn algorithm(name: &str) -> Result<Algorithm> {
    let known = [
        ("RS256", Algorithm::RS256),
        ("RS384", Algorithm::RS384),
        ("RS512", Algorithm::RS512),
        ("PS256", Algorithm::PS256),
        ("PS384", Algorithm::PS384),
        ("PS512", Algorithm::PS512),
        ("ES256", Algorithm::ES256),
        ("ES384", Algorithm::ES384),
        ("EdDSA", Algorithm::EdDSA),
    ];
    let found = known.into_iter().find(|(known, _)| *known == name).map(|(_, algorithm)| algorithm);
    found.ok_or_else(|| {
        let message = format!("{name:?} is no algorithm that tokens may be signed by, such as RS256");
        Error::new(ErrorKind::InvalidInput, message)
    })
}
