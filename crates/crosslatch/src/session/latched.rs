//! Whether latched inputs are still the ones that the latched values were computed from.
//!
//! A session is not told that a new input has begun, so it finds out: a tensor of the caller's is
//! compared with a copy of the one before, byte for byte; for an output of another method, the number
//! of the run that made it is enough. So there is no predicate that could become stale, and a session
//! that is given outputs where they lie compares no bytes at all.

use crosslatch_kernels::{DType, Layout, TensorRef};

/// One latched input, as a run is given it.
#[derive(Clone, Copy, Debug)]
pub enum Given<'a> {
    /// A tensor of the caller's.
    Tensor(TensorRef<'a>),
    /// An output of this run of this method.
    Output {
        /// Index of the method.
        method: usize,
        /// Which of its runs.
        run: u64,
        /// Which of its outputs.
        name: &'a str,
    },
}

/// What latched values were computed from.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    inputs: Vec<SeenInput>,
    /// Which run computed them, if they have been computed.
    run: Option<u64>,
}

#[derive(Clone, Debug)]
enum SeenInput {
    Tensor(DType, Layout, Vec<u8>),
    Output(usize, u64, String),
}

impl Seen {
    /// Whether the values that this run computed are those for these inputs.
    pub fn is(&self, run: u64, given: &[Given<'_>]) -> bool {
        self.run == Some(run)
            && self.inputs.len() == given.len()
            && self.inputs.iter().zip(given).all(|(seen, g)| seen.is(g))
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        self.run = None;
    }

    /// Remembers what this run computed values from.
    pub fn remember(&mut self, run: u64, given: &[Given<'_>]) {
        self.inputs.clear();
        self.inputs.extend(given.iter().map(SeenInput::of));
        self.run = Some(run);
    }
}

impl SeenInput {
    fn of(given: &Given<'_>) -> SeenInput {
        match *given {
            Given::Tensor(tensor) => SeenInput::Tensor(
                tensor.dtype(),
                tensor.layout().clone(),
                tensor.bytes().to_vec(),
            ),
            Given::Output { method, run, name } => SeenInput::Output(method, run, name.to_owned()),
        }
    }

    fn is(&self, given: &Given<'_>) -> bool {
        match (self, given) {
            (SeenInput::Tensor(dtype, layout, bytes), Given::Tensor(tensor)) => {
                *dtype == tensor.dtype() && layout == tensor.layout() && bytes == tensor.bytes()
            }
            (
                SeenInput::Output(seen_method, seen_run, seen_name),
                Given::Output { method, run, name },
            ) => seen_method == method && seen_run == run && seen_name == name,
            _ => false,
        }
    }
}
