//! The command line: what each command does, with its flags, and how a failure is told.

mod ask;
mod audit;
mod backup;
mod bench;
mod configuration;
mod demo;
mod eval;
mod held;
mod ingest;
mod keys;
mod mcp;
mod models;
mod output;
mod reembed;
mod reload;
mod remote;
mod serve;
mod signals;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agentkit_core::{CollectionName, Error, Result, RunContext, TenantScope};
use clap::{Args, Parser, Subcommand};
use tokio::runtime::Handle;

use self::output::Output;
use self::reload::Source;
use crate::config::{Config, EmbedderChoice, Flags, Secret};
use crate::telemetry::{LogLevel, Metrics, Telemetry, Told};

/// How long work off the async threads may take to notice that the command is over.
const LAST_WORK: Duration = Duration::from_secs(2);

/// Ask your own documents and get cited answers.
#[derive(Debug, Parser)]
#[command(name = "agentkit-server", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  agentkit-server demo                          try it with agentkit's own documentation
  agentkit-server ingest ~/notes                index a folder
  agentkit-server ask \"how do I reset it?\"      answer on the terminal
  agentkit-server serve                         answer over HTTP, with a page at /

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 eval did not reach what was asked of it.")]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
struct Common {
    /// Address to serve on [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDR", help_heading = "Common options")]
    listen: Option<String>,
    /// Folder of the index and the conversations [default: ./agentkit-data]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Common options")]
    data_dir: Option<PathBuf>,
    /// Configuration file (TOML); see `config show` for its keys
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "AGENTKIT_CONFIG",
        help_heading = "Common options"
    )]
    config: Option<PathBuf>,
    /// Folder of an embedding model of the BERT family, instead of all-MiniLM-L6-v2
    #[arg(long, global = true, value_name = "PATH", help_heading = "Common options")]
    model: Option<PathBuf>,
    /// Embedding model; `minilm-int8` is faster and slightly less exact, `hashing` needs no files and has no sense of meaning, for tests
    #[arg(long, global = true, value_enum, help_heading = "Common options")]
    embedder: Option<EmbedderChoice>,
    /// API key for a server that a command goes through; better given in the variable
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "AGENTKIT_API_KEY",
        hide_env_values = true,
        help_heading = "Common options"
    )]
    api_key: Option<String>,
    /// Print JSON on standard output, one object a line
    #[arg(long, global = true, help_heading = "Common options")]
    json: bool,
    /// What to log on standard error, for example `debug` or `agentkit_server=trace`
    #[arg(long, global = true, value_name = "FILTER", env = "AGENTKIT_LOG", help_heading = "Common options")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve agentkit's own documentation from a temporary index
    Demo,
    /// Serve the data directory over HTTP, with a page at /; the first start prints an API key
    Serve(serve::Arguments),
    /// Add files and folders to the index, or update what has changed
    Ingest(ingest::Arguments),
    /// Find passages
    Search(ask::SearchArguments),
    /// Answer a question with citations
    Ask(ask::AskArguments),
    /// Offer search, fetch and ask to an MCP client by standard input and output
    Mcp(mcp::Arguments),
    /// Measure retrieval and answers on a data set, and fail if they got worse
    Eval(Box<eval::Arguments>),
    /// Copy the data directory to a folder, also while a server uses it, and verify the copy
    Backup(backup::BackupArguments),
    /// Copy a backup to the data directory, which must be empty, and verify it
    Restore(backup::RestoreArguments),
    /// Read everything in the data directory or a backup and check that it is sound
    Verify(backup::VerifyArguments),
    /// Embed all documents anew with the model that --embedder or --model names
    Reembed,
    /// Measure the index at size, without a model
    #[command(subcommand)]
    Bench(bench::Action),
    /// Make, list, rotate and revoke API keys
    #[command(subcommand)]
    Keys(keys::Action),
    /// Check the audit trail
    #[command(subcommand)]
    Audit(audit::Action),
    /// Fetch and list local models
    #[command(subcommand)]
    Models(models::Action),
    /// Show or check the configuration
    #[command(subcommand)]
    Config(configuration::Action),
}

