//! Model files from the Hugging Face hub, through its own client and its own cache.

use std::fs;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkit_core::{Error, ErrorKind, Result, RunContext};
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::env;
use super::progress::{Progress, Reporter, relay};
use super::spec::{ModelFile, ModelSpec};
use super::unpack::make_parent;

/// How long the hub may take to accept a connection before the next source is asked.
const CONNECT: Duration = Duration::from_secs(4);

/// Downloads the files of `spec` into `folder`.
///
/// Stopping returns at once; the file being downloaded then goes on into the hub client's cache and ends there.
pub(super) async fn fetch(
    spec: &ModelSpec,
    folder: &Path,
    progress: &dyn Progress,
    ctx: &RunContext,
) -> Result<()> {
    let (spec, folder) = (spec.clone(), folder.to_owned());
    relay(progress, |reporter| ctx.run_blocking(move |ctx| download(&spec, &folder, &reporter, ctx))).await
}

fn download(spec: &ModelSpec, folder: &Path, reporter: &Reporter, ctx: &RunContext) -> Result<()> {
    let wanted = Repo::with_revision(spec.name().to_owned(), RepoType::Model, spec.hub_revision().to_owned());
    let cached = Cache::from_env().repo(wanted.clone());
    let api = ApiBuilder::from_env()
        .with_progress(false)
        .build()
        .map_err(|error| unavailable("set up the hub client").with_source(error))?;
    let hub = Hub { repo: api.repo(wanted), api };
    let mut reachable = false;
    for file in spec.files() {
        ctx.check()?;
        let mut source = cached.get(file.path());
        if source.is_none() {
            if !reachable {
                hub.probe(ctx)?;
                reachable = true;
            }
            source = hub.get(file, reporter)?;
        }
        if let Some(source) = source {
            let target = folder.join(file.path());
            make_parent(&target)?;
            fs::copy(&source, &target)
                .map_err(|error| Error::io(format!("copy {} from the hub's cache", file.path()), error))?;
        }
    }
    Ok(())
}

struct Hub {
    api: Api,
    repo: ApiRepo,
}

impl Hub {
    /// The client has no connect timeout of its own, and an unreachable network must not cost minutes.
    fn probe(&self, ctx: &RunContext) -> Result<()> {
        if env::hub_is_offline() {
            return Err(unavailable("the hub is switched off by HF_HUB_OFFLINE"));
        }
        if env::uses_proxy() {
            return Ok(());
        }
        let url = self.repo.url("config.json");
        let (host, port) = authority(&url).ok_or_else(|| {
            Error::invalid_input(format!("HF_ENDPOINT does not give a web address: {url:?}"))
        })?;
        ctx.check()?;
        let unreachable = || unavailable(&format!("the hub {host}:{port} cannot be reached"));
        let addresses = (host, port).to_socket_addrs().map_err(|error| unreachable().with_source(error))?;
        let mut last = unreachable();
        for address in addresses.take(2) {
            ctx.check()?;
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(_) => return Ok(()),
                Err(error) => last = unreachable().with_source(error),
            }
        }
        Err(last)
    }

    fn get(&self, file: &ModelFile, reporter: &Reporter) -> Result<Option<PathBuf>> {
        if !file.is_required() && self.is_absent(file) {
            return Ok(None);
        }
        let bar = Bar { reporter, what: format!("downloading {}", file.path()), done: 0, total: 0 };
        let failed =
            |error| unavailable(&format!("download {} from the hub", file.path())).with_source(error);
        self.repo.download_with_progress(file.path(), bar).map(Some).map_err(failed)
    }

    fn is_absent(&self, file: &ModelFile) -> bool {
        let answer = self.api.metadata(&self.repo.url(file.path()));
        matches!(answer, Err(ApiError::RequestError(error)) if error.to_string().contains("404"))
    }
}

struct Bar<'a> {
    reporter: &'a Reporter,
    what: String,
    done: u64,
    total: u64,
}

impl hf_hub::api::Progress for Bar<'_> {
    fn init(&mut self, size: usize, _filename: &str) {
        self.total = size as u64;
        self.update(0);
    }

    fn update(&mut self, size: usize) {
        self.done = self.done.saturating_add(size as u64);
        self.reporter.step(&self.what, self.done, Some(self.total));
    }

    fn finish(&mut self) {}
}

/// Host and port of a web address.
fn authority(url: &str) -> Option<(&str, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let default = if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 };
    let authority = rest.split('/').next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match authority.rsplit_once(':') {
        Some((host, port)) => Some((host.trim_matches(['[', ']']), port.parse().ok()?)),
        None => Some((authority, default)).filter(|(host, _)| !host.is_empty()),
    }
}

fn unavailable(message: &str) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_and_port_of_an_endpoint_are_found() {
        assert_eq!(authority("https://hub.example/a/b"), Some(("hub.example", 443)));
        assert_eq!(authority("http://me@hub.example:8081/a"), Some(("hub.example", 8081)));
        assert_eq!(authority("http://hub.example"), Some(("hub.example", 80)));
        assert_eq!(authority("hub.example"), None);
        assert_eq!(authority("https:///x"), None);
    }
}
