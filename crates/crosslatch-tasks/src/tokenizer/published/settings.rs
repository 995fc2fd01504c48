//! What `tokenizer_config.json` says, and which kind of tokenizer a model has.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::{FileError, Files};

/// The name of the file.
pub const FILE: &str = "tokenizer_config.json";

/// What of the file the tokens depend on. Not every model has one.
#[derive(Debug, Default, Deserialize)]
pub struct Settings {
    tokenizer_class: Option<String>,
    pub src_lang: Option<String>,
    #[serde(default)]
    pub separate_vocabs: bool,
    #[serde(default)]
    pub legacy_behaviour: bool,
    pub language_codes: Option<String>,
    pub extra_ids: Option<u32>,
    pub offset: Option<u32>,
    /// What `config.json` calls the model.
    #[serde(skip)]
    model_type: Option<String>,
    #[serde(flatten)]
    others: HashMap<String, Value>,
}

/// What `config.json` says.
#[derive(Deserialize)]
struct Model {
    model_type: Option<String>,
}

impl Settings {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn read(files: &Files<'_>) -> Result<Settings, FileError> {
        let mut settings = match files(FILE) {
            Some(text) => serde_json::from_slice(text).map_err(|error| FileError {
                file: FILE,
                cause: error.to_string(),
            })?,
            None => Settings::default(),
        };
        let model = files("config.json").and_then(|text| serde_json::from_slice(text).ok());
        settings.model_type = model.and_then(|model: Model| model.model_type);
        Ok(settings)
    }

    /// The kind of tokenizer: by its class, or else by the kind of model.
    pub fn kind(&self) -> Option<&'static str> {
        let class = self.tokenizer_class.as_deref().unwrap_or_default();
        let class = class.strip_suffix("Fast").unwrap_or(class);
        Some(
            match (class, self.model_type.as_deref().unwrap_or_default()) {
                ("NllbTokenizer", _) => "nllb",
                ("MBart50Tokenizer", _) => "mbart50",
                ("MBartTokenizer", _) => "mbart",
                ("T5Tokenizer" | "MT5Tokenizer", _) => "t5",
                ("PegasusTokenizer", _) => "pegasus",
                (_, "m2m_100") => "nllb",
                (_, "mbart") => "mbart",
                (_, "t5" | "mt5" | "umt5") => "t5",
                (_, "pegasus") => "pegasus",
                _ => return None,
            },
        )
    }

    /// The special tokens of these names, each as the file has it or else as given here.
    pub fn tokens(&self, names: &[(&str, &str)]) -> Vec<String> {
        let text = |name: &str| match self.others.get(&format!("{name}_token"))? {
            Value::String(text) => Some(text.clone()),
            Value::Object(token) => Some(token.get("content")?.as_str()?.to_owned()),
            _ => None,
        };
        let token = |&(name, default): &(&str, &str)| text(name).unwrap_or(default.to_owned());
        names.iter().map(token).collect()
    }
}
