//! Loading a model: from one archive, from a folder, or from several archives.
//!
//! `torch.export.save` writes one program to an archive, `crosslatch.export` several. transformers'
//! exporters write a generating model as a folder with an archive for each stage, `prefill` and
//! `decode`, and a list of them; both archives carry the weights of the decoder. Here they become one
//! model: equal payloads are one memory, and what `prefill` leaves for `decode` stays in the session
//! ([`passes::carry`](crate::passes::carry)).

use std::path::Path;
use std::sync::Arc;

use super::contents::Contents;
use super::folded::fold_weights;
use super::generator;
use super::halves;
use super::method::check_bindings;
use super::{Carry, Method, Model};
use crate::effects::check_copied_views;
use crate::error::{ArchiveError, Error, MissingOperators};
use crate::ir::verify::VerifyError;
use crate::ops::Catalogue;
use crate::passes::linear::as_linear;
use crate::passes::{carry, random, segments};
use crate::pt2::archive::Archive;
use crate::pt2::components::components;
use crate::pt2::convert::{ConvertError, convert};
use crate::pt2::file::{Access, OtherWriter};
use crate::pt2::schema::{ExportedProgram, MAJOR_VERSION, Versioned};
use crate::pt2::weights::{WeightTable, Weights};

/// The stages of a model that transformers' exporters wrote: the first leaves its caches to the
/// second.
const STAGES: [&str; 2] = ["prefill", "decode"];

impl Model {
    /// Loads a `.pt2` file, or a folder that transformers' exporters wrote. Files are mapped
    /// ([`Access::Map`]): weights are read from them when they are used.
    ///
    /// As long as the model or one of its sessions exists, the files must not be changed or shortened:
    /// a change shows in what the model computes, and where a file was shortened, the system ends the
    /// process when it reads the missing part (SIGBUS). Replacing a file by renaming another one over
    /// it is safe. [`Model::read`] has no such condition.
    ///
    /// # Errors
    /// If a file cannot be read, is malformed, or needs operators that the engine lacks; the
    /// message says which file, entry and node.
    pub fn open(path: impl AsRef<Path>) -> Result<Model, Error> {
        Model::open_with(path, Access::Map)
    }

    /// As [`Model::open`], but the whole files are copied into memory, so that they may be changed
    /// afterwards.
    ///
    /// # Errors
    /// As for [`Model::open`], and if there is not enough memory.
    pub fn read(path: impl AsRef<Path>) -> Result<Model, Error> {
        Model::open_with(path, Access::Copy)
    }

    /// As [`Model::open`], with files mapped or copied as `access` says.
    ///
    /// # Errors
    /// As for [`Model::open`] and [`Model::read`].
    pub fn open_with(path: impl AsRef<Path>, access: Access) -> Result<Model, Error> {
        let path = path.as_ref();
        let mut loading = Loading::new(access);
        if path.is_dir() {
            for (name, file) in components(path)? {
                loading.file(&file, Some(&name))?;
            }
        } else {
            loading.file(path, None)?;
        }
        loading.model(path)
    }

    /// Loads one model from several `.pt2` files, each with the name of the method that its program
    /// becomes. Payloads that are equal share memory. If there are methods `prefill` and `decode` and
    /// the first returns caches that the second takes, sessions keep them. Files are mapped, under the
    /// condition of [`Model::open`].
    ///
    /// # Errors
    /// As for [`Model::open`], and if a file has several programs or a name occurs twice.
    pub fn open_parts(parts: &[(&str, &Path)]) -> Result<Model, Error> {
        Model::open_parts_with(parts, Access::Map)
    }

    /// As [`Model::open_parts`], with files mapped or copied as `access` says.
    ///
    /// # Errors
    /// As for [`Model::open_parts`] and [`Model::read`].
    pub fn open_parts_with(parts: &[(&str, &Path)], access: Access) -> Result<Model, Error> {
        let mut loading = Loading::new(access);
        for (name, path) in parts {
            loading.file(path, Some(name))?;
        }
        loading.model(parts.first().map_or(Path::new(""), |(_, path)| path))
    }

    /// Files that were copied because others may write them, and who may ([`Access::MapOwn`]).
    pub fn copied(&self) -> impl Iterator<Item = (&Path, OtherWriter)> {
        let files = self.files().iter();
        files.filter_map(|file| Some((file.path(), file.copied_for()?)))
    }
}

/// A model that is being loaded.
struct Loading {
    access: Access,
    files: Vec<Archive>,
    weights: Weights,
    methods: Vec<Method>,
}

impl Loading {
    fn new(access: Access) -> Loading {
        Loading {
            access,
            files: Vec::new(),
            weights: Weights::default(),
            methods: Vec::new(),
        }
    }

    /// Adds the programs of a file. If a name is given, the file's only program gets it.
    fn file(&mut self, path: &Path, name: Option<&str>) -> Result<(), Error> {
        let archive = Archive::open(path, self.access)?;
        let fail = |reason: String| Error::Archive {
            path: path.to_owned(),
            reason: ArchiveError::File(reason),
        };
        let programs: Vec<String> = archive
            .below("models/")
            .filter_map(|n| n.strip_suffix(".json"))
            .map(str::to_owned)
            .collect();
        if let ([_, _, ..], Some(name)) = (&programs[..], name) {
            let has = programs.join("`, `");
            let reason = format!("is to be the method `{name}`, but has several: `{has}`");
            return Err(fail(reason));
        }
        self.files.push(archive);
        let mut missing = MissingOperators::default();
        for program in &programs {
            let name = name.unwrap_or(program);
            if self.methods.iter().any(|m| m.program.name == name) {
                return Err(fail(format!("there is a method `{name}` already")));
            }
            match self.method(program, name) {
                Ok(method) => self.methods.push(method),
                // The missing operators of all methods are reported together.
                Err(Error::MissingOperators { missing: more, .. }) => {
                    missing.calls.extend(more.calls);
                }
                Err(error) => return Err(error),
            }
        }
        match missing.calls.is_empty() {
            true => Ok(()),
            false => Err(Error::MissingOperators {
                path: path.to_owned(),
                missing,
            }),
        }
    }

