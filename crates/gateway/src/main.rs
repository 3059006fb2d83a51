//! The binary: arguments to subcommand to exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use gateway::cli::{Arguments, Command, cache, check, demo, keys, models, route, serve};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Arguments { config, command } = Arguments::parse();
    let outcome = match command.unwrap_or(Command::Serve(serve::Options::default())) {
        Command::Serve(options) => run(serve::run(config, options)),
        Command::Demo(options) => run(demo::run(config, options)),
        Command::Cache(command) => run(cache::run(config, command)),
        Command::Check => run(check::run(config)),
        Command::Keys(command) => run(keys::run(config, command)),
        Command::Route(options) => run(route::run(config, options)),
        Command::Models(command) => run(models::run(config, command)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "llm-gateway", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        // Where standard error is gone there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(future: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(future);
    // Lookups of the system resolver may still run on a blocking thread; nobody waits for their answer.
    runtime.shutdown_background();
    outcome
}
