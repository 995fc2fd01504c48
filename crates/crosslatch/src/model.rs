//! A model: the programs, weights and extra files of one archive.
//!
//! A file holds one or more programs, here called methods (`encoder`, `decoder`; `model` where
//! `torch.export.save` wrote a single one), and any number of extra files such as a tokenizer.
//! Loading reads the programs and checks everything; weights stay in the memory map.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use crosslatch_kernels::narrow::Format;
use crosslatch_kernels::{DType, Threads};

use crate::effects::{Readiness, readiness};
use crate::error::{ArchiveError, Error, MissingOperators};
use crate::inputs::input_slots;
use crate::ir::Program;
use crate::ir::graph::{SlotKind, ValueType};
use crate::ir::verify::VerifyError;
use crate::ops::Catalogue;
use crate::passes::latch;
use crate::precision::{Narrowed, Precision};
use crate::pt2::archive::Archive;
use crate::pt2::convert::{ConvertError, convert};
use crate::pt2::schema::{ExportedProgram, MAJOR_VERSION, Versioned};
use crate::pt2::weights::{Source, Weight, WeightTable, Weights};
use crate::tensor::Tensor;

/// A loaded model. Cheap to clone: clones share everything.
#[derive(Clone, Debug)]
pub struct Model(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Arc<Contents>,
    methods: Vec<Method>,
    /// The weights in each narrow format, where a session has asked for it.
    narrowed: [OnceLock<Narrowed>; 2],
}

/// What models of one file share.
#[derive(Debug)]
struct Contents {
    /// The file; a model that was built in memory has none.
    archive: Option<Archive>,
    weights: Weights,
}

/// A program with the weights that belong to it.
#[derive(Clone, Debug)]
pub struct Method {
    /// The program.
    pub program: Program,
    /// For each slot that is not an input, its contents in the file.
    pub bindings: Vec<Option<Weight>>,
    /// The caches that a `cond` hands back or fills, and which are empty in the file.
    pub readiness: Vec<Readiness>,
    /// Where its latched slots come from, if it has any.
    pub latch: Option<Latch>,
}

/// The part of a method that is run once for each set of latched inputs.
#[derive(Clone, Debug)]
pub struct Latch {
    /// Index of the method that it is. Its inputs are the latched ones, its outputs have the names
    /// of the latched slots.
    pub once: usize,
    /// What depends on latched inputs alone and is computed at every run all the same, with the
    /// reason.
    pub left: Vec<(String, &'static str)>,
}

impl Method {
    fn new(program: Program, bindings: Vec<Option<Weight>>) -> Method {
        let readiness = readiness(&program);
        Method {
            program,
            bindings,
            readiness,
            latch: None,
        }
    }

    /// One of two parts of the method.
    fn part(&self, part: latch::Part) -> Result<Method, VerifyError> {
        crate::ir::verify::verify(&part.program)?;
        let from = |slot: Option<usize>| self.bindings.get(slot?)?.clone();
        let bindings = part.slots.iter().map(|slot| from(*slot)).collect();
        let waits = |slot: usize| self.readiness.iter().any(|r| r.slot == slot);
        let mut method = Method::new(part.program, bindings);
        (method.readiness).retain(|r| part.slots[r.slot].is_some_and(waits));
        Ok(method)
    }

    /// Slots that need not be filled first, because the file does not bring them empty, are not
    /// waited for.
    fn forget_filled(&mut self, bytes: impl Fn(&Weight) -> bool) {
        let bindings = &self.bindings;
        let is_empty = |r: &Readiness| bindings[r.slot].as_ref().is_some_and(&bytes);
        self.readiness.retain(is_empty);
    }
}

impl Model {
    /// Whether this is the same model, not only an equal one.
    pub fn is(&self, other: &Model) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Loads a `.pt2` file.
    ///
    /// # Errors
    /// If the file cannot be read, is malformed, or needs operators that the engine lacks; the
    /// message says which file, entry and node.
    pub fn open(path: impl AsRef<Path>) -> Result<Model, Error> {
        let archive = Archive::open(path.as_ref())?;
        let fail = |reason| Error::Archive {
            path: archive.path().to_owned(),
            reason,
        };
        let names: Vec<String> = archive
            .below("models/")
            .filter_map(|n| n.strip_suffix(".json"))
            .map(str::to_owned)
            .collect();
        if names.is_empty() {
            return Err(fail(ArchiveError::File(
                "holds no exported program (no entry `models/….json`)".into(),
            )));
        }
        let mut weights = Weights::default();
        let mut methods = Vec::new();
        let mut missing = MissingOperators::default();
        for name in names {
            match load_method(&archive, &mut weights, &name) {
                Ok(method) => methods.push(method),
                // All of them are reported, over all methods, before anything is given up.
                Err(Error::MissingOperators { missing: more, .. }) => {
                    missing.calls.extend(more.calls);
                }
                Err(error) => return Err(error),
            }
        }
        if !missing.calls.is_empty() {
            return Err(Error::MissingOperators {
                path: archive.path().to_owned(),
                missing,
            });
        }
        Ok(Model::new(
            Arc::new(Contents {
                archive: Some(archive),
                weights,
            }),
            methods,
        ))
    }

