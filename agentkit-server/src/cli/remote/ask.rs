//! A running server as a retriever, as an agent and as a source of documents.

use agentkit_core::{
    Agent, AgentEventKind, AgentInput, AgentReply, AgentStream, DocumentId, Emitter, Result, Retriever,
    RunContext, SearchRequest, SearchResponse, TenantScope,
};
use async_trait::async_trait;
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Remote;
use crate::documents::Document;
use crate::mcp::Documents;

impl Remote {
    async fn post<T: DeserializeOwned>(&self, route: &str, body: &Value, ctx: &RunContext) -> Result<T> {
        let url = self.route(route);
        ctx.run(self.send(|client| client.post(url.clone()).json(body))).await
    }

    fn route(&self, route: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(route);
        }
        url
    }
}

#[async_trait]
impl Retriever for Remote {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        request.validate()?;
        let SearchRequest { scope, text, top_k, filter, plan, offset, generation, .. } = request;
        let collection = scope.collection().as_str();
        let mut body = json!({
            "query": text, "top_k": top_k, "plan": plan, "collection": collection, "offset": offset,
        });
        if let Some(members) = body.as_object_mut() {
            members.extend(filter.iter().map(|filter| ("filter".into(), json!(filter))));
            members.extend(generation.iter().map(|generation| ("generation".into(), json!(generation))));
        }
        self.post("search", &body, ctx).await
    }
}

#[async_trait]
impl Documents for Remote {
    async fn get(&self, scope: &TenantScope, id: &DocumentId, ctx: &RunContext) -> Result<Option<Document>> {
        let url = self.url(scope, id)?;
        match ctx.run(self.send(|client| client.get(url.clone()))).await {
            Err(error) if error.is_not_found() => Ok(None),
            found => found.map(Some),
        }
    }
}

#[async_trait]
impl Agent for Remote {
    async fn run(&self, input: AgentInput, ctx: &RunContext) -> Result<AgentStream> {
        input.validate()?;
        input.without_tools()?;
        let (remote, ctx) = (self.clone(), ctx.clone());
        Ok(AgentStream::generate(|out| async move {
            let collection = input.scope.collection().as_str();
            let mut body = json!({"message": input.message, "stream": false, "collection": collection});
            if let Some(members) = body.as_object_mut() {
                members.extend(input.session.as_ref().map(|session| ("session_id".into(), json!(session))));
                members.extend(input.filter.as_ref().map(|filter| ("filter".into(), json!(filter))));
            }
            let reply: AgentReply = remote.post("chat", &body, &ctx).await?;
            replay(reply, &out).await
        }))
    }
}

/// The events that a reply was gathered from, as far as it tells.
async fn replay(reply: AgentReply, out: &Emitter<AgentEventKind>) -> Result<()> {
    let AgentReply { answer, citations, sources, query, outcome, usage, session_id, trace_id, .. } = reply;
    out.emit(AgentEventKind::Started { trace_id, session_id }).await?;
    out.emit(AgentEventKind::Retrieved { query, sources }).await?;
    out.emit(AgentEventKind::Delta { text: answer }).await?;
    for citation in citations {
        out.emit(AgentEventKind::Citation(citation)).await?;
    }
    out.emit(AgentEventKind::Usage(usage)).await?;
    out.emit(AgentEventKind::Done { outcome }).await
}
