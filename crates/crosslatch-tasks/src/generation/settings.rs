//! Settings in a JSON file, by name.
//!
//! The configuration files of models are open-ended: one may carry dozens of settings that do not
//! concern decoding. So each is read as a JSON object and asked for names; absent and `null` mean
//! the same. What is found is checked there and then, and an error names file, setting and value.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::GenerationError;
use crate::search::EarlyStopping;

/// Names of the files, in messages.
pub(crate) const GENERATION: &str = "generation_config.json";
pub(crate) const MODEL: &str = "config.json";

/// Token ids beyond this are no ids: no model has such a vocabulary, and memory may follow.
const MAX_ID: i64 = 1 << 24;

/// Beams that make sense: each has a cache of its own.
pub(crate) const BEAMS: std::ops::RangeInclusive<usize> = 1..=64;

/// One JSON object and its name in messages.
pub(crate) struct Settings {
    name: &'static str,
    fields: Map<String, Value>,
}

impl Settings {
    pub fn parse(name: &'static str, text: &[u8]) -> Result<Self, GenerationError> {
        let fields = serde_json::from_slice(text)
            .map_err(|source| GenerationError::Json { file: name, source })?;
        Ok(Self { name, fields })
    }

    pub fn value(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    pub fn bad(&self, name: &'static str, cause: impl Into<String>) -> GenerationError {
        let mut value = self.value(name).map(Value::to_string).unwrap_or_default();
        if let Some((at, _)) = value.char_indices().nth(80) {
            value.truncate(at);
            value.push('…');
        }
        GenerationError::Setting {
            file: self.name,
            name,
            value,
            cause: cause.into(),
        }
    }

    pub fn get<T: DeserializeOwned>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, GenerationError> {
        self.value(name)
            .map(|value| T::deserialize(value).map_err(|e| self.bad(name, e.to_string())))
            .transpose()
    }

    pub fn id(&self, name: &'static str) -> Result<Option<u32>, GenerationError> {
        self.get::<i64>(name)?
            .map(|id| valid_id(id).ok_or_else(|| self.bad(name, "is no token id")))
            .transpose()
    }

    /// One id or a list; negative ones match no token and are dropped.
    pub fn ids(&self, name: &'static str) -> Result<Option<Vec<u32>>, GenerationError> {
        let list = match self.value(name) {
            Some(Value::Number(_)) => self.get::<i64>(name)?.map(|id| vec![id]),
            _ => self.get::<Vec<i64>>(name)?,
        };
        Ok(list.map(|ids| ids.into_iter().filter_map(valid_id).collect()))
    }

    pub fn id_map(
        &self,
        name: &'static str,
    ) -> Result<Option<BTreeMap<String, u32>>, GenerationError> {
        let Some(map) = self.get::<BTreeMap<String, i64>>(name)? else {
            return Ok(None);
        };
        map.into_iter()
            .map(|(key, id)| {
                let id = valid_id(id).ok_or_else(|| self.bad(name, format!("{key}: no token id")));
                Ok((key, id?))
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    pub fn beams(&self) -> Result<Option<usize>, GenerationError> {
        let name = "num_beams";
        match self.get::<usize>(name)? {
            Some(beams) if !BEAMS.contains(&beams) => {
                Err(self.bad(name, format!("must be 1 to {}", BEAMS.end())))
            }
            beams => Ok(beams),
        }
    }

    pub fn early_stopping(&self) -> Result<EarlyStopping, GenerationError> {
        let name = "early_stopping";
        match self.value(name) {
            None | Some(Value::Bool(false)) => Ok(EarlyStopping::Heuristic),
            Some(Value::Bool(true)) => Ok(EarlyStopping::WhenFull),
            Some(Value::String(word)) if word == "never" => Ok(EarlyStopping::WhenHopeless),
            Some(_) => Err(self.bad(name, "must be true, false or \"never\"")),
        }
    }

    /// Refuses settings that are neither absent nor what is named here, at which they do nothing.
    pub fn refuse_unless(&self, neutral: &[(&'static str, f64)]) -> Result<(), GenerationError> {
        for &(name, nothing) in neutral {
            if self
                .value(name)
                .is_some_and(|value| value.as_f64() != Some(nothing))
            {
                return Err(self.unsupported(name));
            }
        }
        Ok(())
    }

    /// Refuses settings that are there.
    pub fn refuse(&self, names: &[&'static str]) -> Result<(), GenerationError> {
        match names.iter().find(|name| self.value(name).is_some()) {
            Some(name) => Err(self.unsupported(name)),
            None => Ok(()),
        }
    }

    pub fn unsupported(&self, name: &'static str) -> GenerationError {
        self.bad(name, "is not supported; remove it from the file")
    }
}

pub(crate) fn valid_id(id: i64) -> Option<u32> {
    (0..MAX_ID).contains(&id).then_some(id as u32)
}
