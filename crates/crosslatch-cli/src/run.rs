//! `crosslatch run`: a method, tensors in, tensors out.

use std::path::PathBuf;

use crosslatch::reference::ReferenceSession;
use crosslatch::{Input, KernelSet, Model, Options, Precision, Session};

use crate::limits::LimitArgs;
use crate::model::{self, ModelArgs};
use crate::{CommandError, npz};

/// Runs a method of a model on tensors from .npz files.
///
/// Arrays are matched to inputs by name. Several input files are run in order in one session, so
/// that what the first run caches the second one finds; their outputs are named `0/NAME`, `1/NAME`
/// and so on, with one input file just `NAME`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  crosslatch run m.pt2 --method decoder \
    --input step0.npz step1.npz --output logits.npz\n  \
    crosslatch run exported/ --method prefill,decode --input prompt.npz step.npz --output o.npz")]
pub struct Args {
    #[command(flatten)]
    of: ModelArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Which of its methods; may be left out if there is one. Several, in a list, are for the first
    /// input, the second and so on, and the last of them for all others.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    method: Vec<String>,
    /// Arrays to run on, one file for each run.
    #[arg(long, required = true, num_args = 1.., value_name = "IN.npz")]
    input: Vec<PathBuf>,
    /// Where to write the outputs.
    #[arg(long, value_name = "OUT.npz")]
    output: PathBuf,
    /// Interpret node by node instead of planning: the oracle, slow.
    #[arg(long)]
    reference: bool,
    /// Choose plain loops instead of fast kernels.
    #[arg(long)]
    plain: bool,
    /// How weights are stored: f32, bf16, int8 or int4.
    #[arg(long, value_name = "P", default_value_t)]
    precision: Precision,
    /// Threads to use; all cores if left out.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), CommandError> {
    // Latching changes no result, so the oracle does without.
    let plain = model::open(&args.of.model, &[], &args.of.file)?;
    let model = model::latched(plain.clone(), &args.of.latch)?;
    let methods = match &args.method[..] {
        [] => vec![method_name(&plain, None)?],
        named => named
            .iter()
            .map(|name| method_name(&plain, Some(name)))
            .collect::<Result<_, _>>()?,
    };
    let mut options = Options {
        kernels: if args.plain {
            KernelSet::Plain
        } else {
            KernelSet::Fast
        },
        precision: args.precision,
        memory_limit: args.limits.memory(),
        ..Options::default()
    };
    if let Some(threads) = args.threads {
        options.threads = threads;
    }
    let mut reference = ReferenceSession::with_options(&plain, options)?;
    let mut session = Session::new(&model, options)?;
    let mut writer = npz::Writer::create(&args.output)?;
    for (i, path) in args.input.iter().enumerate() {
        let method = &methods[i.min(methods.len() - 1)];
        let tensors = npz::read(path)?;
        let output_name = |name: &str| match args.input.len() {
            1 => name.to_owned(),
            _ => format!("{i}/{name}"),
        };
        if args.reference {
            let named: Vec<_> = tensors
                .iter()
                .map(|(name, t)| (name.as_str(), t.view()))
                .collect();
            for (name, tensor) in reference.run(method, &named)? {
                writer.add(&output_name(&name), &tensor.view())?;
            }
        } else {
            let named: Vec<_> = tensors
                .iter()
                .map(|(name, t)| (name.as_str(), Input::Tensor(t.view())))
                .collect();
            for (name, tensor) in session.run(method, &named)?.iter() {
                writer.add(&output_name(name), &tensor)?;
            }
        }
    }
    writer.finish()
}

/// The method that is meant: the named one, or the only one.
pub fn method_name(model: &Model, given: Option<&str>) -> Result<String, CommandError> {
    match (given, model.methods()) {
        (Some(name), _) => {
            model.method_index(name)?;
            Ok(name.to_owned())
        }
        (None, [only]) => Ok(only.program.name.clone()),
        (None, methods) => {
            let names: Vec<_> = methods.iter().map(|m| m.program.name.as_str()).collect();
            Err(format!(
                "the model has several methods; choose one with --method: {}",
                names.join(", ")
            )
            .into())
        }
    }
}
