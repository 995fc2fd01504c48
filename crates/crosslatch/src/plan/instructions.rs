//! What a lowered method is made of: storages, places in them, and instructions.

use std::sync::Arc;

use crosslatch_kernels::{DType, Kernel, Layout};

use crate::tensor::Tensor;

/// Index of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorageId(pub usize);

/// Memory that values live in.
#[derive(Clone, Debug)]
pub struct StorageInfo {
    /// Where it comes from.
    pub origin: Origin,
    /// Bytes.
    pub bytes: usize,
    /// Bytes of it that are ever used: fewer than all where a value lies spread, to fit a place in
    /// other memory ([`super::spread`]).
    pub contents: usize,
}

/// Where a storage comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The tensor given as the n-th input; it may not be written.
    Input(usize),
    /// The weight in this slot; it may not be written.
    Weight(usize),
    /// The state in this slot; its contents outlive the run.
    State(usize),
    /// Memory of this run.
    Fresh,
}

/// A tensor in a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The storage.
    pub storage: StorageId,
    /// The element type.
    pub dtype: DType,
    /// The layout, in elements from the start of the storage.
    pub layout: Layout,
}

impl Place {
    /// Bytes of the tensor.
    pub fn bytes(&self) -> usize {
        self.layout.numel() * self.dtype.size()
    }
}

/// An instruction.
pub enum Inst {
    /// Run a kernel.
    Run {
        /// The computation.
        kernel: Box<dyn Kernel>,
        /// What it reads.
        inputs: Vec<Place>,
        /// What it writes.
        outputs: Vec<Place>,
        /// Whether the outputs' other contents survive: the kernel changes a part.
        partial: bool,
        /// Arithmetic operations, about.
        flops: u64,
        /// Bytes read and written, about, if not those of all operands and results.
        bytes: Option<u64>,
        /// The node.
        node: Arc<str>,
    },
    /// Copy a tensor.
    Copy(Copy),
    /// One of two lists.
    Cond {
        /// One element.
        predicate: Place,
        /// If it is true, and if it is false.
        branches: [Vec<Inst>; 2],
        /// For each branch, the state slots that it needs filled, and the other one fills.
        needs: [Vec<usize>; 2],
        /// The node.
        node: Arc<str>,
    },
}

/// A copy that the meaning of the program asks for.
#[derive(Clone, Debug)]
pub struct Copy {
    /// What is read.
    pub from: Place,
    /// What is written.
    pub to: Place,
    /// Why.
    pub why: CopyReason,
    /// The value that the copy makes.
    pub node: Arc<str>,
}

/// Why the program asks for a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyReason {
    /// A functional update leaves its operand as it was.
    FunctionalUpdate,
    /// `clone`, `contiguous`: the program says copy.
    Explicit,
    /// A write whose source may share memory with its target.
    OverlappingSource,
    /// An operator stores a tensor in a part of another one.
    Assignment,
    /// A `cond` returns what a branch computed.
    BranchResult,
    /// A buffer takes its new contents.
    Mutation,
    /// An in-place operator stores its result.
    InPlaceResult,
    /// What is returned must not be the caller's own input, which may be gone when it is read.
    ReturnedInput,
}

/// A lowered method.
pub struct Lowered {
    /// All storages.
    pub storages: Vec<StorageInfo>,
    /// What to do.
    pub insts: Vec<Inst>,
    /// The named outputs.
    pub outputs: Vec<(String, LoweredOutput)>,
    /// Results of `cond`s that are other memory after one branch only.
    pub joins: Vec<Join>,
    /// The tensors of the program, for reports.
    pub values: Vec<NamedValue>,
}

/// A tensor of the program and the storage that it lives in.
pub struct NamedValue {
    /// Its name; inside a branch, behind the names of the `cond` and the branch: `k/then/p`.
    pub name: String,
    /// The storage.
    pub storage: StorageId,
    /// What made it: an operator, or for a `cond` what its branches return.
    pub made_by: String,
}

/// A result of a `cond` that is other memory after one branch and not after the other.
pub struct Join {
    /// The result.
    pub result: StorageId,
    /// Memory from outside the `cond`, or an earlier result of it.
    pub operand: StorageId,
    /// The `cond`.
    pub node: Arc<str>,
}

/// An output of a lowered method.
pub enum LoweredOutput {
    /// In memory.
    Place(Place),
    /// Known.
    Constant(Tensor),
}
