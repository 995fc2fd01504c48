//! Merging the results of a `cond`'s branches.
//!
//! A result gets a storage of its own and a copy at the end of each branch, unless both branches
//! return the same place from outside. Where a branch returns memory of an operand, or the same
//! memory twice, this is noted ([`Join`]): after that branch, but not after the other, the result
//! shares that memory, and [`plan::hazard`](crate::plan::hazard) refuses programs that could tell.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::lowerer::{LoweredGraph, Lowerer, Value};
use crate::plan::instructions::{CopyReason, Join, Place, StorageId};

/// A result of a `cond` with a storage of its own, and where it lies in each branch.
struct Merged {
    result: Place,
    branches: [Place; 2],
}

impl Lowerer<'_> {
    /// The results of a `cond` from those of its branches, at whose ends the copies are written down.
    /// Storages below `outer` are older than the `cond`.
    pub(super) fn merge(
        &mut self,
        lowered: &mut [LoweredGraph; 2],
        outer: usize,
        node: &Arc<str>,
    ) -> Result<Vec<Value>, String> {
        let [first, second] = lowered
            .each_mut()
            .map(|branch| std::mem::take(&mut branch.results));
        let mut results: Vec<Value> = Vec::new();
        let mut merged: Vec<Merged> = Vec::new();
        let mut by_storage: HashMap<StorageId, Vec<usize>> = HashMap::new();
        for pair in first.into_iter().zip(second) {
            let (Some(Value::Place(a)), Some(Value::Place(b))) = pair else {
                return Err("a branch returns something that is no tensor".into());
            };
            if a == b && a.storage.0 < outer {
                results.push(Value::Place(a));
                continue;
            }
            if a.dtype != b.dtype || a.layout.shape != b.layout.shape {
                return Err("the branches return tensors of different types or shapes".into());
            }
            let branches = [a, b];
            let same = by_storage.entry(branches[0].storage).or_default();
            let mut earlier = same.iter().map(|&i: &usize| &merged[i]);
            if let Some(same) = earlier.find(|m| m.branches == branches) {
                // One tensor, returned twice by both.
                results.push(Value::Place(same.result.clone()));
                continue;
            }
            same.push(merged.len());
            let result = self.fresh(branches[0].dtype, &branches[0].layout.shape)?;
            for (place, branch) in branches.iter().zip(&mut *lowered) {
                let (from, to) = (place.clone(), result.clone());
                self.copy(from, to, CopyReason::BranchResult, node, &mut branch.insts);
            }
            results.push(Value::Place(result.clone()));
            merged.push(Merged { result, branches });
        }
        self.note_joins(&merged, outer, node)?;
        Ok(results)
    }

    /// Notes which results of a `cond` are, after one branch, the memory of an operand or of each
    /// other, although the plan gives each a storage of its own.
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

/// The most pairs of storages that may be one memory after some branch. More would take quadratic
/// time to check.
const MOST_JOINS: usize = 1 << 18;
