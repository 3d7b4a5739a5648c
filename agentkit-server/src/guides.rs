//! The guides, whose snippets the documentation tests compile; they use all crates, so they are compiled with the last.

#[doc = include_str!("../../docs/guide/agents-with-tools.md")]
mod agents_with_tools {}
#[doc = include_str!("../../docs/guide/evaluation.md")]
mod evaluation {}
#[doc = include_str!("../../docs/guide/mcp.md")]
mod mcp {}
#[doc = include_str!("../../docs/guide/models.md")]
mod models {}
#[doc = include_str!("../../docs/guide/questions-and-reranking.md")]
mod questions_and_reranking {}
#[doc = include_str!("../../docs/guide/quickstart.md")]
mod quickstart {}
#[doc = include_str!("../../docs/guide/searching.md")]
mod searching {}
