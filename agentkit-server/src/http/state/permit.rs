//! Permits: what a handler may do for whom, decided before it begins.
//!
//! Services are private to the module above. A handler gets at them through the methods of a permit, and each kind of
//! permit has only those that its action needs; asking for one as an argument is what checks the role.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::Arc;

use agentkit_core::{
    Agent, AgentInput, AgentStream, CollectionName, DocumentId, Embedder, Error, ErrorKind, Retriever,
    RunContext, SessionId, StateQuery, TenantScope, TraceContext,
};
use async_trait::async_trait;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use tokio_util::task::TaskTracker;

use super::AppState;
use super::audit::{note, record};
use super::authenticate::identify;
use super::limit::count;
use crate::Services;
use crate::audit::AuditLog;
use crate::clock::Timestamp;
use crate::documents::{DocumentStore, StoreStats};
use crate::http::admit::Run;
use crate::http::jobs::Jobs;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::runs::{Owner, Runs};
use crate::identity::{Keys, Principal, Role};
use crate::jobs::SentStatus;
use crate::mcp::Sources;
use crate::personal::{Erasure, Feedback, Job, Personal, feedback_of};
use crate::records::{self, Kept};
use crate::telemetry::Refusal;

const USED_UP: &str = "the budget of model tokens is used up; it comes back by and by";

/// Stands in the agent's place while its caller has no model tokens left.
struct UsedUp;

#[async_trait]
impl Agent for UsedUp {
    async fn run(&self, _input: AgentInput, _ctx: &RunContext) -> agentkit_core::Result<AgentStream> {
        Err(Error::new(ErrorKind::RateLimited, USED_UP))
    }
}

/// Somebody who is asking, and the pseudonym they go by.
#[derive(Debug)]
pub(in crate::http) struct Caller {
    pub(super) principal: Principal,
    pub(super) pseudonym: Arc<str>,
}

impl Caller {
    /// Whose it is, whatever they ask for.
    pub(in crate::http) fn owner(&self) -> Owner {
        Owner { tenant: self.principal.tenant.clone(), person: self.pseudonym.clone() }
    }
}

/// Who sent a request, as the owner of what is kept for them.
pub(in crate::http) fn owner_of(request: &Request) -> Result<Owner, Problem> {
    let caller = request.extensions().get::<Arc<Caller>>();
    caller.map(|caller| caller.owner()).ok_or_else(outside)
}

fn outside() -> Problem {
    Problem::new(ProblemKind::Internal, "the route stands outside the authentication")
}

/// Something one may be permitted to do.
pub(in crate::http) trait Action: Send + Sync + 'static {
    /// What it is, behind "may not".
    const WHAT: &'static str;

    /// Whether `role` may do it.
    fn is_for(role: Role) -> bool;
}

