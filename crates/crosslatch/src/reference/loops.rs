//! Loops in the interpreter: turn by turn, with a copy of everything that goes from one to the next.

use crosslatch_kernels::Layout;

use super::interpreter::Interpreter;
use super::values::{Failure, Shared, Value, read};
use crate::effects::check_loop;
use crate::error::Error;
use crate::ir::Entry;
use crate::ir::control::turns;
use crate::ir::graph::{Graph, Node};
use crate::tensor::is_true;

/// What a loop works on.
struct Loop {
    /// How each value enters, and the value.
    entered: Vec<(Entry, Value)>,
    /// What is carried to the next turn.
    carried: Vec<Shared>,
}

impl Interpreter<'_> {
    pub(super) fn while_loop(
        &self,
        graph: &Graph,
        node: &Node,
        values: &[Option<Value>],
    ) -> Result<Vec<Value>, Error> {
        let fail = |failure: Failure| self.error(graph, node, failure);
        let mut state = self.enter(node, values).map_err(fail)?;
        loop {
            let inputs = self.inputs(&state, 0).map_err(fail)?;
            let condition = self.graph(&node.regions[0], inputs.clone())?;
            let goes_on = match condition.first() {
                Some(Value::Tensor(t)) => is_true(&read(t, &t.storage.borrow())),
                Some(Value::Number(n)) if n.to_i64() != 0 => {
                    return Err(fail("the loop would never end".into()));
                }
                _ => false,
            };
            if !goes_on {
                return Ok(state.carried.into_iter().map(Value::Tensor).collect());
            }
            self.count_turn().map_err(fail)?;
            let returned = self.graph(&node.regions[1], inputs)?;
            self.carry(&mut state, &returned).map_err(fail)?;
        }
    }

    pub(super) fn scan(
        &self,
        graph: &Graph,
        node: &Node,
        values: &[Option<Value>],
    ) -> Result<Vec<Value>, Error> {
        let fail = |failure: Failure| self.error(graph, node, failure);
        let mut state = self.enter(node, values).map_err(fail)?;
        let rows = state.entered.iter().filter_map(|entered| match entered {
            (Entry::Row(_), Value::Tensor(t)) => Some(t.layout.shape.first().copied()),
            _ => None,
        });
        let turns = turns(&rows.collect::<Vec<_>>()).map_err(|reason| fail(reason.into()))?;
        let mut collected: Vec<Shared> = Vec::new();
        for turn in 0..turns {
            self.count_turn().map_err(fail)?;
            let inputs = self.inputs(&state, turn).map_err(fail)?;
            let mut returned = self.graph(&node.regions[0], inputs)?;
            let rows = returned.split_off(state.carried.len().min(returned.len()));
            for (i, row) in rows.iter().enumerate() {
                let row = tensor(row).map_err(fail)?;
                if turn == 0 {
                    let mut shape = row.layout.shape.clone();
                    shape.insert(0, turns);
                    let all = Shared::fresh(row.dtype, &shape, self.limit);
                    collected.push(all.map_err(fail)?);
                }
                let place = Shared {
                    layout: collected[i].layout.select(0, turn),
                    ..collected[i].clone()
                };
                let row = row.to_tensor().map_err(|e| fail(e.into()))?;
                place.write(&row.view(), self.threads).map_err(fail)?;
            }
            self.carry(&mut state, &returned).map_err(fail)?;
        }
        let results = state.carried.into_iter().chain(collected);
        Ok(results.map(Value::Tensor).collect())
    }

    fn count_turn(&self) -> Result<(), Failure> {
        Ok(self.turns.borrow_mut().count()?)
    }

    fn enter(&self, node: &Node, values: &[Option<Value>]) -> Result<Loop, Failure> {
        check_loop(node)?;
        let (mut entered, mut carried) = (Vec::new(), Vec::new());
        for entry in node.entries() {
            let Some(value) = &values[entry.outer().index()] else {
                unreachable!("verified: defined before use")
            };
            if let Entry::Carried(_) = entry {
                carried.push(tensor(value)?.copied(self.limit)?);
            }
            entered.push((entry, value.clone()));
        }
        Ok(Loop { entered, carried })
    }

    /// What a region gets in a turn.
    fn inputs(&self, state: &Loop, turn: usize) -> Result<Vec<Value>, Failure> {
        let mut carried = state.carried.iter();
        let mut inputs = Vec::new();
        for (entry, value) in &state.entered {
            inputs.push(match (entry, value) {
                (Entry::Operand(_), value) => value.clone(),
                (Entry::Carried(_), value) => carried
                    .next()
                    .map_or_else(|| value.clone(), |c| Value::Tensor(c.clone())),
                (Entry::Row(_), value) => {
                    let all = tensor(value)?;
                    let row = Shared {
                        layout: all.layout.select(0, turn),
                        ..all.clone()
                    };
                    Value::Tensor(row.copied(self.limit)?)
                }
            });
        }
        Ok(inputs)
    }

    /// Ends a turn: what the body returned is what is carried.
    fn carry(&self, state: &mut Loop, returned: &[Value]) -> Result<(), Failure> {
        let mut carried = Vec::new();
        for (before, value) in state.carried.iter().zip(returned) {
            let next = tensor(value)?;
            let same = next.dtype == before.dtype && next.layout.shape == before.layout.shape;
            if !same {
                return Err(format!(
                    "its body returns {}{:?} for what is carried as {}{:?}",
                    next.dtype, next.layout.shape, before.dtype, before.layout.shape
                )
                .into());
            }
            carried.push(Shared {
                layout: Layout::contiguous(&next.layout.shape),
                ..next.copied(self.limit)?
            });
        }
        state.carried = carried;
        Ok(())
    }
}

fn tensor(value: &Value) -> Result<&Shared, Failure> {
    match value {
        Value::Tensor(tensor) => Ok(tensor),
        Value::Number(_) => Err("a loop carries or collects a number".into()),
    }
}
