//! Which weights may be quantized.
//!
//! A program gives the type of a weight; how its bytes are stored is a matter of the binding, as
//! long as no reader sees the difference. Some operators have kernels that take one of their
//! arguments quantized ([`Operator::quantized`](crate::ir::Operator)): a linear layer its weight, a
//! lookup its table. A weight may be quantized if every read of it is such an argument, inside the
//! branches of `cond` too, and if at least one reader goes through all of it: a table of which only
//! rows are looked up costs nothing where it is.
//!
//! Every other weight keeps its type, and a [`Reason`] says why. No value of a program is ever
//! quantized, so no other operator can meet one; [`bind_call`](crate::ir::bind::bind_call) checks
//! that as well.

use std::fmt;

use crosslatch_kernels::DType;
use crosslatch_kernels::tensor::QuantizeError;

use crate::ir::graph::{Arg, Graph, Node, Program, Slot, SlotKind, ValueId, ValueType};
use crate::ir::operator::Reads;

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

/// For each slot of a program, the reason why it is not quantized, or nothing if it may be.
pub fn not_quantized(program: &Program) -> Vec<Option<Reason>> {
    let decide = |(slot, input): (&Slot, &ValueId)| {
        if slot.kind != SlotKind::Weight {
            return Some(Reason::NotAWeight);
        }
        match &program.graph.value(*input).ty {
            ValueType::Tensor(ty) if ty.dtype != DType::F32 => return Some(Reason::Type(ty.dtype)),
            ValueType::Tensor(ty) if ty.sizes.len() == 2 => {}
            _ => return Some(Reason::NotAMatrix),
        }
        let mut readers = Readers::default();
        readers.of(&program.graph, *input);
        readers
            .objection
            .or(match (readers.looked_up, readers.read) {
                (_, true) => None,
                (true, false) => Some(Reason::OnlyLookedUp),
                (false, false) => Some(Reason::Unread),
            })
    };
    let slots = program.slots.iter().zip(&program.graph.inputs);
    slots.map(decide).collect()
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
        if let (true, Some(Arg::Values(operands))) = (node.is_cond(), node.args.get(1)) {
            if node.args[0].values().any(|id| id == value) {
                self.objection(node);
            }
            for branch in &node.branches {
                for (input, operand) in branch.inputs.iter().zip(operands.iter().flatten()) {
                    if *operand == value {
                        self.of(branch, *input);
                    }
                }
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
