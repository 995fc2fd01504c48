//! Lowering loops.
//!
//! What a loop carries has a storage of its own, into which the operand is copied before the first turn
//! and what a turn returned at its end. So a loop is lowered once, whatever the number of its turns, and
//! its result is simply what that storage holds behind it. A `scan` counts its turns in a storage of one
//! number: a kernel takes the row of that number from each operand, and another one puts what the turn
//! returned into the rows of the results. All copies are candidates for [`super::super::coalesce`].

use std::sync::Arc;

use crosslatch_kernels::movement::copy;
use crosslatch_kernels::{DType, Kernel, Operands};

use super::lowerer::{LoweredGraph, Lowerer, Value};
use crate::effects::check_loop;
use crate::error::Error;
use crate::ir::Entry;
use crate::ir::graph::{Graph, Node, ValueId};
use crate::ir::verify::label;
use crate::plan::instructions::{CopyReason, Inst, Place, Turns};

impl Lowerer<'_> {
    /// Lowers a `while_loop`; returns what its results are.
    pub(super) fn while_loop(
        &mut self,
        graph: &Graph,
        node: &Node,
        values: &[Option<Value>],
        insts: &mut Vec<Inst>,
    ) -> Result<Vec<Value>, Error> {
        let name: Arc<str> = label(graph, node).into();
        let fail = |this: &Self, reason: String| this.error(graph, node, reason);
        check_loop(node).map_err(|reason| fail(self, reason))?;
        let carried = self
            .enter(node, values, &name, insts)
            .map_err(|reason| fail(self, reason))?;
        let inputs = inputs(node, values, &carried, &[]);
        let mut condition = self.region(graph, node, 0, inputs.clone())?;
        let results = || carried.iter().cloned().map(Value::Place).collect();
        match condition.results.first() {
            Some(Some(Value::Place(predicate))) => condition.insts.push(Inst::Test {
                predicate: predicate.clone(),
            }),
            // It depends on sizes only.
            Some(Some(Value::Number(n))) if n.to_i64() == 0 => return Ok(results()),
            _ => return Err(fail(self, "the loop would never end".to_owned())),
        }
        let mut body = self.region(graph, node, 1, inputs)?;
        let returned = std::mem::take(&mut body.results);
        self.carry(&carried, returned, &name, &mut body.insts)
            .map_err(|reason| fail(self, reason))?;
        insts.push(Inst::Loop {
            turns: Turns::While,
            regions: [condition.insts, body.insts],
            node: name,
        });
        Ok(results())
    }

    /// Lowers a `scan`; returns what its results are.
    pub(super) fn scan(
        &mut self,
        graph: &Graph,
        node: &Node,
        values: &[Option<Value>],
        insts: &mut Vec<Inst>,
    ) -> Result<Vec<Value>, Error> {
        let name: Arc<str> = label(graph, node).into();
        let fail = |this: &Self, reason: String| this.error(graph, node, reason);
        check_loop(node).map_err(|reason| fail(self, reason))?;
        let taken = taken_by_rows(node, values);
        let turns = turns(&taken).map_err(|reason| fail(self, reason))?;
        let carried = self
            .enter(node, values, &name, insts)
            .map_err(|reason| fail(self, reason))?;
        let mut body = Vec::new();
        let (counter, rows) = self
            .rows(&taken, &name, insts, &mut body)
            .map_err(|reason| fail(self, reason))?;
        let LoweredGraph {
            insts: of_region,
            mut results,
        } = self.region(graph, node, 0, inputs(node, values, &carried, &rows))?;
        body.extend(of_region);
        let collected = results.split_off(carried.len().min(results.len()));
        let collected = self
            .collect(collected, turns, &counter, &name, &mut body)
            .map_err(|reason| fail(self, reason))?;
        self.carry(&carried, results, &name, &mut body)
            .map_err(|reason| fail(self, reason))?;
        body.push(run(count_turn, &[], &counter, true, &name));
        insts.push(Inst::Loop {
            turns: Turns::Times(turns),
            regions: [Vec::new(), body],
            node: name,
        });
        let results = carried.into_iter().chain(collected);
        Ok(results.map(Value::Place).collect())
    }

    /// Makes the storages of what a loop carries, with the operands in them.
    fn enter(
        &mut self,
        node: &Node,
        values: &[Option<Value>],
        name: &Arc<str>,
        insts: &mut Vec<Inst>,
    ) -> Result<Vec<Place>, String> {
        let mut carried = Vec::new();
        for entry in node.entries() {
            let Entry::Carried(id) = entry else {
                continue;
            };
            let from = place(values, id)?;
            carried.push(self.copy_of(from, CopyReason::Carried, name, insts)?);
        }
        Ok(carried)
    }

    /// Ends a turn: what the body returned becomes what is carried. All of it changes at once, so what
    /// may lie in the memory of something else that is carried is saved first.
    fn carry(
        &mut self,
        carried: &[Place],
        returned: Vec<Option<Value>>,
        name: &Arc<str>,
        insts: &mut Vec<Inst>,
    ) -> Result<(), String> {
        let mut stores = Vec::new();
        for (to, value) in carried.iter().zip(returned) {
            let Some(Value::Place(mut from)) = value else {
                return Err("its body returns something that is no tensor".into());
            };
            if from.dtype != to.dtype || from.layout.shape != to.layout.shape {
                return Err(format!(
                    "its body returns {}{:?} for what is carried as {}{:?}",
                    from.dtype, from.layout.shape, to.dtype, to.layout.shape
                ));
            }
            if from == *to {
                continue;
            }
            let reach = self.joined.perhaps_the_same(from.storage);
            if carried.iter().any(|other| reach.contains(&other.storage)) {
                from = self.copy_of(&from, CopyReason::OverlappingSource, name, insts)?;
            }
            stores.push((from, to.clone()));
        }
        for (from, to) in stores {
            self.copy(from, to, CopyReason::Carried, name, insts);
        }
        Ok(())
    }

    /// Makes the counter of a `scan`, and at the start of each turn takes a row from each operand.
    fn rows(
        &mut self,
        taken: &[Place],
        name: &Arc<str>,
        before: &mut Vec<Inst>,
        body: &mut Vec<Inst>,
    ) -> Result<(Place, Vec<Place>), String> {
        let counter = self.fresh(DType::I64, &[1])?;
        before.push(run(start_count, &[], &counter, false, name));
        let mut rows = Vec::new();
        for from in taken {
            let row = self.fresh(from.dtype, &from.layout.shape[1..])?;
            body.push(run(take_row, &[from, &counter], &row, false, name));
            rows.push(row);
        }
        Ok((counter, rows))
    }

    /// Makes the results that a `scan` collects, and stores a row of each at the end of a turn. All rows
    /// are written before the loop ends, so nothing is written before it begins.
    fn collect(
        &mut self,
        returned: Vec<Option<Value>>,
        turns: usize,
        counter: &Place,
        name: &Arc<str>,
        body: &mut Vec<Inst>,
    ) -> Result<Vec<Place>, String> {
        let mut collected = Vec::new();
        for value in returned {
            let Some(Value::Place(row)) = value else {
                return Err("its body returns something that is no tensor".into());
            };
            let mut shape = row.layout.shape.clone();
            shape.insert(0, turns);
            let all = self.fresh(row.dtype, &shape)?;
            body.push(run(store_row, &[&row, counter], &all, true, name));
            collected.push(all);
        }
        Ok(collected)
    }
}

