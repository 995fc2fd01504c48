//! The programs of the segments, and how values get from one to the next.
//!
//! A value is used behind a cut in one of these ways, the first that applies:
//!
//! - a slot that nobody has written so far, or that is state, is read again;
//! - what an operator returned after it wrote an operand in place is that operand;
//! - a view of a weight, of state or of an input that is never written is taken again;
//! - a value whose memory is not written behind the cut is returned by the segment before it. Should it lie in
//!   the state, the plan of the segment copies it;
//! - memory that the segments before the cut made and those behind it write is returned as a whole, and the
//!   next segment writes a copy of its own.
//!
//! A view of memory that is written behind the cut has to stay a view of it, so the next segment takes it
//! again, of the memory that got across. What may be a view or a copy, by sizes, is refused there.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Refusal, is_item};
use crate::effects::{Memory, Origins, memory};
use crate::ir::Size;
use crate::ir::graph::{Arg, Graph, Node, Program, SlotKind, ValueId, ValueType};
use crate::ir::verify::label;
use crate::passes::part::{Part, PartBuilder};

pub(super) fn split(program: &Program, schedule: &[Vec<usize>]) -> Result<Vec<Part>, Refusal> {
    let mut splitter = Splitter::new(program, schedule);
    let last = schedule.len() - 1;
    (0..=last)
        .map(|segment| {
            let name = match segment == last {
                true => program.name.clone(),
                false => format!("{}@segment{segment}", program.name),
            };
            splitter.segment(segment, &name)
        })
        .collect()
}

/// The operators that give a tensor other sizes, and return a view or a copy, as it turns out.
const RESHAPES: [&str; 4] = [
    "aten::reshape",
    "aten::reshape_as",
    "aten::flatten",
    "aten::ravel",
];
/// Others that return a view or a copy.
const MAY_COPY: [&str; 4] = [
    "aten::contiguous",
    "aten::to",
    "aten::type_as",
    "aten::view_as_complex",
];

/// How a value gets across a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It is a slot of every segment.
    Slot,
    /// It is this value.
    Same(ValueId),
    /// The segment returns it.
    Returned,
    /// The next segment takes the same view of the same operands.
    Again,
}

struct Splitter<'p> {
    program: &'p Program,
    schedule: &'p [Vec<usize>],
    memory: Memory,
    /// For each segment, the memory that its nodes may write.
    written: Vec<Origins>,
    /// For each node, its segment; `None` for nodes that nothing needs.
    segment_of: Vec<Option<usize>>,
    /// For each value, the node that makes it; `None` for slots.
    maker: Vec<Option<usize>>,
    /// For each value, the slot that it is.
    slot_of: HashMap<ValueId, usize>,
    /// The values that earlier segments returned, in order: the value, its name, the segment.
    returned: Vec<(ValueId, String, usize)>,
}

