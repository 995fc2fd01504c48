//! `crosslatch inspect`: what is in a model.
//!
//! All that is known is gathered as JSON once ([`facts`]); what a person reads, as [`text`] or as a
//! [`page`], is made from that, so that a program that reads `--json` knows as much.

mod about;
mod facts;
mod layers;
mod names;
mod page;
mod steps;
mod text;

use std::io::Write;
use std::path::PathBuf;

use crosslatch::{Options, Precision};

use crate::CommandError;
use crate::limits::LimitArgs;
use crate::model::ModelArgs;
use crate::terminal::Plain;

/// Shows what is in a model: methods, inputs and outputs, state, memory, and the copies that a
/// run makes and avoids, each with its reason.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  crosslatch inspect m.pt2\n  \
    crosslatch inspect m.pt2 --html m.html\n  \
    crosslatch inspect m.pt2 --ir | less\n  crosslatch inspect m.pt2 --json | jq .methods")]
pub struct Args {
    #[command(flatten)]
    of: ModelArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Print the programs in the text form of the intermediate representation.
    #[arg(long)]
    ir: bool,
    /// How weights are stored: f32, bf16, int8 or int4.
    #[arg(long, value_name = "P", default_value_t)]
    precision: Precision,
    /// Print JSON.
    #[arg(long, conflicts_with = "ir")]
    json: bool,
    /// Write a page to look at: layers, what runs once and what each step, state, memory over time.
    #[arg(long, value_name = "OUT.html", conflicts_with_all = ["ir", "json"])]
    html: Option<PathBuf>,
}

/// Runs the command.
pub fn inspect(args: &Args) -> Result<(), CommandError> {
    let model = args.of.open()?;
    let mut out = Plain(std::io::stdout().lock());
    if args.ir {
        for method in model.methods() {
            write!(out, "{}", method.program)?;
        }
        return Ok(());
    }
    let options = Options {
        precision: args.precision,
        memory_limit: args.limits.memory(),
        ..Options::default()
    };
    let facts = facts::gather(&model, &args.of.model, options)?;
    if let Some(path) = &args.html {
        let page = page::render(&facts)?;
        return std::fs::write(path, page).map_err(|e| format!("{}: {e}", path.display()).into());
    }
    if args.json {
        serde_json::to_writer_pretty(&mut out.0, &facts)?;
        writeln!(out)?;
    } else {
        text::print(&mut out, &facts)?;
    }
    Ok(())
}
