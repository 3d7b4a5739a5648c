//! An MCP server as a child process that does not outlive its connection.

use std::process::Stdio;

use process_wrap::tokio::{CommandWrap, KillOnDrop};
use rmcp::transport::TokioChildProcess;
use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;

use super::endpoint::Command;
use crate::error::{Error, Result};

/// What a program needs to run at all; anything else of the environment may be a secret.
const PASSED_ON: [&str; 14] = [
    "HOME",
    "LANG",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "TMPDIR",
    "USER",
    "APPDATA",
    "COMSPEC",
    "PATHEXT",
    "SYSTEMROOT",
    "TEMP",
    "USERPROFILE",
];
/// Bytes of standard error that are logged at a time.
const LOGGED: usize = 4 * 1024;

/// Starts the program, in a process group of its own.
pub(super) fn start(name: &str, command: &Command) -> Result<TokioChildProcess> {
    let mut wrapped = CommandWrap::with_new(&command.program, |child| {
        child.args(&command.arguments).env_clear();
        child.envs(PASSED_ON.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
        child.envs(command.environment.iter().map(|(name, value)| (name, value.expose())));
        if let Some(folder) = &command.folder {
            child.current_dir(folder);
        }
    });
    wrapped.wrap(KillOnDrop);
    #[cfg(unix)]
    wrapped.wrap(process_wrap::tokio::ProcessGroup::leader());
    let started = TokioChildProcess::builder(wrapped).stderr(Stdio::piped()).spawn();
    let (process, stderr) = started
        .map_err(|error| Error::io(format!("start {:?} as MCP server {name:?}", command.program), error))?;
    if let Some(stderr) = stderr {
        tokio::spawn(log(name.to_owned(), stderr));
    }
    Ok(process)
}

/// Logs what the program writes to standard error, until it ends.
async fn log(server: String, mut stderr: ChildStderr) {
    let mut buffer = vec![0; LOGGED];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        let text = String::from_utf8_lossy(buffer.get(..read).unwrap_or_default());
        tracing::debug!(server, "{}", text.trim_end());
    }
}
