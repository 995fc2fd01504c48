//! Models put together from programs that were built and files that hold their weights.
//!
//! A checkpoint of another format has no programs: code that knows the architecture builds them
//! ([`ir::build`](crate::ir::build)) and says which bytes of which file each weight is. Bytes that are
//! the weight as the program types it are used where they lie; everything else is given as a tensor.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crosslatch_kernels::tensor::is_addressable;
use crosslatch_kernels::{DType, Layout};

use super::contents::Contents;
use super::halves;
use super::method::{check_bindings, constant_type};
use super::{Method, Model};
use crate::error::{ArchiveError, Error};
use crate::ir::Program;
use crate::ir::graph::SlotKind;
use crate::ir::verify::{VerifyError, verify, verify_depth};
use crate::pt2::archive::Archive;
use crate::pt2::file::Access;
use crate::pt2::weights::{Weight, Weights};
use crate::tensor::Tensor;

/// A file that was added to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(usize);

/// The contents of a weight.
pub enum WeightContents {
    /// Bytes of a file: the elements in row-major order, little-endian.
    File(FileId, Range<usize>),
    /// The same for a weight of type `f32` that the file has in this type, f16 or bf16. It is not
    /// widened where kernels can read it so.
    Halves(FileId, Range<usize>, DType),
    /// A tensor in memory; for a weight of type `f32`, also one of f16 or bf16.
    Tensor(Tensor),
}

/// The files of a model that is being put together.
#[derive(Clone, Copy)]
pub struct Files<'f>(&'f [Archive]);