/// Which collection a command works on.
#[derive(Debug, Args)]
struct Collection {
    /// Collection of documents [default: default]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
}

impl Collection {
    /// The scope of the machine's own user in this collection.
    fn scope(&self) -> Result<TenantScope> {
        let local = TenantScope::local();
        let Some(name) = &self.collection else { return Ok(local) };
        Ok(local.in_collection(CollectionName::new(name.as_str())?))
    }
}

/// What every command is given.
struct Session {
    source: Source,
    config: Config,
    api_key: Option<Secret>,
    out: Output,
    ctx: RunContext,
    metrics: Metrics,
    log: LogLevel,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Output::new(cli.common.json);
    match start(cli, out) {
        Ok(code) => code,
        Err(error) => {
            out.failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli, out: Output) -> Result<ExitCode> {
    let source = source(&cli);
    let config = source.config()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("start the async runtime", error))?;
    let mut telemetry = start_telemetry(&cli.command, &source, &config, runtime.handle().clone())?;
    let (metrics, log) = (telemetry.metrics.clone(), telemetry.log.clone());
    let api_key = cli.common.api_key.map(Secret::new);
    let session = Session { source, config, api_key, out, ctx: RunContext::new(), metrics, log };
    let done = runtime.block_on(Box::pin(run(cli.command, session)));
    runtime.block_on(telemetry.close());
    runtime.shutdown_timeout(LAST_WORK);
    done
}

fn source(cli: &Cli) -> Source {
    let Common { listen, data_dir, config, model, embedder, log, .. } = cli.common.clone();
    let flags = Flags { listen, data_dir, embedder, model };
    let usual = if serves(&cli.command) { "info,tantivy=warn" } else { "warn" };
    Source { file: config, flags, filter: log, usual }
}

fn serves(command: &Command) -> bool {
    matches!(command, Command::Serve(_) | Command::Demo)
}

/// Only what serves counts and sends traces.
fn start_telemetry(
    command: &Command,
    source: &Source,
    config: &Config,
    runtime: Handle,
) -> Result<Telemetry> {
    let (serves, settings) = (serves(command), &config.telemetry);
    let told = Told {
        filter: source.filter(config),
        format: settings.log_format,
        metrics: Metrics::with_tenants(settings.metrics_tenants.iter().cloned()),
        counts: serves,
        otlp: settings.otlp.as_ref().filter(|_| serves),
    };
    Telemetry::start(told, runtime)
}

async fn run(command: Command, session: Session) -> Result<ExitCode> {
    let done = match command {
        Command::Demo => demo::run(session).await,
        Command::Serve(arguments) => serve::run(session, arguments).await,
        Command::Ingest(arguments) => ingest::run(session, arguments).await,
        Command::Search(arguments) => ask::search(session, arguments).await,
        Command::Ask(arguments) => ask::ask(session, arguments).await,
        Command::Mcp(arguments) => Box::pin(mcp::run(session, arguments)).await,
        Command::Eval(arguments) => return eval::run(session, arguments).await,
        Command::Backup(arguments) => backup::backup(session, arguments).await,
        Command::Restore(arguments) => backup::restore(session, arguments).await,
        Command::Verify(arguments) => backup::verify(session, arguments).await,
        Command::Reembed => reembed::run(session).await,
        Command::Bench(action) => bench::run(session, action).await,
        Command::Keys(action) => keys::run(session, action).await,
        Command::Audit(action) => audit::run(session, action).await,
        Command::Models(action) => models::run(session, action).await,
        Command::Config(action) => {
            configuration::run(&session, &action);
            Ok(())
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn common_flags_stand_before_or_behind_the_command() {
        for arguments in [["x", "--json", "demo"], ["x", "demo", "--json"]] {
            assert!(Cli::try_parse_from(arguments).unwrap().common.json);
        }
        let wrong = Cli::try_parse_from(["x", "serve", "--port", "1"]).unwrap_err();
        assert_eq!(wrong.exit_code(), 2);
    }
}
