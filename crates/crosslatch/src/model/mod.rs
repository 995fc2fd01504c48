//! A model: the programs, weights and extra files of an archive, or of several.
//!
//! A file holds one or more programs, here called methods (`encoder`, `decoder`; `model` where
//! `torch.export.save` wrote a single one), and any number of extra files such as a tokenizer.
//! Loading reads the programs and checks everything; weights stay where they are in the file, which
//! is mapped or copied.

mod assemble;
mod contents;
mod folded;
mod generator;
mod halves;
mod load;
mod method;
mod quantized;
mod segmented;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use crosslatch_kernels::Threads;
use crosslatch_kernels::tensor::WeightFormat;

use crate::error::Error;
use crate::inputs::input_slots;
use crate::ir::Program;
use crate::ir::graph::SlotKind;
use crate::ir::verify::VerifyError;
use crate::memory::MemoryLimit;
use crate::passes::alignment::Heads;
use crate::passes::caches::{CacheFormat, convert_caches};
use crate::passes::linear::as_linear;
use crate::passes::{latch, random, segments};
use crate::precision::Precision;
use crate::pt2::archive::Archive;
use crate::pt2::weights::{Weight, Weights};
use crate::tensor::Tensor;

use contents::Contents;
use folded::fold_weights;
use method::{check_bindings, constant_type};

pub use assemble::{FileId, Files, ModelBuilder, WeightContents};
pub use method::{Alignment, Carry, Latch, Method};
pub use quantized::{QuantizedWeights, Stored};

/// A loaded model. Cheap to clone: clones share everything.
#[derive(Clone, Debug)]
pub struct Model(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Arc<Contents>,
    methods: Vec<Method>,
    /// The weights in each precision but `f32`, once a session has asked for them.
    quantized: [OnceLock<QuantizedWeights>; 3],
    /// Held by the session that quantizes weights; others wait for it.
    quantizing: Mutex<()>,
    /// The same model with caches in bf16 and in int8, if it has such caches, once a session has
    /// asked for it.
    with_narrow_caches: [OnceLock<Option<Model>>; 2],
    /// The same model as sessions run it, in segments where numbers are made of contents.
    segmented: OnceLock<Option<Model>>,
    /// The same model with methods that return the weights of attention, once somebody has asked.
    aligned: Mutex<Vec<Model>>,
}

impl Model {
    /// Whether both are the same model, not only equal ones.
    pub fn is(&self, other: &Model) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn new(file: Arc<Contents>, methods: Vec<Method>) -> Model {
        Model(Arc::new(Inner {
            file,
            methods,
            quantized: Default::default(),
            quantizing: Mutex::new(()),
            with_narrow_caches: Default::default(),
            segmented: OnceLock::new(),
            aligned: Mutex::new(Vec::new()),
        }))
    }

    /// The model that a session in this precision runs. In a precision other than `f32`, the caches
    /// of cross-attention keys and values are stored in it, too
    /// ([`passes::caches`](crate::passes::caches)).
    pub fn in_precision(&self, precision: Precision) -> Model {
        let (cell, format) = match precision {
            Precision::F32 => return self.clone(),
            Precision::Bf16 => (0, CacheFormat::Bf16),
            Precision::Int8 | Precision::Int4 => (1, CacheFormat::Int8),
        };
        let changed = self.0.with_narrow_caches[cell].get_or_init(|| {
            let methods = self.methods().iter();
            let changed: Vec<Option<Method>> =
                methods.map(|m| with_narrow_caches(m, format)).collect();
            if !changed.iter().any(Option::is_some) {
                return None;
            }
            let methods = changed.into_iter().zip(self.methods());
            let mut methods: Vec<Method> = methods
                .map(|(new, old)| new.unwrap_or_else(|| old.clone()))
                .collect();
            for i in 0..methods.len() {
                if let Some(alignment) = methods[i].alignment.clone() {
                    let of = &methods[alignment.of];
                    methods[i] = of
                        .aligned(alignment.of, &alignment.tokens, &alignment.heads)
                        .ok()?;
                }
            }
            Some(Model::new(self.0.file.clone(), methods))
        });
        changed.as_ref().unwrap_or(self).clone()
    }

