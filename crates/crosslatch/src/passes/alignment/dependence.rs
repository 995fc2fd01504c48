//! What values depend on: on tokens, or on anything else that is not a weight.
//!
//! Memory that is written takes part: a cache into which keys of tokens are written depends on tokens
//! from then on, in this run and in the next ones, and so does every value that may lie in that memory.
//! Sizes do not count, although a program may compute them from the shape of its tokens; nor does the
//! predicate of a `cond`, which says where a value comes from and not what it is.

use crate::effects::{Memory, memory};
use crate::ir::graph::{Arg, Graph, Node, Output, Program, SlotKind, ValueId, ValueType};

/// What a value depends on, besides weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dependence {
    /// Whether it depends on tokens.
    pub tokens: bool,
    /// Whether it depends on another input, or on state that does.
    pub others: bool,
}

impl Dependence {
    fn join(&mut self, other: Dependence) -> bool {
        let before = *self;
        self.tokens |= other.tokens;
        self.others |= other.others;
        *self != before
    }
}

/// What each value of a program depends on; `tokens` is the slot of its tokens.
pub(super) fn of_program(program: &Program, tokens: usize) -> Vec<Dependence> {
    let graph = &program.graph;
    let slots = program.slots.iter().enumerate();
    let mut slots: Vec<Dependence> = slots
        .map(|(i, slot)| Dependence {
            tokens: i == tokens,
            others: i != tokens && slot.kind != SlotKind::Weight,
        })
        .collect();
    loop {
        let values = of_graph(graph, &slots);
        let mut has_grown = false;
        // What a run leaves in state, the next one finds there.
        for (slot, input) in slots.iter_mut().zip(&graph.inputs) {
            has_grown |= slot.join(values[input.index()]);
        }
        for (output, arg) in program.outputs.iter().zip(&graph.outputs) {
            if let Output::Mutation { slot } = output {
                has_grown |= slots[*slot].join(joined(arg.values(), &values));
            }
        }
        if !has_grown {
            return values;
        }
    }
}

fn joined(ids: impl Iterator<Item = ValueId>, values: &[Dependence]) -> Dependence {
    let mut all = Dependence::default();
    ids.for_each(|id| {
        all.join(values[id.index()]);
    });
    all
}

/// What each value of a graph depends on, given what its inputs do.
fn of_graph(graph: &Graph, inputs: &[Dependence]) -> Vec<Dependence> {
    let Memory {
        values: places,
        writes,
    } = memory(graph);
    let mut walk = Walk {
        graph,
        places: &places,
        values: vec![Dependence::default(); graph.values.len()],
        contents: vec![Dependence::default(); graph.values.len()],
    };
    for (id, dependence) in graph.inputs.iter().zip(inputs) {
        walk.grow(*id, *dependence);
    }
    loop {
        let mut has_grown = false;
        for (node, written) in graph.nodes.iter().zip(&writes) {
            if node.is_cond() {
                has_grown |= walk.cond(node);
                continue;
            }
            let operands = joined(node.operands(), &walk.values);
            for id in &node.results {
                has_grown |= walk.grow(*id, operands);
            }
            for place in written {
                has_grown |= walk.contents[*place].join(operands);
            }
        }
        has_grown |= walk.read();
        if !has_grown {
            return walk.values;
        }
    }
}

/// A walk over a graph, which is repeated until nothing grows.
struct Walk<'g> {
    graph: &'g Graph,
    /// The memory that each value may lie in.
    places: &'g [crate::effects::Origins],
    values: Vec<Dependence>,
    /// What is written to each memory.
    contents: Vec<Dependence>,
}

impl Walk<'_> {
    fn grow(&mut self, id: ValueId, by: Dependence) -> bool {
        match self.graph.value(id).ty {
            ValueType::Tensor(_) => self.values[id.index()].join(by),
            _ => false,
        }
    }

    /// Values see what was written to the memory that they may lie in.
    fn read(&mut self) -> bool {
        let mut has_grown = false;
        for (value, places) in self.values.iter_mut().zip(self.places) {
            for place in places {
                has_grown |= value.join(self.contents[*place]);
            }
        }
        has_grown
    }

    fn cond(&mut self, node: &Node) -> bool {
        let Some(Arg::Values(operands)) = node.args.get(1) else {
            return false;
        };
        let operands: Vec<ValueId> = operands.iter().flatten().copied().collect();
        let inputs: Vec<Dependence> = operands.iter().map(|id| self.values[id.index()]).collect();
        let mut has_grown = false;
        for branch in &node.regions {
            let inner = of_graph(branch, &inputs);
            for (id, arg) in node.results.iter().zip(&branch.outputs) {
                has_grown |= self.grow(*id, joined(arg.values(), &inner));
            }
            for (id, input) in operands.iter().zip(&branch.inputs) {
                for place in &self.places[id.index()] {
                    has_grown |= self.contents[*place].join(inner[input.index()]);
                }
            }
        }
        has_grown
    }
}
