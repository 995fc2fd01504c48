//! The JSON of a program, as `models/….json` of an archive holds it: read, converted, checked,
//! written as text, planned and run.

use crosslatch::ir::verify::verify;
use crosslatch::ops::Catalogue;
use crosslatch::pt2::convert::convert;
use crosslatch::pt2::schema::ExportedProgram;

use super::{Target, kind_of, program, seeds};
use crate::mutation::json;
use crate::pt2::model_json;

pub const TARGET: Target = Target {
    name: "graph",
    run,
    seeds: || {
        let programs = seeds::programs().into_iter();
        let texts = programs.map(|program| model_json(&program).to_string().into_bytes());
        texts.collect()
    },
    mutate: json::mutate,
    longest: 1 << 15,
};

fn run(bytes: &[u8]) -> String {
    let file: ExportedProgram = match serde_json::from_slice(bytes) {
        Ok(file) => file,
        Err(error) => return kind_of(&error.to_string()),
    };
    let program = match convert("model", &file, Catalogue::builtin()) {
        Ok(converted) => converted.program,
        Err(error) => return kind_of(&error.to_string()),
    };
    if let Err(error) = verify(&program) {
        return kind_of(&error.to_string());
    }
    // Some names cannot be parsed back from the text, but every program can be printed.
    let _ = program.to_string();
    program::run_program(program)
}
