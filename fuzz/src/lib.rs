//! Fuzz targets: functions from any bytes to nothing, which panic if the library breaks a promise.
//!
//! `fuzz/run` drives them by libFuzzer; an ordinary test replays the seeds in `fuzz/seeds`, past findings among them.

mod answers;
mod chat;
mod files;
mod folder;
mod kernels;
mod loading;
mod requests;
mod search;
mod tokens;

/// A target.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 13] = [
    ("sealed", files::sealed),
    ("log", files::log),
    ("graph", files::graph),
    ("index", folder::index),
    ("filter", search::filter),
    ("query", search::query),
    ("kernels", kernels::kernels),
    ("answer", answers::answer),
    ("gguf", chat::gguf),
    ("connection", requests::connection),
    ("config", requests::config),
    ("token", tokens::token),
    ("load", loading::load),
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// The names of all targets.
#[must_use]
pub fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|(name, _)| *name).collect()
}

/// Runs a future on the one runtime of the process.
fn run<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> = std::sync::LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    });
    RUNTIME.block_on(future)
}
