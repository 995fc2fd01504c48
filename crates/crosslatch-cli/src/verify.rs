//! `crosslatch verify`: the proof that a model's sharing of memory is safe, or the hazard.

use std::collections::BTreeMap;
use std::io::Write;

use crosslatch::inputs::{InputTypes, number_slots, types_for};
use crosslatch::ir::graph::{Program, Symbol};
use crosslatch::plan::{Memory, Plan};
use crosslatch::{DType, Layout, Options, Session};

use crate::CommandError;
use crate::limits::LimitArgs;
use crate::model::ModelArgs;
use crate::terminal::Plain;

/// Proves that running a model in shared memory means what running it node by node means, or names
/// the node for which that cannot be.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  crosslatch verify m.pt2\n  crosslatch verify m.pt2 --details\n\nExit status 0: proved; 1: refused, or the \
    file is bad. A plan is made for the smallest and the largest sizes that the model takes, where \
    they are bounded."
)]
pub struct Args {
    #[command(flatten)]
    of: ModelArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Print for each state slot the values that are its memory, and each copy with its reason.
    #[arg(long)]
    details: bool,
}

/// Runs the command.
pub fn verify(args: &Args) -> Result<(), CommandError> {
    let model = args.of.open()?;
    let options = Options {
        memory_limit: args.limits.memory(),
        ..Options::default()
    };
    let mut out = Plain(std::io::stdout().lock());
    let mut session = Session::new(&model, options)?;
    // A session may run a method in segments, and each is proved by itself.
    let model = session.model().clone();
    for method in model.methods() {
        let name = &method.program.name;
        if number_slots(&method.program).next().is_some() {
            writeln!(
                out,
                "{name}: planned when it runs, because its sizes depend on the contents of tensors"
            )?;
            continue;
        }
        let smallest = session.smallest_plan(name)?.map(|(types, _)| types);
        let sizes = with_largest(smallest, &method.program);
        let mut copied = Bytes::default();
        for types in &sizes {
            copied = copied.most(Bytes::of(session.plan(name, types)?));
        }
        let sizes_proved: Vec<String> = sizes.iter().map(|types| shapes(types)).collect();
        if sizes_proved.is_empty() {
            return Err(format!(
                "{}: method `{name}` has sizes without bounds; nothing can be planned",
                args.of.model.display(),
            )
            .into());
        }
        writeln!(
            out,
            "{name}: safe for {}; cache bytes copied: {}, avoided: {}",
            sizes_proved.join(" to "),
            copied.made,
            copied.avoided
        )?;
        if args.details {
            for types in &sizes {
                writeln!(out, "  {}", shapes(types))?;
                print_proof(&mut out, session.plan(name, types)?)?;
            }
        }
    }
    Ok(())
}

/// These types of the smallest inputs, and those of the largest ones, where they are bounded and differ.
fn with_largest(smallest: Option<InputTypes>, program: &Program) -> Vec<InputTypes> {
    let largest = types_for(program, |symbol: &Symbol| {
        symbol.max.unwrap_or(symbol.min).max(1)
    });
    let mut both: Vec<InputTypes> = [smallest, largest].into_iter().flatten().collect();
    both.dedup();
    both
}

fn shapes(types: &[(DType, Layout)]) -> String {
    let shapes = types
        .iter()
        .map(|(dtype, layout)| format!("{dtype}{:?}", layout.shape.as_slice()));
    format!("({})", shapes.collect::<Vec<_>>().join(", "))
}

/// Bytes of caches that a run copies, and those that it was proved not to need to copy.
#[derive(Clone, Copy, Default)]
struct Bytes {
    made: usize,
    avoided: usize,
}

impl Bytes {
    fn of(plan: &Plan) -> Bytes {
        let [made, avoided] = [&plan.copies, &plan.elided].map(|copies| {
            let caches = copies.iter().filter(|copy| copy.state && !copy.store);
            caches.map(|copy| copy.bytes).sum()
        });
        Bytes { made, avoided }
    }

    fn most(self, other: Bytes) -> Bytes {
        Bytes {
            made: self.made.max(other.made),
            avoided: self.avoided.max(other.avoided),
        }
    }
}

/// For each state slot the values that are its memory, and every copy that keeps them apart.
fn print_proof(out: &mut impl Write, plan: &Plan) -> std::io::Result<()> {
    let mut slots: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for value in &plan.values {
        if let Memory::State(slot) = &value.memory {
            let text = format!("%{} ({})", value.name, value.made_by);
            slots.entry(slot).or_default().push(text);
        }
    }
    for (slot, values) in slots {
        writeln!(out, "    state @{slot} is the memory of")?;
        for value in values {
            writeln!(out, "      {value}")?;
        }
    }
    for copy in &plan.copies {
        let what = if copy.store { "stored" } else { "copied" };
        writeln!(out, "    {what}: {}: {}", copy.value, copy.reason)?;
    }
    Ok(())
}
