//! A speech model and its idle sessions, which all transcripts share.
//!
//! Each transcript has a session of its own, or several if it is decoded in pieces. Sessions that
//! have done their work are kept for the next transcript, because their memory and their plans can
//! be used again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crosslatch::{Model, Options};
use crosslatch_tasks::{ExportedSpeechModel, SpeechPipeline, StepBatcher, speech_pipeline};
use pyo3::prelude::*;

use crate::error::failure;
use crate::idle::Idle;
use crate::models::open_model;
use crate::options::Opening;
use crate::process::Local;

/// A speech model and its idle sessions.
pub struct Speech {
    pub pipeline: SpeechPipeline,
    model: Model,
    options: Options,
    /// The model's file, for messages.
    path: PathBuf,
    idle: Idle<ExportedSpeechModel>,
    /// Those that decode pieces, by their number.
    batches: Mutex<BTreeMap<usize, Idle<Vec<ExportedSpeechModel>>>>,
}

/// The sessions of one transcript.
pub enum Models {
    One(Local<ExportedSpeechModel>),
    /// As many as pieces are decoded at a time.
    Batch(Local<Vec<ExportedSpeechModel>>),
}

impl Speech {
    /// Opens a model.
    pub fn open(path: PathBuf, options: Options, opening: &Opening) -> PyResult<Speech> {
        let model = open_model(&path, opening)?;
        let pipeline =
            speech_pipeline(&model).map_err(|e| failure(format!("{}: {e}", path.display())))?;
        let speech = Speech {
            pipeline,
            model,
            options,
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
        ExportedSpeechModel::without_words(&self.model)
    }

    /// The model's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sessions that nobody uses: one, or as many as there are pieces at a time.
    pub fn models(&self, batch: Option<usize>) -> PyResult<Models> {
        let Some(count) = batch else {
            let idle = self.idle.take().map(Ok);
            let session = idle.unwrap_or_else(|| self.session(self.options).map(Local::new));
            return Ok(Models::One(session?));
        };
        let idle = self.with_batches(|batches| batches.get(&count)?.take());
        if let Some(models) = idle {
            return Ok(Models::Batch(models));
        }
        let batcher = StepBatcher::new(self.options.threads);
        let threads = (self.options.threads / count).max(1);
        let options = Options {
            threads,
            ..self.options
        };
        let models = (0..count).map(|_| Ok(self.session(options)?.batched_by(&batcher)));
        Ok(Models::Batch(Local::new(models.collect::<PyResult<_>>()?)))
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

    fn with_batches<T>(
        &self,
        work: impl FnOnce(&mut BTreeMap<usize, Idle<Vec<ExportedSpeechModel>>>) -> T,
    ) -> T {
        work(&mut self.batches.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn session(&self, options: Options) -> PyResult<ExportedSpeechModel> {
        ExportedSpeechModel::new(&self.model, options)
            .map_err(|e| failure(format!("{}: {e}", self.path.display())))
    }
}