impl<'p> Splitter<'p> {
    fn new(program: &'p Program, schedule: &'p [Vec<usize>]) -> Splitter<'p> {
        let graph = &program.graph;
        let mut segment_of = vec![None; graph.nodes.len()];
        for (segment, nodes) in schedule.iter().enumerate() {
            for &node in nodes {
                segment_of[node] = Some(segment);
            }
        }
        let mut maker = vec![None; graph.values.len()];
        for (i, node) in graph.nodes.iter().enumerate() {
            for id in &node.results {
                maker[id.index()] = Some(i);
            }
        }
        let memory = memory(graph);
        let writes = |nodes: &Vec<usize>| -> Origins {
            let writes = nodes.iter().flat_map(|node| &memory.writes[*node]);
            writes.copied().collect()
        };
        let slots = graph.inputs.iter().enumerate();
        Splitter {
            written: schedule.iter().map(writes).collect(),
            program,
            schedule,
            memory,
            segment_of,
            maker,
            slot_of: slots.map(|(slot, id)| (*id, slot)).collect(),
            returned: Vec::new(),
        }
    }

    fn graph(&self) -> &'p Graph {
        &self.program.graph
    }

    fn segment(&mut self, segment: usize, name: &str) -> Result<Part, Refusal> {
        let program = self.program;
        let mut part = PartBuilder::new(program, name);
        for slot in 0..program.slots.len() {
            part.slot(slot);
        }
        for (id, name, _) in &self.returned {
            part.fed(*id, name, SlotKind::Segment);
        }
        for &index in &self.schedule[segment] {
            let node = &self.graph().nodes[index];
            if is_item(node) {
                continue;
            }
            for id in node.operands() {
                self.make_available(&mut part, id);
            }
            part.node(index);
        }
        if segment + 1 == self.schedule.len() {
            for (output, value) in program.outputs.iter().zip(&program.graph.outputs) {
                for id in value.values() {
                    self.make_available(&mut part, id);
                }
                part.output_of_whole(output, value);
            }
            return Ok(part.finish());
        }
        for id in self.crossing(segment)? {
            let name = format!("{}@segment{segment}", self.graph().value(id).name);
            // The number of a tensor's contents is read from the tensor when the segment has run.
            let source = match self.maker[id.index()].map(|maker| &self.graph().nodes[maker]) {
                Some(node) if is_item(node) => node.operands().next().unwrap_or(id),
                _ => id,
            };
            self.make_available(&mut part, source);
            part.output(source, &name);
            self.returned.push((id, name, segment));
        }
        Ok(part.finish())
    }

    /// Makes sure that a part has a value that an earlier segment made and did not return: by the nodes that
    /// make it of what the part has.
    fn make_available(&self, part: &mut PartBuilder<'_>, id: ValueId) {
        let mut missing = BTreeSet::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let Some(maker) = self.maker[id.index()].filter(|_| !part.has(id)) else {
                continue;
            };
            if missing.insert((maker, id)) {
                match self.written_operand(id) {
                    Some(other) => open.push(other),
                    None => open.extend(self.graph().nodes[maker].operands()),
                }
            }
        }
        // A value is made before it is used, so the order of the nodes is that of their results.
        for (maker, id) in missing {
            match self.written_operand(id) {
                Some(other) => part.is_same(id, other),
                None if part.has(id) => {}
                None => part.node(maker),
            }
        }
    }

    /// The values that a segment has to return, in the order of the program.
    fn crossing(&self, segment: usize) -> Result<Vec<ValueId>, Refusal> {
        let nodes = &self.graph().nodes;
        let later = self.schedule[segment + 1..].iter().flatten();
        let read = later.flat_map(|&i| nodes[i].operands());
        let read = read.chain(self.graph().outputs.iter().flat_map(Arg::values));
        let mut open: Vec<ValueId> = read.collect();
        let mut seen = HashSet::new();
        let mut crossing = Vec::new();
        while let Some(id) = open.pop() {
            let made_in = self.maker[id.index()].and_then(|maker| self.segment_of[maker]);
            let is_made = self.slot_of.contains_key(&id) || made_in.is_some_and(|m| m <= segment);
            if !is_made || !seen.insert(id) {
                continue;
            }
            match self.way(id, segment)? {
                Way::Slot => {}
                Way::Same(other) => open.push(other),
                Way::Again => {
                    let maker = self.maker[id.index()].map(|maker| &nodes[maker]);
                    open.extend(maker.into_iter().flat_map(Node::operands));
                }
                Way::Returned if self.is_returned(id, segment) => {}
                Way::Returned => crossing.push(id),
            }
        }
        crossing.sort();
        Ok(crossing)
    }

    /// Whether an earlier segment has returned a value, and nothing has written it since.
    fn is_returned(&self, id: ValueId, segment: usize) -> bool {
        let mut returned = self.returned.iter();
        returned.any(|(other, _, at)| *other == id && !self.is_written(id, *at + 1..segment + 1))
    }

    fn way(&self, id: ValueId, segment: usize) -> Result<Way, Refusal> {
        let segments = self.schedule.len();
        if let Some(&slot) = self.slot_of.get(&id) {
            let is_own = matches!(
                self.program.slots[slot].kind,
                SlotKind::Weight | SlotKind::State
            );
            return Ok(match is_own || !self.is_written(id, 0..segment + 1) {
                true => Way::Slot,
                false => Way::Returned,
            });
        }
        if !matches!(self.graph().value(id).ty, ValueType::Tensor(_)) {
            return Ok(Way::Returned);
        }
        if let Some(other) = self.written_operand(id) {
            return Ok(Way::Same(other));
        }
        let origins = &self.memory.values[id.index()];
        if !self.is_written(id, segment + 1..segments) {
            let is_slot = |i: &usize| self.slot_of.contains_key(&ValueId(*i as u32));
            let is_again = origins.iter().any(is_slot)
                && self.is_view(id)
                && !self.is_written(id, 0..segments);
            return Ok(if is_again { Way::Again } else { Way::Returned });
        }
        if origins.len() == 1 && origins.contains(&id.index()) {
            return Ok(Way::Returned);
        }
        if self.is_view(id) && !self.may_copy(id) {
            return Ok(Way::Again);
        }
        let maker = self.maker[id.index()].map(|maker| &self.graph().nodes[maker]);
        Err(Refusal {
            node: maker.map_or(String::new(), |node| label(self.graph(), node)),
            reason: "a number is made of a tensor's contents while this may be a view of memory that is \
                     written later; write a clone of it in the model"
                .to_owned(),
        })
    }

    /// Whether nodes of these segments may write the memory of a value.
    fn is_written(&self, id: ValueId, mut segments: std::ops::Range<usize>) -> bool {
        let origins = &self.memory.values[id.index()];
        segments.any(|segment| !self.written[segment].is_disjoint(origins))
    }

    /// The operand that a value is, after an operator has written it.
    fn written_operand(&self, id: ValueId) -> Option<ValueId> {
        let node = &self.graph().nodes[self.maker[id.index()]?];
        if node.control().is_some() {
            return None;
        }
        let schema = &node.op.schema;
        let result = node.results.iter().position(|r| *r == id)?;
        let mut written = schema.aliased_by(result);
        let param = written.find(|p| schema.written().any(|w| w == *p))?;
        match node.args.get(param)? {
            Arg::Value(operand) => Some(*operand),
            _ => None,
        }
    }

    /// Whether an operator that returns a view copies where no view is possible. A tensor that keeps its sizes
    /// is not copied.
    fn may_copy(&self, id: ValueId) -> bool {
        let graph = self.graph();
        let Some(maker) = self.maker[id.index()].map(|maker| &graph.nodes[maker]) else {
            return true;
        };
        let sizes = |id: ValueId| match &graph.value(id).ty {
            ValueType::Tensor(ty) => Some(&ty.sizes).filter(|all| !all.contains(&Size::Unknown)),
            _ => None,
        };
        let keeps_sizes = || {
            let of = maker.operands().next().and_then(sizes);
            of.is_some() && of == sizes(id)
        };
        let name = maker.op.schema.name.split('.').next().unwrap_or_default();
        MAY_COPY.contains(&name) || (RESHAPES.contains(&name) && !keeps_sizes())
    }

    /// Whether a value may be a view of one operand, made by an operator that writes nothing.
    fn is_view(&self, id: ValueId) -> bool {
        let Some(maker) = self.maker[id.index()] else {
            return false;
        };
        let node = &self.graph().nodes[maker];
        let result = node.results.iter().position(|r| *r == id).unwrap_or(0);
        node.control().is_none()
            && node.op.schema.written().next().is_none()
            && node.op.schema.aliased_by(result).next().is_some()
    }
}
