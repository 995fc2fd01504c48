//! The tensors of a checkpoint's files, by name.
//!
//! Whatever a file's format, a tensor is a type, a shape and bytes of the file; here these become
//! weights of the engine. Floats are used where they lie in the file, other numbers are computed
//! once. A safetensors file begins with a JSON header that lists them, which the `safetensors`
//! crate reads and checks.

use std::collections::HashMap;
use std::ops::Range;

use crosslatch::model::{FileId, Files, WeightContents};
use crosslatch::{DType, Tensor, TensorSizeError};
use safetensors::{Dtype, SafeTensors};

use crate::encoding::{Encoding, Float, Scales};

/// A tensor of a file.
#[derive(Clone, Debug)]
pub struct Stored {
    pub file: FileId,
    pub encoding: Encoding,
    pub shape: Vec<usize>,
    pub range: Range<usize>,
}

/// The tensors of all files of a checkpoint.
#[derive(Debug, Default)]
pub struct Tensors(HashMap<String, Stored>);

/// Why a tensor cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TensorProblem {
    #[error("there is no tensor `{0}`")]
    Missing(String),
    #[error("tensor `{name}` has the shape {shape:?}; expected {expected:?}")]
    Shape {
        name: String,
        shape: Vec<usize>,
        expected: Vec<usize>,
    },
    #[error("tensor `{name}` has elements of type {dtype}; expected F32, F16 or BF16")]
    Type { name: String, dtype: String },
    #[error("tensor `{name}`: {source}")]
    Size {
        name: String,
        source: TensorSizeError,
    },
}

impl Stored {
    /// One of several tensors that lie one after the other in this one: `count` times as many rows.
    /// `None` if the rows cannot be shared out.
    pub fn part(&self, number: usize, count: usize) -> Option<Stored> {
        let cut = |range: &Range<usize>| {
            let len = range.len() / count;
            let start = range.start + number * len;
            start..start + len
        };
        let rows = *self.shape.first()?;
        if !rows.is_multiple_of(count) {
            return None;
        }
        let mut part = self.clone();
        part.shape[0] = rows / count;
        part.range = cut(&self.range);
        if let Encoding::Scaled { scales, .. } = &mut part.encoding {
            match scales.range.len() == scales.float.size() {
                // One scale for the whole tensor serves the part as well.
                true => scales.shared_by /= count,
                false => scales.range = cut(&scales.range),
            }
        }
        Some(part)
    }
}

impl Tensors {
    /// Adds the tensors of a safetensors file with these contents.
    ///
    /// # Errors
    /// If the header is malformed, or names a tensor that another file has.
    pub fn add(&mut self, file: FileId, bytes: &[u8]) -> Result<(), String> {
        let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
        // The length of the header is in front of it, in eight bytes.
        let data = header + size_of::<u64>();
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let stored = Stored {
                file,
                encoding: match info.dtype {
                    Dtype::F32 => Encoding::Float(Float::F32),
                    Dtype::F16 => Encoding::Float(Float::F16),
                    Dtype::BF16 => Encoding::Float(Float::BF16),
                    other => Encoding::Other(format!("{other:?}")),
                },
                shape: info.shape.clone(),
                range: data + start..data + end,
            };
            self.insert(name.clone(), stored, bytes)?;
        }
        Ok(())
    }

    /// Adds a tensor of a file with these contents.
    ///
    /// # Errors
    /// If the file does not have the bytes, they are not those of the shape, or the name is taken.
    pub fn insert(&mut self, name: String, stored: Stored, bytes: &[u8]) -> Result<(), String> {
        if bytes.get(stored.range.clone()).is_none() {
            return Err(format!("tensor `{name}` reaches past the end of the file"));
        }
        let size = stored.encoding.size(&stored.shape);
        let is_other = matches!(stored.encoding, Encoding::Other(_));
        if size != Some(stored.range.len()) && !is_other {
            let (shape, len) = (&stored.shape, stored.range.len());
            return Err(format!(
                "tensor `{name}` of shape {shape:?} has {len} bytes"
            ));
        }
        if let Encoding::Scaled { scales, .. } = &stored.encoding
            && !fit(scales, &stored.shape, bytes)
        {
            return Err(format!("tensor `{name}` has not a scale for each row"));
        }
        match self.0.insert(name.clone(), stored) {
            Some(_) => Err(format!("there is a second tensor `{name}`")),
            None => Ok(()),
        }
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> usize {
        self.0.values().map(|stored| stored.range.len()).sum()
    }

    /// Whether there is a tensor with this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.0.get(name).map(|stored| &stored.shape[..])
    }

    /// The contents of a weight of type `f32` and this shape.
    ///
    /// # Errors
    /// If there is no such tensor, or it has another shape or an unsupported type.
    pub fn weight(
        &self,
        name: &str,
        expected: &[usize],
        files: Files<'_>,
    ) -> Result<WeightContents, TensorProblem> {
        let missing = || TensorProblem::Missing(name.to_owned());
        let stored = self.0.get(name).ok_or_else(missing)?;
        if stored.shape != expected {
            return Err(TensorProblem::Shape {
                name: name.to_owned(),
                shape: stored.shape.clone(),
                expected: expected.to_vec(),
            });
        }
        let range = stored.range.clone();
        if let Encoding::Float(float) = stored.encoding {
            return Ok(match float {
                Float::F32 => WeightContents::File(stored.file, range),
                Float::F16 => WeightContents::Halves(stored.file, range, DType::F16),
                Float::BF16 => WeightContents::Halves(stored.file, range, DType::BF16),
            });
        }
        let numbers = stored.encoding.numbers(files.bytes(stored.file), range);
        let numbers = numbers.map_err(|dtype| TensorProblem::Type {
            name: name.to_owned(),
            dtype: dtype.to_owned(),
        })?;
        let tensor = Tensor::from_slice(expected, &numbers);
        let tensor = tensor.map_err(|source| TensorProblem::Size {
            name: name.to_owned(),
            source,
        })?;
        Ok(WeightContents::Tensor(tensor))
    }
}

/// Whether the file has these scales, one for each row of the tensor or one for all.
fn fit(scales: &Scales, shape: &[usize], bytes: &[u8]) -> bool {
    let Some(numel) = shape
        .iter()
        .try_fold(1usize, |n, size| n.checked_mul(*size))
    else {
        return false;
    };
    let count = scales.range.len() / scales.float.size();
    bytes.get(scales.range.clone()).is_some()
        && count.checked_mul(scales.shared_by) == Some(numel)
        && scales.range.len().is_multiple_of(scales.float.size())
}