/// The place of a value that verification has found to be a tensor.
fn place(values: &[Option<Value>], id: ValueId) -> Result<&Place, String> {
    match &values[id.index()] {
        Some(Value::Place(place)) => Ok(place),
        _ => Err("an operand of the loop is no tensor".to_owned()),
    }
}

/// The operands that a `scan` takes by rows.
fn taken_by_rows(node: &Node, values: &[Option<Value>]) -> Vec<Place> {
    let rows = node.entries().into_iter().filter_map(|entry| match entry {
        Entry::Row(id) => place(values, id).ok().cloned(),
        Entry::Operand(_) | Entry::Carried(_) => None,
    });
    rows.collect()
}

/// How many turns a `scan` of these operands takes.
fn turns(taken: &[Place]) -> Result<usize, String> {
    let lengths: Vec<Option<usize>> = taken
        .iter()
        .map(|place| place.layout.shape.first().copied())
        .collect();
    crate::ir::control::turns(&lengths)
}

/// What a region of a loop gets.
fn inputs(
    node: &Node,
    values: &[Option<Value>],
    carried: &[Place],
    rows: &[Place],
) -> Vec<Option<Value>> {
    let (mut carried, mut rows) = (carried.iter(), rows.iter());
    let entries = node.entries().into_iter();
    let inputs = entries.map(|entry| match entry {
        Entry::Operand(id) => values[id.index()].clone(),
        Entry::Carried(_) => carried.next().cloned().map(Value::Place),
        Entry::Row(_) => rows.next().cloned().map(Value::Place),
    });
    inputs.collect()
}

fn run(
    kernel: impl Kernel + 'static,
    inputs: &[&Place],
    output: &Place,
    partial: bool,
    name: &Arc<str>,
) -> Inst {
    let moved = match (inputs, partial) {
        ([row, _], true) => row.bytes(),
        _ => output.bytes(),
    };
    Inst::Run {
        kernel: Box::new(kernel),
        inputs: inputs.iter().map(|place| (*place).clone()).collect(),
        outputs: vec![output.clone()],
        partial,
        flops: 0,
        // One row is moved, however long the tensor is that it belongs to.
        bytes: Some(2 * moved as u64),
        node: Arc::clone(name),
    }
}

type Ran = Result<(), crosslatch_kernels::KernelError>;

fn start_count(o: &mut Operands<'_, '_>) -> Ran {
    o.outputs[0].data::<i64>()[0] = 0;
    Ok(())
}

fn count_turn(o: &mut Operands<'_, '_>) -> Ran {
    o.outputs[0].data::<i64>()[0] += 1;
    Ok(())
}

/// Copies the row of the counter's number.
fn take_row(o: &mut Operands<'_, '_>) -> Ran {
    let row = o.inputs[0].layout().select(0, turn(&o.inputs[1]));
    copy(
        &mut o.outputs[0],
        &o.inputs[0].with_layout(&row)?,
        o.threads,
    );
    Ok(())
}

/// Stores a row under the counter's number.
fn store_row(o: &mut Operands<'_, '_>) -> Ran {
    let row = o.outputs[0].layout().select(0, turn(&o.inputs[1]));
    copy(
        &mut o.outputs[0].with_layout(&row)?,
        &o.inputs[0],
        o.threads,
    );
    Ok(())
}

fn turn(counter: &crosslatch_kernels::TensorRef<'_>) -> usize {
    counter.data::<i64>()[0] as usize
}