    fn new(file: Arc<Contents>, methods: Vec<Method>) -> Model {
        Model(Arc::new(Inner {
            file,
            methods,
            narrowed: Default::default(),
        }))
    }

    /// The same model, in which what depends on weights and the inputs with these names alone is
    /// computed once, and again when one of them changes. Nothing else changes: methods take what
    /// they took and return, bit for bit, what they returned. What is computed once is a method
    /// of its own, `NAME@once`.
    ///
    /// # Errors
    /// If no method has one of the inputs, or the model is latched already.
    pub fn latch(&self, inputs: &[&str]) -> Result<Model, Error> {
        for input in inputs {
            self.check_input(input)?;
        }
        let fail = |reason: String| Error::Latch {
            input: inputs.join("`, `"),
            reason,
        };
        if self.methods().iter().any(|m| m.latch.is_some()) {
            return Err(fail(
                "the model is latched already; name all inputs at once".into(),
            ));
        }
        let fail = |e: VerifyError| fail(e.to_string());
        let mut methods = Vec::new();
        let mut parts = Vec::new();
        for method in self.methods() {
            let Some(latched) = latch::latch(&method.program, inputs) else {
                methods.push(method.clone());
                continue;
            };
            let mut step = method.part(latched.step).map_err(fail)?;
            step.latch = Some(Latch {
                once: self.methods().len() + parts.len(),
                left: latched.left,
            });
            methods.push(step);
            parts.push(method.part(latched.once).map_err(fail)?);
        }
        methods.append(&mut parts);
        Ok(Model::new(self.0.file.clone(), methods))
    }

    fn check_input(&self, input: &str) -> Result<(), Error> {
        let programs = || self.methods().iter().map(|m| &m.program);
        let mut names = programs().flat_map(|p| input_slots(p).map(|(_, name)| name));
        if names.any(|name| name == input) {
            return Ok(());
        }
        let known = programs().map(|p| {
            let inputs: Vec<&str> = input_slots(p).map(|(_, name)| name).collect();
            format!("`{}` takes {}", p.name, inputs.join(", "))
        });
        Err(Error::Latch {
            input: input.to_owned(),
            reason: format!("no method has it; {}", known.collect::<Vec<_>>().join("; ")),
        })
    }

    /// A model of one program that was built or parsed, with the contents of its weights and the
    /// initial contents of its state by slot name. State without contents starts as zeros.
    ///
    /// # Errors
    /// If the program breaks a rule of the IR, or a weight is missing or of another type.
    pub fn in_memory(
        mut program: Program,
        contents: &[(&str, Tensor)],
    ) -> Result<Model, VerifyError> {
        crate::effects::mark_state(&mut program);
        crate::ir::verify::verify(&program)?;
        let mut weights = Weights::default();
        let mut bindings = Vec::new();
        for (slot, input) in program.slots.iter().zip(&program.graph.inputs) {
            if matches!(slot.kind, SlotKind::Input | SlotKind::Latched) {
                bindings.push(None);
                continue;
            }
            let given = contents.iter().find(|(name, _)| *name == slot.name);
            let contents = match given {
                Some((_, tensor)) => Some(tensor.clone()),
                None if slot.kind == SlotKind::State => {
                    constant_type(&program.graph.value(*input).ty)
                        .and_then(|(dtype, shape)| Tensor::zeros(dtype, &shape))
                }
                None => None,
            };
            let contents = contents.ok_or_else(|| {
                VerifyError(format!(
                    "slot `{}` has no contents or no fixed size",
                    slot.name
                ))
            })?;
            bindings.push(Some(weights.add(&contents)));
        }
        let mut method = Method::new(program, bindings);
        check_bindings(&method).map_err(VerifyError)?;
        method.forget_filled(|weight| is_zero(weights.bytes(&[], weight)));
        let contents = Contents {
            archive: None,
            weights,
        };
        Ok(Model::new(Arc::new(contents), vec![method]))
    }

    /// The file that the model was loaded from, if it was.
    pub fn path(&self) -> Option<&Path> {
        self.0.file.archive.as_ref().map(Archive::path)
    }

    /// The methods, by name in alphabetical order.
    pub fn methods(&self) -> &[Method] {
        &self.0.methods
    }

    /// Index of a method.
    pub fn method_index(&self, name: &str) -> Result<usize, Error> {
        self.0
            .methods
            .iter()
            .position(|m| m.program.name == name)
            .ok_or_else(|| Error::NoSuchMethod {
                name: name.to_owned(),
                available: self
                    .0
                    .methods
                    .iter()
                    .map(|m| m.program.name.clone())
                    .collect(),
            })
    }

    /// The contents of an extra file, such as `tokenizer.json`.
    pub fn extra_file(&self, name: &str) -> Option<&[u8]> {
        let archive = self.0.file.archive.as_ref()?;
        archive.bytes(&format!("extra/{name}")).ok()
    }

