//! Programs, graphs, nodes and values.

use std::sync::Arc;

use crosslatch_kernels::{DType, Layout};

use super::operator::Operator;
use super::size::Size;

pub use super::arg::{Arg, ValueId};

/// A program: one method of a model.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name: `model`, `encoder`, `decoder`, …
    pub name: String,
    /// The symbols that sizes are made of, each with its range.
    pub symbols: Vec<Symbol>,
    /// What comes from outside; slot `i` is input `i` of the graph.
    pub slots: Vec<Slot>,
    /// The computation.
    pub graph: Graph,
    /// What becomes of each output of the graph.
    pub outputs: Vec<Output>,
}

/// A symbol in sizes, such as a batch size or a number of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name: `s0`.
    pub name: String,
    /// The smallest value that the program was exported for.
    pub min: i64,
    /// The largest value, if there is a bound.
    pub max: Option<i64>,
}

/// Something that a program gets from outside.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its name for people: that of the input, or of the parameter in the model.
    pub name: String,
    /// Where it comes from and how long it lives.
    pub kind: SlotKind,
}

/// Where a slot comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// Given at each run.
    Input,
    /// Computed by another method, once for each set of latched inputs, and read at each run
    /// (`passes::latch`).
    Latched,
    /// Computed by an earlier segment of the same run (`passes::segments`).
    Segment,
    /// Left by the last run of this method, or by the method that runs before it (`passes::carry`).
    Carried,
    /// A parameter, buffer or constant that no run changes. All sessions read the same memory.
    Weight,
    /// A buffer that runs change. Each session has its own, which starts as the file has it.
    State,
}

/// What becomes of an output of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Returned under this name.
    User(String),
    /// Becomes the contents of a slot when the run ends: how functional graphs express a write.
    Mutation {
        /// Index among the slots.
        slot: usize,
    },
}

/// A graph of operator calls, in order.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// All values, inputs included.
    pub values: Vec<Value>,
    /// The values that the graph is given.
    pub inputs: Vec<ValueId>,
    /// The calls, in the order in which they mean to run.
    pub nodes: Vec<Node>,
    /// What the graph returns: values, or constants.
    pub outputs: Vec<Arg>,
}

impl Graph {
    /// A value by its index.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// The type of a value, if it is a tensor.
    pub fn tensor(&self, id: ValueId) -> Option<&TensorType> {
        match &self.value(id).ty {
            ValueType::Tensor(ty) => Some(ty),
            _ => None,
        }
    }

    /// Adds a value and returns its index.
    pub fn add_value(&mut self, name: impl Into<String>, ty: ValueType) -> ValueId {
        let id = ValueId(self.values.len() as u32);
        self.values.push(Value {
            name: name.into(),
            ty,
        });
        id
    }
}

/// A value: what a node or an input of a graph defines, once.
#[derive(Clone, Debug)]
pub struct Value {
    /// Its name, unique in its graph.
    pub name: String,
    /// Its type.
    pub ty: ValueType,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueType {
    /// A tensor.
    Tensor(TensorType),
    /// An integer that depends on sizes.
    Int,
    /// A float that depends on sizes.
    Float,
    /// A bool that depends on sizes.
    Bool,
}

/// Element type and sizes of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorType {
    /// The element type.
    pub dtype: DType,
    /// Length of each dimension.
    pub sizes: Vec<Size>,
}

impl TensorType {
    /// Element type and contiguous layout, with the values of symbols from `lookup`; `None` if a size
    /// cannot be computed from them or is negative.
    pub fn with_sizes(&self, lookup: &dyn Fn(&str) -> Option<i64>) -> Option<(DType, Layout)> {
        let size = |size: &Size| usize::try_from(size.eval(lookup)?).ok();
        let shape: Option<Vec<usize>> = self.sizes.iter().map(size).collect();
        Some((self.dtype, Layout::contiguous(&shape?)))
    }
}

/// A call of an operator.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is called.
    pub op: Arc<Operator>,
    /// One entry for each argument of the schema.
    pub args: Vec<Arg>,
    /// The graphs that a control operator carries, as [`Control`](super::control::Control) lists them; empty for others.
    pub regions: Vec<Graph>,
    /// What the call defines.
    pub results: Vec<ValueId>,
    /// Where in the model it comes from.
    pub provenance: Provenance,
}

/// Where in the model a call comes from, as far as the file says.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// The line of the model: file, number and text.
    pub line: Option<Arc<str>>,
    /// The module by its name in the model, `decoder.layers.0.fc1`; empty for the model itself.
    pub module: Option<Arc<str>>,
}

impl Node {
    /// The argument with this name, if the operator has one.
    pub fn argument(&self, name: &str) -> Option<&Arg> {
        self.args.get(self.op.schema.position(name)?)
    }

    /// All values among the arguments, in order. Regions see no others.
    pub fn operands(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.args.iter().flat_map(Arg::values)
    }
}
