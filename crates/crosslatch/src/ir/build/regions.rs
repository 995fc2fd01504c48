//! Building `cond` and loops: closures that build their regions.

use std::rc::Rc;

use crosslatch_kernels::Layout;

use super::{BuildError, GraphBuilder};
use crate::ir::arg::{Arg, ValueId};
use crate::ir::bind::Known;
use crate::ir::control::{COND, SCAN, WHILE_LOOP};
use crate::ir::graph::{Graph, Node, Provenance, TensorType, ValueType};
use crate::ir::nesting::TooDeep;

/// What a region returns: what is known of each result, at each sample.
type Returned = Vec<Vec<Known>>;

impl GraphBuilder {
    /// Adds a `cond`, which takes one of two graphs. Each branch gets the operands under names of
    /// its own and says what it returns; both must return tensors of the same types, shapes and
    /// strides.
    ///
    /// # Errors
    /// If a branch cannot be built, or the two return different types.
    pub fn cond(
        &mut self,
        predicate: ValueId,
        operands: &[ValueId],
        then: impl FnOnce(&mut GraphBuilder, &[ValueId]) -> Result<Vec<ValueId>, BuildError>,
        otherwise: impl FnOnce(&mut GraphBuilder, &[ValueId]) -> Result<Vec<ValueId>, BuildError>,
    ) -> Result<Vec<ValueId>, BuildError> {
        let inputs = self.as_inputs(operands)?;
        let (then, results) = self.region(&inputs, then)?;
        let (otherwise, others) = self.region(&inputs, otherwise)?;
        let strides = |known: &Known| match known {
            Known::Tensor(_, layout) => Some(layout.strides.clone()),
            Known::Number(_) => None,
        };
        let same = |(a, b): (&Known, &Known)| same_type(a, b) && strides(a) == strides(b);
        let all_same =
            |(a, b): (&Vec<Known>, &Vec<Known>)| a.len() == b.len() && a.iter().zip(b).all(same);
        if !results.iter().zip(&others).all(all_same) {
            return Err(BuildError::BranchResults);
        }
        let args = vec![Arg::Value(predicate), Arg::from(operands)];
        self.control(COND, args, vec![then, otherwise], results)
    }

    /// Adds a `while_loop`: `body` for as long as `condition` returns true. Both get what is carried and
    /// then the operands, under names of their own; `body` returns what is carried to the next turn.
    ///
    /// # Errors
    /// If a region cannot be built, or `body` returns other types than it is given.
    pub fn while_loop(
        &mut self,
        carried: &[ValueId],
        operands: &[ValueId],
        condition: impl FnOnce(&mut GraphBuilder, &[ValueId]) -> Result<ValueId, BuildError>,
        body: impl FnOnce(&mut GraphBuilder, &[ValueId]) -> Result<Vec<ValueId>, BuildError>,
    ) -> Result<Vec<ValueId>, BuildError> {
        let mut inputs = self.as_inputs(carried)?;
        inputs.iter_mut().for_each(be_contiguous);
        let first = inputs.clone();
        inputs.extend(self.as_inputs(operands)?);
        let (condition, _) = self.region(&inputs, |graph, ids| Ok(vec![condition(graph, ids)?]))?;
        let (body, results) = self.region(&inputs, body)?;
        let results = carried_on(&first, results)?;
        let args = vec![Arg::from(carried), Arg::from(operands)];
        self.control(WHILE_LOOP, args, vec![condition, body], results)
    }

    /// Adds a `scan`: `body` for each row of some operands. It gets what is carried, the rows, and then
    /// the other operands; it returns what is carried to the next turn, and rows, which are collected.
    ///
    /// # Errors
    /// If the region cannot be built, returns other types than it is given, or there are no rows.
    pub fn scan(
        &mut self,
        carried: &[ValueId],
        rows: &[ValueId],
        operands: &[ValueId],
        body: impl FnOnce(&mut GraphBuilder, &[ValueId]) -> Result<Vec<ValueId>, BuildError>,
    ) -> Result<Vec<ValueId>, BuildError> {
        let mut inputs = self.as_inputs(carried)?;
        inputs.iter_mut().for_each(be_contiguous);
        let first = inputs.clone();
        let all = self.as_inputs(rows)?;
        let turns = all.first().map(lengths).ok_or(BuildError::LoopResults)?;
        for rows in all {
            inputs.push(row_of(rows)?);
        }
        inputs.extend(self.as_inputs(operands)?);
        let (body, results) = self.region(&inputs, body)?;
        let mut returned = carried_on(&first, results)?;
        for (results, turns) in returned.iter_mut().zip(turns) {
            for known in &mut results[carried.len()..] {
                if let Known::Tensor(_, layout) = known {
                    let mut shape = layout.shape.clone();
                    shape.insert(0, turns);
                    *layout = Layout::contiguous(&shape);
                }
            }
        }
        let args = vec![Arg::from(carried), Arg::from(rows), Arg::from(operands)];
        self.control(SCAN, args, vec![body], returned)
    }

