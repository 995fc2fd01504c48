//! From a graph to instructions over storages.
//!
//! With all sizes known, views cost nothing: a value is a [`Place`], a layout in a storage. What
//! is left to do is a list of instructions, kernels and copies, with `cond` and loops as structures. The
//! list is written as the program means it and no cleverer: each computed result in a fresh
//! storage, a functional update as a copy followed by a change in place, the result of a `cond`
//! as a copy at the end of each branch, what a loop carries as a copy at the end of each turn, the new
//! contents of a buffer as a copy at the end. That
//! most of these copies are not needed is for [`super::coalesce`] to prove.
//!
//! A `cond` whose branches both return the same view of the same memory returns that view: this
//! is aliasing that the program means, not an optimisation.

mod graph;
mod joined;
mod loops;
mod lowerer;
mod merge;
mod node;
mod results;

use std::collections::HashMap;
use std::sync::Arc;

use super::Request;
use super::instructions::{CopyReason, Lowered, Origin};
use crate::error::Error;
use crate::ir::Number;
use crate::ir::graph::SlotKind;

use joined::Joined;
use lowerer::{LoweredGraph, Lowerer, Value, lowerer_error};

/// Lowers a method.
pub fn lower(request: &Request<'_>) -> Result<Lowered, Error> {
    let method = request.method();
    let program = &method.program;
    let mut lowerer = Lowerer {
        method: &program.name,
        readiness_of: HashMap::new(),
        kernels: request.kernels,
        stored: request.stored(),
        bindings: &method.bindings,
        storages: Vec::new(),
        copies: 0,
        joins: Vec::new(),
        joined: Joined::default(),
        values: Vec::new(),
        path: String::new(),
        is_continued: method.is_continued(request.method),
    };
    for readiness in &method.readiness {
        if let Some(node) = program.graph.nodes.get(readiness.node) {
            let of_node = lowerer.readiness_of.entry(std::ptr::from_ref(node));
            of_node.or_default().push(readiness);
        }
    }
    // For each slot that an input feeds, the number of the input.
    let fed: HashMap<usize, usize> = crate::inputs::fed_slots(program)
        .enumerate()
        .map(|(n, (slot, _))| (slot, n))
        .collect();
    let numbers: HashMap<usize, Number> = crate::inputs::number_slots(program)
        .map(|(slot, _)| slot)
        .zip(request.numbers.iter().copied())
        .collect();
    let mut values = Vec::new();
    let mut slot_places = Vec::new();
    let mut insts = Vec::new();
    let written = crate::effects::summarize(&program.graph).writes;
    for (i, (slot, binding)) in program.slots.iter().zip(&method.bindings).enumerate() {
        let place = match (slot.kind, binding) {
            (SlotKind::Weight, Some(w)) => {
                Some(lowerer.slot(Origin::Weight(i), w.stored, &w.layout))
            }
            (SlotKind::State, Some(w)) => Some(lowerer.slot(Origin::State(i), w.dtype, &w.layout)),
            _ => fed.get(&i).map(|&n| {
                let (dtype, layout) = &request.inputs[n];
                lowerer.slot(Origin::Input(n), *dtype, layout)
            }),
        };
        slot_places.push(place.clone());
        values.push(match place {
            // A program may write its input; the caller's tensor stays as it is.
            Some(place) if slot.kind != SlotKind::State && written.contains(&i) => {
                let label: Arc<str> = format!("`{}`", slot.name).into();
                let node_error = |reason| lowerer_error(&program.name, &label, reason);
                let own = lowerer
                    .fresh(place.dtype, &place.layout.shape)
                    .map_err(node_error)?;
                let why = CopyReason::FunctionalUpdate;
                lowerer.copy(place, own.clone(), why, &label, &mut insts);
                Some(Value::Place(own))
            }
            Some(place) => Some(Value::Place(place)),
            // Numbers that no segment computes are not used (`ir::verify`).
            None => numbers.get(&i).map(|number| Value::Number(*number)),
        });
    }
    let LoweredGraph {
        insts: of_graph,
        results,
    } = lowerer.graph(&program.graph, values)?;
    insts.extend(of_graph);
    let outputs = lowerer.outputs(program, results, &slot_places, &mut insts)?;
    Ok(Lowered {
        storages: lowerer.storages,
        insts,
        outputs,
        joins: lowerer.joins,
        values: lowerer.values,
        is_continued: lowerer.is_continued,
    })
}
