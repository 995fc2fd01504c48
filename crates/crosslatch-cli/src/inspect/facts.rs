//! What is known about a model, as JSON.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use crosslatch::ir::Output;
use crosslatch::ir::graph::{Graph, Slot, SlotKind};
use crosslatch::model::Method;
use crosslatch::model::Stored;
use crosslatch::plan::{Memory, PlannedValue, Work};
use crosslatch::pt2::weights::{Source, Weight};
use crosslatch::{Model, Options, Session};
use serde_json::{Value, json};

use super::{about, names, steps};
use crate::CommandError;

/// Gathers what is known about a model that was read from `path`.
pub fn gather(model: &Model, path: &Path, options: Options) -> Result<Value, CommandError> {
    let model = &model.in_precision(options.precision);
    let methods: Vec<Value> = in_order(model)
        .into_iter()
        .map(|i| describe(model, i, options))
        .collect::<Result<_, _>>()?;
    Ok(json!({
        "file": path.display().to_string(),
        "about": about::describe(model),
        "precision": options.precision.name(),
        "weight_bytes": weight_bytes(model),
        "methods": methods,
        "extra_files": model.extra_files().collect::<Vec<_>>(),
    }))
}

/// The methods in the order in which an input meets them: the encoder, then what keeps no state,
/// such as a method that computes latched values, then the steps.
fn in_order(model: &Model) -> Vec<usize> {
    let keeps = |kind: SlotKind| !matches!(kind, SlotKind::Input | SlotKind::Weight);
    let mut methods: Vec<usize> = (0..model.methods().len()).collect();
    methods.sort_by_key(|&i| {
        let program = &model.methods()[i].program;
        let keeps = program.slots.iter().any(|slot| keeps(slot.kind));
        (program.name != "encoder", keeps)
    });
    methods
}

fn describe(model: &Model, index: usize, options: Options) -> Result<Value, CommandError> {
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
            SlotKind::Weight | SlotKind::Segment => {}
        }
    }
    let outputs = program.outputs.iter().filter_map(|output| match output {
        Output::User(name) => Some(name.as_str()),
        Output::Mutation { .. } => None,
    });
    let outputs: Vec<&str> = outputs.collect();
    let mut session = Session::new(model, options)?;
    let mut operators = BTreeMap::new();
    count_operators(&program.graph, &mut operators);
    Ok(json!({
        "name": program.name,
        "once_for": once_for(model, index),
        "inputs": inputs,
        "outputs": outputs,
        "latched": latched,
        "carried": carried,
        "not_latched": describe_left(method),
        "state": state,
        "state_groups": groups(&state),
        "weights": describe_weights(model, &session, index),
        "operators": operators,
        "plan": describe_plan(&mut session, index)?,
    }))
}

/// Slots of one type whose names differ in numbers and in the last word, as one entry.
fn groups(slots: &[Value]) -> Value {
    let mut types: Vec<&Value> = Vec::new();
    for slot in slots {
        if !types.contains(&&slot["type"]) {
            types.push(&slot["type"]);
        }
    }
    let groups = types.into_iter().flat_map(|ty| {
        let alike = slots.iter().filter(move |slot| slot["type"] == *ty);
        let names: Vec<&str> = alike
            .clone()
            .filter_map(|slot| slot["name"].as_str())
            .collect();
        let bytes = alike
            .map(|slot| slot["bytes"].as_u64().unwrap_or(0))
            .next()
            .unwrap_or(0);
        let folded = names::fold(&names).into_iter();
        folded.map(move |(name, count)| {
            json!({"name": name, "type": ty, "count": count, "bytes": bytes * count as u64})
        })
    });
    groups.collect()
}

/// The method for which this one computes latched values, if it does.
fn once_for(model: &Model, index: usize) -> Option<&str> {
    let mut methods = model.methods().iter();
    let latched = methods.find(|m| m.latch.as_ref().is_some_and(|latch| latch.once == index));
    latched.map(|method| method.program.name.as_str())
}

/// What depends only on latched inputs and is still computed at each run, with the reason.
fn describe_left(method: &Method) -> Value {
    let left = method.latch.iter().flat_map(|latch| &latch.left);
    let left = left.map(|(name, reason)| json!({"name": name, "reason": reason}));
    left.collect()
}

