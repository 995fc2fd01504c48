//! A speech model and its idle sessions, which all transcripts share.
//!
//! Each transcript has a session of its own. A session that has done its work is kept for the next
//! transcript, because its memory and its plans can be used again.

use std::path::{Path, PathBuf};

use crosslatch::{Model, Options};
use crosslatch_tasks::{ExportedSpeechModel, SpeechPipeline, speech_pipeline};
use pyo3::prelude::*;

use crate::error::failure;
use crate::idle::Idle;
use crate::models::open_model;
use crate::options::access;
use crate::process::Local;

/// A speech model and its idle sessions.
pub struct Speech {
    pub pipeline: SpeechPipeline,
    model: Model,
    options: Options,
    /// The model's file, for messages.
    path: PathBuf,
    idle: Idle<ExportedSpeechModel>,
}

impl Speech {
    /// Opens a model's file, mapped if `map` says so.
    pub fn open(path: PathBuf, options: Options, map: bool) -> PyResult<Speech> {
        let model = open_model(&path, access(map))?;
        let pipeline =
            speech_pipeline(&model).map_err(|e| failure(format!("{}: {e}", path.display())))?;
        let speech = Speech {
            pipeline,
            model,
            options,
            path,
            idle: Idle::default(),
        };
        // The first session is made at once, to find out whether this is a speech model.
        let session = speech.session()?;
        speech.give_back(session);
        Ok(speech)
    }

    /// The model's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A session that nobody uses.
    pub fn session(&self) -> PyResult<Local<ExportedSpeechModel>> {
        if let Some(session) = self.idle.take() {
            return Ok(session);
        }
        ExportedSpeechModel::new(&self.model, self.options)
            .map(Local::new)
            .map_err(|e| failure(format!("{}: {e}", self.path.display())))
    }

    /// Takes a session back.
    pub fn give_back(&self, session: Local<ExportedSpeechModel>) {
        self.idle.give_back(session);
    }
}
