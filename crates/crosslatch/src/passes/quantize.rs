//! Which weights may be quantized.
//!
//! A program gives the type of a weight; how its bytes are stored is a matter of the binding, as
//! long as no reader sees the difference. Some operators have kernels that take one of their
//! arguments quantized ([`Operator::quantized`](crate::ir::Operator)): a linear layer its weight, a
//! lookup its table. A weight may be quantized if every read of it is such an argument, inside the
//! branches of `cond` and the bodies of loops too, and if at least one reader goes through all of it:
//! a table of which only rows are looked up costs nothing where it is.
//!
//! Not all of them bear the fewest bits, and not all gain by them: what steps read again and again is
//! rounded more than what runs once for an input, and than a table of tokens ([`Part`]).
//!
//! Every other weight keeps its type, and a [`Reason`] says why. No value of a program is ever
//! quantized, so no other operator can meet one; [`bind_call`](crate::ir::bind::bind_call) checks
//! that as well.

use std::fmt;

use crosslatch_kernels::DType;
use crosslatch_kernels::tensor::{QuantizeError, WeightFormat};

use crate::ir::graph::{Arg, Graph, Node, Program, Slot, SlotKind, ValueId, ValueType};
use crate::ir::operator::Reads;

/// How a slot is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Quantized, as what it is in the program.
    Quantized(Part),
    /// In its own type.
    AsTyped(Reason),
}

impl Choice {
    /// Whether the slot may be quantized.
    pub fn is_quantized(&self) -> bool {
        matches!(self, Choice::Quantized(_))
    }
}

/// What a weight that may be quantized is in its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A layer of a program that keeps state, and so takes many steps for an input. Reading such
    /// weights is what a step takes its time for.
    Step,
    /// A layer of a program without state, which runs once for an input. Its time goes into
    /// arithmetic, and whatever it gets wrong, every later step gets.
    Once,
    /// A table of tokens: its rows are looked up as well, or its product is what the program
    /// returns. Every error in it is one of the scores that the next token is chosen by.
    Vocabulary,
}

impl Part {
    /// The format that it is stored in where steps are to read `format`.
    pub fn format(self, format: WeightFormat) -> WeightFormat {
        match (self, format) {
            (Part::Once | Part::Vocabulary, WeightFormat::Int4) => WeightFormat::Int8,
            _ => format,
        }
    }
}

/// Why a weight is not quantized.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is an input or state.
    NotAWeight,
    /// Elements of this type are not quantized.
    Type(DType),
    /// It does not have two dimensions.
    NotAMatrix,
    /// Nothing reads it.
    Unread,
    /// This operator reads it and has no kernel that takes it quantized.
    ReadBy(String),
    /// The program or a branch returns it.
    Returned,
    /// Only rows of it are looked up.
    OnlyLookedUp,
    /// Its rows do not lie one after the other in the file.
    Strided,
    /// The file has it in this type, which is the format already.
    StoredSo(DType),
    /// The format cannot hold its elements.
    Unfit(QuantizeError),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotAWeight => f.write_str("it is not a weight"),
            Reason::Type(dtype) => write!(f, "its elements are {dtype}"),
            Reason::NotAMatrix => f.write_str("it is not a matrix"),
            Reason::Unread => f.write_str("nothing reads it"),
            Reason::ReadBy(operator) => write!(f, "{operator} reads it"),
            Reason::Returned => f.write_str("it is returned"),
            Reason::OnlyLookedUp => f.write_str("only rows of it are looked up"),
            Reason::Strided => f.write_str("its rows do not lie one after the other"),
            Reason::StoredSo(dtype) => write!(f, "the file has it in {dtype} already"),
            Reason::Unfit(error) => error.fmt(f),
        }
    }
}

/// What is to become of each slot of a program.
pub fn choose(program: &Program) -> Vec<Choice> {
    let keeps_state = program.slots.iter().any(|s| s.kind == SlotKind::State);
    let layer = if keeps_state { Part::Step } else { Part::Once };
    let decide = |(slot, input): (&Slot, &ValueId)| {
        if slot.kind != SlotKind::Weight {
            return Choice::AsTyped(Reason::NotAWeight);
        }
        match &program.graph.value(*input).ty {
            ValueType::Tensor(ty) if ty.dtype != DType::F32 => {
                return Choice::AsTyped(Reason::Type(ty.dtype));
            }
            ValueType::Tensor(ty) if ty.sizes.len() == 2 => {}
            _ => return Choice::AsTyped(Reason::NotAMatrix),
        }
        let mut readers = Readers::default();
        readers.of(&program.graph, *input);
        if let Some(objection) = readers.objection {
            return Choice::AsTyped(objection);
        }
        match (readers.looked_up, readers.read) {
            (false, false) => Choice::AsTyped(Reason::Unread),
            (true, false) => Choice::AsTyped(Reason::OnlyLookedUp),
            (true, true) => Choice::Quantized(Part::Vocabulary),
            (false, true) if is_result(&program.graph, *input) => {
                Choice::Quantized(Part::Vocabulary)
            }
            (false, true) => Choice::Quantized(layer),
        }
    };
    let slots = program.slots.iter().zip(&program.graph.inputs);
    slots.map(decide).collect()
}

/// Whether what a node computes from this weight is returned as it is.
fn is_result(graph: &Graph, weight: ValueId) -> bool {
    let nodes = graph.nodes.iter().filter(|n| n.control().is_none());
    let mut readers = nodes.filter(|node| node.operands().any(|id| id == weight));
    let returned = |id: &ValueId| graph.outputs.iter().flat_map(Arg::values).any(|o| o == *id);
    readers.any(|node| node.results.iter().any(returned))
}

/// What reads a value.
#[derive(Default)]
struct Readers {
    /// The first read that forbids quantizing it.
    objection: Option<Reason>,
    /// Whether a kernel for quantized weights goes through all of it.
    read: bool,
    /// Whether such a kernel looks up rows of it.
    looked_up: bool,
}

impl Readers {
    fn of(&mut self, graph: &Graph, value: ValueId) {
        for node in &graph.nodes {
            if node.operands().any(|id| id == value) {
                self.node(node, value);
            }
        }
        if graph
            .outputs
            .iter()
            .flat_map(Arg::values)
            .any(|id| id == value)
        {
            self.objection.get_or_insert(Reason::Returned);
        }
    }

    fn node(&mut self, node: &Node, value: ValueId) {
        if node.control().is_some() {
            let mut captured = 0;
            for (region, inputs) in node.captured() {
                let of_value = inputs.iter().filter(|(_, outer)| *outer == value);
                let inputs: Vec<ValueId> = of_value.map(|(input, _)| *input).collect();
                captured = inputs.len();
                inputs.iter().for_each(|input| self.of(region, *input));
            }
            // It is a predicate, or changes from turn to turn.
            if node.operands().filter(|id| *id == value).count() > captured {
                self.objection(node);
            }
            return;
        }
        for (i, arg) in node.args.iter().enumerate() {
            if !arg.values().any(|id| id == value) {
                continue;
            }
            match node.op.quantized {
                Some(quantized) if quantized.param == i && *arg == Arg::Value(value) => {
                    match quantized.reads {
                        Reads::All => self.read = true,
                        Reads::Rows => self.looked_up = true,
                    }
                }
                _ => self.objection(node),
            }
        }
    }

    fn objection(&mut self, node: &Node) {
        let name = node.op.schema.name.clone();
        self.objection.get_or_insert(Reason::ReadBy(name));
    }
}
