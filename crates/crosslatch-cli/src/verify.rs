//! `crosslatch verify`: the proof that a model's sharing of memory is safe, or the hazard.

use std::collections::BTreeMap;
use std::io::Write;

use crosslatch::inputs::types_for;
use crosslatch::ir::graph::Symbol;
use crosslatch::plan::{Memory, Plan};
use crosslatch::{Options, Session};

use crate::CommandError;
use crate::limits::LimitArgs;
use crate::model::ModelArgs;

/// Proves that running a model in shared memory means what running it node by node means, or names
/// the node for which that cannot be.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  crosslatch verify m.pt2\n\nExit status 0: proved; 1: refused, or the \
    file is bad. A plan is made for the smallest and the largest sizes that the model takes, where \
    they are bounded."
)]
pub struct Args {
    #[command(flatten)]
    of: ModelArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Runs the command.
pub fn verify(args: &Args) -> Result<(), CommandError> {
    let model = args.of.open()?;
    let options = Options {
        memory_limit: args.limits.memory(),
        ..Options::default()
    };
    let mut out = std::io::stdout().lock();
    for method in model.methods() {
        let program = &method.program;
        let smallest = |s: &Symbol| s.min.max(1);
        let largest = |s: &Symbol| s.max.unwrap_or(s.min).max(1);
        let mut proved = Vec::new();
        for types in [types_for(program, smallest), types_for(program, largest)] {
            let Some(types) = types.filter(|types| !proved.contains(types)) else {
                continue;
            };
            let mut session = Session::new(&model, options)?;
            let plan = session.plan(&program.name, &types)?;
            let shapes = types
                .iter()
                .map(|(d, l)| format!("{d}{:?}", l.shape.as_slice()));
            let shapes: Vec<String> = shapes.collect();
            writeln!(out, "{}({}): safe", program.name, shapes.join(", "))?;
            print_proof(&mut out, plan)?;
            proved.push(types);
        }
        if proved.is_empty() {
            return Err(format!(
                "{}: method `{}` has sizes without bounds; nothing can be planned",
                args.of.model.display(),
                program.name
            )
            .into());
        }
    }
    Ok(())
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
        writeln!(out, "  state @{slot} is the memory of")?;
        for value in values {
            writeln!(out, "    {value}")?;
        }
    }
    for copy in &plan.copies {
        let what = if copy.store { "stored" } else { "copied" };
        writeln!(out, "  {what}: {}: {}", copy.value, copy.reason)?;
    }
    let [copied, avoided] = [&plan.copies, &plan.elided].map(|copies| {
        let caches = copies.iter().filter(|c| c.state && !c.store);
        caches.map(|c| c.bytes).sum::<usize>()
    });
    writeln!(out, "  cache bytes copied: {copied}, avoided: {avoided}")
}