impl<'f> Files<'f> {
    /// The bytes of a file.
    pub fn bytes(&self, file: FileId) -> &'f [u8] {
        self.0[file.0].contents().bytes()
    }
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

    /// The files that were added.
    pub fn files(&self) -> Files<'_> {
        Files(&self.files)
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

    /// Adds an extra file that is in none: one made of what another format says.
    ///
    /// # Errors
    /// If the contents are empty, or there is no memory for them.
    pub fn extra_contents(&mut self, name: &str, contents: &[u8]) -> Result<(), Error> {
        let entry = format!("extra/{name}");
        let archive = Archive::of_contents(&self.path, contents, &entry);
        self.files.push(archive.map_err(|source| Error::Io {
            path: self.path.clone(),
            source,
        })?);
        Ok(())
    }

    /// Adds a program as a method. `contents` finds the contents of a weight by the name of its slot
    /// and its shape, and may read the files for that. State starts as zeros.
    ///
    /// # Errors
    /// If the program breaks a rule of the IR or its name is taken, if `contents` fails or finds
    /// something else than a tensor of the slot's type, or if the system has no memory for copies.
    pub fn method<E: From<Error>>(
        &mut self,
        program: Program,
        mut contents: impl FnMut(&str, &[usize], Files<'_>) -> Result<WeightContents, E>,
    ) -> Result<(), E> {
        let broken = |e: VerifyError| self.fail(e.to_string());
        verify_depth(&program.graph).map_err(broken)?;
        verify(&program).map_err(broken)?;
        if self.methods.iter().any(|m| m.program.name == program.name) {
            let reason = format!("there is already a method `{}`", program.name);
            return Err(self.fail(reason).into());
        }
        let mut bindings = Vec::with_capacity(program.slots.len());
        for (slot, input) in program.slots.iter().zip(&program.graph.inputs) {
            if !matches!(slot.kind, SlotKind::Weight | SlotKind::State) {
                bindings.push(None);
                continue;
            }
            let ty = constant_type(&program.graph.value(*input).ty);
            let ty = ty.filter(|(_, shape)| is_addressable(shape));
            let (dtype, shape) = ty.ok_or_else(|| {
                let name = &slot.name;
                self.fail(format!("slot `{name}` is no tensor of a fixed size"))
            })?;
            let layout = Layout::contiguous(&shape);
            let weight = match slot.kind {
                SlotKind::State => Ok(Some(Weight::zeros(dtype, &shape))),
                _ => match contents(&slot.name, &shape, Files(&self.files))? {
                    WeightContents::Tensor(tensor) => self.weights.add(&tensor).map(Some),
                    WeightContents::File(FileId(file), range) => {
                        let at = (file, range);
                        self.weights.in_file(&self.files, at, dtype, layout)
                    }
                    WeightContents::Halves(FileId(file), range, stored) => {
                        let at = (file, range);
                        self.weights.in_file(&self.files, at, stored, layout)
                    }
                },
            };
            let weight = weight.map_err(|source| Error::Memory {
                what: format!("slot `{}`", slot.name),
                source: source.into(),
            })?;
            let mut weight = weight.ok_or_else(|| {
                let name = &slot.name;
                self.fail(format!(
                    "the bytes of `{name}` are not those of {dtype}{shape:?}"
                ))
            })?;
            if slot.kind == SlotKind::Weight {
                weight.read_as(&program.graph.value(*input).ty);
            }
            bindings.push(Some(weight));
        }
        check_bindings(&program, &bindings).map_err(|reason| self.fail(reason))?;
        let widened = halves::widen_others(&program, &mut bindings, &mut self.weights, &self.files);
        widened.map_err(|(slot, source)| Error::Memory {
            what: format!("weight `{}` in f32", program.slots[slot].name),
            source: source.into(),
        })?;
        self.methods.push(Method::new(program, bindings));
        Ok(())
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
            ..Contents::default()
        };
        Model::new(Arc::new(contents), self.methods)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::parse::parse;
    use crate::ir::{Catalogue, Program};
    use crate::{Options, Session};

    fn program() -> Program {
        let text = "program scaled\ninput %x: f32[2]\nweight %w: f32[2]\nstate %sum: f32[2]\n\
            %y: f32[2] = aten::mul.Tensor(self=%x, other=%w)\n\
            %all: f32[2] = aten::add_.Tensor(self=%sum, other=%y)\nreturn \"y\"=%all\n";
        parse(text, Catalogue::builtin()).unwrap()
    }

    /// Runs the program twice with `w` in a file from this byte on, `len` bytes long.
    fn sums(start: usize, len: usize) -> Result<Vec<f32>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        let mut bytes = vec![7; start];
        bytes.extend([3f32, -2.0].map(f32::to_le_bytes).as_flattened());
        std::fs::write(&path, bytes).unwrap();
        let mut model = ModelBuilder::new(folder.path(), Access::Copy);
        let file = model.file(&path)?;
        let contents = |name: &str, shape: &[usize], _: Files<'_>| {
            assert_eq!((name, shape), ("w", &[2][..]));
            Ok::<_, Error>(WeightContents::File(file, start..start + len))
        };
        model.method(program(), contents)?;
        let again = model.method(program(), contents).unwrap_err().to_string();
        assert!(again.contains("already a method `scaled`"), "{again}");
        let mut session = Session::new(&model.finish(), Options::default())?;
        let x = Tensor::from_slice(&[2], &[1f32, 10.0]).unwrap();
        for _ in 0..2 {
            session.run("scaled", &[("x", x.view().into())])?;
        }
        Ok(session.outputs("scaled")?.get("y")?.to_vec())
    }

    #[test]
    fn weights_are_read_where_they_lie_or_copied_if_they_are_not_aligned() {
        for start in [0, 64, 3] {
            assert_eq!(sums(start, 8).unwrap(), [6.0, -40.0], "from byte {start}");
        }
    }

    #[test]
    fn bytes_that_are_not_the_weight_are_refused() {
        for (start, len) in [(0, 4), (0, 12), (4, 0)] {
            let error = sums(start, len).unwrap_err().to_string();
            assert!(
                error.contains("the bytes of `w` are not those of f32[2]"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_program_that_breaks_a_rule_is_refused() {
        let mut broken = program();
        broken.slots.pop();
        let mut model = ModelBuilder::new(Path::new("somewhere"), Access::Map);
        let nothing = |_: &str, _: &[usize], _: Files<'_>| -> Result<WeightContents, Error> {
            unreachable!("nothing is asked of a broken program")
        };
        let error = model.method(broken, nothing).unwrap_err().to_string();
        assert!(error.contains("slots and of inputs differ"), "{error}");
    }
}
