//! The conversations that queries were asked in, one JSON object a line.

use std::collections::HashMap;
use std::path::Path;

use agentkit_core::{Conversation, Message, Result, Role};
use serde::Deserialize;

use super::records::Records;

/// What was said before each query, by the query's id.
pub type Conversations = HashMap<String, Conversation>;

#[derive(Deserialize)]
struct Record {
    id: String,
    turns: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    role: Role,
    text: String,
}

/// Reads conversations: `id` is that of the query, `turns` are all turns with `role` and `text`, of which the last is the
/// query itself and left out. Reads the file: call it where blocking is fine.
///
/// # Errors
/// Not found, or invalid input naming the file and line of a malformed record.
pub fn read_conversations(path: impl AsRef<Path>) -> Result<Conversations> {
    let mut records = Records::open(path.as_ref())?;
    let mut conversations = Conversations::new();
    while let Some(record) = records.next_record::<Record>() {
        let Record { id, mut turns } = record?;
        turns.pop();
        let said = turns.into_iter().map(|turn| Message::text(turn.role, turn.text)).collect();
        conversations.insert(id, Conversation::new(said));
    }
    Ok(conversations)
}
