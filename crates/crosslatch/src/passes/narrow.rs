//! Which weights may be stored in fewer bits than their type has.
//!
//! A program says what type a weight has; how its bytes are stored is a matter of the binding, as
//! long as nobody who sees it minds. Some operators have kernels that take one of their arguments
//! in a narrow format ([`Operator::narrow`](crate::ir::Operator)): a linear layer its weight, a
//! lookup its table. A weight is narrowed if all that ever reads it is such an argument, in
//! branches of `cond` too, and if at least one of the readers goes through all of it: a table of
//! which only rows are looked up costs nothing where it is.
//!
//! Everything else stays as it is typed, with a [`Reason`]. No value of a program is ever narrow,
//! so no other operator can meet one; [`bind_call`](crate::ir::call::bind_call) checks that too.

use std::fmt;

use crosslatch_kernels::DType;
use crosslatch_kernels::tensor::QuantizeError;

use crate::ir::graph::{Arg, Graph, Node, Program, SlotKind, ValueId, ValueType};

/// Why a weight stays as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is an input or state.
    NoWeight,
    /// Elements of this type have no narrow format.
    Type(DType),
    /// It has another number of dimensions than two.
    NoMatrix,
    /// Nothing reads it.
    Unread,
    /// This operator reads it, in a way that has no narrow kernel.
    ReadBy(String),
    /// The program, or a branch, returns it.
    Returned,
    /// It is only looked up, row by row.
    OnlyLookedUp,
    /// Its rows do not lie one after the other in the file.
    Strided,
    /// Its elements do not fit the format.
    Unfit(QuantizeError),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoWeight => f.write_str("it is no weight"),
            Reason::Type(dtype) => write!(f, "its elements are {dtype}"),
            Reason::NoMatrix => f.write_str("it is no matrix"),
            Reason::Unread => f.write_str("nothing reads it"),
            Reason::ReadBy(operator) => write!(f, "{operator} reads it"),
            Reason::Returned => f.write_str("it is returned"),
            Reason::OnlyLookedUp => f.write_str("only rows of it are looked up"),
            Reason::Strided => f.write_str("its rows do not lie one after the other"),
            Reason::Unfit(error) => error.fmt(f),
        }
    }
}

/// For each slot of a program, nothing if it may be narrowed, else the reason why not.
pub fn narrow(program: &Program) -> Vec<Option<Reason>> {
    let decide = |(slot, input): (&crate::ir::graph::Slot, &ValueId)| {
        if slot.kind != SlotKind::Weight {
            return Some(Reason::NoWeight);
        }
        match &program.graph.value(*input).ty {
            ValueType::Tensor(ty) if ty.dtype != DType::F32 => return Some(Reason::Type(ty.dtype)),
            ValueType::Tensor(ty) if ty.sizes.len() == 2 => {}
            _ => return Some(Reason::NoMatrix),
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
    /// The first reader that must not see it narrow.
    objection: Option<Reason>,
    /// Whether a narrow kernel goes through all of it.
    read: bool,
    /// Whether a narrow kernel takes parts of it.
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
            match node.op.narrow {
                Some(narrow) if narrow.param == i && *arg == Arg::Value(value) => {
                    self.read |= narrow.whole;
                    self.looked_up |= !narrow.whole;
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
