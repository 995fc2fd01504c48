//! Lowering `cond`: two lists of instructions, and results that either may have made.
//!
//! A result gets a storage of its own and a copy at the end of each branch, unless both branches
//! return the same place from outside. Where a branch returns memory of an operand, or the same
//! memory twice, that is noted ([`Join`]): after that branch, but not after the other, the result is
//! other memory as well, and [`super::hazard`] refuses what would depend on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::instructions::{Copy, CopyReason, Inst, Join, Place, StorageId};
use super::lower::{Lowerer, Value};
use crate::error::Error;
use crate::ir::graph::{Arg, Graph, Node, ValueId};
use crate::ir::verify::label;

/// A result of a `cond` with a storage of its own, and where it lies in each branch.
struct Merged {
    result: Place,
    branches: [Place; 2],
}

/// How the branches of a `cond` are called.
const BRANCHES: [&str; 2] = ["then", "else"];

/// What made a result of a node.
pub(super) fn made_by(node: &Node, result: usize) -> String {
    if !node.is_cond() {
        return node.op.schema.name.clone();
    }
    let returned = |branch: &Graph| match branch.outputs.get(result) {
        Some(Arg::Value(id)) if branch.inputs.contains(id) => "the operand".to_owned(),
        Some(Arg::Value(id)) => {
            let maker = branch.nodes.iter().find(|n| n.results.contains(id));
            maker.map_or_else(String::new, |n| n.op.schema.name.clone())
        }
        _ => String::new(),
    };
    let texts = node.branches.iter().zip(BRANCHES);
    let texts: Vec<String> = texts
        .map(|(branch, name)| format!("{name}: {}", returned(branch)))
        .collect();
    texts.join("; ")
}

impl Lowerer<'_> {
    pub(super) fn cond(
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
                let (branch_insts, results) = self.branch(graph, node, taken, operands)?;
                insts.extend(branch_insts);
                return Ok(results.into_iter().flatten().collect());
            }
            None => unreachable!("verified: defined before use"),
        };
        let outer = self.storages.len();
        let (mut then_insts, then_results) = self.branch(graph, node, 0, operands.clone())?;
        let (mut else_insts, else_results) = self.branch(graph, node, 1, operands)?;
        let name: Arc<str> = label(graph, node).into();
        let mut results: Vec<Value> = Vec::new();
        let mut made: Vec<Merged> = Vec::new();
        for pair in then_results.into_iter().zip(else_results) {
            let (Some(Value::Place(a)), Some(Value::Place(b))) = pair else {
                return Err(self.error(
                    graph,
                    node,
                    "a branch returns something that is no tensor".into(),
                ));
            };
            if a == b && a.storage.0 < outer {
                results.push(Value::Place(a));
                continue;
            }
            if a.dtype != b.dtype || a.layout.shape != b.layout.shape {
                return Err(self.error(
                    graph,
                    node,
                    "the branches return tensors of different types or shapes".into(),
                ));
            }
            let branches = [a, b];
            if let Some(same) = made.iter().find(|m| m.branches == branches) {
                // One tensor, returned twice by both.
                results.push(Value::Place(same.result.clone()));
                continue;
            }
            let result = self
                .fresh(branches[0].dtype, &branches[0].layout.shape)
                .map_err(|reason| self.error(graph, node, reason))?;
            for (place, insts) in branches.iter().zip([&mut then_insts, &mut else_insts]) {
                insts.push(Inst::Copy(Copy {
                    from: place.clone(),
                    to: result.clone(),
                    why: CopyReason::BranchResult,
                    node: name.clone(),
                }));
            }
            results.push(Value::Place(result.clone()));
            made.push(Merged { result, branches });
        }
        self.note_joins(&made, outer, &name);
        insts.push(Inst::Cond {
            predicate,
            branches: [then_insts, else_insts],
            needs: self.needs(node),
            node: name,
        });
        Ok(results)
    }

    /// The slots that each branch of a `cond` of the program needs filled.
    fn needs(&self, node: &Node) -> [Vec<usize>; 2] {
        let nodes = &self.program.graph.nodes;
        [0, 1].map(|branch| {
            let of_this = self.readiness.iter().filter(|r| {
                r.branch == branch && nodes.get(r.node).is_some_and(|n| std::ptr::eq(n, node))
            });
            of_this.map(|r| r.slot).collect()
        })
    }

    fn branch(
        &mut self,
        graph: &Graph,
        node: &Node,
        number: usize,
        operands: Vec<Option<Value>>,
    ) -> Result<(Vec<Inst>, Vec<Option<Value>>), Error> {
        let outer = self.path.len();
        let result = node
            .results
            .first()
            .map(|id| graph.value(*id).name.as_str());
        let (name, branch) = (result.unwrap_or("cond"), BRANCHES[number]);
        self.path.push_str(&format!("{name}/{branch}/"));
        let lowered = self.graph(&node.branches[number], operands);
        self.path.truncate(outer);
        lowered
    }

    /// Notes which results of a `cond` are, after one branch, the memory of an operand or of each
    /// other, though the plan gives each a storage of its own. Storages below `outer` are older
    /// than the `cond`.
    fn note_joins(&mut self, made: &[Merged], outer: usize, node: &Arc<str>) {
        let mut joins = Vec::new();
        for branch in 0..2 {
            let reach: Vec<BTreeSet<StorageId>> = made
                .iter()
                .map(|m| self.perhaps_the_same(m.branches[branch].storage))
                .collect();
            for (i, merged) in made.iter().enumerate() {
                let operands = reach[i].iter().copied().filter(|s| s.0 < outer);
                let siblings = (0..i).filter(|&j| !reach[i].is_disjoint(&reach[j]));
                let siblings = siblings.map(|j| made[j].result.storage);
                for operand in operands.chain(siblings) {
                    joins.push(Join {
                        result: merged.result.storage,
                        operand,
                        node: node.clone(),
                    });
                }
            }
        }
        self.joins.extend(joins);
    }

    /// All storages that are the memory of this one after some branches taken.
    fn perhaps_the_same(&self, storage: StorageId) -> BTreeSet<StorageId> {
        let mut reached = BTreeSet::from([storage]);
        let mut open = vec![storage];
        while let Some(next) = open.pop() {
            for join in &self.joins {
                for (a, b) in [(join.result, join.operand), (join.operand, join.result)] {
                    if a == next && reached.insert(b) {
                        open.push(b);
                    }
                }
            }
        }
        reached
    }
}
