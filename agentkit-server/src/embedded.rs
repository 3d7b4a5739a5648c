//! The project's own documents inside the binary, for `demo`.

use agentkit_core::Result;
use agentkit_rag::{SourceDocument, load};
use rust_embed::RustEmbed;

/// `README.md` and `docs/` are links to the workspace's, so that a package of this crate carries copies of them.
#[derive(RustEmbed)]
#[folder = "."]
#[include = "README.md"]
#[include = "docs/*.md"]
#[include = "docs/**/*.md"]
#[exclude = "src/*"]
#[exclude = "tests/*"]
struct Files;

/// The documents, by their paths in the project.
pub(crate) fn documents() -> Result<Vec<SourceDocument>> {
    let load = |path: std::borrow::Cow<'static, str>| {
        let file = Files::get(&path)?;
        Some(load::load_bytes(path.as_ref(), "text/markdown", &file.data))
    };
    Files::iter().filter_map(load).collect()
}