    fn control(
        &mut self,
        operator: &str,
        args: Vec<Arg>,
        regions: Vec<Graph>,
        results: Returned,
    ) -> Result<Vec<ValueId>, BuildError> {
        let op = self.catalogue.get(operator);
        let op = op.ok_or_else(|| BuildError::UnknownOperator(operator.to_owned()))?;
        let op = op.clone();
        let ids = self.define_all(operator, results)?;
        self.graph.nodes.push(Node {
            op,
            args,
            regions,
            results: ids.clone(),
            provenance: Provenance::default(),
        });
        Ok(ids)
    }

    /// The types of values as inputs of a region, and what is known of them at each sample.
    fn as_inputs(&self, ids: &[ValueId]) -> Result<Vec<(ValueType, Vec<Known>)>, BuildError> {
        let input = |id: &ValueId| {
            let known = self.known.get(id.index()).cloned();
            let known = known.ok_or(BuildError::UndefinedOperand)?;
            Ok((self.graph.value(*id).ty.clone(), known))
        };
        ids.iter().map(input).collect()
    }

    fn region(
        &self,
        inputs: &[(ValueType, Vec<Known>)],
        build: impl FnOnce(&mut GraphBuilder, &[ValueId]) -> Result<Vec<ValueId>, BuildError>,
    ) -> Result<(Graph, Returned), BuildError> {
        let samples = Rc::clone(&self.samples);
        let mut builder = GraphBuilder::new(self.catalogue, samples, self.depth + 1);
        TooDeep::check(builder.depth)?;
        let inputs = inputs.iter().enumerate();
        let inputs: Vec<ValueId> = inputs
            .map(|(i, (ty, known))| builder.input(&format!("a{i}"), ty.clone(), known.clone()))
            .collect();
        let results = build(&mut builder, &inputs)?;
        let known = (0..self.samples.count()).map(|sample| {
            let of = |id: &ValueId| builder.known.get(id.index())?.get(sample).cloned();
            results.iter().filter_map(of).collect()
        });
        let known = known.collect();
        builder.graph.outputs = results.into_iter().map(Arg::Value).collect();
        Ok((builder.graph, known))
    }
}

fn same_type(a: &Known, b: &Known) -> bool {
    match (a, b) {
        (Known::Tensor(s, a), Known::Tensor(t, b)) => s == t && a.shape == b.shape,
        _ => false,
    }
}

/// A loop carries copies.
fn be_contiguous((_, known): &mut (ValueType, Vec<Known>)) {
    for known in known {
        if let Known::Tensor(_, layout) = known {
            *layout = Layout::contiguous(&layout.shape);
        }
    }
}

/// The results of a loop whose body returns these: those that are carried are of the types of the first
/// inputs.
fn carried_on(
    first: &[(ValueType, Vec<Known>)],
    mut returned: Returned,
) -> Result<Returned, BuildError> {
    for (sample, results) in returned.iter_mut().enumerate() {
        if results.len() < first.len() {
            return Err(BuildError::LoopResults);
        }
        for (result, (_, known)) in results.iter_mut().zip(first) {
            if !same_type(result, &known[sample]) {
                return Err(BuildError::LoopResults);
            }
            result.clone_from(&known[sample]);
        }
    }
    Ok(returned)
}

/// Length of the first dimension, at each sample.
fn lengths((_, known): &(ValueType, Vec<Known>)) -> Vec<usize> {
    let length = |known: &Known| match known {
        Known::Tensor(_, layout) => layout.shape.first().copied().unwrap_or(0),
        Known::Number(_) => 0,
    };
    known.iter().map(length).collect()
}

/// A row of an input, as an input.
fn row_of((ty, known): (ValueType, Vec<Known>)) -> Result<(ValueType, Vec<Known>), BuildError> {
    let ValueType::Tensor(TensorType { dtype, mut sizes }) = ty else {
        return Err(BuildError::LoopResults);
    };
    if sizes.is_empty() {
        return Err(BuildError::LoopResults);
    }
    sizes.remove(0);
    let row = |known: Known| match known {
        Known::Tensor(dtype, layout) => {
            Known::Tensor(dtype, Layout::contiguous(&layout.shape[1..]))
        }
        number => number,
    };
    let known = known.into_iter().map(row).collect();
    Ok((ValueType::Tensor(TensorType { dtype, sizes }), known))
}
