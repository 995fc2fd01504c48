//! `crosslatch serve` in a program that was built without it: says how to get one.

use std::ffi::OsString;

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::{Cli, CommandError};

/// Answers HTTP requests for transcripts, by OpenAI's interface.
///
/// This program was built without it. Build one that has it:
/// cargo install --path crates/crosslatch-cli
#[derive(clap::Args)]
pub struct Args {
    /// What the server would be asked.
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// Refuses, as wrong usage.
pub fn serve(args: &Args) -> Result<(), CommandError> {
    let mut words = String::new();
    for word in &args.rest {
        words.push(' ');
        words.push_str(&word.to_string_lossy());
    }
    let message = format!(
        "this program was built without the server. In the source tree, either\n  \
         cargo install --path crates/crosslatch-cli\n\
         or\n  cargo run --release -- serve{words}"
    );
    Cli::command()
        .error(ErrorKind::InvalidSubcommand, message)
        .exit()
}
