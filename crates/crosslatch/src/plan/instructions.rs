//! What a lowered method is made of: storages, places in them, and instructions.
//!
//! Instructions form a tree, because a `cond` or a loop holds lists of its own, one for each region.
//! Program order is the order in which the tree is printed: a `cond` before its branches, the first
//! branch before the second. Passes walk it with [`in_program_order`].

use std::sync::Arc;

use crosslatch_kernels::{DType, Kernel, Layout};

use crate::tensor::Tensor;

/// Position of an instruction in program order; the end of the run is one past the last.
pub type Position = usize;

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
    /// Bytes of it that are ever used. They are fewer than `bytes` where a value is laid out as its
    /// destination is ([`super::destination`]).
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
        /// Whether the kernel changes only a part of its outputs, so that the rest survives.
        partial: bool,
        /// Arithmetic operations, about.
        flops: u64,
        /// Bytes read and written, about; `None` for the bytes of all operands and results.
        bytes: Option<u64>,
        /// The node.
        node: Arc<str>,
    },
    /// Copy a tensor.
    Copy(Copy),
    /// Execute one of two lists.
    Cond {
        /// A tensor of one element.
        predicate: Place,
        /// What to do if it is true, and if it is false.
        branches: [Vec<Inst>; 2],
        /// For each branch, the state slots that it needs filled and that the other branch fills.
        needs: [Vec<usize>; 2],
        /// The node.
        node: Arc<str>,
    },
    /// Execute a list again and again.
    Loop {
        /// How often.
        turns: Turns,
        /// What comes before each turn, with an [`Inst::Test`] at its end, if the turns are not counted;
        /// and what each turn does.
        regions: [Vec<Inst>; 2],
        /// The node.
        node: Arc<str>,
    },
    /// Leave the innermost loop unless this tensor of one element is true.
    Test {
        /// The tensor.
        predicate: Place,
    },
}

/// How many turns a loop takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// One for as long as a test holds.
    While,
    /// This many, at least one.
    Times(usize),
}

impl Inst {
    /// The lists in it: the branches of a `cond`, what a loop repeats.
    fn regions(&self) -> &[Vec<Inst>] {
        match self {
            Inst::Cond { branches, .. } => branches,
            Inst::Loop { regions, .. } => regions,
            Inst::Run { .. } | Inst::Copy(_) | Inst::Test { .. } => &[],
        }
    }

    /// As [`regions`](Inst::regions), to change them.
    pub fn regions_mut(&mut self) -> &mut [Vec<Inst>] {
        match self {
            Inst::Cond { branches, .. } => branches,
            Inst::Loop { regions, .. } => regions,
            Inst::Run { .. } | Inst::Copy(_) | Inst::Test { .. } => &mut [],
        }
    }
}

/// All instructions of these and of their regions, in program order.
pub fn in_program_order(insts: &[Inst]) -> InProgramOrder<'_> {
    InProgramOrder {
        open: vec![insts.iter()],
    }
}

/// The iterator of [`in_program_order`].
pub struct InProgramOrder<'i> {
    /// What is left of the lists that are being walked, the innermost last.
    open: Vec<std::slice::Iter<'i, Inst>>,
}

impl<'i> Iterator for InProgramOrder<'i> {
    type Item = &'i Inst;

    fn next(&mut self) -> Option<&'i Inst> {
        while let Some(list) = self.open.last_mut() {
            if let Some(inst) = list.next() {
                let regions = inst.regions().iter().rev();
                self.open.extend(regions.map(|region| region.iter()));
                return Some(inst);
            }
            self.open.pop();
        }
        None
    }
}

/// Changes all instructions of these and of their regions, in program order.
pub fn for_each_mut(insts: &mut [Inst], change: &mut impl FnMut(&mut Inst)) {
    for inst in insts {
        change(inst);
        for region in inst.regions_mut() {
            for_each_mut(region, change);
        }
    }
}

/// Identifies a copy of a lowered method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CopyId(pub usize);

/// A copy that the meaning of the program asks for.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Its identity.
    pub id: CopyId,
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
    /// The program asks for a copy: `clone`, `contiguous`.
    Explicit,
    /// A write whose source may share memory with its target.
    OverlappingSource,
    /// An operator stores a tensor in a part of another one.
    Assignment,
    /// A `cond` returns what a branch computed.
    BranchResult,
    /// A loop carries it to the next turn.
    Carried,
    /// A buffer takes its new contents.
    Mutation,
    /// An in-place operator stores its result.
    InPlaceResult,
    /// An output must not be the caller's own input, which may be gone when the output is read.
    ReturnedInput,
    /// A segment returns what lies in the state, which the next one may write.
    ReturnedState,
}

/// A lowered method.
pub struct Lowered {
    /// All storages.
    pub storages: Vec<StorageInfo>,
    /// What to do.
    pub insts: Vec<Inst>,
    /// The named outputs.
    pub outputs: Vec<(String, LoweredOutput)>,
    /// Results of `cond`s that share memory with another value after one branch only.
    pub joins: Vec<Join>,
    /// The tensors of the program, for reports.
    pub values: Vec<NamedValue>,
    /// Whether another segment of the run follows, which reads the outputs while it works on the state.
    pub is_continued: bool,
}

impl Lowered {
    /// All copies, in program order.
    pub fn copies(&self) -> impl Iterator<Item = &Copy> {
        in_program_order(&self.insts).filter_map(|inst| match inst {
            Inst::Copy(copy) => Some(copy),
            _ => None,
        })
    }

    /// The places of the outputs that lie in memory.
    pub fn output_places(&self) -> impl Iterator<Item = &Place> {
        self.outputs.iter().filter_map(|(_, output)| match output {
            LoweredOutput::Place(place) => Some(place),
            LoweredOutput::Constant(_) => None,
        })
    }
}

/// The copies of a lowered method by their identity.
pub struct Copies<'l>(Vec<Option<&'l Copy>>);

impl<'l> Copies<'l> {
    /// The copies of this method.
    pub fn of(lowered: &'l Lowered) -> Copies<'l> {
        let mut by_id = Vec::new();
        for copy in lowered.copies() {
            if by_id.len() <= copy.id.0 {
                by_id.resize(copy.id.0 + 1, None);
            }
            by_id[copy.id.0] = Some(copy);
        }
        Copies(by_id)
    }
}

impl std::ops::Index<CopyId> for Copies<'_> {
    type Output = Copy;

    fn index(&self, id: CopyId) -> &Copy {
        self.0[id.0].unwrap_or_else(|| unreachable!("{id:?} is no copy of this method"))
    }
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

/// A result of a `cond` that shares memory with another value after one branch and not after the
/// other.
pub struct Join {
    /// The result.
    pub result: StorageId,
    /// Memory from outside the `cond`, or another result of it.
    pub operand: StorageId,
    /// The `cond`.
    pub node: Arc<str>,
}

/// An output of a lowered method.
pub enum LoweredOutput {
    /// In memory.
    Place(Place),
    /// Known without running.
    Constant(Tensor),
}
