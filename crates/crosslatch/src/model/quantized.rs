//! The weights of a model in a precision other than that of its file.
//!
//! The weights that [`passes::quantize`](crate::passes::quantize) picks are converted when the first
//! session asks for them, by all its threads, and then belong to the model: all sessions share
//! them, and the file's bytes are not touched again. Methods that share a payload share its
//! conversion.

use std::collections::HashMap;
use std::ops::Range;

use crosslatch_kernels::movement::{Unquantized, quantize};
use crosslatch_kernels::tensor::{QuantizeError, WeightFormat};
use crosslatch_kernels::{DType, Storage, Threads};

use super::contents::Contents;
use super::method::Method;
use crate::memory::{MemoryError, MemoryLimit};
use crate::passes::quantize::{Reason, not_quantized};
use crate::pt2::weights::Source;

/// The weights of a model in one precision, and where each slot finds its own.
#[derive(Debug)]
pub struct QuantizedWeights {
    storage: Storage,
    slots: Vec<Vec<Stored>>,
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
    /// Quantizes the weights of these methods, whose payloads are in `contents`.
    ///
    /// # Errors
    /// If they take more memory than the limit allows.
    pub(super) fn of(
        methods: &[Method],
        contents: &Contents,
        format: WeightFormat,
        threads: &Threads,
        limit: MemoryLimit,
    ) -> Result<QuantizedWeights, MemoryError> {
        let mut allocation = Allocation::default();
        let methods = methods.iter();
        let mut slots: Vec<Vec<Stored>> = methods
            .map(|method| allocation.of_method(method, format))
            .collect();
        let mut storage = limit.allocate(allocation.bytes, 0)?;
        let mut unfit = HashMap::new();
        for (payload, range) in &allocation.ranges {
            let to = &mut storage.bytes_mut()[range.clone()];
            if let Err(error) = payload.encode(contents, format, to, threads) {
                unfit.insert(range.start, error);
            }
        }
        for stored in slots.iter_mut().flatten() {
            if let Stored::Quantized(_, range) = stored
                && let Some(error) = unfit.get(&range.start)
            {
                *stored = Stored::AsTyped(Reason::Unfit(*error));
            }
        }
        Ok(QuantizedWeights { storage, slots })
    }

    /// The quantized weights.
    pub fn bytes(&self) -> &[u8] {
        self.storage.bytes()
    }

    /// How each slot of a method is stored.
    pub fn slots(&self, method: usize) -> &[Stored] {
        &self.slots[method]
    }
}

/// A matrix in a file.
#[derive(PartialEq, Eq, Hash)]
struct Payload {
    source: Source,
    stored: DType,
    /// Index of its first element in the payload.
    offset: usize,
    rows: usize,
    columns: usize,
}

impl Payload {
    fn encode(
        &self,
        contents: &Contents,
        format: WeightFormat,
        to: &mut [u8],
        threads: &Threads,
    ) -> Result<(), QuantizeError> {
        let size = self.stored.size();
        let payload = contents.bytes(&self.source).unwrap_or_default();
        // A payload may be longer than its matrix, and a matrix without elements may begin anywhere.
        let behind = payload.get(self.offset * size..).unwrap_or_default();
        let bytes = &behind[..self.rows * self.columns * size];
        let from = match self.stored {
            DType::F16 => Unquantized::F16(bytemuck::cast_slice(bytes)),
            DType::BF16 => Unquantized::Bf16(bytemuck::cast_slice(bytes)),
            _ => Unquantized::F32(bytemuck::cast_slice(bytes)),
        };
        let passed = |elements: Range<usize>| {
            let part = (self.offset + elements.start) * size..(self.offset + elements.end) * size;
            contents.release(&self.source.part(part));
        };
        let result = quantize(
            format,
            from,
            [self.rows, self.columns],
            to,
            threads,
            &passed,
        );
        // Touching a page brings in its neighbours again, whether they were released or not.
        contents.release(&self.source);
        result
    }
}

/// Where each payload goes in the quantized weights.
#[derive(Default)]
struct Allocation {
    ranges: HashMap<Payload, Range<usize>>,
    bytes: usize,
}

impl Allocation {
    fn of_method(&mut self, method: &Method, format: WeightFormat) -> Vec<Stored> {
        let reasons = not_quantized(&method.program).into_iter();
        let slots = reasons.zip(&method.bindings);
        slots
            .map(|(reason, weight)| {
                let (None, Some(weight)) = (&reason, weight) else {
                    return Stored::AsTyped(reason.unwrap_or(Reason::NotAWeight));
                };
                if !weight.layout.is_contiguous() {
                    return Stored::AsTyped(Reason::Strided);
                }
                if (weight.stored, format) == (DType::BF16, WeightFormat::Bf16) {
                    return Stored::AsTyped(Reason::StoredSo(DType::BF16));
                }
                let payload = Payload {
                    source: weight.source.clone(),
                    stored: weight.stored,
                    offset: weight.layout.offset,
                    rows: weight.layout.shape[0],
                    columns: weight.layout.shape[1],
                };
                match self.place(payload, format) {
                    Ok(range) => Stored::Quantized(format, range),
                    Err(error) => Stored::AsTyped(Reason::Unfit(error)),
                }
            })
            .collect()
    }

    fn place(
        &mut self,
        payload: Payload,
        format: WeightFormat,
    ) -> Result<Range<usize>, QuantizeError> {
        if let Some(range) = self.ranges.get(&payload) {
            return Ok(range.clone());
        }
        let start = self.bytes.next_multiple_of(64);
        let end = format
            .bytes(payload.rows, payload.columns)?
            .checked_add(start);
        let range = start..end.ok_or(QuantizeError::TooLarge)?;
        self.bytes = range.end;
        self.ranges.insert(payload, range.clone());
        Ok(range)
    }
}
