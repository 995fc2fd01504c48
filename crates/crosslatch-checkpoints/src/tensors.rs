//! The tensors of safetensors files, by name.
//!
//! A file begins with a JSON header that gives each tensor's type, shape and bytes. The
//! `safetensors` crate reads and checks it; here its answers become weights of the engine, which are
//! used where they lie in the file, those of 16 bits too.

use std::collections::HashMap;
use std::ops::Range;

use crosslatch::DType;
use crosslatch::model::{FileId, WeightContents};
use safetensors::{Dtype, SafeTensors};

/// A tensor of a file.
#[derive(Clone, Debug)]
pub struct Stored {
    file: FileId,
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
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
    #[error("tensor `{name}` has elements of type {dtype:?}; expected F32, F16 or BF16")]
    Type { name: String, dtype: Dtype },
}

impl Tensors {
    /// Adds the tensors of a file with these contents.
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
                dtype: info.dtype,
                shape: info.shape.clone(),
                range: data + start..data + end,
            };
            if bytes.get(stored.range.clone()).is_none() {
                return Err(format!("tensor `{name}` reaches past the end of the file"));
            }
            if self.0.insert(name.clone(), stored).is_some() {
                return Err(format!("tensor `{name}` is in another file too"));
            }
        }
        Ok(())
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> usize {
        self.0.values().map(|stored| stored.range.len()).sum()
    }

    /// Whether there is a tensor with this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The contents of a weight of type `f32` and this shape.
    ///
    /// # Errors
    /// If there is no such tensor, or it has another shape or an unsupported type.
    pub fn weight(&self, name: &str, expected: &[usize]) -> Result<WeightContents, TensorProblem> {
        let missing = || TensorProblem::Missing(name.to_owned());
        let stored = self.0.get(name).ok_or_else(missing)?;
        if stored.shape != expected {
            return Err(TensorProblem::Shape {
                name: name.to_owned(),
                shape: stored.shape.clone(),
                expected: expected.to_vec(),
            });
        }
        let (file, range) = (stored.file, stored.range.clone());
        match stored.dtype {
            Dtype::F32 => Ok(WeightContents::File(file, range)),
            Dtype::F16 => Ok(WeightContents::Halves(file, range, DType::F16)),
            Dtype::BF16 => Ok(WeightContents::Halves(file, range, DType::BF16)),
            dtype => Err(TensorProblem::Type {
                name: name.to_owned(),
                dtype,
            }),
        }
    }
}
