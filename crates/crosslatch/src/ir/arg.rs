//! Arguments as a program writes them: values of the graph and constants.

use crosslatch_kernels::DType;

/// Index of a value in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

impl ValueId {
    /// The index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An argument of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// Not given.
    None,
    /// A value of the graph.
    Value(ValueId),
    /// A list of tensors; entries may be missing.
    Values(Vec<Option<ValueId>>),
    /// An integer.
    Int(i64),
    /// A list of numbers, each a constant or a value.
    List(Vec<Arg>),
    /// A float.
    Float(f64),
    /// A bool.
    Bool(bool),
    /// A string.
    Str(String),
    /// An element type.
    DType(DType),
}

impl Arg {
    /// The value that this argument is, if it is one.
    pub fn value(&self) -> Option<ValueId> {
        match self {
            Arg::Value(id) => Some(*id),
            _ => None,
        }
    }

    /// The values that this argument refers to.
    pub fn values(&self) -> Box<dyn Iterator<Item = ValueId> + '_> {
        match self {
            Arg::Value(v) => Box::new(std::iter::once(*v)),
            Arg::Values(list) => Box::new(list.iter().flatten().copied()),
            Arg::List(list) => Box::new(list.iter().flat_map(Arg::values)),
            _ => Box::new(std::iter::empty()),
        }
    }
}

impl From<ValueId> for Arg {
    fn from(value: ValueId) -> Arg {
        Arg::Value(value)
    }
}

impl From<i64> for Arg {
    fn from(value: i64) -> Arg {
        Arg::Int(value)
    }
}

impl From<f64> for Arg {
    fn from(value: f64) -> Arg {
        Arg::Float(value)
    }
}

impl From<bool> for Arg {
    fn from(value: bool) -> Arg {
        Arg::Bool(value)
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Arg {
        Arg::Str(value.to_owned())
    }
}

impl From<DType> for Arg {
    fn from(value: DType) -> Arg {
        Arg::DType(value)
    }
}

impl From<&[i64]> for Arg {
    fn from(values: &[i64]) -> Arg {
        Arg::List(values.iter().copied().map(Arg::Int).collect())
    }
}

impl From<&[ValueId]> for Arg {
    fn from(values: &[ValueId]) -> Arg {
        Arg::Values(values.iter().copied().map(Some).collect())
    }
}