macro_rules! action {
    ($(#[$doc:meta])* $name:ident, $what:literal, $roles:pat) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(in crate::http) enum $name {}

        impl Action for $name {
            const WHAT: &'static str = $what;

            fn is_for(role: Role) -> bool {
                matches!(role, $roles)
            }
        }
    };
}

action! {
    /// Ask the agent, search.
    Ask, "ask or search", Role::Admin | Role::Editor | Role::User
}
action! {
    /// Read documents.
    Read, "read documents", Role::Admin | Role::Editor | Role::User
}
action! {
    /// Change documents.
    Write, "change documents", Role::Admin | Role::Editor
}
action! {
    /// Keep conversations, give feedback.
    Own, "keep conversations", Role::Admin | Role::Editor | Role::User
}
action! {
    /// See, take along and erase what is kept of oneself.
    Me, "ask about themselves", _
}
action! {
    /// Read what everybody thinks of the answers.
    Review, "read the feedback of others", Role::Admin
}
action! {
    /// Make and revoke keys.
    ManageKeys, "manage keys", Role::Admin
}
action! {
    /// Read the audit trail.
    Audit, "read the audit trail", Role::Admin | Role::Auditor
}

action! {
    /// See how the service is doing, for all tenants.
    Observe, "see how the service is doing", Role::Admin | Role::Auditor
}

/// The right of the one who is asking to do `A`.
#[derive(Debug)]
pub(in crate::http) struct Permit<A> {
    state: AppState,
    caller: Arc<Caller>,
    action: PhantomData<fn() -> A>,
}

impl<A: Action> Permit<A> {
    /// The scope in the collection the request names, or in the one that is meant if it names none.
    pub(in crate::http) fn scope(&self, collection: Option<CollectionName>) -> Result<TenantScope, Problem> {
        Ok(self.caller.principal.scope(collection)?)
    }

    /// The scope of what belongs to the tenant as a whole.
    pub(in crate::http) fn tenant(&self) -> TenantScope {
        TenantScope::for_tenant(self.caller.principal.tenant.clone())
    }

    /// This moment.
    pub(in crate::http) fn now(&self) -> Timestamp {
        self.state.0.clock.now()
    }
}

impl<A: Action> Permit<A> {
    /// What belongs to the one who is asking.
    fn belongings(&self) -> Personal {
        let Services { memory, state, documents, .. } = self.state.0.services.clone();
        Personal { memory, state, documents, home: self.tenant(), pseudonym: self.caller.pseudonym.clone() }
    }
}

impl Permit<Own> {
    /// Whether the one who is asking was given an answer in this trace.
    pub(in crate::http) async fn was_answered(
        &self,
        trace_id: &str,
        ctx: &RunContext,
    ) -> agentkit_core::Result<bool> {
        let whose = (&*self.caller.pseudonym, trace_id);
        self.state.0.audit.has_answered(&self.tenant(), whose, ctx).await
    }

    pub(in crate::http) fn personal(&self) -> Personal {
        self.belongings()
    }
}

impl<A: Action> Permit<A> {
    /// Whose runs the one who is asking may see.
    pub(in crate::http) fn owner(&self) -> Owner {
        self.caller.owner()
    }

    /// What stops when the service does.
    pub(in crate::http) fn root(&self) -> &RunContext {
        self.state.root()
    }

    /// What goes on after the request that began it, so that the service can wait for it at its end.
    pub(in crate::http) fn tasks(&self) -> &TaskTracker {
        &self.state.0.tasks
    }

    /// The right of the same one to do something else.
    pub(in crate::http) fn and<B: Action>(&self) -> Result<Permit<B>, Problem> {
        Permit::of(&self.state, self.caller.clone())
    }

    /// The runs that can be come back to.
    pub(in crate::http) fn runs(&self) -> &Runs {
        &self.state.0.runs
    }
}

impl Permit<Me> {
    /// Forgets what is kept in memory of the one who is asking.
    pub(in crate::http) fn forget_now(&self) {
        self.state.0.runs.forget(&self.owner());
        self.state.0.answers.forget(&self.owner());
        self.state.0.jobs.forget(&self.owner());
    }

    pub(in crate::http) fn personal(&self) -> Personal {
        self.belongings()
    }

    pub(in crate::http) fn principal(&self) -> &Principal {
        &self.caller.principal
    }

    pub(in crate::http) fn audit_log(&self) -> &AuditLog {
        &self.state.0.audit
    }

    pub(in crate::http) fn erasure(&self) -> Erasure {
        self.state.erasure()
    }

    /// Forgets the one who is asking, and writes down that everything of theirs is to be erased.
    pub(in crate::http) async fn forget_me(&self, ctx: &RunContext) -> agentkit_core::Result<Job> {
        let Principal { tenant, subject, .. } = &self.caller.principal;
        self.state.erasure().begin(tenant, subject, ctx).await
    }
}

impl Permit<Review> {
    /// What everybody of the tenant thinks, by person and answer, at most `limit` after `after`.
    pub(in crate::http) async fn feedback(
        &self,
        after: String,
        limit: usize,
        ctx: &RunContext,
    ) -> agentkit_core::Result<Vec<Kept<Feedback>>> {
        let (space, query) = (feedback_of(&self.tenant()), StateQuery::new(limit).after(after));
        records::page(&*self.state.0.services.state, &space, &query, ctx).await
    }
}

impl Permit<Ask> {
    pub(in crate::http) fn personal(&self) -> Personal {
        self.belongings()
    }

    /// The caller's conversation of this id, as it is stored.
    pub(in crate::http) fn session(&self, id: &SessionId) -> Result<SessionId, Problem> {
        Ok(self.belongings().session(id)?.session().clone())
    }

    /// The agent, if there are model tokens left to spend on it.
    pub(in crate::http) fn agent(&self) -> Result<&dyn Agent, Problem> {
        self.check_tokens()?;
        Ok(&*self.state.0.services.agent)
    }

    /// What makes vectors, if there are model tokens left to spend on it.
    pub(in crate::http) fn embedder(&self) -> Result<&dyn Embedder, Problem> {
        self.check_tokens()?;
        Ok(&*self.state.0.services.embedder)
    }

    /// What the embedder calls itself.
    pub(in crate::http) fn embedding_model(&self) -> &str {
        &self.state.0.services.embedder.identity().name
    }

    fn check_tokens(&self) -> Result<(), Problem> {
        self.state.0.limiter.tokens_left(&self.caller.principal).map(drop).map_err(|wait| {
            self.state.metrics().refused(Refusal::Tokens);
            Problem::new(ProblemKind::RateLimited, USED_UP).retry_after(wait)
        })
    }

    /// Whether anything was ever written to the scope's collection.
    pub(in crate::http) async fn has(
        &self,
        scope: &TenantScope,
        ctx: &RunContext,
    ) -> agentkit_core::Result<bool> {
        Ok(self.stats(scope, ctx).await?.generation > 0)
    }

    /// How much the scope's collection holds.
    pub(in crate::http) async fn stats(
        &self,
        scope: &TenantScope,
        ctx: &RunContext,
    ) -> agentkit_core::Result<StoreStats> {
        self.state.0.services.documents.stats(scope, ctx).await
    }

    /// The collections that may be asked, by name.
    pub(in crate::http) async fn collections(
        &self,
        ctx: &RunContext,
    ) -> agentkit_core::Result<Vec<CollectionName>> {
        let home = self.tenant();
        let mut all = self.state.0.services.documents.collections(&home, ctx).await?;
        all.push(home.collection().clone());
        all.sort();
        all.dedup();
        all.retain(|name| self.caller.principal.scope(Some(name.clone())).is_ok());
        Ok(all)
    }

    /// What the tools of the Model Context Protocol are made of. Without model tokens left, only asking is refused.
    pub(in crate::http) fn sources(&self) -> Sources {
        let Services { agent, retriever, documents, .. } = self.state.0.services.clone();
        let agent = if self.agent().is_ok() { agent } else { Arc::new(UsedUp) };
        Sources { retriever, documents: Arc::new(documents), agent }
    }

    pub(in crate::http) fn retriever(&self) -> &dyn Retriever {
        &*self.state.0.services.retriever
    }
}

impl Permit<Read> {
    pub(in crate::http) fn documents(&self) -> &dyn DocumentStore {
        &*self.state.0.services.documents
    }
}

impl Permit<Write> {
    pub(in crate::http) fn personal(&self) -> Personal {
        self.belongings()
    }

    pub(in crate::http) fn documents(&self) -> &dyn DocumentStore {
        &*self.state.0.services.documents
    }
}

impl Permit<Write> {
    /// The jobs that store documents.
    pub(in crate::http) fn jobs(&self) -> &Jobs {
        &self.state.0.jobs
    }

    /// Counts what became of a document of a job.
    pub(in crate::http) fn counts(&self, status: SentStatus) {
        self.state.metrics().job_document(status.name());
    }

    /// Completes when the service is asked to stop.
    pub(in crate::http) async fn draining(&self) {
        self.state.draining().await;
    }

    /// Records what was done to a document after the request was answered.
    pub(in crate::http) async fn note_of(
        &self,
        action: &str,
        id: &DocumentId,
        outcome: u16,
        trace: &TraceContext,
    ) -> agentkit_core::Result<()> {
        record(&self.state, &self.caller, (action, id.as_str()), outcome, trace).await
    }
}

impl Permit<ManageKeys> {
    pub(in crate::http) fn keys(&self) -> &Keys {
        &self.state.0.keys
    }

    /// The collections that the one who is asking may use; all if `None`.
    pub(in crate::http) fn collections(&self) -> Option<&BTreeSet<CollectionName>> {
        self.caller.principal.collections.as_ref()
    }
}

impl Permit<Audit> {
    pub(in crate::http) fn audit(&self) -> &AuditLog {
        &self.state.0.audit
    }
}

impl Permit<Observe> {
    /// The service as a whole, which is for those who run the machine: the admins and auditors of its own tenant.
    pub(in crate::http) fn service(&self) -> Result<&AppState, Problem> {
        if self.caller.principal.tenant == *TenantScope::local().tenant() {
            return Ok(&self.state);
        }
        let detail = "only the tenant that the machine itself is may see how the service is doing";
        Err(Problem::new(ProblemKind::Forbidden, detail))
    }
}

impl<A: Action> Permit<A> {
    /// The right of whoever showed this credential outside the layers of a request.
    pub(in crate::http) async fn shown(state: &AppState, credential: Option<&str>) -> Result<Self, Problem> {
        let caller = identify(state, credential).await?;
        Self::of(state, Arc::new(caller))
    }

    fn of(state: &AppState, caller: Arc<Caller>) -> Result<Self, Problem> {
        let role = caller.principal.role;
        if !A::is_for(role) {
            let detail = format!("the role {role} may not {}", A::WHAT);
            return Err(Problem::new(ProblemKind::Forbidden, detail));
        }
        Ok(Self { state: state.clone(), caller, action: PhantomData })
    }

    /// Counts a message that is no request of its own, unless there were too many.
    pub(in crate::http) fn enter(&self) -> Result<(), Problem> {
        count(&self.state, &self.caller)
    }

    /// A slot to work on such a message, if there is one.
    pub(in crate::http) fn admit(&self, trace: TraceContext) -> Result<Run, Problem> {
        Run::take(self.state.clone(), self.caller.clone(), trace)
    }

    /// Records what became of such a message.
    pub(in crate::http) async fn note(
        &self,
        action: &str,
        outcome: u16,
        trace: &TraceContext,
    ) -> agentkit_core::Result<()> {
        note(&self.state, &self.caller, (action, outcome), trace).await
    }
}

impl<A: Action> FromRequestParts<AppState> for Permit<A> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Arc<Caller>>().cloned().ok_or_else(outside)?;
        Self::of(state, caller)
    }
}
