//! A speech model and its idle sessions, which all transcripts share.
//!
//! Each transcript has a session of its own, or several if it is decoded in pieces. Sessions that
//! have done their work are kept for the next transcript, because their memory and their plans can
//! be used again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crosslatch::{Model, Options};
use crosslatch_tasks::{
    ExportedError, ExportedSpeechModel, SpeechPipeline, StepBatcher, TranscribeError,
    speech_pipeline,
};
use pyo3::prelude::*;

use crate::error::failure;
use crate::idle::Idle;
use crate::models::open_model;
use crate::options::Opening;
use crate::process::Local;

use super::steps::{PythonSteps, Steps, UNALIGNED};

/// A speech model and its idle sessions.
pub struct Speech {
    pub pipeline: SpeechPipeline,
    runtime: Runtime,
    /// The model's file, for messages.
    path: PathBuf,
    idle: Idle<Steps>,
    /// Those that decode pieces, by their number.
    batches: Mutex<BTreeMap<usize, Idle<Vec<Steps>>>>,
}

/// Who computes the model.
enum Runtime {
    Engine(Box<Model>, Options),
    /// What this callable makes.
    Python(Py<PyAny>),
}

/// The sessions of one transcript.
pub enum Models {
    One(Local<Steps>),
    /// As many as pieces are decoded at a time.
    Batch(Local<Vec<Steps>>),
}

impl Speech {
    /// Opens a model.
    pub fn open(path: PathBuf, options: Options, opening: &Opening) -> PyResult<Speech> {
        let model = open_model(&path, opening)?;
        let pipeline =
            speech_pipeline(&model).map_err(|e| failure(format!("{}: {e}", path.display())))?;
        Speech::new(pipeline, Runtime::Engine(Box::new(model), options), path)
    }

    /// A model that the objects compute that `make` makes; `files` are those beside its weights.
    pub fn of_steps(
        path: PathBuf,
        files: &BTreeMap<String, Vec<u8>>,
        make: Py<PyAny>,
    ) -> PyResult<Speech> {
        let at_path = |e: &dyn std::fmt::Display| failure(format!("{}: {e}", path.display()));
        let file = |name: &str| {
            let file = files.get(name).map(Vec::as_slice);
            file.ok_or_else(|| at_path(&format!("there is no `{name}` beside it")))
        };
        let pipeline = SpeechPipeline::from_json::<ExportedError>(
            file("preprocessor_config.json")?,
            file("tokenizer.json")?,
            file("generation_config.json").ok(),
            file("config.json")?,
        );
        let pipeline = pipeline.map_err(|e: TranscribeError<ExportedError>| at_path(&e))?;
        Speech::new(pipeline, Runtime::Python(make), path)
    }

    fn new(pipeline: SpeechPipeline, runtime: Runtime, path: PathBuf) -> PyResult<Speech> {
        let speech = Speech {
            pipeline,
            runtime,
            path,
            idle: Idle::default(),
            batches: Mutex::default(),
        };
        // The first session is made at once, to find out whether this is a speech model.
        let session = speech.models(None)?;
        speech.give_back(session);
        Ok(speech)
    }

    /// Why the model cannot say when words are spoken; `None` if it can.
    pub fn without_words(&self) -> Option<String> {
        match &self.runtime {
            Runtime::Engine(model, _) => ExportedSpeechModel::without_words(model),
            Runtime::Python(_) => Some(UNALIGNED.to_owned()),
        }
    }

    /// The model's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sessions that nobody uses: one, or as many as there are pieces at a time.
    pub fn models(&self, batch: Option<usize>) -> PyResult<Models> {
        let Some(count) = batch else {
            let idle = self.idle.take().map(Ok);
            let session = idle.unwrap_or_else(|| self.session().map(Local::new));
            return Ok(Models::One(session?));
        };
        let idle = self.with_batches(|batches| batches.get(&count)?.take());
        if let Some(models) = idle {
            return Ok(Models::Batch(models));
        }
        let models: PyResult<Vec<Steps>> = match &self.runtime {
            Runtime::Engine(model, options) => {
                let batcher = StepBatcher::new(options.threads);
                let threads = (options.threads / count).max(1);
                let options = Options {
                    threads,
                    ..*options
                };
                let session = || {
                    let model = self.engine(model, options)?.batched_by(&batcher);
                    Ok(Steps::Engine(Box::new(model)))
                };
                (0..count).map(|_| session()).collect()
            }
            Runtime::Python(_) => (0..count).map(|_| self.session()).collect(),
        };
        Ok(Models::Batch(Local::new(models?)))
    }

    /// Takes sessions back.
    pub fn give_back(&self, models: Models) {
        match models {
            Models::One(model) => self.idle.give_back(model),
            Models::Batch(mut models) => {
                // Those of another process stay with it.
                if let Ok(count) = models.get_mut().map(|models| models.len()) {
                    self.with_batches(|batches| {
                        batches.entry(count).or_default().give_back(models)
                    });
                }
            }
        }
    }

    fn with_batches<T>(&self, work: impl FnOnce(&mut BTreeMap<usize, Idle<Vec<Steps>>>) -> T) -> T {
        work(&mut self.batches.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn session(&self) -> PyResult<Steps> {
        match &self.runtime {
            Runtime::Engine(model, options) => {
                Ok(Steps::Engine(Box::new(self.engine(model, *options)?)))
            }
            Runtime::Python(make) => {
                let object = Python::attach(|py| make.call0(py))?;
                Ok(Steps::Python(PythonSteps::new(object)))
            }
        }
    }

    fn engine(&self, model: &Model, options: Options) -> PyResult<ExportedSpeechModel> {
        ExportedSpeechModel::new(model, options)
            .map_err(|e| failure(format!("{}: {e}", self.path.display())))
    }
}
