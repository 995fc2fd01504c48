//! Seeds: the programs of the engine's text tests, and a call of every operator.

use std::path::{Path, PathBuf};

use crosslatch::ir::COND;
use crosslatch::ir::Program;
use crosslatch::ir::operator::Operator;
use crosslatch::ir::parse::parse;
use crosslatch::ir::schema::{ArgType, Param};
use crosslatch::ops::Catalogue;
use crosslatch_kernels::random::STATE;

/// The texts of the programs.
pub fn texts() -> Vec<String> {
    let mut texts = of_text_tests();
    let catalogue = Catalogue::builtin();
    for name in catalogue.names() {
        if let Some(op) = catalogue.get(name).filter(|_| name != COND) {
            texts.push(call(op));
        }
    }
    texts.push(SYMBOLIC.to_owned());
    texts
}

/// The programs of the text tests of all passes.
fn of_text_tests() -> Vec<String> {
    let tests = crate_folder("crosslatch").join("tests/filetests");
    let folders = std::fs::read_dir(tests).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
    folders.sort();
    let files = folders.iter().flat_map(|folder| files(folder, "ir"));
    files.flat_map(std::fs::read_to_string).collect()
}

/// The programs of the valid texts.
pub fn programs() -> Vec<Program> {
    let texts = texts().into_iter();
    texts
        .filter_map(|text| parse(&text, Catalogue::builtin()).ok())
        .filter(|program| crosslatch::ir::verify::verify(program).is_ok())
        .collect()
}

const SYMBOLIC: &str = "program p
symbol s0 in 1..80
input %x: f32[1, s0, 4]
%n: int = aten::sym_size.int(self=%x, dim=1)
%y: f32[1, 4*s0] = aten::reshape(self=%x, shape=[1, -1])
return \"y\"=%y
";

/// A program that calls an operator with the simplest arguments.
fn call(op: &Operator) -> String {
    let mut program = String::from("program p\n");
    let mut args = Vec::new();
    let wanted = |p: &&Param| p.default.is_none() && !p.optional;
    for (i, param) in op.schema.params.iter().filter(wanted).enumerate() {
        let mut input = |ty: &str| {
            program.push_str(&format!("input %x{i}: {ty}\n"));
            format!("%x{i}")
        };
        let is_index = ["index", "indices"].contains(&param.name.as_str());
        let value = match param.ty {
            ArgType::Tensor if is_index => input("i64[2, 3]"),
            ArgType::Tensor if param.name == "condition" => input("bool[2, 3]"),
            ArgType::Tensor if param.name == "generator" => input(&format!("i64[{STATE}]")),
            ArgType::Tensor => input("f32[2, 3]"),
            ArgType::Tensors => format!("{{{}}}", input("f32[2, 3]")),
            ArgType::Int | ArgType::Number => "1".to_owned(),
            ArgType::Ints => "[1, 0]".to_owned(),
            ArgType::Floats => "[2.0]".to_owned(),
            ArgType::Float => "0.5".to_owned(),
            ArgType::Bool => "true".to_owned(),
            ArgType::Str => "\"ij,jk->ik\"".to_owned(),
            ArgType::DType => "f32".to_owned(),
            ArgType::Ignored => "none".to_owned(),
        };
        args.push(format!("{}={value}", param.name));
    }
    let count = match op.schema.returns.iter().any(|r| r.list) {
        true => 2,
        false => op.schema.returns.len(),
    };
    let returns = op.schema.returns.iter().cycle().take(count);
    let results = returns.enumerate().map(|(i, result)| match result.tensor {
        true => format!("%y{i}: f32[2, 3]"),
        false => format!("%y{i}: int"),
    });
    let results: Vec<String> = results.collect();
    let equals = if count > 0 { " = " } else { "" };
    let returned: Vec<String> = (0..count).map(|i| format!("\"y{i}\"=%y{i}")).collect();
    program.push_str(&format!(
        "{}{equals}{}({})\nreturn {}\n",
        results.join(", "),
        op.schema.name,
        args.join(", "),
        returned.join(", ")
    ));
    program
}

/// The folder of a crate of this repository.
pub fn crate_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates")
        .join(name)
}

/// The files of a folder with this extension, in order.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == extension));
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_of_the_text_tests_are_among_the_seeds() {
        assert!(of_text_tests().len() > 100, "{}", of_text_tests().len());
    }
}
