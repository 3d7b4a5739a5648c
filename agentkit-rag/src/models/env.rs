//! The environment names the model store reads; no other file of this crate reads the environment.

use std::path::{Path, PathBuf};

use agentkit_core::{Error, ErrorKind, Result};

/// Where agentkit keeps what it can fetch again: `AGENTKIT_CACHE_DIR`, else `XDG_CACHE_HOME/agentkit`, else
/// `~/.cache/agentkit`.
///
/// # Errors
/// Unsupported, if none of the three can be told.
pub fn cache_dir() -> Result<PathBuf> {
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    choose(read("AGENTKIT_CACHE_DIR"), read("XDG_CACHE_HOME"), home.as_deref())
}

/// Whether the user asked to leave the hub alone (`HF_HUB_OFFLINE`).
pub(super) fn hub_is_offline() -> bool {
    read("HF_HUB_OFFLINE").is_some_and(|value| !matches!(value.to_lowercase().as_str(), "0" | "false" | "no"))
}

/// Whether requests go through a proxy, so that a direct connection proves nothing.
pub(super) fn uses_proxy() -> bool {
    ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter().any(|name| read(name).is_some())
}

#[expect(clippy::disallowed_methods, reason = "this is the file that owns and documents the names")]
fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn choose(own: Option<String>, xdg: Option<String>, home: Option<&Path>) -> Result<PathBuf> {
    let absolute = |dir: &PathBuf| dir.is_absolute();
    own.map(PathBuf::from)
        .or_else(|| xdg.map(PathBuf::from).filter(absolute).map(|dir| dir.join("agentkit")))
        .or_else(|| home.map(|home| home.join(".cache").join("agentkit")))
        .ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "no cache directory is known: set AGENTKIT_CACHE_DIR or HOME")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_name_wins_then_the_xdg_one_then_the_home_directory() {
        let own = Some("/own".to_owned());
        let xdg = Some("/xdg".to_owned());
        let home = Some(Path::new("/home/me"));
        assert_eq!(choose(own, xdg.clone(), home).unwrap(), Path::new("/own"));
        assert_eq!(choose(None, xdg, home).unwrap(), Path::new("/xdg/agentkit"));
        assert_eq!(choose(None, None, home).unwrap(), Path::new("/home/me/.cache/agentkit"));
        assert_eq!(
            choose(None, Some("relative".into()), home).unwrap(),
            Path::new("/home/me/.cache/agentkit")
        );
        assert!(choose(None, None, None).unwrap_err().message().contains("AGENTKIT_CACHE_DIR"));
    }
}