    /// Reads a program of the last file; it becomes the method `name`.
    fn method(&mut self, program: &str, name: &str) -> Result<Method, Error> {
        let (files, weights) = (&self.files, &mut self.weights);
        let Some(archive) = files.last() else {
            unreachable!("a file is added before its programs");
        };
        let path = || archive.path().to_owned();
        let fail = |reason| Error::Archive {
            path: path(),
            reason,
        };
        let entry = format!("models/{program}.json");
        let json = archive.bytes(&entry).map_err(fail)?;
        let malformed = |e: serde_json::Error| fail(ArchiveError::entry(&entry, e.to_string()));
        let Versioned {
            schema_version: version,
            torch_version: torch,
        } = serde_json::from_slice(json).map_err(malformed)?;
        if version.major != MAJOR_VERSION {
            let reason = format!(
                "schema version {}.{} (torch {torch}); Crosslatch reads version {MAJOR_VERSION}",
                version.major, version.minor
            );
            return Err(fail(ArchiveError::entry(&entry, reason)));
        }
        let file: ExportedProgram = serde_json::from_slice(json).map_err(malformed)?;
        let converted = convert(name, &file, Catalogue::builtin()).map_err(|e| match e {
            ConvertError::Invalid(reason) => fail(ArchiveError::entry(&entry, reason)),
            ConvertError::Missing(missing) => Error::MissingOperators {
                path: path(),
                missing,
            },
        })?;
        let table = WeightTable::read(archive, program).map_err(fail)?;
        let slots = converted.program.slots.iter().zip(&converted.payloads);
        let bindings = slots.map(|(slot, payload)| {
            let weight = payload
                .as_ref()
                .map(|name| weights.resolve(files, &table, name, slot.kind));
            weight.transpose()
        });
        let mut bindings = bindings.collect::<Result<Vec<_>, _>>().map_err(fail)?;
        let mut program = converted.program;
        if random::draw_from_state(&mut program) {
            let generator = generator::initial().map_err(|e| e.to_string());
            let generator = generator.and_then(|g| weights.add(&g).map_err(|e| e.to_string()));
            bindings.push(Some(
                generator.map_err(|e| fail(ArchiveError::entry(&entry, e)))?,
            ));
        }
        segments::expand(&mut program);
        segments::remove_unread_items(&mut program.graph);
        crate::ir::verify::verify(&program)
            .map_err(|e| fail(ArchiveError::entry(&entry, e.to_string())))?;
        check_copied_views(&program.graph)
            .map_err(|reason| fail(ArchiveError::entry(&entry, reason)))?;
        check_bindings(&program, &bindings)
            .map_err(|reason| fail(ArchiveError::entry(&entry, reason)))?;
        as_linear(&mut program);
        halves::remove_conversions(&mut program, &mut bindings);
        let widened = halves::widen_others(&program, &mut bindings, weights, files);
        widened.map_err(|(slot, source)| Error::Memory {
            what: format!("weight `{}` in f32", program.slots[slot].name),
            source: source.into(),
        })?;
        fold_weights(&mut program, &mut bindings, weights, files);
        Ok(Method::loaded(program, bindings, |weight| {
            weights.look_for_zeros(files, weight);
        }))
    }

    fn model(mut self, path: &Path) -> Result<Model, Error> {
        self.methods
            .sort_by(|a, b| a.program.name.cmp(&b.program.name));
        carry_between_stages(&mut self.methods).map_err(|e| Error::Archive {
            path: path.to_owned(),
            reason: ArchiveError::File(e.to_string()),
        })?;
        // The parts of the files that were read, mostly programs, are not needed any more.
        for file in &self.files {
            file.contents().release(0..file.contents().bytes().len());
        }
        let contents = Contents {
            path: Some(path.to_owned()),
            files: self.files,
            weights: self.weights,
            ..Contents::default()
        };
        Ok(Model::new(Arc::new(contents), self.methods))
    }
}

/// Lets the second stage carry what it takes from the first, if there are such stages.
fn carry_between_stages(methods: &mut [Method]) -> Result<(), VerifyError> {
    let find = |name: &str| methods.iter().position(|m| m.program.name == name);
    let [Some(first), Some(next)] = STAGES.map(find) else {
        return Ok(());
    };
    let Some(carried) = carry::carry(&methods[first].program, &methods[next].program) else {
        return Ok(());
    };
    crate::ir::verify::verify(&carried.program)?;
    let bindings = carried.slots.iter();
    let bindings = bindings.map(|slot| methods[next].bindings[*slot].clone());
    let mut method = Method::new(carried.program, bindings.collect());
    method.carry = Some(Carry {
        first,
        links: carried.links,
    });
    methods[next] = method;
    Ok(())
}

#[cfg(test)]
impl Model {
    /// A model of several programs without weights.
    pub(crate) fn of_programs(programs: Vec<crate::ir::Program>) -> Result<Model, VerifyError> {
        let mut methods = Vec::new();
        for program in programs {
            crate::ir::verify::verify(&program)?;
            let bindings = vec![None; program.slots.len()];
            methods.push(Method::new(program, bindings));
        }
        carry_between_stages(&mut methods)?;
        let contents = Contents {
            path: None,
            files: Vec::new(),
            weights: Weights::default(),
            ..Contents::default()
        };
        Ok(Model::new(Arc::new(contents), methods))
    }
}
