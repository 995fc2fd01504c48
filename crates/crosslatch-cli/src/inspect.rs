//! `crosslatch inspect`: what is in a model.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use crosslatch::inputs::types_for;
use crosslatch::ir::graph::{Graph, SlotKind};
use crosslatch::plan::{Memory, PlannedValue, Work};
use crosslatch::{Model, Options, Session};
use serde_json::{Value, json};

use crate::CommandError;

/// Shows what is in a model: methods, inputs and outputs, state, memory, and the copies that a
/// run makes and avoids, each with its reason.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  crosslatch inspect m.pt2\n  \
    crosslatch inspect m.pt2 --ir | less\n  crosslatch inspect m.pt2 --json | jq .methods")]
pub struct Args {
    /// The model.
    model: PathBuf,
    /// Print the programs in the text form of the intermediate representation.
    #[arg(long)]
    ir: bool,
    /// Print JSON.
    #[arg(long, conflicts_with = "ir")]
    json: bool,
}

/// Runs the command.
pub fn inspect(args: &Args) -> Result<(), CommandError> {
    let model = Model::open(&args.model)?;
    let mut out = std::io::stdout().lock();
    if args.ir {
        for method in model.methods() {
            write!(out, "{}", method.program)?;
        }
        return Ok(());
    }
    let methods: Vec<Value> = (0..model.methods().len())
        .map(|i| describe(&model, i))
        .collect::<Result<_, _>>()?;
    let description = json!({
        "file": args.model.display().to_string(),
        "methods": methods,
        "extra_files": model.extra_files().collect::<Vec<_>>(),
    });
    if args.json {
        serde_json::to_writer_pretty(&mut out, &description)?;
        writeln!(out)?;
    } else {
        print_text(&mut out, &description)?;
    }
    Ok(())
}

fn describe(model: &Model, index: usize) -> Result<Value, CommandError> {
    let method = &model.methods()[index];
    let program = &method.program;
    let mut inputs = Vec::new();
    let mut state = Vec::new();
    let mut weight_bytes = 0;
    for ((slot, binding), value) in program
        .slots
        .iter()
        .zip(&method.bindings)
        .zip(&program.graph.inputs)
    {
        let ty = program.graph.value(*value).ty.to_string();
        let bytes = binding
            .as_ref()
            .map_or(0, |w| w.layout.numel() * w.dtype.size());
        match slot.kind {
            SlotKind::Input => inputs.push(json!({"name": slot.name, "type": ty})),
            SlotKind::State => {
                state.push(json!({"name": slot.name, "type": ty, "bytes": bytes}));
            }
            SlotKind::Weight => weight_bytes += bytes,
        }
    }
    let mut operators = BTreeMap::new();
    count_operators(&program.graph, &mut operators);
    Ok(json!({
        "name": program.name,
        "inputs": inputs,
        "state": state,
        "weight_bytes": weight_bytes,
        "operators": operators,
        "plan": describe_plan(model, index)?,
    }))
}

fn count_operators(graph: &Graph, counts: &mut BTreeMap<String, usize>) {
    for node in &graph.nodes {
        *counts.entry(node.op.schema.name.clone()).or_default() += 1;
        for branch in &node.branches {
            count_operators(branch, counts);
        }
    }
}

