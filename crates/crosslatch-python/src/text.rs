//! Text to text: a model, and as many texts at a time as there are threads that ask.
//!
//! A text is written by the thread that asked, without the interpreter's lock. Now and then it looks
//! whether it was interrupted, between two steps of the decoder.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crosslatch::Model;
use crosslatch_tasks::exported::{ExportedError, ExportedTextModel, text_pipeline};
use crosslatch_tasks::{Candidate, Decoder, Feed, GenerateOptions, TextModel, TextPipeline};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::error::{engine, failure};
use crate::idle::Idle;
use crate::process::Local;
use crate::program::{MemoryAmount, access, options};

/// How often a working thread looks whether it was interrupted.
const INTERRUPTS: Duration = Duration::from_millis(50);

/// Writes what a model makes of texts: translations, summaries, answers.
///
/// `model` is a `.pt2` file of a text model, mapped into memory, or read into it with `map=False`. Texts
/// may be written in several threads at once.
#[pyclass(frozen, module = "crosslatch")]
pub struct Generator {
    pipeline: TextPipeline,
    model: Model,
    options: crosslatch::Options,
    /// The file, for messages.
    path: PathBuf,
    idle: Idle<ExportedTextModel>,
}

/// What a model wrote.
#[pyclass(frozen, get_all, module = "crosslatch", from_py_object)]
#[derive(Clone)]
pub struct Generation {
    /// The text that it was given, without a prefix.
    source: String,
    /// The text that it wrote.
    text: String,
    /// The tokens that it chose, without start and end.
    tokens: Vec<u32>,
    /// What beams are compared by; without beams, the mean logarithm of the tokens' probabilities.
    score: f32,
    /// Whether the model ended the text itself.
    complete: bool,
    /// The next best texts, best first, if they were asked for.
    alternatives: Vec<Generation>,
}

impl Generation {
    fn new(source: &str, candidate: Candidate, alternatives: Vec<Generation>) -> Self {
        Generation {
            source: source.to_owned(),
            text: candidate.text,
            tokens: candidate.tokens,
            score: candidate.score,
            complete: candidate.complete,
            alternatives,
        }
    }
}

#[pymethods]
impl Generation {
    fn __repr__(&self) -> String {
        format!("<crosslatch.Generation {:?}>", self.text)
    }
}

#[pymethods]
impl Generator {
    #[new]
    #[pyo3(signature = (model, *, precision = "f32", threads = None, latch = None, map = true, memory_limit = None))]
    fn new(
        py: Python<'_>,
        model: PathBuf,
        precision: &str,
        threads: Option<usize>,
        latch: Option<Vec<String>>,
        map: bool,
        memory_limit: Option<MemoryAmount>,
    ) -> PyResult<Generator> {
        let options = options(precision, threads, memory_limit)?;
        let path = model;
        py.detach(|| {
            let mut model = Model::open_with(&path, access(map)).map_err(engine)?;
            let latch = latch.unwrap_or_default();
            if !latch.is_empty() {
                let names: Vec<&str> = latch.iter().map(String::as_str).collect();
                model = model.latch(&names).map_err(engine)?;
            }
            let pipeline =
                text_pipeline(&model).map_err(|e| failure(format!("{}: {e}", path.display())))?;
            Ok(Generator {
                pipeline,
                model,
                options,
                path,
                idle: Idle::default(),
            })
        })
    }

