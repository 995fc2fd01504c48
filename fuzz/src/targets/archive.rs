//! A `.pt2` file: opened, its extra files read, its programs planned and run.
//!
//! The engine maps files, so each input is written to a file, in memory if the system has a folder there.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crosslatch::{Model, Precision};
use crosslatch_tasks::{speech_pipeline, text_pipeline};

use super::{Target, kind_of, running, seeds, tokenizer};
use crate::mutation::zip;
use crate::pt2::{Entry, archive, entries};

const LONGEST: usize = 1 << 16;

pub const TARGET: Target = Target {
    name: "archive",
    run,
    seeds: archives,
    mutate: |chance, input, other| zip::mutate(chance, input, other, zip::of_pt2),
    longest: LONGEST,
};

/// A path for a file or a folder of this thread, in memory if the system has a folder there.
pub fn scratch(ending: &str) -> PathBuf {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    let base = BASE.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        match memory.is_dir() {
            true => memory.to_owned(),
            false => std::env::temp_dir(),
        }
    });
    // One thread runs a target in a process; tests run several.
    let thread = format!("{:?}", std::thread::current().id());
    let thread: String = thread.chars().filter(char::is_ascii_digit).collect();
    base.join(format!(
        "crosslatch-fuzz-{}-{thread}{ending}",
        std::process::id()
    ))
}

fn run(bytes: &[u8]) -> String {
    let path = scratch(".pt2");
    let written = File::create(&path).and_then(|mut file| file.write_all(bytes));
    if let Err(error) = written {
        return format!("cannot be written: {error}");
    }
    let opened = Model::open(&path);
    // The mapping outlives the name, and nothing is left behind when the process dies.
    let _ = std::fs::remove_file(&path);
    let model = match opened {
        Ok(model) => model,
        Err(error) => {
            let text = error.to_string();
            let prefix = format!("{}: ", path.display());
            return kind_of(text.strip_prefix(&prefix).unwrap_or(&text));
        }
    };
    let mut answer = String::new();
    if model.extra_files().next().is_some() {
        let speech =
            speech_pipeline(&model).map_or_else(|e| e.to_string(), |_| "speech".to_owned());
        let text = text_pipeline(&model).map_or_else(|e| e.to_string(), |_| "text".to_owned());
        answer = kind_of(&format!("{speech}; {text}; "));
    }
    let precisions = [Precision::F32, Precision::Bf16, Precision::Int8];
    let precision = precisions[bytes.len() % precisions.len()];
    let run = running::run(&model, precision);
    match answer.is_empty() {
        true => run,
        false => format!("{run}; {answer}"),
    }
}

fn archives() -> Vec<Vec<u8>> {
    let programs = seeds::programs();
    let mut archives: Vec<Vec<u8>> = programs.iter().map(|p| archive(&entries(p))).collect();
    // Several programs in one file, and extra files.
    if let [first, second, ..] = &programs[..] {
        let mut both = entries(first);
        let model = crate::pt2::model_json(second).to_string();
        both.push(Entry::new("m/models/other.json", model));
        for (name, text) in super::config::FILES {
            both.push(Entry::new(format!("m/extra/{name}"), *text));
        }
        let tokenizer = tokenizer::WORD_LEVEL;
        both.push(Entry::new("m/extra/tokenizer.json", tokenizer));
        archives.push(archive(&both));
    }
    // Some programs are there for their large weights.
    archives.retain(|archive| archive.len() <= LONGEST);
    archives
}
