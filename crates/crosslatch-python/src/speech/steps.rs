//! A speech model whose steps are computed here, or by an object of Python's.
//!
//! Everything around a model (sound, features, search, text) is the same whoever computes it. So that
//! other runtimes can be compared on the same sound, a model may be an object with two methods:
//! `encode`, which takes the features of a window, and `decode`, which takes tokens and returns
//! scores. What such an object returns is checked like any other input.

use crosslatch::{DType, Tensor};
use crosslatch_tasks::{
    Decoder, ExportedError, ExportedSpeechModel, Feed, HeadWeights, SpeechModel,
};
use pyo3::prelude::*;

use crate::inputs::{Refusal, take};
use crate::outputs::array;

/// What a transcript is decoded with.
pub enum Steps {
    /// A session of the engine's.
    Engine(Box<ExportedSpeechModel>),
    /// An object of Python's.
    Python(PythonSteps),
}

/// A model with the methods `encode` and `decode`. It has one sequence, and says nothing about where
/// it looks.
pub struct PythonSteps {
    object: Py<PyAny>,
    /// The scores of the last step.
    scores: Vec<f32>,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Engine(#[from] ExportedError),
    #[error("{0}")]
    Python(String),
}

impl PythonSteps {
    pub fn new(object: Py<PyAny>) -> PythonSteps {
        PythonSteps {
            object,
            scores: Vec::new(),
        }
    }

    fn encode(&self, features: &[f32], mels: usize, frames: usize) -> Result<(), StepError> {
        let features = Tensor::from_slice(&[1, mels, frames], features);
        let features = features.map_err(|e| StepError::Python(format!("features: {e}")))?;
        attached(|py| {
            let features = array(py, &features.view())?;
            self.object
                .call_method1(py, "encode", (features,))
                .map(drop)
        })
    }

    fn decode(&mut self, tokens: &[i64], position: usize) -> Result<&[f32], StepError> {
        let scores = attached(|py| {
            let scores = self
                .object
                .bind(py)
                .call_method1("decode", (tokens, position))?;
            Ok(match take(&scores, None) {
                Ok(given) if given.view().dtype() == DType::F32 => Ok(given.view().to_vec::<f32>()),
                Ok(given) => Err(format!("are of type {}", given.view().dtype())),
                Err(Refusal::Reason(reason)) => Err(format!("are no tensor: it {reason}")),
                Err(Refusal::Raised(error)) => return Err(error),
            })
        })?;
        let known = self.scores.len();
        let wrong = match scores {
            Ok(scores) if scores.is_empty() => "are none".to_owned(),
            Ok(scores) if known != 0 && scores.len() != known => {
                format!("are {}, and were {known} before", scores.len())
            }
            Ok(scores) => {
                self.scores = scores;
                return Ok(&self.scores);
            }
            Err(wrong) => wrong,
        };
        Err(StepError::Python(format!(
            "`decode` returned scores that {wrong}; it is to return one float32 for each token of the \
             vocabulary"
        )))
    }
}

/// Does something with the interpreter; what it raises becomes an error with its text.
fn attached<T>(work: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T, StepError> {
    let done = Python::try_attach(|py| work(py).map_err(|error| error.to_string()));
    let done = done.unwrap_or_else(|| Err("the interpreter has ended".to_owned()));
    done.map_err(StepError::Python)
}

impl SpeechModel for Steps {
    fn encode(&mut self, features: &[f32], mels: usize, frames: usize) -> Result<(), StepError> {
        match self {
            Steps::Engine(model) => Ok(model.encode(features, mels, frames)?),
            Steps::Python(steps) => steps.encode(features, mels, frames),
        }
    }
}

impl Decoder for Steps {
    type Error = StepError;

    fn sequences(&mut self, wanted: usize) -> Result<usize, StepError> {
        match self {
            Steps::Engine(model) => Ok(model.sequences(wanted)?),
            Steps::Python(_) => Ok(1),
        }
    }

    fn branch(&mut self, from: usize, to: usize) -> Result<bool, StepError> {
        match self {
            Steps::Engine(model) => Ok(model.branch(from, to)?),
            Steps::Python(_) => Ok(false),
        }
    }

    fn decode(
        &mut self,
        sequence: usize,
        tokens: &[i64],
        position: usize,
    ) -> Result<&[f32], StepError> {
        match self {
            Steps::Engine(model) => Ok(model.decode(sequence, tokens, position)?),
            Steps::Python(steps) => steps.decode(tokens, position),
        }
    }

    fn decode_all(
        &mut self,
        feeds: &[Feed<'_>],
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), StepError> {
        match self {
            Steps::Engine(model) => Ok(model.decode_all(feeds, take)?),
            Steps::Python(steps) => {
                for feed in feeds {
                    take(steps.decode(feed.tokens, feed.position)?);
                }
                Ok(())
            }
        }
    }

    fn unaligned(&self) -> Option<&str> {
        match self {
            Steps::Engine(model) => model.unaligned(),
            Steps::Python(_) => Some(UNALIGNED),
        }
    }

    fn align(
        &mut self,
        feed: Feed<'_>,
        take: &mut dyn FnMut(HeadWeights<'_>),
    ) -> Result<(), StepError> {
        match self {
            Steps::Engine(model) => Ok(model.align(feed, take)?),
            Steps::Python(_) => Ok(()),
        }
    }

    fn pause(&mut self) {
        if let Steps::Engine(model) = self {
            model.pause();
        }
    }
}

/// Why the model of another runtime cannot say when words are spoken.
pub const UNALIGNED: &str = "the model's runtime returns no weights of attention";
