//! What a kernel is: a prepared computation over borrowed tensors.
//!
//! An operator's attributes (a dimension, a scale, an epsilon) are known when a plan is made, so a
//! kernel is an object, most often a closure, that has captured them. What differs from run to run
//! is memory only. A kernel must work for any strides of its operands; it may be faster for some.
//! It allocates nothing on the heap: working memory is asked for with [`Kernel::scratch_bytes`] and
//! planned with everything else.

use std::sync::Mutex;

use crate::simd::functions::Function;
use crate::tensor::view::TensorError;
use crate::{Layout, Storage, TensorMut, TensorRef, Threads};

/// Why a kernel could not do its work: something in the data, found while running.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// An index points outside the dimension it indexes.
    #[error("index {index} is out of range for a dimension of length {len}")]
    IndexOutOfRange {
        /// The index as it was given.
        index: i64,
        /// Length of the dimension.
        len: usize,
    },
    /// Integer division by zero.
    #[error("integer division by zero")]
    DivisionByZero,
    /// An assertion that is part of the program did not hold.
    #[error("an assertion in the program failed: {0}")]
    Assertion(String),
}

/// A view that a kernel makes for itself does not fit: a bug, not a fault of the data.
impl From<TensorError> for KernelError {
    fn from(error: TensorError) -> KernelError {
        KernelError::Assertion(error.to_string())
    }
}

/// The memory that one run of a kernel works on.
pub struct Operands<'c, 'm> {
    /// Tensors to read, in the order of the operator's tensor arguments.
    pub inputs: &'c [TensorRef<'m>],
    /// Tensors to fill. For an update, `outputs[0]` already holds the contents to be changed.
    pub outputs: &'c mut [TensorMut<'m>],
    /// Working memory of [`Kernel::scratch_bytes`] bytes, aligned to 64, with any contents.
    pub scratch: &'c mut [u8],
    /// The threads to work with.
    pub threads: &'c Threads,
}

/// The first entries of a dimension of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries {
    /// The dimension.
    pub dim: usize,
    /// Their number.
    pub end: usize,
}

/// A prepared computation.
pub trait Kernel: Send + Sync {
    /// Bytes of working memory that a run needs.
    fn scratch_bytes(&self) -> usize {
        0
    }

    /// Destination passing: whether the kernel can write its first result in this layout. The
    /// layout's elements, in row-major order, are those of the result in row-major order; its
    /// dimensions may be finer than the result's: a projection `[t, h * d]` may be asked to fill
    /// `[t, h, d]` with the heads far apart, which is where a cache wants them.
    fn accepts(&self, _layout: &Layout) -> bool {
        false
    }

    /// The elementwise function, if that is all this kernel does.
    fn elementwise_function(&self) -> Option<Function> {
        None
    }

    /// This kernel with an elementwise function as its epilogue: the function is applied to each
    /// result while it is at hand. The bits are those of two kernels, one after the other.
    fn with_epilogue(&self, _function: Function) -> Option<Box<dyn Kernel>> {
        None
    }

    /// For an update: where a run on these inputs writes, if it is known; else it may write all of
    /// `outputs[0]`.
    fn entries_written(&self, _inputs: &[TensorRef<'_>]) -> Option<Entries> {
        None
    }

    /// Computes `outputs` from `inputs`.
    fn run(&self, operands: &mut Operands<'_, '_>) -> Result<(), KernelError>;

    /// Step batching: does the same for several sets of operands, those of sessions that take the
    /// same step at the same time. The results are those of as many runs, bit for bit; a kernel
    /// that reads a weight may read it once for all of them. `memory` is grown as needed, and is
    /// best kept for the next time.
    fn run_batched(
        &self,
        many: &mut [Operands<'_, '_>],
        memory: &mut Storage,
    ) -> Result<(), KernelError> {
        let _ = memory;
        run_each(self, many)
    }
}

/// Runs a kernel on several sets of operands, each on one thread: most kernels of a decoder step
/// are too small to be worth splitting.
pub fn run_each<K: Kernel + ?Sized>(
    kernel: &K,
    many: &mut [Operands<'_, '_>],
) -> Result<(), KernelError> {
    let Some(threads) = many.first().map(|operands| operands.threads) else {
        return Ok(());
    };
    let failed = Mutex::new(Ok(()));
    let many: Vec<_> = many.iter_mut().map(Mutex::new).collect();
    threads.run(many.len(), &|i| {
        let result = match many[i].lock() {
            Ok(mut operands) => kernel.run(&mut operands),
            Err(_) => unreachable!("each is locked once"),
        };
        if let (Err(error), Ok(mut failed)) = (result, failed.lock()) {
            *failed = Err(error);
        }
    });
    failed.into_inner().unwrap_or(Ok(()))
}

impl<F> Kernel for F
where
    F: Fn(&mut Operands<'_, '_>) -> Result<(), KernelError> + Send + Sync,
{
    fn run(&self, operands: &mut Operands<'_, '_>) -> Result<(), KernelError> {
        self(operands)
    }
}

/// A kernel that can write its result in other layouts than the contiguous one.
pub struct AnyLayout<A, F> {
    /// Which layouts it can write ([`Kernel::accepts`]).
    pub accepts: A,
    /// The computation.
    pub run: F,
}

impl<A, F> Kernel for AnyLayout<A, F>
where
    A: Fn(&Layout) -> bool + Send + Sync,
    F: Fn(&mut Operands<'_, '_>) -> Result<(), KernelError> + Send + Sync,
{
    fn accepts(&self, layout: &Layout) -> bool {
        (self.accepts)(layout)
    }

    fn run(&self, operands: &mut Operands<'_, '_>) -> Result<(), KernelError> {
        (self.run)(operands)
    }
}

/// A kernel with working memory.
pub struct WithScratch<F> {
    /// Bytes of working memory that a run needs.
    pub bytes: usize,
    /// The computation.
    pub run: F,
}

impl<F> Kernel for WithScratch<F>
where
    F: Fn(&mut Operands<'_, '_>) -> Result<(), KernelError> + Send + Sync,
{
    fn scratch_bytes(&self) -> usize {
        self.bytes
    }

    fn run(&self, operands: &mut Operands<'_, '_>) -> Result<(), KernelError> {
        (self.run)(operands)
    }
}
