//! The walk over a graph: each node in turn, and regions as graphs of their own.

use std::collections::HashMap;
use std::sync::Arc;

use super::lowerer::{LoweredGraph, Lowerer, Value};
use crate::error::Error;
use crate::ir::graph::{Arg, Graph, Node, ValueId};
use crate::ir::verify::label;
use crate::ir::{Control, Number};
use crate::plan::instructions::{Inst, NamedValue};

impl Lowerer<'_> {
    /// Lowers a graph with these inputs: its instructions, and what its outputs are.
    pub(super) fn graph(
        &mut self,
        graph: &Graph,
        inputs: Vec<Option<Value>>,
    ) -> Result<LoweredGraph, Error> {
        let mut values: Vec<Option<Value>> = vec![None; graph.values.len()];
        for (id, value) in graph.inputs.iter().zip(inputs) {
            values[id.index()] = value;
        }
        let mut insts = Vec::new();
        for node in &graph.nodes {
            let results = match node.control() {
                Some(Control::Cond) => self.cond(graph, node, &values, &mut insts)?,
                Some(Control::While) => self.while_loop(graph, node, &values, &mut insts)?,
                Some(Control::Scan) => self.scan(graph, node, &values, &mut insts)?,
                None => self
                    .node(graph, node, &values, &mut insts)
                    .map_err(|reason| self.error(graph, node, reason))?,
            };
            let makers = made_by(node).into_iter();
            for ((id, value), made_by) in node.results.iter().zip(results).zip(makers) {
                if let Value::Place(place) = &value {
                    self.values.push(NamedValue {
                        name: format!("{}{}", self.path, graph.value(*id).name),
                        storage: place.storage,
                        made_by,
                    });
                }
                values[id.index()] = Some(value);
            }
        }
        let results = graph
            .outputs
            .iter()
            .map(|output| match output {
                Arg::Value(id) => values[id.index()].clone(),
                Arg::Int(i) => Some(Value::Number(Number::Int(*i))),
                Arg::Float(x) => Some(Value::Number(Number::Float(*x))),
                Arg::Bool(b) => Some(Value::Number(Number::Bool(*b))),
                _ => None,
            })
            .collect();
        Ok(LoweredGraph { insts, results })
    }

    /// Lowers a `cond`; returns what its results are.
    fn cond(
        &mut self,
        graph: &Graph,
        node: &Node,
        values: &[Option<Value>],
        insts: &mut Vec<Inst>,
    ) -> Result<Vec<Value>, Error> {
        let value = |id: ValueId| values[id.index()].clone();
        let (Some(Arg::Value(predicate)), Some(Arg::Values(operands))) =
            (node.args.first(), node.args.get(1))
        else {
            return Err(self.error(graph, node, "malformed `cond`".into()));
        };
        let operands: Vec<Option<Value>> = operands.iter().flatten().map(|id| value(*id)).collect();
        let predicate = match value(*predicate) {
            Some(Value::Place(place)) => place,
            // The predicate depends on sizes only: one branch is never taken.
            Some(Value::Number(n)) => {
                let taken = if n.to_i64() != 0 { 0 } else { 1 };
                let branch = self.region(graph, node, taken, operands)?;
                insts.extend(branch.insts);
                return Ok(branch.results.into_iter().flatten().collect());
            }
            None => unreachable!("verified: defined before use"),
        };
        let outer = self.storages.len();
        let mut branches = [
            self.region(graph, node, 0, operands.clone())?,
            self.region(graph, node, 1, operands)?,
        ];
        let name: Arc<str> = label(graph, node).into();
        let results = self
            .merge(&mut branches, outer, &name)
            .map_err(|reason| self.error(graph, node, reason))?;
        insts.push(Inst::Cond {
            predicate,
            branches: branches.map(|branch| branch.insts),
            needs: self.needs(node),
            node: name,
        });
        Ok(results)
    }

    /// For each branch of a `cond`, the slots that it needs filled.
    fn needs(&self, node: &Node) -> [Vec<usize>; 2] {
        let of_this = self.readiness_of.get(&std::ptr::from_ref(node));
        let of_this = of_this.map_or(&[][..], Vec::as_slice);
        [0, 1].map(|branch| {
            let needed = of_this.iter().filter(|r| r.branch == branch);
            needed.map(|r| r.slot).collect()
        })
    }

    /// Lowers a region of a node for these inputs.
    pub(super) fn region(
        &mut self,
        graph: &Graph,
        node: &Node,
        number: usize,
        inputs: Vec<Option<Value>>,
    ) -> Result<LoweredGraph, Error> {
        let outer = self.path.len();
        let result = node
            .results
            .first()
            .map(|id| graph.value(*id).name.as_str());
        let keywords = node.control().map_or(&[][..], Control::keywords);
        let name = result.unwrap_or("cond");
        self.path.push_str(&format!("{name}/{}/", keywords[number]));
        let lowered = self.graph(&node.regions[number], inputs);
        self.path.truncate(outer);
        lowered
    }
}

/// What made each result of a node.
fn made_by(node: &Node) -> Vec<String> {
    if !node.is_cond() {
        return vec![node.op.schema.name.clone(); node.results.len()];
    }
    let branches = node
        .regions
        .iter()
        .zip(Control::Cond.keywords())
        .map(|(branch, name)| {
            let makers = branch.nodes.iter();
            let makers = makers.flat_map(|n| n.results.iter().map(|id| (*id, &*n.op.schema.name)));
            let mut makers: HashMap<ValueId, &str> = makers.collect();
            makers.extend(branch.inputs.iter().map(|id| (*id, "the operand")));
            let returned = branch.outputs.iter().map(|output| match output {
                Arg::Value(id) => makers.get(id).copied().unwrap_or_default(),
                _ => "",
            });
            returned.map(|maker| format!("{name}: {maker}")).collect()
        });
    let branches: Vec<Vec<String>> = branches.collect();
    let results = 0..node.results.len();
    results
        .map(|i| {
            let texts = branches.iter().filter_map(|texts| texts.get(i));
            texts.cloned().collect::<Vec<_>>().join("; ")
        })
        .collect()
}