    /// Writes what the model makes of a text, or of each text of a sequence, in order.
    ///
    /// `prefix` is put before every text: the task in words, as T5 wants it. `source_language` and
    /// `target_language` are named as the model names them, such as "eng_Latn". `beam_size` is the
    /// number of texts followed at once, `alternatives` how many of the next best to return as well.
    /// `truncate` cuts off the end of a text that is too long for the model. The others are those of
    /// transformers' `generate`. What is `None` is as the model's files say.
    #[pyo3(signature = (text, *, prefix = None, source_language = None, target_language = None,
                        beam_size = None, alternatives = None, max_new_tokens = None,
                        min_new_tokens = None, no_repeat_ngram_size = None,
                        repetition_penalty = None, length_penalty = None, truncate = false))]
    #[expect(clippy::too_many_arguments, reason = "they are named in Python")]
    fn generate<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        prefix: Option<String>,
        source_language: Option<String>,
        target_language: Option<String>,
        beam_size: Option<usize>,
        alternatives: Option<usize>,
        max_new_tokens: Option<usize>,
        min_new_tokens: Option<usize>,
        no_repeat_ngram_size: Option<usize>,
        repetition_penalty: Option<f32>,
        length_penalty: Option<f32>,
        truncate: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = GenerateOptions {
            prefix,
            source_language,
            target_language,
            beam_size,
            alternatives,
            max_new_tokens,
            min_new_tokens,
            no_repeat_ngram_size,
            repetition_penalty,
            length_penalty,
            truncate,
        };
        self.pipeline.plan(&options).map_err(failure)?;
        if let Ok(text) = text.cast::<PyString>() {
            let text = text.to_str()?;
            let written = py.detach(|| self.write(text, &options))?;
            return Ok(Bound::new(py, written)?.into_any());
        }
        let texts: Vec<String> = text.extract().map_err(|_| {
            PyTypeError::new_err("the text is neither a string nor a sequence of strings")
        })?;
        let written = py.detach(|| {
            let written = texts.iter().map(|text| self.write(text, &options));
            written.collect::<PyResult<Vec<Generation>>>()
        })?;
        written.into_pyobject(py)
    }

    fn __repr__(&self) -> String {
        format!("<crosslatch.Generator {}>", self.path.display())
    }
}

impl Generator {
    /// One text. The caller has let go of the interpreter.
    fn write(&self, text: &str, options: &GenerateOptions) -> PyResult<Generation> {
        let mut session = match self.idle.take() {
            Some(session) => session,
            None => ExportedTextModel::new(&self.model, self.options)
                .map(Local::new)
                .map_err(|e| failure(format!("{}: {e}", self.path.display())))?,
        };
        let mut model = Interruptible {
            model: session.get_mut()?,
            looked: Instant::now(),
            raised: None,
        };
        let written = self.pipeline.generate(&mut model, text, options);
        let raised = model.raised.take();
        self.idle.give_back(session);
        match (written, raised) {
            (_, Some(raised)) => Err(raised),
            (Err(error), None) => Err(failure(error)),
            (Ok(written), None) => {
                let others = written.alternatives.into_iter();
                let others = others.map(|other| Generation::new(text, other, Vec::new()));
                Ok(Generation::new(text, written.best, others.collect()))
            }
        }
    }
}

/// A model that stops when Python was interrupted.
struct Interruptible<'m> {
    model: &'m mut ExportedTextModel,
    /// When it last looked.
    looked: Instant,
    raised: Option<PyErr>,
}

/// Why a step was not made.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Model(#[from] ExportedError),
    /// The exception is beside it.
    #[error("interrupted")]
    Interrupted,
}

impl TextModel for Interruptible<'_> {
    fn encode(&mut self, tokens: &[i64]) -> Result<(), StepError> {
        Ok(self.model.encode(tokens)?)
    }
}

impl Decoder for Interruptible<'_> {
    type Error = StepError;

    fn lanes(&mut self, wanted: usize) -> Result<usize, StepError> {
        Ok(self.model.lanes(wanted)?)
    }

    fn branch(&mut self, from: usize, to: usize) -> Result<bool, StepError> {
        Ok(self.model.branch(from, to)?)
    }

    fn decode(
        &mut self,
        lane: usize,
        tokens: &[i64],
        position: usize,
    ) -> Result<&[f32], StepError> {
        self.look()?;
        Ok(self.model.decode(lane, tokens, position)?)
    }

    fn decode_all(
        &mut self,
        feeds: &[Feed<'_>],
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), StepError> {
        self.look()?;
        Ok(self.model.decode_all(feeds, take)?)
    }
}

impl Interruptible<'_> {
    /// Looks now and then whether somebody wants to interrupt.
    fn look(&mut self) -> Result<(), StepError> {
        if self.looked.elapsed() > INTERRUPTS {
            self.looked = Instant::now();
            if let Err(raised) = Python::attach(|py| py.check_signals()) {
                self.raised = Some(raised);
                return Err(StepError::Interrupted);
            }
        }
        Ok(())
    }
}
