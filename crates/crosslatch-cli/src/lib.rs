//! The command `crosslatch`, as a library that its binary and the fuzz targets call.
//!
//! Each subcommand has a module; this one reads the command line and turns the outcome into an
//! exit status: 0 done, 1 the input was bad or refused, 2 wrong usage. Results go to standard
//! output, everything else to standard error.

#![forbid(unsafe_code)]

mod bench;
mod generate;
mod inspect;
mod limits;
mod listen;
mod model;
mod models;
#[doc(hidden)]
pub mod npz;
mod run;
#[cfg(feature = "serve")]
mod serve;
#[cfg(not(feature = "serve"))]
#[path = "serve_absent.rs"]
mod serve;
mod shell;
mod terminal;
mod transcribe;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Runs models that PyTorch exported: speech to text, text to text, and any .pt2.
#[derive(Parser)]
#[command(name = "crosslatch", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes down what is said in audio files.
    Transcribe(transcribe::Args),
    /// Writes down what is said while it is said.
    Listen(listen::Args),
    Serve(serve::Args),
    /// Writes what a model makes of texts: translations, summaries.
    Generate(generate::Args),
    /// Runs a method on tensors from .npz files.
    Run(run::Args),
    /// Shows what is in a model: methods, state, memory, copies.
    Inspect(inspect::Args),
    /// Measures how long a model takes, beside what memory allows.
    Bench(bench::Args),
    /// Proves that a model's sharing of memory is safe, or names the hazard.
    Verify(verify::Args),
    /// Lists the models on this machine, and those that can be named.
    Models(models::Args),
    /// Prints completions for a shell.
    Completions(shell::CompletionsArgs),
    /// Prints the manual.
    Man(shell::ManArgs),
}

/// Why a command failed; its message is for people.
#[doc(hidden)]
pub type CommandError = Box<dyn std::error::Error>;

/// Does what the command line says.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some(error) = transcribe::foreign_flag(&words, Cli::command()) {
        error.exit();
    }
    let outcome = match Cli::parse_from(words).command {
        Command::Transcribe(args) => transcribe::transcribe(&args),
        Command::Listen(args) => listen::listen(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Generate(args) => generate::generate(&args),
        Command::Run(args) => run::run(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Verify(args) => verify::verify(&args),
        Command::Models(args) => models::models(&args),
        Command::Completions(args) => shell::completions(&args, Cli::command()),
        Command::Man(args) => shell::man(&args, Cli::command()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If the reader went away, as in `crosslatch … | head`, there is nobody to complain to.
            if is_broken_pipe(&*error) {
                return ExitCode::SUCCESS;
            }
            eprintln!("error: {}", terminal::message(&error));
            ExitCode::from(1)
        }
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error
        .downcast_ref::<std::io::Error>()
        .map(std::io::Error::kind);
    let json = error.downcast_ref::<serde_json::Error>();
    io.or(json.and_then(serde_json::Error::io_error_kind)) == Some(std::io::ErrorKind::BrokenPipe)
}
