//! What was said before a question, for those who make it stand alone.

use crate::message::{Message, Role};

/// What a question was asked in.
///
/// # Examples
/// ```
/// use agentkit_core::{Conversation, Message};
///
/// let before = Conversation::new(vec![Message::user("Who was Ada?"), Message::assistant("A mathematician.")])
///     .topics(["Ada Lovelace"]);
/// assert_eq!(before.user_turns().collect::<Vec<_>>(), ["Who was Ada?"]);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Conversation {
    /// The turns before the question, oldest first; messages of other roles than user and assistant are passed over.
    pub messages: Vec<Message>,
    /// What the conversation is known to be about: titles and headings of what is on the screen, for example.
    pub topics: Vec<String>,
}

impl Conversation {
    /// A conversation of these messages, oldest first.
    #[must_use]
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, topics: Vec::new() }
    }

    /// It is about these.
    #[must_use]
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// Whether it says nothing that a question could lean on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.turns().next().is_none()
    }

    /// What user and assistant said, oldest first.
    #[must_use]
    pub fn turns(&self) -> impl DoubleEndedIterator<Item = (Role, String)> {
        let spoken = self.messages.iter().filter(|m| matches!(m.role, Role::User | Role::Assistant));
        spoken.map(|message| (message.role, message.joined_text()))
    }

    /// What the user said, oldest first.
    #[must_use]
    pub fn user_turns(&self) -> impl DoubleEndedIterator<Item = String> {
        self.turns().filter(|(role, _)| *role == Role::User).map(|(_, text)| text)
    }
}
