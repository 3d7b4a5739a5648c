//! Rates of requests and budgets of model tokens, for each user of a key and for each tenant.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentkit_core::TenantId;
use agentkit_core::resilience::{Rate, TokenBucket};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use moka::sync::Cache;
use serde::Serialize;

use super::AppState;
use super::permit::Caller;
use crate::http::problem::{Problem, ProblemKind};
use crate::identity::Principal;
use crate::telemetry::Refusal;

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);
/// Buckets held at once; a forgotten one is full again.
const MAX_BUCKETS: u64 = 100_000;

/// How much one may ask for; what is `None` is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rates {
    /// Requests a minute of one user.
    pub user_requests_per_minute: Option<u32>,
    /// Requests a minute of all users of a tenant together.
    pub tenant_requests_per_minute: Option<u32>,
    /// Model tokens a day of one user.
    pub user_tokens_per_day: Option<u32>,
    /// Model tokens a day of all users of a tenant together.
    pub tenant_tokens_per_day: Option<u32>,
}

/// Whose bucket it is: one user's, or with `None` the whole tenant's.
type Holder = (TenantId, Option<String>);
type Buckets = Cache<Holder, Arc<Mutex<TokenBucket>>>;

/// What everybody has used of their rates and budgets.
pub(super) struct Limiter {
    rates: Rates,
    requests: Buckets,
    tokens: Buckets,
}

/// How a holder stands after a request, for the headers of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    limit: u64,
    remaining: u64,
    reset: Duration,
}

impl Limiter {
    pub(super) fn new(rates: Rates) -> Self {
        // A bucket that nobody touched for as long as it takes to fill is as good as a new one.
        let buckets = |fill| Cache::builder().max_capacity(MAX_BUCKETS).time_to_idle(fill).build();
        Self { rates, requests: buckets(2 * MINUTE), tokens: buckets(2 * DAY) }
    }

    /// Counts a request, unless there were too many; says how its sender stands, or how long to wait.
    fn enter(&self, principal: &Principal) -> Result<Option<Standing>, Standing> {
        let Rates { user_requests_per_minute, tenant_requests_per_minute, .. } = self.rates;
        let rates = [user_requests_per_minute, tenant_requests_per_minute];
        let buckets = held(&self.requests, principal, rates, MINUTE);
        // Always the user's first and then the tenant's, so that nobody waits for each other.
        let mut open: Vec<_> = buckets.iter().map(|bucket| lock(bucket)).collect();
        if let Some(wait) = open.iter().map(|bucket| bucket.wait(1)).max().filter(|wait| !wait.is_zero()) {
            let limit = open.iter().map(|bucket| u64::from(bucket.rate().amount)).min().unwrap_or_default();
            return Err(Standing { limit, remaining: 0, reset: wait });
        }
        for bucket in &mut open {
            bucket.take(1);
        }
        Ok(open.iter().map(|bucket| standing(bucket)).min_by_key(|standing| standing.remaining))
    }

    /// Model tokens that are left, if they are limited; how long to wait if there are none.
    pub(super) fn tokens_left(&self, principal: &Principal) -> Result<Option<u64>, Duration> {
        let buckets = self.budgets(principal);
        let open: Vec<_> = buckets.iter().map(|bucket| lock(bucket)).collect();
        match open.iter().map(|bucket| bucket.wait(1)).max().filter(|wait| !wait.is_zero()) {
            Some(wait) => Err(wait),
            None => Ok(open.iter().map(|bucket| bucket.available()).min()),
        }
    }

    /// Counts model tokens that were used.
    pub(super) fn spend(&self, principal: &Principal, tokens: u64) {
        for bucket in self.budgets(principal) {
            lock(&bucket).take(tokens);
        }
    }

    fn budgets(&self, principal: &Principal) -> Vec<Arc<Mutex<TokenBucket>>> {
        let Rates { user_tokens_per_day, tenant_tokens_per_day, .. } = self.rates;
        held(&self.tokens, principal, [user_tokens_per_day, tenant_tokens_per_day], DAY)
    }
}

/// The buckets of a principal and of their tenant, as far as there are rates for them.
fn held(
    buckets: &Buckets,
    principal: &Principal,
    [user, tenant]: [Option<u32>; 2],
    per: Duration,
) -> Vec<Arc<Mutex<TokenBucket>>> {
    let of = |subject: Option<&str>, amount: u32| {
        let holder = (principal.tenant.clone(), subject.map(str::to_owned));
        let mut rate = Rate::per_minute(amount);
        rate.per = per;
        buckets.get_with(holder, || Arc::new(Mutex::new(TokenBucket::new(rate))))
    };
    let user = user.map(|amount| of(Some(&principal.subject), amount));
    user.into_iter().chain(tenant.map(|amount| of(None, amount))).collect()
}

