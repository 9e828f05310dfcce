//! `dunlin`: moves files between machines, measures paths, makes keys.
//!
//! | file | what it owns |
//! |---|---|
//! | `args` | the command line |
//! | `commands` | `keygen`, `key`, `recv`, `send`, `demo` |
//! | `perf` | `perf server`, `perf client` |
//! | `transfer` | the file-transfer protocol |
//! | `decrypt` | `decrypt`: captures, read with a key log |
//! | `folder`, `keyfile`, `keylog` | the file system, key files, key logs |
//! | `net`, `qotp`, `signal` | endpoints and dialling, the other wire, being stopped |
//! | `progress`, `report`, `paths`, `gap`, `text`, `failure` | what people and programs get to see |
#![forbid(unsafe_code)]

mod args;
mod commands;
mod decrypt;
mod failure;
mod folder;
mod gap;
mod keyfile;
mod keylog;
mod net;
mod paths;
mod perf;
mod progress;
mod qotp;
mod report;
mod signal;
#[cfg(test)]
mod testing;
mod text;
mod transfer;

use core::time::Duration;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, Command, PerfCommand};
use failure::{Failure, Reported};

/// How long threads that still read or write files may take when all else is over.
const LAST_WRITES: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("dunlin: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Help goes out as it is, a mistake as one line.
fn misused(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A reader that has seen enough of the help may have closed the pipe.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(2);
    }
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or(&text);
    let line = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    eprintln!("dunlin: {}; `dunlin --help` explains", line.trim_start_matches("error: "));
    ExitCode::from(2)
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Keygen(args) => commands::keys::keygen(&args),
        Command::Key(args) => commands::keys::key(&args),
        Command::Decrypt(args) => decrypt::run(&args),
        Command::Recv(args) => {
            let json = args.json;
            on_runtime(json, commands::recv::run(args))
        }
        Command::Send(args) => {
            let json = args.json;
            on_runtime(json, commands::send::run(args))
        }
        Command::Demo(args) => {
            let json = args.json;
            on_runtime(json, commands::demo::run(args))
        }
        Command::Perf(PerfCommand::Server(args)) => on_runtime(false, perf::server::run(args)),
        Command::Perf(PerfCommand::Client(args)) => {
            let json = args.json;
            on_runtime(json, perf::client::run(args))
        }
    }
}

/// Runs a command that needs the network. What fails before the command has reported anything is reported here.
fn on_runtime(json: bool, work: impl Future<Output = Result<Reported, Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_WRITES);
    result.unwrap_or_else(|failure| {
        if json {
            failure::say(report::failed_json(&failure));
        }
        Err(failure)
    })
}
