//! Lowering `cond`: two lists of instructions, and results that either may have made.
//!
//! A result gets a storage of its own and a copy at the end of each branch, unless both branches
//! return the same place from outside. Where a branch returns memory of an operand, or the same
//! memory twice, that is noted ([`Join`]): after that branch, but not after the other, the result is
//! other memory as well, and [`super::hazard`] refuses what would depend on it.

use std::collections::{BTreeSet, HashMap};
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

/// What made each result of a node.
pub(super) fn made_by(node: &Node) -> Vec<String> {
    if !node.is_cond() {
        return vec![node.op.schema.name.clone(); node.results.len()];
    }
    let branches = node.branches.iter().zip(BRANCHES).map(|(branch, name)| {
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
        let mut by_storage: HashMap<StorageId, Vec<usize>> = HashMap::new();
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
            let same = by_storage.entry(branches[0].storage).or_default();
            let twice = same.iter().map(|&i: &usize| &made[i]);
            if let Some(same) = twice.into_iter().find(|m| m.branches == branches) {
                // One tensor, returned twice by both.
                results.push(Value::Place(same.result.clone()));
                continue;
            }
            same.push(made.len());
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
        self.note_joins(&made, outer, &name)
            .map_err(|reason| self.error(graph, node, reason))?;
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
        let of_this = self.readiness_of.get(&std::ptr::from_ref(node));
        let of_this = of_this.map_or(&[][..], Vec::as_slice);
        [0, 1].map(|branch| {
            let needed = of_this.iter().filter(|r| r.branch == branch);
            needed.map(|r| r.slot).collect()
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
    fn note_joins(&mut self, made: &[Merged], outer: usize, node: &Arc<str>) -> Result<(), String> {
        let mut joins = Vec::new();
        for branch in 0..2 {
            // Results of the `cond` by the storages that they may be.
            let mut results_of: HashMap<StorageId, Vec<StorageId>> = HashMap::new();
            for merged in made {
                let result = merged.result.storage;
                let reach = self
                    .joined
                    .perhaps_the_same(merged.branches[branch].storage);
                let operands = reach.iter().copied().filter(|s| s.0 < outer);
                let siblings = reach.iter().filter_map(|s| results_of.get(s)).flatten();
                let others: BTreeSet<StorageId> = operands.chain(siblings.copied()).collect();
                if self.joins.len() + joins.len() + others.len() > MOST_JOINS {
                    return Err(format!(
                        "more than {MOST_JOINS} pairs of tensors are one memory after one branch of a \
                         `cond` and not after the other; return clones"
                    ));
                }
                joins.extend(others.into_iter().map(|operand| Join {
                    result,
                    operand,
                    node: node.clone(),
                }));
                for storage in reach {
                    results_of.entry(storage).or_default().push(result);
                }
            }
        }
        for join in &joins {
            self.joined.add(join.result, join.operand);
        }
        self.joins.extend(joins);
        Ok(())
    }
}

/// More results that are not decided, and what they may be, are not compared with each other.
const MOST_JOINS: usize = 1 << 18;

/// Storages that are one memory after some branches taken.
#[derive(Default)]
pub(super) struct Joined(HashMap<StorageId, Vec<StorageId>>);

impl Joined {
    fn add(&mut self, a: StorageId, b: StorageId) {
        self.0.entry(a).or_default().push(b);
        self.0.entry(b).or_default().push(a);
    }

    /// All storages that are the memory of this one after some branches taken.
    fn perhaps_the_same(&self, storage: StorageId) -> BTreeSet<StorageId> {
        let mut reached = BTreeSet::from([storage]);
        let mut open = vec![storage];
        while let Some(next) = open.pop() {
            let new = self.0.get(&next).into_iter().flatten();
            open.extend(new.filter(|other| reached.insert(**other)));
        }
        reached
    }
}