    /// The same model, except that what depends only on weights and on the inputs with these names is
    /// computed once, and again when one of these inputs changes. Methods take the same inputs and
    /// return, bit for bit, the same outputs. What is computed once becomes a method of its own,
    /// `NAME@once`.
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
        if self.methods().iter().any(|m| m.alignment.is_some()) {
            return Err(fail("the model is aligned already; latch it before".into()));
        }
        let fail = |e: VerifyError| fail(e.to_string());
        let mut methods = Vec::new();
        let mut parts = Vec::new();
        for method in self.methods() {
            let Some(latched) = latch::latch(&method.program, inputs) else {
                methods.push(method.clone());
                continue;
            };
            let carry = method
                .carry
                .as_ref()
                .map(|c| c.of_part(&latched.step.slots));
            let mut step = method.part(latched.step).map_err(fail)?;
            step.carry = carry;
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

    /// The same model with one more method, `METHOD@alignment`, which takes the inputs of `method`, works
    /// on its state, and returns the weights of these heads of its cross-attention
    /// ([`passes::alignment`](crate::passes::alignment)). `tokens` is the input that takes tokens. Whoever
    /// asks for the same again gets the same model.
    ///
    /// # Errors
    /// If there is no such method, or its cross-attention is not found.
    pub fn aligned(&self, method: &str, tokens: &str, heads: &Heads) -> Result<Model, Error> {
        let of = self.method_index(method)?;
        let is_it = |model: &&Model| {
            let alignment = model.methods().last().and_then(|m| m.alignment.as_ref());
            alignment.is_some_and(|a| a.of == of && a.tokens == tokens && a.heads == *heads)
        };
        let mut known = self.0.aligned.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(model) = known.iter().find(is_it) {
            return Ok(model.clone());
        }
        let aligned = self.methods()[of].aligned(of, tokens, heads);
        let aligned = aligned.map_err(|reason| Error::Alignment {
            method: method.to_owned(),
            reason,
        })?;
        let methods = self.methods().iter().cloned().chain([aligned]).collect();
        let model = Model::new(self.0.file.clone(), methods);
        known.push(model.clone());
        Ok(model)
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
    /// initial contents of its state by slot name. State without contents starts as zeros. A weight
    /// of type `f32` may be given in f16 or bf16, and is not widened where kernels can read it so.
    ///
    /// # Errors
    /// If the program breaks a rule of the IR, or a weight is missing or of another type.
    pub fn in_memory(
        mut program: Program,
        contents: &[(&str, Tensor)],
    ) -> Result<Model, VerifyError> {
        crate::ir::verify::verify_depth(&program.graph)?;
        random::draw_from_state(&mut program);
        segments::expand(&mut program);
        segments::remove_unread_items(&mut program.graph);
        crate::effects::mark_state(&mut program);
        crate::ir::verify::verify(&program)?;
        crate::effects::check_copied_views(&program.graph).map_err(VerifyError::Contents)?;
        let mut weights = Weights::default();
        let mut bindings = Vec::new();
        for (slot, input) in program.slots.iter().zip(&program.graph.inputs) {
            if !matches!(slot.kind, SlotKind::Weight | SlotKind::State) {
                bindings.push(None);
                continue;
            }
            let given = contents.iter().find(|(name, _)| *name == slot.name);
            let contents = match given {
                Some((_, tensor)) => Some(tensor.clone()),
                None if slot.name == random::GENERATOR => generator::initial().ok(),
                None if slot.kind == SlotKind::State => {
                    constant_type(&program.graph.value(*input).ty)
                        .and_then(|(dtype, shape)| Tensor::zeros(dtype, &shape).ok())
                }
                None => None,
            };
            let contents = contents.ok_or_else(|| {
                VerifyError::Contents(format!(
                    "slot `{}` has no contents or no fixed size",
                    slot.name
                ))
            })?;
            let weight = weights.add(&contents);
            let mut weight =
                weight.map_err(|e| VerifyError::Contents(format!("slot `{}`: {e}", slot.name)))?;
            if slot.kind == SlotKind::Weight {
                weight.read_as(&program.graph.value(*input).ty);
            }
            bindings.push(Some(weight));
        }
        check_bindings(&program, &bindings).map_err(VerifyError::Contents)?;
        as_linear(&mut program);
        halves::remove_conversions(&mut program, &mut bindings);
        halves::widen_others(&program, &mut bindings, &mut weights, &[]).map_err(|(slot, e)| {
            VerifyError::Contents(format!("slot `{}`: {e}", program.slots[slot].name))
        })?;
        fold_weights(&mut program, &mut bindings, &mut weights, &[]);
        let method = Method::loaded(program, bindings, |weight| {
            weights.look_for_zeros(&[], weight);
        });
        let contents = Contents {
            path: None,
            files: Vec::new(),
            weights,
            ..Contents::default()
        };
        Ok(Model::new(Arc::new(contents), vec![method]))
    }

    /// The file or folder that the model was loaded from, if it was.
    pub fn path(&self) -> Option<&Path> {
        self.0.file.path.as_deref()
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
        let entry = format!("extra/{name}");
        let mut found = self.files().iter().filter_map(|f| f.bytes(&entry).ok());
        found.next()
    }

    /// Names of the extra files.
    pub fn extra_files(&self) -> impl Iterator<Item = &str> {
        self.files().iter().flat_map(|a| a.below("extra/"))
    }

    /// The bytes of a weight of this model, or of the initial contents of its state; `None` if these
    /// are zeros that the file describes and does not have.
    pub fn weight_bytes(&self, weight: &Weight) -> Option<&[u8]> {
        self.0.file.bytes(&weight.source)
    }

    /// Keeps weights that are converted for a precision in this folder, and maps the file the next time
    /// that they are asked for, in this process or another. The folder is made if there is none; files
    /// in it may be deleted when nothing uses them. A file that does not belong to this very model, or
    /// that others may write, is made anew. Weights that a session has asked for before stay as they
    /// are, and those of a model that comes from no file are not kept.
    pub fn keep_weights_in(&self, folder: impl Into<PathBuf>) {
        let mut kept_in = self
            .0
            .file
            .kept_in
            .lock()
            .unwrap_or_else(|p| p.into_inner());
        *kept_in = Some(folder.into());
    }

    /// The quantized weights for a precision, once a session has asked for them; `None` for
    /// [`Precision::F32`].
    pub fn quantized_weights(&self, precision: Precision) -> Option<&QuantizedWeights> {
        self.quantized_cell(precision.format()?).get()
    }

    /// Quantizes the weights for a precision on these threads, unless a session has asked for them
    /// before.
    ///
    /// # Errors
    /// If they take more memory than the limit allows, or are to be kept and cannot be.
    pub(crate) fn quantize_weights(
        &self,
        precision: Precision,
        threads: &Threads,
        limit: MemoryLimit,
    ) -> Result<(), Error> {
        let Some(format) = precision.format() else {
            return Ok(());
        };
        let cell = self.quantized_cell(format);
        let _one_at_a_time = self.0.quantizing.lock().unwrap_or_else(|p| p.into_inner());
        if cell.get().is_none() {
            let quantized =
                QuantizedWeights::of(self.methods(), &self.0.file, precision, threads, limit);
            let quantized = quantized?;
            cell.get_or_init(|| quantized);
        }
        Ok(())
    }

    fn quantized_cell(&self, format: WeightFormat) -> &OnceLock<QuantizedWeights> {
        match format {
            WeightFormat::Bf16 => &self.0.quantized[0],
            WeightFormat::Int8 => &self.0.quantized[1],
            WeightFormat::Int4 => &self.0.quantized[2],
        }
    }

    /// Tells the system that a weight's payload will not be read soon.
    pub(crate) fn release(&self, weight: &Weight) {
        self.0.file.release(&weight.source);
    }

    /// The files in memory, which weights are pieces of.
    pub(crate) fn files(&self) -> &[Archive] {
        &self.0.file.files
    }

    /// The payloads that had to be copied.
    pub(crate) fn copied_bytes(&self) -> &[u8] {
        self.0.file.weights.copies()
    }
}

/// The method with caches stored in this format, if it has any that may be.
fn with_narrow_caches(method: &Method, format: CacheFormat) -> Option<Method> {
    if method.alignment.is_some() {
        return None;
    }
    let is_carried = |slot: usize| {
        let links = method.carry.iter().flat_map(|carry| &carry.links);
        links.into_iter().any(|link| link.slot == slot)
    };
    let starts_as_zeros = |slot: usize| {
        let weight = method.bindings[slot].as_ref();
        weight.is_some_and(|w| w.is_zero && w.layout.is_contiguous()) && !is_carried(slot)
    };
    let (program, chosen) = convert_caches(&method.program, format, &starts_as_zeros)?;
    crate::ir::verify::verify(&program).ok()?;
    let mut method = Method {
        program,
        ..method.clone()
    };
    let graph = &method.program.graph;
    let slots = graph.inputs.iter().zip(&mut method.bindings).zip(chosen);
    for ((input, weight), _) in slots.filter(|(_, chosen)| *chosen) {
        // Zeros of one type are zeros of the other.
        let (dtype, shape) = constant_type(&graph.value(*input).ty)?;
        weight.as_mut()?.store_zeros_as(dtype, &shape);
    }
    Some(method)
}
