//! `crosslatch bench`: how long a model takes, compared with what memory allows.
//!
//! A decoder step reads all of its weights once, so its floor is the number of bytes that it reads
//! divided by the bandwidth of memory. The bandwidth is measured between the passes, because it
//! changes with what else runs on the machine. Several precisions are measured in turns, so that
//! the rows of one table are comparable.

mod measure;
mod methods;
mod print;
mod speech;
mod together;

use std::io::Write;
use std::time::Instant;

use crosslatch::{Options, Precision};
use serde_json::{Value, json};

use crate::CommandError;
use crate::limits::LimitArgs;
use crate::model::ModelArgs;
use measure::{milliseconds, peak_memory};

/// Measures how long a model takes.
///
/// A speech model (methods `encoder` and `decoder`): one window of noise and 64 forced tokens, in
/// several passes. Any other model: each method, for the smallest inputs that it takes.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  crosslatch bench whisper.pt2 --precision f32,bf16,int8\n\n\
    Times are medians, with quartiles behind a step's. The floor of a step is the bytes that it \
    reads over the bandwidth of memory as measured between the passes. Peak memory is that of the \
    process before decoders step together: compare precisions in runs of their own."
)]
pub struct Args {
    #[command(flatten)]
    of: ModelArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// How weights are stored: f32, bf16, int8, int4, or several, measured in turns.
    #[arg(long, value_name = "P", default_value = "f32", value_delimiter = ',')]
    precision: Vec<Precision>,
    /// Threads to use; all cores if left out.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// How often to go over a speech model.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    passes: u32,
    /// Windows of a speech model whose decoders take a step side by side, each weight read once for all.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    together: u32,
    /// Beams of one window that take a step side by side.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    beams: u32,
}

/// Runs the command.
pub fn bench(args: &Args) -> Result<(), CommandError> {
    let start = Instant::now();
    let model = args.of.open()?;
    let open = milliseconds(start);
    let defaults = Options::default();
    let threads = args.threads.unwrap_or(defaults.threads);
    let options = |precision| Options {
        threads,
        precision,
        memory_limit: args.limits.memory(),
        ..defaults
    };
    let is_speech = ["encoder", "decoder"].map(|m| model.method_index(m).is_ok()) == [true; 2];
    let (rows, peak): (Vec<Value>, Option<u64>) = match is_speech {
        true => {
            let several = speech::Several {
                windows: args.together as usize,
                beams: args.beams as usize,
            };
            speech::measure(&model, &args.precision, args.passes, several, &options)?
        }
        false => {
            let rows = methods::measure(&model, &args.precision, &options)?;
            (rows, peak_memory())
        }
    };
    let report = json!({
        "file": args.of.model.display().to_string(),
        "threads": threads,
        "open_ms": open,
        "peak_memory_bytes": peak,
        "rows": rows,
    });
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else if is_speech {
        print::speech(&mut out, &report)?;
    } else {
        print::methods(&mut out, &report)?;
    }
    Ok(())
}
