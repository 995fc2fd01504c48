//! A valid archive to start from, and the ways in which attacks change it.

use crosslatch::ir::parse::parse;
use crosslatch::ops::Catalogue;
use serde_json::Value;

use crate::pt2::{Entry, archive, entries};

/// A program with one input and one weight.
pub const PLAIN: &str = "program model
input %x: f32[2, 3]
weight %w: f32[4, 3] = \"w\"
%y: f32[2, 4] = aten::linear(input=%x, weight=%w)
return \"y\"=%y";

/// The entries of an archive that holds this program; entry 1 is the program, entry 2 lists its weights.
///
/// # Panics
/// If the text is not a program.
pub fn parts(text: &str) -> Vec<Entry> {
    let program = parse(text, Catalogue::builtin()).unwrap_or_else(|e| panic!("{e}: {text}"));
    entries(&program)
}

/// An archive that holds this program.
pub fn of(text: &str) -> Vec<u8> {
    archive(&parts(text))
}

/// The archive of these entries, with one of them changed.
pub fn edited(mut parts: Vec<Entry>, at: usize, change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut json = serde_json::from_slice(&parts[at].contents).unwrap_or_default();
    change(&mut json);
    parts[at].contents = json.to_string().into_bytes();
    archive(&parts)
}

/// Sets the value at a JSON pointer.
///
/// # Panics
/// If the pointer leads nowhere: the file would then not be an attack.
pub fn set(json: &mut Value, pointer: &str, value: &Value) {
    match json.pointer_mut(pointer) {
        Some(place) => *place = value.clone(),
        None => panic!("there is no `{pointer}`"),
    }
}
