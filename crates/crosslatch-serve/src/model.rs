//! The model as clients see it: the names by which they ask for it, and what it can do.
//!
//! A server has one model. Programs written for OpenAI's interface name one of OpenAI's, so the
//! model may go by several names. What it can do is found out by asking the pipeline, as a request
//! would; a page uses it to show no option that would be refused.

use crosslatch_tasks::{SpeechPipeline, Task, TranscribeOptions, WhisperConfig};
use serde_json::{Value, json};

use crate::config::Config;
use crate::http::{ApiError, shown};

/// The model of a server.
pub struct ServedModel {
    /// Its own name, then its aliases.
    names: Vec<String>,
    languages: Vec<String>,
    tasks: Vec<&'static str>,
    has_timestamps: bool,
    takes_prompts: bool,
    /// What a request that does not say gets, and may ask for at most.
    settings: Value,
}

impl ServedModel {
    /// The model behind `pipeline`, served in this way.
    pub fn new(config: &Config, pipeline: &SpeechPipeline) -> ServedModel {
        let mut names = vec![config.name.clone()];
        for alias in config.aliases.iter().filter(|alias| !alias.is_empty()) {
            if !names.contains(alias) {
                names.push(alias.clone());
            }
        }
        let can = |options| pipeline.check(&options).is_ok();
        let mut tasks = vec![Task::Transcribe.name()];
        if can(TranscribeOptions {
            task: Some(Task::Translate),
            ..TranscribeOptions::default()
        }) {
            tasks.push(Task::Translate.name());
        }
        let defaults = &config.defaults;
        ServedModel {
            names,
            languages: languages(&pipeline.config),
            tasks,
            has_timestamps: pipeline.config.has_timestamps(),
            takes_prompts: can(TranscribeOptions {
                prompt: Some("a".to_owned()),
                ..TranscribeOptions::default()
            }),
            settings: json!({
                "defaults": {
                    "language": defaults.language,
                    "skip_silence": defaults.skip_silence,
                    "vad_filter": defaults.voice.is_some(),
                    "fallback": defaults.temperatures.len() > 1,
                },
                "limits": {
                    "bytes": config.limits.body,
                    "seconds": config.limits.seconds,
                    "streams": config.streams,
                },
            }),
        }
    }

    /// Its own name.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Whether clients may ask for the model by this name.
    fn is_called(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }

    /// The model under each of its names, as OpenAI's interface lists models.
    pub fn list(&self) -> Value {
        let all: Vec<Value> = self.names.iter().map(|name| self.named(name)).collect();
        json!({"object": "list", "data": all})
    }

    /// The model under one of its names.
    ///
    /// # Errors
    /// If it is not called so; the message says how it is called.
    pub fn described(&self, name: &str) -> Result<Value, ApiError> {
        self.check(Some(name))?;
        Ok(self.named(name))
    }

    /// Checks the name of the model that a request asks for, if it names one.
    ///
    /// # Errors
    /// If it is not called so.
    pub fn check(&self, name: Option<&str>) -> Result<(), ApiError> {
        match name.filter(|name| !self.is_called(name)) {
            Some(name) => Err(self.unknown(name)),
            None => Ok(()),
        }
    }

    /// The error for a model that this server does not have.
    fn unknown(&self, name: &str) -> ApiError {
        let names: Vec<String> = self.names.iter().map(|name| format!("{name:?}")).collect();
        let message = match names.split_first() {
            Some((own, aliases)) if !aliases.is_empty() => format!(
                "the model {} does not exist; this server has {own}, also called {}",
                shown(name),
                aliases.join(", ")
            ),
            _ => format!(
                "the model {} does not exist; this server has {}",
                shown(name),
                names.concat()
            ),
        };
        ApiError::param("model", message)
            .with_status(axum::http::StatusCode::NOT_FOUND)
            .with_code("model_not_found")
    }

    fn named(&self, name: &str) -> Value {
        json!({
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": "crosslatch",
            "languages": self.languages,
            "tasks": self.tasks,
            "timestamps": self.has_timestamps,
            "prompts": self.takes_prompts,
            "defaults": self.settings["defaults"],
            "limits": self.settings["limits"],
        })
    }
}

/// Codes of the languages that a model knows; empty if its files name none.
fn languages(config: &WhisperConfig) -> Vec<String> {
    if config.is_multilingual == Some(false) {
        return vec!["en".to_owned()];
    }
    let tokens = config.lang_to_id.iter().flatten();
    let codes = tokens.map(|(token, _)| token.trim_matches(['<', '|', '>']).to_owned());
    codes.collect()
}
