//! The `agentkit-server` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    agentkit_server::cli::main()
}
