//! The settings of one JSON file, looked up by name.
//!
//! An absent setting and `null` mean the same. A value is checked when it is looked up, and the error
//! names file, setting and value.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ConfigError;

/// Names of the two files, as messages give them.
pub(crate) const GENERATION: &str = "generation_config.json";
pub(crate) const MODEL: &str = "config.json";

/// Bound of token ids: no model has a larger vocabulary, and an id may decide how much memory is
/// allocated.
const MAX_ID: i64 = 1 << 24;

/// The settings of one file, and the file's name for messages.
pub(crate) struct Settings {
    name: &'static str,
    fields: Map<String, Value>,
}

impl Settings {
    /// Parses the contents of the file called `name`.
    pub fn parse(name: &'static str, text: &[u8]) -> Result<Self, ConfigError> {
        let fields = serde_json::from_slice(text)
            .map_err(|source| ConfigError::Json { file: name, source })?;
        Ok(Self { name, fields })
    }

    /// The raw value of a setting.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// The error for a setting whose value cannot be used.
    pub fn bad(&self, name: &'static str, cause: impl Into<String>) -> ConfigError {
        let mut value = self.value(name).map(Value::to_string).unwrap_or_default();
        if let Some((at, _)) = value.char_indices().nth(80) {
            value.truncate(at);
            value.push('…');
        }
        ConfigError::Setting {
            file: self.name,
            name,
            value,
            cause: cause.into(),
        }
    }

    /// A setting as a value of type `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, ConfigError> {
        self.value(name)
            .map(|value| T::deserialize(value).map_err(|e| self.bad(name, e.to_string())))
            .transpose()
    }

    /// A token id.
    pub fn id(&self, name: &'static str) -> Result<Option<u32>, ConfigError> {
        self.get::<i64>(name)?
            .map(|id| valid_id(id).ok_or_else(|| self.bad(name, "is no token id")))
            .transpose()
    }

    /// One token id or a list of them. Negative ids match no token and are dropped.
    pub fn ids(&self, name: &'static str) -> Result<Option<Vec<u32>>, ConfigError> {
        let list = match self.value(name) {
            Some(Value::Number(_)) => self.get::<i64>(name)?.map(|id| vec![id]),
            _ => self.get::<Vec<i64>>(name)?,
        };
        Ok(list.map(|ids| ids.into_iter().filter_map(valid_id).collect()))
    }

    /// Token ids by name.
    pub fn id_map(&self, name: &'static str) -> Result<Option<BTreeMap<String, u32>>, ConfigError> {
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

    /// Refuses every setting of `neutral` that is present with another value than the one given here,
    /// at which it has no effect.
    pub fn refuse_unless(&self, neutral: &[(&'static str, f64)]) -> Result<(), ConfigError> {
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

    /// Refuses every one of these settings that is present.
    pub fn refuse(&self, names: &[&'static str]) -> Result<(), ConfigError> {
        match names.iter().find(|name| self.value(name).is_some()) {
            Some(name) => Err(self.unsupported(name)),
            None => Ok(()),
        }
    }

    /// The error for a setting that would change the tokens and is not implemented.
    pub fn unsupported(&self, name: &'static str) -> ConfigError {
        self.bad(name, "is not supported; remove it from the file")
    }
}

/// A number as a token id, if it can be one.
pub(crate) fn valid_id(id: i64) -> Option<u32> {
    (0..MAX_ID).contains(&id).then_some(id as u32)
}