/// The plan for the smallest sizes that the program takes: a decoder's single step.
fn describe_plan(model: &Model, index: usize) -> Result<Value, CommandError> {
    let program = &model.methods()[index].program;
    let Some(types) = types_for(program, |symbol| symbol.min.max(1)) else {
        return Ok(Value::Null);
    };
    let mut session = Session::new(model, Options::default());
    let plan = session.plan(&program.name, &types)?;
    let copy = |c: &crosslatch::plan::PlannedCopy| json!({"value": c.value, "bytes": c.bytes, "state": c.state, "store": c.store, "reason": c.reason});
    let state_bytes: usize = plan
        .copies
        .iter()
        .filter(|c| c.state && !c.store)
        .map(|c| c.bytes)
        .sum();
    let [always, once] = plan.work();
    let work = |w: Work| json!({"flops": w.flops, "bytes": w.bytes});
    // What happens inside of branches is for `verify` to tell.
    let in_state =
        |v: &&PlannedValue| matches!(v.memory, Memory::State(_)) && !v.name.contains('/');
    let values = plan.values.iter().filter(in_state);
    let values = values
        .map(|v| json!({"value": v.name, "memory": v.memory.to_string(), "made_by": v.made_by}));
    Ok(json!({
        "each_run": work(always),
        "once_per_input": work(once),
        "values_in_state": values.collect::<Vec<_>>(),
        "input_shapes": types.iter().map(|(_, l)| l.shape.to_vec()).collect::<Vec<_>>(),
        "arena_bytes": plan.arena_bytes,
        "cache_bytes_copied": state_bytes,
        "copies": plan.copies.iter().map(copy).collect::<Vec<_>>(),
        "copies_avoided": plan.elided.iter().map(copy).collect::<Vec<_>>(),
    }))
}

fn print_text(out: &mut impl Write, description: &Value) -> std::io::Result<()> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    let number = |v: &Value| v.as_u64().unwrap_or(0);
    for method in list(&description["methods"]) {
        writeln!(out, "method {}", text(&method["name"]))?;
        for input in list(&method["inputs"]) {
            writeln!(
                out,
                "  input   {:<28} {}",
                text(&input["name"]),
                text(&input["type"])
            )?;
        }
        for slot in list(&method["state"]) {
            writeln!(
                out,
                "  state   {:<28} {}",
                text(&slot["name"]),
                text(&slot["type"])
            )?;
        }
        writeln!(out, "  weights {}", bytes(number(&method["weight_bytes"])))?;
        let plan = &method["plan"];
        if plan.is_null() {
            writeln!(out, "  plan    depends on sizes that are not bounded")?;
            continue;
        }
        let avoided = list(&plan["copies_avoided"]);
        writeln!(out, "  plan    for inputs {}", plan["input_shapes"])?;
        for (name, work) in [
            ("each run", "each_run"),
            ("once per input", "once_per_input"),
        ] {
            writeln!(
                out,
                "    {name:<18} {}, {}",
                flops(number(&plan[work]["flops"])),
                bytes(number(&plan[work]["bytes"]))
            )?;
        }
        writeln!(
            out,
            "    working memory     {}",
            bytes(number(&plan["arena_bytes"]))
        )?;
        writeln!(
            out,
            "    cache bytes copied {}",
            number(&plan["cache_bytes_copied"])
        )?;
        let avoided_bytes = avoided.iter().map(|c| number(&c["bytes"])).sum();
        writeln!(
            out,
            "    copies avoided     {} ({})",
            avoided.len(),
            bytes(avoided_bytes)
        )?;
        for value in list(&plan["values_in_state"]) {
            writeln!(
                out,
                "    %{}: in {} ({})",
                text(&value["value"]),
                text(&value["memory"]),
                text(&value["made_by"])
            )?;
        }
        for copy in list(&plan["copies"]) {
            let what = match copy["store"].as_bool() {
                Some(true) => "stored",
                _ => "copied",
            };
            writeln!(
                out,
                "    {what:<18} {} {}: {}",
                text(&copy["value"]),
                bytes(number(&copy["bytes"])),
                text(&copy["reason"])
            )?;
        }
    }
    for file in list(&description["extra_files"]) {
        writeln!(out, "file {}", text(&file))?;
    }
    Ok(())
}

/// A number of operations as people write it.
fn flops(n: u64) -> String {
    match n {
        0..1000 => format!("{n} FLOP"),
        1000..1_000_000 => format!("{:.1} kFLOP", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MFLOP", n as f64 / 1e6),
        _ => format!("{:.1} GFLOP", n as f64 / 1e9),
    }
}

/// A number of bytes as people write it.
fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        _ => format!("{:.1} MiB", n as f64 / 1_048_576.0),
    }
}