    /// Names of the extra files.
    pub fn extra_files(&self) -> impl Iterator<Item = &str> {
        self.0.file.archive.iter().flat_map(|a| a.below("extra/"))
    }

    /// The bytes of a weight of this model.
    pub fn weight_bytes(&self, weight: &Weight) -> &[u8] {
        self.0.file.weights.bytes(self.file_bytes(), weight)
    }

    /// The bytes of a payload of this model.
    pub(crate) fn source_bytes(&self, source: &Source) -> &[u8] {
        self.0.file.weights.source_bytes(self.file_bytes(), source)
    }

    /// The weights in a precision, converted now, by these threads, if no session has asked for it
    /// before; nothing for [`Precision::F32`].
    pub fn narrowed(&self, precision: Precision, threads: &Threads) -> Option<&Narrowed> {
        let format = precision.format()?;
        let cell = match format {
            Format::Bf16 => &self.0.narrowed[0],
            Format::Int8 => &self.0.narrowed[1],
        };
        Some(cell.get_or_init(|| Narrowed::of(self, format, threads)))
    }

    /// Tells the system that a payload will not be wanted soon.
    pub(crate) fn release(&self, source: &Source) {
        if let (Some(archive), Source::File(range)) = (&self.0.file.archive, source) {
            archive.map().release(range.clone());
        }
    }

    /// The whole file in memory, which weights are pieces of.
    pub(crate) fn file_bytes(&self) -> &[u8] {
        self.0
            .file
            .archive
            .as_ref()
            .map_or(&[], |a| a.map().bytes())
    }

    /// The payloads that could not be used in place.
    pub(crate) fn copied_bytes(&self) -> &[u8] {
        self.0.file.weights.copies()
    }
}

fn load_method(archive: &Archive, weights: &mut Weights, name: &str) -> Result<Method, Error> {
    let path = || archive.path().to_owned();
    let fail = |reason| Error::Archive {
        path: path(),
        reason,
    };
    let entry = format!("models/{name}.json");
    let json = archive.bytes(&entry).map_err(fail)?;
    let malformed = |e: serde_json::Error| fail(ArchiveError::entry(&entry, e.to_string()));
    let version: Versioned = serde_json::from_slice(json).map_err(malformed)?;
    if version.schema_version.major != MAJOR_VERSION {
        return Err(fail(ArchiveError::entry(
            &entry,
            format!(
                "schema version {}.{} (torch {}); Crosslatch reads version {MAJOR_VERSION}",
                version.schema_version.major, version.schema_version.minor, version.torch_version
            ),
        )));
    }
    let file: ExportedProgram = serde_json::from_slice(json).map_err(malformed)?;
    let converted = convert(name, &file, Catalogue::builtin()).map_err(|e| match e {
        ConvertError::Reason(reason) => fail(ArchiveError::entry(&entry, reason)),
        ConvertError::Missing(missing) => Error::MissingOperators {
            path: path(),
            missing,
        },
    })?;
    let table = WeightTable::read(archive, name).map_err(fail)?;
    let bindings = converted
        .payloads
        .iter()
        .map(|payload| {
            payload
                .as_ref()
                .map(|name| weights.resolve(archive, &table, name))
                .transpose()
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(fail)?;
    let mut method = Method::new(converted.program, bindings);
    debug_assert!(
        method
            .program
            .slots
            .iter()
            .zip(&method.bindings)
            .all(|(s, b)| (s.kind == SlotKind::Input) == b.is_none())
    );
    crate::ir::verify::verify(&method.program)
        .map_err(|e| fail(ArchiveError::entry(&entry, e.to_string())))?;
    check_bindings(&method).map_err(|reason| fail(ArchiveError::entry(&entry, reason)))?;
    let file = archive.map().bytes();
    method.forget_filled(|weight| is_zero(weights.bytes(file, weight)));
    Ok(method)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Element type and sizes, if the sizes are constants.
fn constant_type(ty: &ValueType) -> Option<(DType, Vec<usize>)> {
    let ValueType::Tensor(ty) = ty else {
        return None;
    };
    let sizes: Option<Vec<usize>> = ty
        .sizes
        .iter()
        .map(|s| usize::try_from(s.constant()?).ok())
        .collect();
    Some((ty.dtype, sizes?))
}

/// The program says what type each weight has, and so does the payload: they must agree.
fn check_bindings(method: &Method) -> Result<(), String> {
    let graph = &method.program.graph;
    for ((slot, binding), input) in method
        .program
        .slots
        .iter()
        .zip(&method.bindings)
        .zip(&graph.inputs)
    {
        let Some(weight) = binding else {
            continue;
        };
        let declared = constant_type(&graph.value(*input).ty);
        if declared.is_none_or(|(dtype, shape)| {
            dtype != weight.dtype || shape[..] != weight.layout.shape[..]
        }) {
            return Err(format!(
                "`{}`: the program and the payload disagree about its type",
                slot.name
            ));
        }
    }
    Ok(())
}