fn lock(bucket: &Mutex<TokenBucket>) -> MutexGuard<'_, TokenBucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

fn standing(bucket: &TokenBucket) -> Standing {
    let limit = u64::from(bucket.rate().amount);
    Standing { limit, remaining: bucket.available(), reset: bucket.full_in() }
}

/// Lets a request pass whose sender has not sent too many, and tells them how they stand.
pub(in crate::http) async fn limit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let Some(caller) = request.extensions().get::<Arc<Caller>>().cloned() else {
        return Problem::new(ProblemKind::Internal, "the route stands outside the authentication")
            .into_response();
    };
    state.metrics().request_of(&caller.principal.tenant);
    match state.0.limiter.enter(&caller.principal) {
        Ok(standing) => told(next.run(request).await, standing),
        Err(standing) => told(too_many(&state, standing).into_response(), Some(standing)),
    }
}

/// Counts a message that is no request of its own, unless there were too many.
pub(super) fn count(state: &AppState, caller: &Caller) -> Result<(), Problem> {
    state.0.limiter.enter(&caller.principal).map(drop).map_err(|standing| too_many(state, standing))
}

fn too_many(state: &AppState, standing: Standing) -> Problem {
    state.metrics().refused(Refusal::Requests);
    let detail = format!("more than {} requests a minute; send fewer", standing.limit);
    Problem::new(ProblemKind::RateLimited, detail).retry_after(standing.reset)
}

fn told(mut response: Response, standing: Option<Standing>) -> Response {
    if let Some(Standing { limit, remaining, reset }) = standing {
        let headers: &mut HeaderMap = response.headers_mut();
        let seconds = reset.as_secs() + u64::from(reset.subsec_nanos() > 0);
        for (name, value) in
            [("ratelimit-limit", limit), ("ratelimit-remaining", remaining), ("ratelimit-reset", seconds)]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Role;

    fn person(tenant: &str, subject: &str) -> Principal {
        Principal::new(TenantId::new(tenant).unwrap(), subject, Role::User)
    }

    fn limiter(change: impl FnOnce(&mut Rates)) -> Limiter {
        let mut rates = Rates::default();
        change(&mut rates);
        Limiter::new(rates)
    }

    #[tokio::test(start_paused = true)]
    async fn users_and_tenants_have_rates_of_their_own() {
        let limiter = limiter(|rates| {
            rates.user_requests_per_minute = Some(2);
            rates.tenant_requests_per_minute = Some(3);
        });
        let (ann, bob, zoe) = (person("acme", "ann"), person("acme", "bob"), person("zoo", "ann"));
        assert_eq!(limiter.enter(&ann).unwrap().unwrap().remaining, 1);
        assert_eq!(limiter.enter(&ann).unwrap().unwrap().remaining, 0);
        assert_eq!(limiter.enter(&ann).unwrap_err().reset, Duration::from_secs(30));
        assert_eq!(limiter.enter(&bob).unwrap().unwrap().remaining, 0, "the tenant has none left");
        assert_eq!(limiter.enter(&bob).unwrap_err().reset, Duration::from_secs(20));
        assert!(limiter.enter(&zoe).is_ok());
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(limiter.enter(&ann).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_may_be_overspent_once_and_then_have_to_come_back() {
        let limiter = limiter(|rates| rates.user_tokens_per_day = Some(2400));
        let ann = person("acme", "ann");
        assert_eq!(limiter.tokens_left(&ann), Ok(Some(2400)));
        limiter.spend(&ann, 2500);
        let wait = limiter.tokens_left(&ann).unwrap_err();
        assert_eq!(wait.as_secs().div_ceil(60), 61, "100 too many and 1 to go, at 100 an hour");
        tokio::time::advance(Duration::from_hours(2)).await;
        assert_eq!(limiter.tokens_left(&ann), Ok(Some(100)));
    }

    #[test]
    fn nobody_is_limited_unless_asked_for() {
        let limiter = limiter(|_| {});
        assert_eq!(limiter.enter(&person("acme", "ann")), Ok(None));
        assert_eq!(limiter.tokens_left(&person("acme", "ann")), Ok(None));
    }
}
