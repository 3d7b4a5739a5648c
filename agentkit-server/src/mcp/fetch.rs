//! `fetch`: a document by its id, a window of its text at a time.

use std::sync::Arc;

use agentkit_core::{DocumentId, Error, Result, RunContext, TenantScope, Tool, ToolPolicy, ToolSpec};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Documents;
use crate::documents::Document;

/// Bytes of text in one answer.
const WINDOW: usize = 32 * 1024;

/// Reads documents of one scope.
pub(super) struct FetchTool {
    spec: ToolSpec,
    policy: ToolPolicy,
    documents: Arc<dyn Documents>,
    scope: TenantScope,
}

/// What a client may say, and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    id: DocumentId,
    #[serde(default)]
    offset: usize,
}

impl FetchTool {
    pub(super) fn new(documents: Arc<dyn Documents>, scope: TenantScope) -> Self {
        let id = json!({"type": "string", "minLength": 1, "description": "The id of a document, as `search` gives it."});
        let offset = json!({"type": "integer", "minimum": 0, "description": "Where to begin, in bytes: the `next_offset` of the answer before."});
        let spec = ToolSpec {
            name: "fetch".into(),
            description: "Reads a document, from its beginning or an offset.".into(),
            parameters: json!({
                "type": "object",
                "properties": {"id": id, "offset": offset},
                "required": ["id"],
                "additionalProperties": false,
            }),
        };
        Self { spec, policy: ToolPolicy::new(), documents, scope }
    }
}

#[async_trait]
impl Tool for FetchTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn policy(&self) -> &ToolPolicy {
        &self.policy
    }

    async fn call(&self, arguments: Value, ctx: &RunContext) -> Result<Value> {
        let unfit = |why: &str| Error::invalid_input(format!("arguments of tool \"fetch\": {why}"));
        if !arguments.is_object() {
            return Err(unfit("they must be an object"));
        }
        let Arguments { id, offset } =
            serde_json::from_value(arguments).map_err(|error| unfit(&error.to_string()))?;
        let found = ctx.run(self.documents.get(&self.scope, &id, ctx)).await?;
        let found = found.ok_or_else(|| Error::not_found(format!("there is no document {id}")))?;
        shown(&found, offset)
    }
}

fn shown(document: &Document, offset: usize) -> Result<Value> {
    let text = &document.source_text;
    let Some(rest) = text.get(offset..) else {
        let message = format!("offset {offset} is no position in the document's {} bytes", text.len());
        return Err(Error::invalid_input(message));
    };
    let window = head(rest);
    let mut shown = json!({
        "id": document.id,
        "title": document.title.as_deref().unwrap_or(document.id.as_str()),
        "text": window,
        "url": document.uri,
        "metadata": document.metadata,
    });
    if let (true, Some(members)) = (window.len() < rest.len(), shown.as_object_mut()) {
        members.insert("next_offset".into(), json!(offset + window.len()));
    }
    Ok(shown)
}

/// As much of the text as one answer holds.
fn head(text: &str) -> &str {
    let end = (0..=WINDOW.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or(text)
}
