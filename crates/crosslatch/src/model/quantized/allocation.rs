//! Which matrices are converted, to which format, and where they go.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;

use crosslatch_kernels::movement::{Rounding, Unquantized, outlying_columns, quantize};
use crosslatch_kernels::tensor::{MOST_WIDE, QuantizeError, WeightFormat};
use crosslatch_kernels::{DType, Threads};

use super::Stored;
use crate::model::contents::Contents;
use crate::model::method::Method;
use crate::passes::quantize::{Choice, Reason, choose};
use crate::pt2::weights::Source;

/// The matrices to convert, each once, and which of them each slot is.
#[derive(Default)]
pub(super) struct Matrices {
    pub all: Vec<Matrix>,
    known: HashMap<Matrix, usize>,
    slots: Vec<Vec<Result<usize, Reason>>>,
}

/// A matrix in a file, and what is to become of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Matrix {
    pub source: Source,
    pub stored: DType,
    /// Index of its first element in the payload.
    pub offset: usize,
    pub rows: usize,
    pub columns: usize,
    pub format: WeightFormat,
}

/// What the contents of a matrix decide about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// How many of its columns are stored in `f32` beside integers.
    pub wide: usize,
    /// Why the format cannot hold it, if it cannot.
    pub unfit: Option<QuantizeError>,
}

impl Matrices {
    /// Those of a model's methods, most in this format.
    pub fn of(methods: &[Method], format: WeightFormat) -> Matrices {
        let mut matrices = Matrices::default();
        for method in methods {
            let choices = choose(&method.program).into_iter();
            let slots = choices.zip(&method.bindings);
            let slots = slots.map(|(choice, weight)| {
                let (part, weight) = match (choice, weight) {
                    (Choice::AsTyped(reason), _) => return Err(reason),
                    (_, None) => return Err(Reason::NotAWeight),
                    (Choice::Quantized(part), Some(weight)) => (part, weight),
                };
                if !weight.layout.is_contiguous() {
                    return Err(Reason::Strided);
                }
                if (weight.stored, format) == (DType::BF16, WeightFormat::Bf16) {
                    return Err(Reason::StoredSo(DType::BF16));
                }
                let [rows, columns] = [weight.layout.shape[0], weight.layout.shape[1]];
                let format = no_larger(part.format(format), rows, columns);
                let largest = format.bytes_with_wide(rows, columns, MOST_WIDE);
                largest.map_err(Reason::Unfit)?;
                Ok(matrices.index(Matrix {
                    source: weight.source.clone(),
                    stored: weight.stored,
                    offset: weight.layout.offset,
                    rows,
                    columns,
                    format,
                }))
            });
            let slots = slots.collect();
            matrices.slots.push(slots);
        }
        matrices
    }

    fn index(&mut self, matrix: Matrix) -> usize {
        *self.known.entry(matrix).or_insert_with_key(|matrix| {
            self.all.push(matrix.clone());
            self.all.len() - 1
        })
    }

    /// Where each matrix goes, and the number of bytes of all.
    ///
    /// # Errors
    /// If they are too large.
    pub fn lay_out(&self, found: &[Found]) -> Result<(Vec<Range<usize>>, usize), QuantizeError> {
        let mut end = 0usize;
        let mut ranges = Vec::new();
        for (matrix, found) in self.all.iter().zip(found) {
            let start = end.next_multiple_of(64);
            let (rows, columns) = (matrix.rows, matrix.columns);
            let bytes = matrix.format.bytes_with_wide(rows, columns, found.wide)?;
            end = start
                .checked_add(bytes)
                .filter(|end| *end < isize::MAX as usize - 64)
                .ok_or(QuantizeError::TooLarge)?;
            ranges.push(start..end);
        }
        Ok((ranges, end))
    }

    /// How each slot of each method is stored.
    pub fn stored(&self, ranges: &[Range<usize>], found: &[Found]) -> Vec<Vec<Stored>> {
        let stored = |slot: &Result<usize, Reason>| match slot {
            Err(reason) => Stored::AsTyped(reason.clone()),
            Ok(i) => match found[*i].unfit {
                Some(error) => Stored::AsTyped(Reason::Unfit(error)),
                None => Stored::Quantized(self.all[*i].format, ranges[*i].clone()),
            },
        };
        let methods = self.slots.iter();
        methods
            .map(|slots| slots.iter().map(stored).collect())
            .collect()
    }

    /// The columns of each matrix that are to be stored beside integers.
    pub fn wide_columns(&self, contents: &Contents, threads: &Threads) -> Vec<Vec<u32>> {
        let found = Mutex::new(vec![Vec::new(); self.all.len()]);
        threads.run(self.all.len(), &|i| {
            let matrix = &self.all[i];
            if matrix.format != WeightFormat::Bf16 {
                let shape = [matrix.rows, matrix.columns];
                let columns = outlying_columns(matrix.elements(contents), shape);
                found.lock().unwrap_or_else(|p| p.into_inner())[i] = columns;
            }
        });
        found.into_inner().unwrap_or_else(|p| p.into_inner())
    }
}

impl Matrix {
    /// Its elements, where the file has them.
    fn elements<'c>(&self, contents: &'c Contents) -> Unquantized<'c> {
        let size = self.stored.size();
        let payload = contents.bytes(&self.source).unwrap_or_default();
        // A payload may be longer than its matrix, and a matrix without elements may begin anywhere.
        let behind = payload.get(self.offset * size..).unwrap_or_default();
        let bytes = &behind[..self.rows * self.columns * size];
        match self.stored {
            DType::F16 => Unquantized::F16(bytemuck::cast_slice(bytes)),
            DType::BF16 => Unquantized::Bf16(bytemuck::cast_slice(bytes)),
            _ => Unquantized::F32(bytemuck::cast_slice(bytes)),
        }
    }

    /// Converts it.
    pub fn convert(
        &self,
        contents: &Contents,
        wide: &[u32],
        to: &mut [u8],
        threads: &Threads,
    ) -> Result<(), QuantizeError> {
        let size = self.stored.size();
        let passed = |elements: Range<usize>| {
            let part = (self.offset + elements.start) * size..(self.offset + elements.end) * size;
            contents.release(&self.source.part(part));
        };
        let rounding = Rounding {
            format: self.format,
            wide,
        };
        let (from, shape) = (self.elements(contents), [self.rows, self.columns]);
        let result = quantize(rounding, from, shape, to, threads, &passed);
        // Touching a page brings in its neighbours again, whether they were released or not.
        contents.release(&self.source);
        result
    }
}

/// This format, unless a matrix of this shape is no larger in int8: rows of int4 are filled up.
fn no_larger(format: WeightFormat, rows: usize, columns: usize) -> WeightFormat {
    let bytes = |format: WeightFormat| format.bytes(rows, columns).ok();
    match format {
        WeightFormat::Int4 if bytes(WeightFormat::Int8) <= bytes(format) => WeightFormat::Int8,
        _ => format,
    }
}
