//! `keys`: API keys made, listed, rotated and revoked, also while a server uses the data directory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{CollectionName, Result, RunContext, TenantId, TenantScope, TraceContext};
use agentkit_rag::sqlite::SqliteState;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::Session;
use super::output::Output;
use crate::audit::{AuditEvent, AuditLog};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::engine::SESSIONS;
use crate::identity::{ApiKey, KeyRecord, KeySpec, Keys, Role};

/// Keys read at once.
const PAGE: usize = 500;
/// Who acts on the command line, in the audit trail.
const ACTOR: &str = "command-line";

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Make a key and print it; it is shown only this once
    Create(CreateArguments),
    /// List the keys, without their secrets
    List,
    /// Make a key worthless, within a second also for a running server
    Revoke {
        /// The key's id, the middle part of the key
        id: String,
    },
    /// Make a key in the place of another, which goes on for a while
    Rotate {
        /// The id of the key to be replaced
        id: String,
        /// How long the replaced key goes on, for example `1h`
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
        overlap: Duration,
    },
}

#[derive(Debug, Args)]
pub(super) struct CreateArguments {
    /// What the key may do
    #[arg(long, value_enum, default_value = "user")]
    role: RoleName,
    /// Whose documents it opens
    #[arg(long, value_name = "NAME", default_value = "local", value_parser = tenant)]
    tenant: TenantId,
    /// Who uses it; left out, the key is a user of its own
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A collection it may use, may be given several times; all if left out
    #[arg(long, value_name = "NAME", value_parser = collection)]
    collection: Vec<CollectionName>,
    /// How long it is good, for example `90d`; for ever if left out
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires: Option<Duration>,
    /// What it is for, to recognise it in the list
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
}

/// The roles, as the command line spells them.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleName {
    Admin,
    Editor,
    User,
    Auditor,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Admin => Self::Admin,
            RoleName::Editor => Self::Editor,
            RoleName::User => Self::User,
            RoleName::Auditor => Self::Auditor,
        }
    }
}

fn tenant(name: &str) -> Result<TenantId, String> {
    TenantId::new(name).map_err(|error| error.message().to_owned())
}

fn collection(name: &str) -> Result<CollectionName, String> {
    CollectionName::new(name).map_err(|error| error.message().to_owned())
}

/// The keys of a data directory, and the trail that says who made them.
pub(super) struct KeyRing {
    keys: Keys,
    audit: AuditLog,
    state: SqliteState,
}

impl KeyRing {
    pub(super) async fn open(config: &Config) -> Result<Self> {
        let state = SqliteState::open(&config.data_dir.join(SESSIONS)).await?;
        let (store, clock) = (Arc::new(state.clone()), Clock::system());
        Ok(Self { keys: Keys::new(store.clone(), clock.clone()), audit: AuditLog::new(store, clock), state })
    }

    /// A key for the command line's own way through a server: whoever has the data directory may do it anyway.
    pub(super) async fn lend(&self, role: Role, lifetime: Duration, ctx: &RunContext) -> Result<ApiKey> {
        let mut spec = KeySpec::new(TenantScope::local().tenant().clone(), role);
        spec.subject = Some(ACTOR.into());
        spec.label = "lent to a command that goes through the server".into();
        spec.lifetime = Some(lifetime);
        let (key, record) = self.keys.create(&spec, ctx).await?;
        self.note("keys create", &record).await?;
        Ok(key)
    }

    pub(super) async fn revoke(&self, id: &str, ctx: &RunContext) -> Result<KeyRecord> {
        let record = self.keys.revoke(id, ctx).await?;
        self.note("keys revoke", &record).await?;
        Ok(record)
    }

    pub(super) async fn close(self) {
        self.state.close().await;
    }

    async fn note(&self, action: &str, record: &KeyRecord) -> Result<()> {
        self.audit.record(&record.tenant, event(action, record)).await
    }
}

pub(super) async fn run(session: Session, action: Action) -> Result<()> {
    let ring = KeyRing::open(&session.config).await?;
    let done = act(&session, &ring, action).await;
    ring.close().await;
    done
}

