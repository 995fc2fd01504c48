//! The precision that weights are stored in, and that products are computed in.
//!
//! A model is opened once and may run in several precisions. For each but `f32`, the weights that
//! [`passes::quantize`](crate::passes::quantize) picks are converted when the first session asks for it,
//! by all its threads, and then belong to the model: all sessions share them, and the file's `f32`
//! bytes are not touched again. Methods that share a payload share its conversion.

use std::collections::HashMap;
use std::ops::Range;

use crosslatch_kernels::tensor::quantized::{Format, NarrowError};
use crosslatch_kernels::{Storage, Threads};

use crate::ir::KernelSet;
use crate::memory::{MemoryError, MemoryLimit};
use crate::model::{Method, Model};
use crate::passes::quantize::{Reason, quantizable};
use crate::pt2::weights::Source;

/// How the weights of linear layers are stored, and how finely products are computed. Sums, and all
/// that lies in memory otherwise, are as the program types them. Where a precision is not `f32` and the
/// machine has instructions for it, the operands of products with many rows are rounded: to bf16 in
/// attention and with bf16 weights, to 8 or 16 bits with int8 weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As in the file.
    #[default]
    F32,
    /// Half the bytes; about three digits of each weight.
    Bf16,
    /// A quarter of the bytes; each weight is a whole number up to 127 times a scale of its output
    /// channel.
    Int8,
}

/// A name that is no precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no precision; there are f32, bf16 and int8")]
pub struct UnknownPrecision(String);

impl Precision {
    /// All of them, the widest first.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];

    /// Its name.
    pub fn name(self) -> &'static str {
        self.format().map_or("f32", Format::name)
    }

    /// The kernels for this precision, of those that are asked for.
    pub(crate) fn kernels(self, asked: KernelSet) -> KernelSet {
        match (self, asked) {
            (Precision::F32, _) | (_, KernelSet::Plain) => asked,
            _ => KernelSet::LowPrecision,
        }
    }

    /// The format of narrowed weights.
    pub fn format(self) -> Option<Format> {
        match self {
            Precision::F32 => None,
            Precision::Bf16 => Some(Format::Bf16),
            Precision::Int8 => Some(Format::Int8),
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Precision, UnknownPrecision> {
        let mut all = Precision::ALL.into_iter();
        all.find(|p| p.name() == name)
            .ok_or_else(|| UnknownPrecision(name.to_owned()))
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// How the slots of a model are stored in a narrow precision.
#[derive(Debug)]
pub struct Narrowed {
    storage: Storage,
    slots: Vec<Vec<Stored>>,
}

/// How a slot is stored.
#[derive(Clone, Debug)]
pub enum Stored {
    /// In a narrow format, in this part of the narrowed weights.
    Narrow(Format, Range<usize>),
    /// As it is typed.
    AsTyped(Reason),
}

impl Stored {
    /// The narrow format, if it is in one.
    pub fn format(&self) -> Option<Format> {
        match self {
            Stored::Narrow(format, _) => Some(*format),
            Stored::AsTyped(_) => None,
        }
    }
}

impl Narrowed {
    /// Converts the weights of a model.
    ///
    /// # Errors
    /// If they take more memory than the limit allows.
    pub(crate) fn of(
        model: &Model,
        format: Format,
        threads: &Threads,
        limit: MemoryLimit,
    ) -> Result<Narrowed, MemoryError> {
        let mut places = Places::default();
        let methods = model.methods().iter();
        let mut slots: Vec<Vec<Stored>> = methods
            .map(|method| places.of_method(method, format))
            .collect();
        let mut storage = limit.allocate(places.bytes, 0)?;
        let mut unfit = HashMap::new();
        for (payload, range) in &places.ranges {
            let to = &mut storage.bytes_mut()[range.clone()];
            if let Err(error) = payload.encode(model, format, to, threads) {
                unfit.insert(range.start, error);
            }
        }
        for stored in slots.iter_mut().flatten() {
            if let Stored::Narrow(_, range) = stored
                && let Some(error) = unfit.get(&range.start)
            {
                *stored = Stored::AsTyped(Reason::Unfit(*error));
            }
        }
        Ok(Narrowed { storage, slots })
    }

    /// The converted weights.
    pub fn bytes(&self) -> &[u8] {
        self.storage.bytes()
    }

    /// How each slot of a method is stored.
    pub fn slots(&self, method: usize) -> &[Stored] {
        &self.slots[method]
    }
}

/// A matrix in the file.
#[derive(PartialEq, Eq, Hash)]
struct Payload {
    source: Source,
    /// Of its first element.
    offset: usize,
    rows: usize,
    columns: usize,
}

impl Payload {
    fn encode(
        &self,
        model: &Model,
        format: Format,
        to: &mut [u8],
        threads: &Threads,
    ) -> Result<(), NarrowError> {
        let size = size_of::<f32>();
        // A payload may be longer than its matrix, by any number of bytes; a matrix without elements
        // may begin anywhere.
        let payload = model.source_bytes(&self.source);
        let whole: &[f32] = bytemuck::cast_slice(&payload[..payload.len() / size * size]);
        let behind = whole.get(self.offset..).unwrap_or_default();
        let from = &behind[..self.rows * self.columns];
        let passed = |elements: Range<usize>| {
            let part = (self.offset + elements.start) * size..(self.offset + elements.end) * size;
            model.release(&self.source.part(part));
        };
        let result = format.encode(from, [self.rows, self.columns], to, threads, &passed);
        // The system brings neighbours of a page that is touched, given up or not.
        model.release(&self.source);
        result
    }
}

/// Where each payload goes.
#[derive(Default)]
struct Places {
    ranges: HashMap<Payload, Range<usize>>,
    bytes: usize,
}

impl Places {
    fn of_method(&mut self, method: &Method, format: Format) -> Vec<Stored> {
        let reasons = quantizable(&method.program).into_iter();
        let slots = reasons.zip(&method.bindings);
        slots
            .map(|(reason, weight)| {
                let (None, Some(weight)) = (&reason, weight) else {
                    return Stored::AsTyped(reason.unwrap_or(Reason::NotAWeight));
                };
                if !weight.layout.is_contiguous() {
                    return Stored::AsTyped(Reason::Strided);
                }
                let payload = Payload {
                    source: weight.source.clone(),
                    offset: weight.layout.offset,
                    rows: weight.layout.shape[0],
                    columns: weight.layout.shape[1],
                };
                match self.place(payload, format) {
                    Ok(range) => Stored::Narrow(format, range),
                    Err(error) => Stored::AsTyped(Reason::Unfit(error)),
                }
            })
            .collect()
    }

    fn place(&mut self, payload: Payload, format: Format) -> Result<Range<usize>, NarrowError> {
        if let Some(range) = self.ranges.get(&payload) {
            return Ok(range.clone());
        }
        let start = self.bytes.next_multiple_of(64);
        let end = format
            .bytes(payload.rows, payload.columns)?
            .checked_add(start);
        let range = start..end.ok_or(NarrowError::TooLarge)?;
        self.bytes = range.end;
        self.ranges.insert(payload, range.clone());
        Ok(range)
    }
}
