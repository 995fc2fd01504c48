//! Models put together from programs that were built and files that hold their weights.
//!
//! A checkpoint of another format has no programs: somebody who knows the architecture builds them
//! ([`ir::build`](crate::ir::build)) and says which bytes of which file each weight is. Bytes that are
//! the weight as the program types it are used where they lie; everything else is given as a tensor.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crosslatch_kernels::DType;

use super::contents::Contents;
use super::method::check_bindings;
use super::{Method, Model};
use crate::error::{ArchiveError, Error};
use crate::ir::graph::SlotKind;
use crate::ir::{Program, ValueType};
use crate::pt2::archive::Archive;
use crate::pt2::file::Access;
use crate::pt2::weights::Weights;
use crate::tensor::Tensor;

/// A file that was added to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(usize);

/// The contents of a weight.
pub enum WeightContents {
    /// Bytes of a file: the elements in row-major order, little-endian.
    File(FileId, Range<usize>),
    /// A tensor in memory.
    Tensor(Tensor),
}

/// A model that is being put together.
pub struct ModelBuilder {
    path: PathBuf,
    access: Access,
    files: Vec<Archive>,
    weights: Weights,
    methods: Vec<Method>,
}

impl ModelBuilder {
    /// An empty model, which errors name by this path.
    pub fn new(path: &Path, access: Access) -> ModelBuilder {
        ModelBuilder {
            path: path.to_owned(),
            access,
            files: Vec::new(),
            weights: Weights::default(),
            methods: Vec::new(),
        }
    }

    /// Adds a file whose bytes are weights, mapped or copied as the model's files are.
    ///
    /// # Errors
    /// If it is not a file that can be read.
    pub fn file(&mut self, path: &Path) -> Result<FileId, Error> {
        self.files.push(Archive::of_bytes(path, self.access)?);
        Ok(FileId(self.files.len() - 1))
    }

    /// The bytes of a file.
    pub fn bytes(&self, file: FileId) -> &[u8] {
        self.files[file.0].contents().bytes()
    }

    /// Adds an extra file, such as `tokenizer.json`, under this name.
    ///
    /// # Errors
    /// If it is not a file that can be read.
    pub fn extra_file(&mut self, name: &str, path: &Path) -> Result<(), Error> {
        let entry = format!("extra/{name}");
        self.files
            .push(Archive::of_entry(path, self.access, &entry)?);
        Ok(())
    }

    /// Adds a program as a method. `contents` finds the contents of each weight by the name of its
    /// slot. State starts as zeros.
    ///
    /// # Errors
    /// If `contents` fails, or what it finds does not have the type and size of the slot.
    pub fn method<E: From<Error>>(
        &mut self,
        program: Program,
        mut contents: impl FnMut(&str) -> Result<WeightContents, E>,
    ) -> Result<(), E> {
        let mut bindings = Vec::with_capacity(program.slots.len());
        for (slot, input) in program.slots.iter().zip(&program.graph.inputs) {
            let ValueType::Tensor(ty) = &program.graph.value(*input).ty else {
                bindings.push(None);
                continue;
            };
            let Some((dtype, layout)) = ty.with_sizes(&|_| None) else {
                // Only inputs have sizes that depend on symbols.
                bindings.push(None);
                continue;
            };
            bindings.push(match slot.kind {
                SlotKind::State => Some(self.weights.add_zeros(dtype, &layout.shape)),
                SlotKind::Weight => Some(match contents(&slot.name)? {
                    WeightContents::Tensor(tensor) => self.weights.add(&tensor),
                    WeightContents::File(file, range) => {
                        let found = self
                            .weights
                            .in_file(&self.files, file.0, range, dtype, layout);
                        found.ok_or_else(|| self.error(&slot.name, dtype, ty.to_string()))?
                    }
                }),
                _ => None,
            });
        }
        check_bindings(&program, &bindings).map_err(|reason| self.fail(reason))?;
        self.methods.push(Method::new(program, bindings));
        Ok(())
    }

    fn error(&self, slot: &str, dtype: DType, ty: String) -> Error {
        self.fail(format!(
            "weight `{slot}`: its bytes are not those of a tensor {ty} of {dtype}"
        ))
    }

    fn fail(&self, reason: String) -> Error {
        Error::Archive {
            path: self.path.clone(),
            reason: ArchiveError::File(reason),
        }
    }

    /// The model.
    pub fn finish(mut self) -> Model {
        self.methods
            .sort_by(|a, b| a.program.name.cmp(&b.program.name));
        let contents = Contents {
            path: Some(self.path),
            files: self.files,
            weights: self.weights,
        };
        Model::new(Arc::new(contents), self.methods)
    }
}
