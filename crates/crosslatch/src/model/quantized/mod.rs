//! The weights of a model in a precision other than that of its file.
//!
//! The weights that [`passes::quantize`](crate::passes::quantize) picks are converted when the first
//! session asks for them, by all its threads, and then belong to the model: all sessions share
//! them, and the file's bytes are not touched again. Methods that share a payload share its
//! conversion. They can be kept for the next process ([`kept`]).

mod allocation;
mod kept;

use std::ops::Range;

use crosslatch_kernels::tensor::WeightFormat;
use crosslatch_kernels::{FileContents, Storage, Threads};

use super::contents::Contents;
use super::method::Method;
use crate::error::Error;
use crate::memory::MemoryLimit;
use crate::passes::quantize::Reason;
use crate::precision::Precision;

use allocation::{Found, Matrices};
use kept::Kept;

/// The weights of a model in one precision, and where each slot finds its own.
#[derive(Debug)]
pub struct QuantizedWeights {
    memory: Memory,
    slots: Vec<Vec<Stored>>,
}

/// Where the bytes are.
#[derive(Debug)]
enum Memory {
    Converted(Storage),
    /// In a part of a file that another session left.
    Kept(FileContents, Range<usize>),
}

/// How a slot is stored.
#[derive(Clone, Debug)]
pub enum Stored {
    /// In this format, in this part of the quantized weights.
    Quantized(WeightFormat, Range<usize>),
    /// In its own type, for this reason.
    AsTyped(Reason),
}

impl Stored {
    /// The format, if the slot is quantized.
    pub fn format(&self) -> Option<WeightFormat> {
        match self {
            Stored::Quantized(format, _) => Some(*format),
            Stored::AsTyped(_) => None,
        }
    }
}

impl QuantizedWeights {
    /// The weights of these methods in a precision other than `f32`, whose payloads are in
    /// `contents`: quantized, or those that were kept.
    ///
    /// # Errors
    /// If they take more memory than the limit allows, or are to be kept and cannot be.
    pub(super) fn of(
        methods: &[Method],
        contents: &Contents,
        precision: Precision,
        threads: &Threads,
        limit: MemoryLimit,
    ) -> Result<QuantizedWeights, Error> {
        let matrices = Matrices::of(methods, precision.format().unwrap_or(WeightFormat::Bf16));
        let kept = contents.kept_in.lock().unwrap_or_else(|p| p.into_inner());
        let is_file = contents.path.is_some() && !matrices.all.is_empty();
        let kept = kept.as_deref().filter(|_| is_file);
        let kept = kept.map(|folder| Kept::new(folder, contents, &matrices, precision));
        if let Some((file, part, found)) = kept.as_ref().and_then(|kept| kept.open(&matrices)) {
            let (ranges, _) = matrices.lay_out(&found).unwrap_or_default();
            return Ok(QuantizedWeights {
                memory: Memory::Kept(file, part),
                slots: matrices.stored(&ranges, &found),
            });
        }
        let wide = matrices.wide_columns(contents, threads);
        let found = wide.iter().map(|wide| Found {
            wide: wide.len(),
            unfit: None,
        });
        let mut found: Vec<Found> = found.collect();
        // What is too large for one block is too large for the limit.
        let (ranges, bytes) = matrices.lay_out(&found).unwrap_or((Vec::new(), usize::MAX));
        let storage = limit.allocate(bytes, 0);
        let mut storage = storage.map_err(|source| Error::Memory {
            what: format!("weights in {precision}"),
            source,
        })?;
        for (i, (matrix, range)) in matrices.all.iter().zip(&ranges).enumerate() {
            let to = &mut storage.bytes_mut()[range.clone()];
            found[i].unfit = matrix.convert(contents, &wide[i], to, threads).err();
        }
        if let Some(kept) = kept {
            kept.save(&found, storage.bytes())?;
        }
        Ok(QuantizedWeights {
            memory: Memory::Converted(storage),
            slots: matrices.stored(&ranges, &found),
        })
    }

    /// The quantized weights.
    pub fn bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Converted(storage) => storage.bytes(),
            Memory::Kept(file, part) => &file.bytes()[part.clone()],
        }
    }

    /// Whether they come from a file that another session left.
    pub fn were_kept(&self) -> bool {
        matches!(self.memory, Memory::Kept(..))
    }

    /// How each slot of a method is stored.
    pub fn slots(&self, method: usize) -> &[Stored] {
        &self.slots[method]
    }
}
