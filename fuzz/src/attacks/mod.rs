//! Hostile files, one for each kind of attack that was seen or is expected, and the result of each.
//!
//! The files lie in the folder `attacks/` of the repository; this module writes them
//! (`crosslatch-fuzz attacks FOLDER`). A test goes through the folder: each file has to give its result
//! within a second and two gigabytes of address space. An input that fuzzing finds becomes a row here.

mod archives;
mod checkpoints;
mod editing;
mod others;
mod programs;

use std::path::Path;

use crosslatch::inputs::input_slots;
use crosslatch::ir::graph::ValueType;
use crosslatch::ir::parse::parse;
use crosslatch::ir::verify::verify;
use crosslatch::ops::Catalogue;
use crosslatch::{Input, MemoryLimit, Model, Options, Precision, Session, Tensor, TurnLimit};
use crosslatch_tasks::audio::{AudioLimits, read_bytes};
use crosslatch_tasks::{LogMel, TextTokenizer, WhisperConfig};

use crate::targets;

/// A hostile file.
pub struct Attack {
    /// Its name in the folder; the extension selects the reader.
    pub file: &'static str,
    /// Its bytes.
    pub make: fn() -> Vec<u8>,
    /// The error of its reader, without the name of the file; `runs` if there is none.
    pub gives: &'static str,
}

impl Attack {
    const fn new(file: &'static str, make: fn() -> Vec<u8>, gives: &'static str) -> Attack {
        Attack { file, make, gives }
    }
}

/// The memory of a session, the same on every machine.
const MEMORY: MemoryLimit = MemoryLimit::bytes(1 << 30);

/// All of them.
pub fn attacks() -> impl Iterator<Item = &'static Attack> {
    let tables = [
        archives::ATTACKS,
        checkpoints::ATTACKS,
        programs::ATTACKS,
        others::ATTACKS,
    ];
    tables.into_iter().flatten()
}

/// The result of a file.
///
/// # Errors
/// If the file cannot be read, or there is no reader for its extension.
pub fn answer(path: &Path) -> std::io::Result<String> {
    let bytes = std::fs::read(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    let answer = match &*ending {
        "pt2" => model(path),
        "bin" => checkpoint(path),
        "model" => targets::checkpoint::in_folder(&bytes, checkpoint)
            .unwrap_or_else(|e| Err(e.to_string())),
        "ir" => program(&String::from_utf8_lossy(&bytes)),
        "npz" => {
            let arrays = crosslatch_cli::npz::arrays(&bytes[..], bytes.len() as u64);
            arrays.map(drop)
        }
        "wav" | "flac" | "mp3" => {
            let sound = read_bytes("sound", bytes, 16_000, AudioLimits::default());
            sound.map(drop).map_err(|e| e.to_string())
        }
        "json" if name.starts_with("tokenizer") => tokenizer(&bytes),
        "json" if name.starts_with("preprocessor") => LogMel::from_json(&bytes)
            .map(drop)
            .map_err(|e| e.to_string()),
        "json" => {
            let config = WhisperConfig::from_json(None, &bytes);
            config.map(drop).map_err(|e| e.to_string())
        }
        "form" => targets::read_form(&bytes),
        other => return Err(std::io::Error::other(format!("nobody reads `.{other}`"))),
    };
    Ok(match answer {
        Ok(()) => "runs".to_owned(),
        Err(text) => {
            let own = format!("{}: ", path.display());
            text.strip_prefix(&own).unwrap_or(&text).to_owned()
        }
    })
}

fn tokenizer(bytes: &[u8]) -> Result<(), String> {
    let tokenizer = TextTokenizer::from_bytes(bytes).map_err(|e| e.to_string())?;
    let tokens = tokenizer.encode("Hello, world!", true);
    let text = tokens.and_then(|tokens| tokenizer.decode(&tokens));
    text.map(drop).map_err(|e| e.to_string())
}

/// Opens a checkpoint; its folder is left out of the result.
fn checkpoint(path: &Path) -> Result<(), String> {
    let opened = crosslatch_checkpoints::open(path, crosslatch::Access::Copy);
    opened.map(drop).map_err(|e| {
        let text = e.to_string();
        let own = format!("{}/", path.display());
        text.strip_prefix(&own).unwrap_or(&text).to_owned()
    })
}

/// Opens, plans and runs.
fn model(path: &Path) -> Result<(), String> {
    run(&Model::open(path).map_err(|e| e.to_string())?)
}

/// Reads, checks, plans and runs.
fn program(text: &str) -> Result<(), String> {
    let program = parse(text, Catalogue::builtin()).map_err(|e| e.to_string())?;
    verify(&program).map_err(|e| e.to_string())?;
    run(&Model::in_memory(program, &[]).map_err(|e| e.to_string())?)
}

fn run(model: &Model) -> Result<(), String> {
    for precision in Precision::ALL {
        run_in(model, precision)?;
    }
    Ok(())
}

fn run_in(model: &Model, precision: Precision) -> Result<(), String> {
    let options = Options {
        threads: 2,
        precision,
        memory_limit: MEMORY,
        turn_limit: TurnLimit::turns(1 << 10),
        ..Options::default()
    };
    let mut session = Session::new(model, options).map_err(|e| e.to_string())?;
    for method in model.methods() {
        let program = &method.program;
        let symbols = |name: &str| {
            let symbol = program.symbols.iter().find(|s| s.name == name);
            symbol.map(|s| s.min)
        };
        let tensors = input_slots(program).filter_map(|(slot, name)| {
            match &program.graph.value(program.graph.inputs[slot]).ty {
                ValueType::Tensor(ty) => Some((name, ty)),
                _ => None,
            }
        });
        let tensors = tensors.map(|(name, ty)| {
            // A size that cannot be computed may be anything.
            let sizes = ty.sizes.iter().map(|s| s.eval(&symbols).unwrap_or(1));
            let shape: Vec<usize> = sizes.map(|s| usize::try_from(s).unwrap_or(1)).collect();
            let tensor = Tensor::zeros(ty.dtype, &shape).map_err(|e| e.to_string())?;
            Ok((name, tensor))
        });
        let tensors = tensors.collect::<Result<Vec<_>, String>>()?;
        let named: Vec<_> = tensors
            .iter()
            .map(|(n, t)| (*n, Input::from(t.view())))
            .collect();
        session
            .run(&program.name, &named)
            .map_err(|e| e.to_string())?;
    }
    Ok(())
}