/// Number of bytes of the weights, each payload counted once, and which of them keep their type.
fn describe_weights(model: &Model, session: &Session, index: usize) -> Value {
    let method = &model.methods()[index];
    let stored = session
        .quantized_weights()
        .map_or(&[][..], |n| n.slots(index));
    let slots = method
        .program
        .slots
        .iter()
        .zip(&method.bindings)
        .enumerate();
    let (quantized, as_typed): (Vec<_>, Vec<_>) = slots
        .filter(|(_, (slot, _))| slot.kind == SlotKind::Weight)
        .filter_map(|(i, (slot, binding))| Some((i, slot, binding.as_ref()?)))
        .partition(|(i, _, weight)| {
            let quantized = stored.get(*i).is_some_and(|s| s.format().is_some());
            quantized || weight.halves().is_some()
        });
    let typed_bytes = |weight: &Weight| weight.layout.numel() * weight.stored.size();
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
    let types: BTreeSet<&str> = (quantized.iter())
        .map(
            |(i, _, weight)| match stored.get(*i).and_then(Stored::format) {
                Some(format) => format.name(),
                None => weight.stored.name(),
            },
        )
        .collect();
    let mut seen: HashSet<Source> = HashSet::new();
    let mut sum = |weights: &[(usize, &Slot, &Weight)]| {
        let mut total = (0, 0);
        for (i, _, weight) in weights {
            if seen.insert(weight.source.clone()) {
                let bytes = match stored.get(*i) {
                    Some(Stored::Quantized(_, range)) => range.len(),
                    _ => typed_bytes(weight),
                };
                total = (total.0 + 1, total.1 + bytes);
            }
        }
        total
    };
    let quantized = sum(&quantized);
    let as_typed = sum(&as_typed);
    json!({
        "bytes": quantized.1 + as_typed.1,
        "narrow": {"count": quantized.0, "bytes": quantized.1, "types": types},
        "as_typed": {"count": as_typed.0, "bytes": as_typed.1},
        "kept": kept,
    })
}

/// Number of bytes of all weights in the file, each payload counted once.
fn weight_bytes(model: &Model) -> usize {
    let methods = model.methods().iter();
    let slots = methods.flat_map(|m| m.program.slots.iter().zip(&m.bindings));
    let weights = slots.filter(|(slot, _)| slot.kind == SlotKind::Weight);
    let weights = weights.filter_map(|(_, weight)| weight.as_ref());
    let mut seen: HashSet<&Source> = HashSet::new();
    let once = weights.filter(|weight| seen.insert(&weight.source));
    once.map(|w| w.layout.numel() * w.in_file.size()).sum()
}

fn count_operators(graph: &Graph, counts: &mut BTreeMap<String, usize>) {
    for node in &graph.nodes {
        *counts.entry(node.op.schema.name.clone()).or_default() += 1;
        for region in &node.regions {
            count_operators(region, counts);
        }
    }
}

/// The plan for the smallest sizes that the program takes: a decoder's single step.
fn describe_plan(session: &mut Session, index: usize) -> Result<Value, CommandError> {
    let model = session.model().clone();
    let program = &model.methods()[index].program;
    let Some((types, plan)) = session.smallest_plan(&program.name)? else {
        return Ok(Value::Null);
    };
    let copy = |c: &crosslatch::plan::PlannedCopy| json!({"value": c.value, "bytes": c.bytes, "state": c.state, "store": c.store, "reason": c.reason});
    let state_bytes: usize = plan
        .copies
        .iter()
        .filter(|c| c.state && !c.store)
        .map(|c| c.bytes)
        .sum();
    let [always, once] = plan.work();
    let work = |w: Work| json!({"flops": w.flops, "bytes": w.bytes});
    // Values inside branches are reported by `verify`.
    let in_state =
        |v: &&PlannedValue| matches!(v.memory, Memory::State(_)) && !v.name.contains('/');
    let values = plan.values.iter().filter(in_state);
    let values = values
        .map(|v| json!({"value": v.name, "memory": v.memory.to_string(), "made_by": v.made_by}));
    let names = |piece: usize| {
        let inside = plan.values.iter().filter(move |v| v.piece == Some(piece));
        inside.map(|v| v.name.as_str()).collect::<Vec<_>>()
    };
    let pieces = plan.pieces.iter().enumerate().filter(|(_, p)| p.bytes > 0);
    let pieces = pieces.map(|(i, piece)| {
        json!({
            "start": piece.start,
            "bytes": piece.bytes,
            "first_step": piece.steps.0,
            "last_step": piece.steps.1,
            "values": names(i),
            "scratch_of": piece.scratch_of.as_deref(),
        })
    });
    Ok(json!({
        "each_run": work(always),
        "once_per_input": work(once),
        "values_in_state": values.collect::<Vec<_>>(),
        "input_shapes": types.iter().map(|(_, l)| l.shape.to_vec()).collect::<Vec<_>>(),
        "arena_bytes": plan.arena_bytes,
        "cache_bytes_copied": state_bytes,
        "copies": plan.copies.iter().map(copy).collect::<Vec<_>>(),
        "copies_avoided": plan.elided.iter().map(copy).collect::<Vec<_>>(),
        "steps": steps::describe(plan, program),
        "memory": pieces.collect::<Vec<_>>(),
    }))
}
