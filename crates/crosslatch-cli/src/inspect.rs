//! `crosslatch inspect`: what is in a model.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;

use crosslatch::inputs::types_for;
use crosslatch::ir::graph::{Graph, Slot, SlotKind};
use crosslatch::model::Method;
use crosslatch::plan::{Memory, PlannedValue, Work};
use crosslatch::precision::Stored;
use crosslatch::pt2::weights::{Source, Weight};
use crosslatch::{Model, Options, Precision, Session};
use serde_json::{Value, json};

use crate::CommandError;
use crate::model::ModelArgs;

/// Shows what is in a model: methods, inputs and outputs, state, memory, and the copies that a
/// run makes and avoids, each with its reason.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  crosslatch inspect m.pt2\n  \
    crosslatch inspect m.pt2 --ir | less\n  crosslatch inspect m.pt2 --json | jq .methods")]
pub struct Args {
    #[command(flatten)]
    of: ModelArgs,
    /// Print the programs in the text form of the intermediate representation.
    #[arg(long)]
    ir: bool,
    /// How weights are stored: f32, bf16 or int8.
    #[arg(long, value_name = "P", default_value_t)]
    precision: Precision,
    /// Print JSON.
    #[arg(long, conflicts_with = "ir")]
    json: bool,
}

/// Runs the command.
pub fn inspect(args: &Args) -> Result<(), CommandError> {
    let model = args.of.open()?;
    let mut out = std::io::stdout().lock();
    if args.ir {
        for method in model.methods() {
            write!(out, "{}", method.program)?;
        }
        return Ok(());
    }
    let methods: Vec<Value> = (0..model.methods().len())
        .map(|i| describe(&model, i, args.precision))
        .collect::<Result<_, _>>()?;
    let description = json!({
        "file": args.of.model.display().to_string(),
        "precision": args.precision.name(),
        "weight_bytes": weight_bytes(&model),
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

fn describe(model: &Model, index: usize, precision: Precision) -> Result<Value, CommandError> {
    let method = &model.methods()[index];
    let program = &method.program;
    let mut inputs = Vec::new();
    let mut latched = Vec::new();
    let mut carried = Vec::new();
    let mut state = Vec::new();
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
            SlotKind::Latched => latched.push(json!({"name": slot.name, "type": ty})),
            SlotKind::Carried => carried.push(json!({"name": slot.name, "type": ty})),
            SlotKind::State => {
                state.push(json!({"name": slot.name, "type": ty, "bytes": bytes}));
            }
            SlotKind::Weight => {}
        }
    }
    let options = Options {
        precision,
        ..Options::default()
    };
    let mut session = Session::new(model, options);
    let mut operators = BTreeMap::new();
    count_operators(&program.graph, &mut operators);
    Ok(json!({
        "name": program.name,
        "inputs": inputs,
        "latched": latched,
        "carried": carried,
        "not_latched": describe_left(method),
        "state": state,
        "weights": describe_weights(model, &session, index),
        "operators": operators,
        "plan": describe_plan(&mut session, index)?,
    }))
}

/// What depends on latched inputs alone and is computed at each run, with the reason.
fn describe_left(method: &Method) -> Value {
    let left = method.latch.iter().flat_map(|latch| &latch.left);
    let left = left.map(|(name, reason)| json!({"name": name, "reason": reason}));
    left.collect()
}

/// Bytes of the weights, each payload once, and which of them stay as they are typed.
fn describe_weights(model: &Model, session: &Session, index: usize) -> Value {
    let method = &model.methods()[index];
    let stored = session.narrowed().map_or(&[][..], |n| n.slots(index));
    let slots = method
        .program
        .slots
        .iter()
        .zip(&method.bindings)
        .enumerate();
    let (narrow, as_typed): (Vec<_>, Vec<_>) = slots
        .filter(|(_, (slot, _))| slot.kind == SlotKind::Weight)
        .filter_map(|(i, (slot, binding))| Some((i, slot, binding.as_ref()?)))
        .partition(|(i, ..)| stored.get(*i).is_some_and(|s| s.format().is_some()));
    let typed_bytes = |weight: &Weight| weight.layout.numel() * weight.dtype.size();
    let kept: Vec<Value> = as_typed
        .iter()
        .filter_map(|(i, slot, weight)| match stored.get(*i) {
            Some(Stored::AsTyped(reason)) => Some(json!({
                "name": slot.name,
                "bytes": typed_bytes(weight),
                "reason": reason.to_string(),
            })),
            _ => None,
        })
        .collect();
    let mut seen: HashSet<Source> = HashSet::new();
    let mut sum = |weights: &[(usize, &Slot, &Weight)]| {
        let mut total = (0, 0);
        for (i, _, weight) in weights {
            if seen.insert(weight.source.clone()) {
                let bytes = match stored.get(*i) {
                    Some(Stored::Narrow(_, range)) => range.len(),
                    _ => typed_bytes(weight),
                };
                total = (total.0 + 1, total.1 + bytes);
            }
        }
        total
    };
    let narrow = sum(&narrow);
    let wide = sum(&as_typed);
    json!({
        "bytes": narrow.1 + wide.1,
        "narrow": {"count": narrow.0, "bytes": narrow.1},
        "as_typed": {"count": wide.0, "bytes": wide.1},
        "kept": kept,
    })
}

/// Bytes of all weights, each payload once, as they are typed in the file.
fn weight_bytes(model: &Model) -> usize {
    let methods = model.methods().iter();
    let slots = methods.flat_map(|m| m.program.slots.iter().zip(&m.bindings));
    let weights = slots.filter(|(slot, _)| slot.kind == SlotKind::Weight);
    let weights = weights.filter_map(|(_, weight)| weight.as_ref());
    let mut seen: HashSet<&Source> = HashSet::new();
    let once = weights.filter(|weight| seen.insert(&weight.source));
    once.map(|w| w.layout.numel() * w.dtype.size()).sum()
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
fn describe_plan(session: &mut Session, index: usize) -> Result<Value, CommandError> {
    let model = session.model().clone();
    let program = &model.methods()[index].program;
    let Some(types) = types_for(program, |symbol| symbol.min.max(1)) else {
        return Ok(Value::Null);
    };
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
        for kind in ["latched", "carried", "state"] {
            for slot in list(&method[kind]) {
                let [name, ty] = [&slot["name"], &slot["type"]].map(text);
                writeln!(out, "  {kind:<7} {name:<28} {ty}")?;
            }
        }
        for left in list(&method["not_latched"]) {
            let [name, reason] = [&left["name"], &left["reason"]].map(text);
            writeln!(out, "  at each run: %{name}: {reason}")?;
        }
        let weights = &method["weights"];
        write!(out, "  weights {}", bytes(number(&weights["bytes"])))?;
        match number(&weights["narrow"]["count"]) {
            0 => writeln!(out)?,
            count => writeln!(
                out,
                ": {} in {count} matrices of {}, {} as typed",
                bytes(number(&weights["narrow"]["bytes"])),
                text(&description["precision"]),
                bytes(number(&weights["as_typed"]["bytes"]))
            )?,
        }
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
    if list(&description["methods"]).len() > 1 {
        let all = bytes(number(&description["weight_bytes"]));
        writeln!(out, "weights of all methods together: {all}")?;
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