async fn act(session: &Session, ring: &KeyRing, action: Action) -> Result<()> {
    let (out, ctx) = (session.out, &session.ctx);
    match action {
        Action::Create(arguments) => {
            let (key, record) = ring.keys.create(&spec(arguments), ctx).await?;
            ring.note("keys create", &record).await?;
            show_new(out, &key, &record);
        }
        Action::List => list(out, ring, ctx).await?,
        Action::Revoke { id } => {
            let record = ring.revoke(&id, ctx).await?;
            out.line(format_args!("revoked: {}", record.id));
            out.object(&shown(&record));
        }
        Action::Rotate { id, overlap } => {
            let (key, record) = ring.keys.rotate(&id, overlap, ctx).await?;
            ring.note("keys rotate", &record).await?;
            show_new(out, &key, &record);
        }
    }
    Ok(())
}

/// Makes the first key of a data directory that has none, and shows it.
pub(super) async fn bootstrap(out: Output, keys: &Keys, audit: &AuditLog, ctx: &RunContext) -> Result<()> {
    if !keys.list(None, 1, ctx).await?.is_empty() {
        return Ok(());
    }
    let mut spec = KeySpec::new(TenantScope::local().tenant().clone(), Role::Admin);
    spec.label = "made at the first start".into();
    let (key, record) = keys.create(&spec, ctx).await?;
    audit.record(&record.tenant, event("keys create", &record)).await?;
    out.line("this is the first start, so here is a key for everything; it is shown only this once:");
    show_new(out, &key, &record);
    Ok(())
}

fn spec(arguments: CreateArguments) -> KeySpec {
    let CreateArguments { role, tenant, user, collection, expires, label } = arguments;
    let collections: BTreeSet<_> = collection.into_iter().collect();
    let mut spec = KeySpec::new(tenant, role.into());
    spec.subject = user;
    spec.collections = (!collections.is_empty()).then_some(collections);
    spec.label = label;
    spec.lifetime = expires;
    spec
}

async fn list(out: Output, ring: &KeyRing, ctx: &RunContext) -> Result<()> {
    let mut after = None;
    loop {
        let page = ring.keys.list(after.as_deref(), PAGE, ctx).await?;
        for record in &page {
            show(out, record);
        }
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id.clone());
    }
}

fn show(out: Output, record: &KeyRecord) {
    let KeyRecord { id, tenant, subject, role, label, expires, .. } = record;
    let status = record.status(Timestamp::of(std::time::SystemTime::now()));
    let until = expires.map_or_else(|| "for ever".to_owned(), |expires| format!("until {expires}"));
    out.line(format_args!("{id}  {status}  {role} of {tenant}  {subject}  {until}  {label}"));
    out.object(&shown(record));
}

fn show_new(out: Output, key: &ApiKey, record: &KeyRecord) {
    out.line(key.expose());
    let new = NewKey { event: "key", key: &key.expose(), record: shown(record) };
    out.object(&new);
}

/// A key as it is printed once, when it is made.
#[derive(Serialize)]
struct NewKey<'a> {
    event: &'static str,
    key: &'a str,
    #[serde(flatten)]
    record: serde_json::Value,
}

/// Everything but the hash.
fn shown(record: &KeyRecord) -> serde_json::Value {
    let KeyRecord {
        id, tenant, subject, role, collections, label, created, expires, revoked, replaces, ..
    } = record;
    let status = record.status(Timestamp::of(std::time::SystemTime::now()));
    json!({
        "id": id, "status": status, "tenant": tenant, "user": subject, "role": role, "collections": collections,
        "label": label, "created": created, "expires": expires, "revoked": revoked, "replaces": replaces,
    })
}

fn event(action: &str, record: &KeyRecord) -> AuditEvent {
    AuditEvent {
        actor: ACTOR.into(),
        credential: ACTOR.into(),
        role: Some(Role::Admin),
        action: action.into(),
        target: Some(record.id.clone()),
        outcome: 200,
        trace_id: TraceContext::fresh().trace_id(),
    }
}
