//! A folder that transformers' exporters write: an archive for each stage of a model.
//!
//! `export.json` lists the stages by name, each with its file and what the exporter recorded about
//! it (`transformers/exporters/base.py`, `ExportedModel.save_pretrained`, version 5.23). Only names
//! and files are read here; everything else is in the archives.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::file::{self, Access};
use super::formats;
use crate::error::{ArchiveError, Error};

/// The name of the list.
const MANIFEST: &str = "export.json";

/// The format of archives that Crosslatch reads.
const FORMAT: &str = "dynamo";

#[derive(Deserialize)]
struct Manifest {
    export_format: String,
    components: BTreeMap<String, Stage>,
}

#[derive(Deserialize)]
struct Stage {
    file: String,
}

/// Name and file of each stage.
///
/// # Errors
/// If the folder has no list, or the list is malformed, is of archives of another format, or names a
/// file outside of the folder.
pub fn components(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let path = folder.join(MANIFEST);
    let fail = |reason: String| Error::Archive {
        path: path.clone(),
        reason: ArchiveError::File(reason),
    };
    if !path.exists() {
        let unknown = || {
            "a folder is read if transformers' exporters wrote it, and this one has no list \
             `export.json`; name a .pt2 file instead"
                .into()
        };
        return Err(Error::Archive {
            path: folder.to_owned(),
            reason: ArchiveError::File(formats::of_folder(folder).unwrap_or_else(unknown)),
        });
    }
    let (contents, _) = file::contents(&path, Access::Copy)?;
    let manifest: Manifest =
        serde_json::from_slice(contents.bytes()).map_err(|e| fail(e.to_string()))?;
    if manifest.export_format != FORMAT {
        return Err(fail(format!(
            "lists programs of the format `{}`; Crosslatch reads those of DynamoExporter (`{FORMAT}`)",
            manifest.export_format
        )));
    }
    let stages = manifest.components.into_iter().map(|(name, stage)| {
        let mut parts = Path::new(&stage.file).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(file)), None) => Ok((name, folder.join(file))),
            _ => Err(fail(format!(
                "`{name}` is said to be in `{}`, which is not a file of this folder",
                stage.file
            ))),
        }
    });
    stages.collect()
}
