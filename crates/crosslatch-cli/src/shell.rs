//! `crosslatch completions` and `crosslatch man`: the command described for a shell and for `man`.
//!
//! Both are made from the description of the command line itself, so they cannot be out of date.

use std::io::Write;

use clap::Command;
use clap_complete::Shell;

use crate::CommandError;

/// Prints a script that completes options and file names.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    crosslatch completions bash > ~/.local/share/bash-completion/completions/crosslatch\n  \
    crosslatch completions zsh > \"${fpath[1]}/_crosslatch\"\n  \
    crosslatch completions fish > ~/.config/fish/completions/crosslatch.fish")]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the manual, one page for each command, as `man` reads it.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  crosslatch man | man -l -\n  crosslatch man transcribe | man -l -"
)]
pub struct ManArgs {
    /// A command; the overview if left out.
    command: Option<String>,
}

/// Runs `crosslatch completions`.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "crosslatch", &mut script);
    Ok(std::io::stdout().lock().write_all(&script)?)
}

/// Runs `crosslatch man`.
pub fn man(args: &ManArgs, mut command: Command) -> Result<(), CommandError> {
    command.build();
    if let Some(name) = &args.command {
        let found = command.find_subcommand(name).cloned();
        command = found.ok_or_else(|| format!("there is no command `{name}`; see --help"))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(std::io::stdout().lock().write_all(&page)?)
}
