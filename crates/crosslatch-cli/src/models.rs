//! `crosslatch models`: what is on this machine, where it lies, and what can be named besides.
//!
//! A model comes from one of three places: the program brings one, the environment names one, and the
//! cache that all tools of the hub share may have many. Of those only such are listed as can be opened.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use crosslatch_checkpoints::{Format, Kind};
use crosslatch_hub::{Hub, SHORT_NAMES, cached};
use indicatif::DecimalBytes;
use serde_json::{Value, json};

use crate::CommandError;
use crate::model::{DEFAULT, bundled_model, default_model};

/// Lists the models on this machine, and the short names of those that can be downloaded.
///
/// Each is named in the form in which --model takes it.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  crosslatch models\n  \
    crosslatch models --json | jq -r '.models[].name'")]
pub struct Args {
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// A model on this machine.
struct Found {
    /// What `--model` takes.
    name: String,
    /// Why it is listed: `bundled`, the variable, or `cache`.
    source: &'static str,
    /// What it is: a family, or `pt2`.
    kind: String,
    format: &'static str,
    bytes: u64,
    path: PathBuf,
}

/// Runs the command.
pub fn models(args: &Args) -> Result<(), CommandError> {
    let hub = Hub::from_environment();
    let mut found: Vec<Found> = Vec::new();
    found.extend(bundled_model().ok().and_then(|path| {
        let path = path.canonicalize().unwrap_or(path);
        Found::at(path.display().to_string(), "bundled", path)
    }));
    let cached = cached(&hub.cache);
    if let Some(named) = default_model() {
        let name = named.display().to_string();
        let in_cache = cached
            .iter()
            .find(|(cached, _)| *cached == repository(&name));
        let path = match named.exists() {
            true => Some(named.clone()),
            false => in_cache.map(|(_, path)| path.clone()),
        };
        match path.and_then(|path| Found::at(name, DEFAULT, path)) {
            Some(model) => found.push(model),
            None => eprintln!(
                "warning: {DEFAULT} names {}, which is no model on this machine",
                named.display()
            ),
        }
    }
    for (name, path) in cached {
        found.extend(Found::at(name, "cache", path));
    }
    let mut out = std::io::stdout().lock();
    match args.json {
        true => {
            let models: Vec<Value> = found.iter().map(Found::json).collect();
            let names: Vec<Value> = SHORT_NAMES
                .iter()
                .map(|short| {
                    json!({"name": short.name, "repository": short.repository,
                        "parameters": u64::from(short.parameters) * 1_000_000})
                })
                .collect();
            let cache = hub.cache.path().display().to_string();
            writeln!(
                out,
                "{}",
                json!({"models": models, "names": names, "cache": cache})
            )?;
        }
        false => write!(out, "{}", text(&found, hub.cache.path()))?,
    }
    Ok(())
}

/// The repository that a name stands for.
fn repository(name: &str) -> &str {
    let short = SHORT_NAMES.iter().find(|short| short.name == name);
    short.map_or(name, |short| short.repository)
}

impl Found {
    /// The model at this path, if it is one that can be opened.
    fn at(name: String, source: &'static str, path: PathBuf) -> Option<Found> {
        let (kind, format) = match Kind::of(&path) {
            Some(kind) if !kind.is_supported() => return None,
            Some(kind) => {
                let format = match kind.format {
                    Format::HuggingFace => "safetensors",
                    Format::CTranslate2 => "ctranslate2",
                    Format::Ggml => "ggml",
                };
                (kind.family, format)
            }
            None if path.extension().is_some_and(|ending| ending == "pt2") => {
                ("program".to_owned(), "pt2")
            }
            None => return None,
        };
        Some(Found {
            name,
            source,
            kind,
            format,
            bytes: size(&path),
            path,
        })
    }

    fn json(&self) -> Value {
        json!({"name": self.name, "source": self.source, "family": self.kind,
            "format": self.format, "bytes": self.bytes, "path": self.path.display().to_string()})
    }
}

/// Bytes of a file, or of the files of a folder.
fn size(path: &Path) -> u64 {
    let len = |path: &Path| path.metadata().map_or(0, |file| file.len());
    match std::fs::read_dir(path) {
        Err(_) => len(path),
        Ok(entries) => {
            let files = entries.flatten().map(|entry| entry.path());
            files
                .filter(|file| file.is_file())
                .map(|file| len(&file))
                .sum()
        }
    }
}

/// The lists for people.
fn text(found: &[Found], cache: &Path) -> String {
    let mut text = String::from("On this machine, as --model takes them:\n");
    let rows = found.iter().map(|model| {
        let source = match model.source {
            "cache" => String::new(),
            "bundled" => "bundled: knows voice commands only".to_owned(),
            variable => format!("named by {variable}"),
        };
        let size = DecimalBytes(model.bytes).to_string();
        [
            model.name.clone(),
            format!("{}, {}", model.kind, model.format),
            size,
            source,
        ]
    });
    text.push_str(&table(rows.collect()));
    text.push_str(
        "\nTo be downloaded when they are first named, of OpenAI's Whisper and from it:\n",
    );
    let here: HashMap<&str, ()> = found
        .iter()
        .map(|model| (model.name.as_str(), ()))
        .collect();
    let rows = SHORT_NAMES.iter().map(|short| {
        let is_here = here.contains_key(short.repository);
        [
            short.name.to_owned(),
            short.repository.to_owned(),
            format!("{} million parameters", short.parameters),
            if is_here { "on this machine" } else { "" }.to_owned(),
        ]
    });
    text.push_str(&table(rows.collect()));
    text.push_str(&format!(
        "\nAny other Whisper or translator on the hub is named owner/name. The cache is {}.\n",
        cache.display()
    ));
    text
}

/// Rows in columns.
fn table(rows: Vec<[String; 4]>) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 3] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for [name, what, size, note] in &rows {
        let [a, b, c] = widths;
        let line = format!("  {name:a$}  {what:b$}  {size:>c$}  {note}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
