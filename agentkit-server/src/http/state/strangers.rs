//! Those whose credential is refused: how often they are told so, and what is written down of them.
//!
//! Whoever shows a good credential is never held up by it, also from an address that many share, such as a proxy's. The
//! records stand in a chain of their own, that of the tenant `service`, and name an address by a hash under a key that
//! is gone when the process ends.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentkit_core::resilience::{Rate, TokenBucket};
use agentkit_core::{TenantId, TraceContext};
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::Extensions;
use moka::sync::Cache;

use super::AppState;
use crate::audit::AuditEvent;
use crate::http::problem::{Problem, ProblemKind};
use crate::identity::SERVICE_TENANT;

/// Refusals a minute that an address is told and that are recorded; further ones are told to wait.
const REFUSALS_PER_MINUTE: u32 = 120;
/// Addresses that are counted at once; one that is forgotten may begin anew.
const MAX_ADDRESSES: u64 = 10_000;
/// After this long without a refusal an address is as good as new.
const IDLE: Duration = Duration::from_mins(2);
/// The part of an IPv6 address that names a network; the rest is its customer's to choose.
const NETWORK: u128 = !0 << 64;

/// What is known of addresses from which credentials were refused.
pub(super) struct Strangers {
    refusals: Cache<IpAddr, Arc<Mutex<TokenBucket>>>,
    key: RandomState,
}

impl Strangers {
    pub(super) fn new() -> Self {
        let refusals = Cache::builder().max_capacity(MAX_ADDRESSES).time_to_idle(IDLE).build();
        Self { refusals, key: RandomState::new() }
    }

    /// Counts a refusal, unless there were too many; then says how long to wait.
    fn refuse(&self, from: IpAddr) -> Result<(), Duration> {
        let rate = Rate::per_minute(REFUSALS_PER_MINUTE);
        let bucket = self.refusals.get_with(from, || Arc::new(Mutex::new(TokenBucket::new(rate))));
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = bucket.wait(1);
        if wait.is_zero() {
            bucket.take(1);
            return Ok(());
        }
        Err(wait)
    }

    fn pseudonym(&self, from: IpAddr) -> String {
        format!("a-{:016x}", self.key.hash_one(from))
    }
}

impl AppState {
    /// What is recorded of the refused credential of `request`, or that its sender has to wait.
    pub(super) fn refuse(&self, request: &Request) -> Result<AuditEvent, Problem> {
        let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let action = format!("{} {}", request.method(), route.replace("{*", "{"));
        let trace = request.extensions().get::<TraceContext>();
        let trace_id = trace.map(TraceContext::trace_id).unwrap_or_default();
        self.count_refusal(address(request.extensions()), action, trace_id)
    }

    /// Counts and records a credential that was refused outside the layers of a request.
    pub(in crate::http) async fn refuse_at(&self, from: IpAddr, action: &str) -> Result<(), Problem> {
        let trace_id = TraceContext::fresh().trace_id();
        Ok(self.record_refusal(self.count_refusal(from, action.to_owned(), trace_id)?).await?)
    }

    fn count_refusal(&self, from: IpAddr, action: String, trace_id: String) -> Result<AuditEvent, Problem> {
        let strangers = &self.0.strangers;
        strangers.refuse(from).map_err(|wait| {
            let detail = format!("more than {REFUSALS_PER_MINUTE} credentials a minute were refused here");
            Problem::new(ProblemKind::RateLimited, detail).retry_after(wait)
        })?;
        Ok(event(strangers.pseudonym(from), action, trace_id))
    }

    /// Records a refusal.
    pub(super) async fn record_refusal(&self, event: AuditEvent) -> agentkit_core::Result<()> {
        self.0.audit.note(&TenantId::new(SERVICE_TENANT)?, event).await
    }
}

fn event(actor: String, action: String, trace_id: String) -> AuditEvent {
    AuditEvent {
        actor,
        credential: "refused".into(),
        role: None,
        action,
        target: None,
        outcome: ProblemKind::Unauthorized.status().as_u16(),
        trace_id,
    }
}

/// Where a request comes from, as far as that is to be told apart.
pub(in crate::http) fn address(request: &Extensions) -> IpAddr {
    let connected = request.get::<ConnectInfo<SocketAddr>>();
    match connected.map(|ConnectInfo(peer)| peer.ip().to_canonical()) {
        Some(IpAddr::V6(address)) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        Some(address) => address,
        None => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str) -> IpAddr {
        let mut request = Extensions::new();
        request.insert(ConnectInfo::<SocketAddr>(peer.parse().unwrap()));
        address(&request)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_told_to_wait_and_no_other() {
        let strangers = Strangers::new();
        let (here, there) = (from("192.0.2.1:1"), from("192.0.2.2:1"));
        for _ in 0..REFUSALS_PER_MINUTE {
            assert_eq!(strangers.refuse(here), Ok(()));
        }
        assert_eq!(strangers.refuse(here), Err(Duration::from_millis(500)));
        assert_eq!(strangers.refuse(there), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(strangers.refuse(here), Ok(()));
    }

    #[test]
    fn whoever_has_a_network_has_one_address() {
        assert_eq!(from("[2001:db8::1]:1"), from("[2001:db8::2]:9"));
        assert_ne!(from("[2001:db8::1]:1"), from("[2001:db8:0:1::1]:1"));
        assert_eq!(from("[::ffff:192.0.2.1]:1"), from("192.0.2.1:7"));
        let (one, other) = (Strangers::new(), Strangers::new());
        let address = from("192.0.2.1:1");
        assert_eq!(one.pseudonym(address), one.pseudonym(address));
        assert_ne!(one.pseudonym(address), other.pseudonym(address), "after a restart nobody can tell");
    }
}
