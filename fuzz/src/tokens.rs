//! Tokens of an identity provider and its key sets, as strangers may write them.

use std::sync::LazyLock;

use agentkit_core::ErrorKind;
use agentkit_server::identity::{Oidc, OidcOptions, Principal, SigningKeys};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

const ISSUER: &str = "http://issuer.invalid";
const AUDIENCE: &str = "urn:agentkit";
/// Far beyond the time of any run.
const EXPIRES: u64 = 32_503_680_000;

/// A provider that signs what it is given, and who checks its tokens.
struct Provider {
    pair: EcdsaKeyPair,
    keys: SigningKeys,
    oidc: Oidc,
}

static PROVIDER: LazyLock<Provider> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    // The point of the key, uncompressed: a byte that says so, and two numbers of 32 bytes.
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let key = json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": BASE64.encode(x), "y": BASE64.encode(y)});
    let keys = SigningKeys::from_json(json!({"keys": [key]}).to_string().as_bytes()).expect("a key set");
    let oidc = Oidc::new(OidcOptions::new(ISSUER, AUDIENCE)).expect("sound options");
    Provider { pair, keys, oidc }
});

impl Provider {
    fn token(&self, header: &[u8], claims: &[u8]) -> String {
        let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", BASE64.encode(signature))
    }

    /// Who shows the token; a refusal is one of its author's.
    fn verify(&self, token: &str, keys: &SigningKeys) -> Option<Principal> {
        match self.oidc.verify_with(token, keys) {
            Ok(principal) => Some(principal),
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Unavailable),
                    "{error:?}"
                );
                assert!(!error.message().contains(token) || token.len() < 64, "{error:?}");
                None
            }
        }
    }
}

fn header() -> Vec<u8> {
    br#"{"alg":"ES256","kid":"k"}"#.to_vec()
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": EXPIRES, "tenant_id": "acme", "roles": ["user"]})
}

/// By its first byte the input is a key set, a token, edits of a sound token, a header or claims that the provider signs.
pub fn token(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let provider = &*PROVIDER;
    let sound = || provider.token(&header(), claims().to_string().as_bytes());
    match kind {
        b'k' => {
            if let Ok(keys) = SigningKeys::from_json(rest) {
                assert!(provider.verify(&sound(), &keys).is_none(), "nobody else knows the key");
            }
        }
        b't' => {
            let token = String::from_utf8_lossy(rest);
            assert!(provider.verify(&token, &provider.keys).is_none(), "nobody else can sign");
        }
        b'e' => edited(provider, sound(), rest),
        b'h' => {
            let token = provider.token(rest, claims().to_string().as_bytes());
            assert!(provider.verify(&token, &provider.keys).is_none_or(|who| who.tenant.as_str() == "acme"));
        }
        _ => signed(provider, rest),
    }
}

/// A token with some bytes changed still says what it said, or does not count.
fn edited(provider: &Provider, token: String, edits: &[u8]) {
    let mut bytes = token.into_bytes();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
        bytes[at] = edit[2];
    }
    let token = String::from_utf8_lossy(&bytes);
    if let Some(who) = provider.verify(&token, &provider.keys) {
        assert_eq!((who.tenant.as_str(), who.subject.as_str()), ("acme", "ann"));
    }
}

/// Claims that the provider signed count only if they say all that they must.
fn signed(provider: &Provider, claims: &[u8]) {
    let token = provider.token(&header(), claims);
    let Some(who) = provider.verify(&token, &provider.keys) else { return };
    let claims: Value = serde_json::from_slice(claims).expect("claims that count are JSON");
    // A provider may name several issuers or none of a token's; it is this one all the same.
    let names = |value: &Value, name: &str| match value {
        Value::Array(values) => values.iter().any(|value| value == name),
        value => value == name,
    };
    assert!(names(&claims["iss"], ISSUER) && names(&claims["aud"], AUDIENCE), "{claims}");
    assert_eq!(claims["sub"], who.subject.as_str());
    assert_eq!(claims["tenant_id"], who.tenant.as_str());
    assert!(claims["exp"].as_f64().is_some_and(|expires| expires > 1.7e9), "{claims}");
}
