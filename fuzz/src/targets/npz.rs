//! Tensors in NumPy's archives.

use crosslatch_cli::npz::arrays;

use super::{Target, kind_of};
use crate::mutation::{Mutation, bytes, zip};
use crate::pt2::{Entry, archive};

pub const TARGET: Target = Target {
    name: "npz",
    run,
    seeds,
    mutate: |chance, input, other| zip::mutate(chance, input, other, array),
    longest: 1 << 14,
};

fn run(bytes: &[u8]) -> String {
    match arrays(bytes, bytes.len() as u64) {
        Ok(arrays) => {
            let types = arrays.iter().map(|(_, t)| format!("{}", t.dtype()));
            format!("good: {}", types.collect::<Vec<_>>().join(" "))
        }
        Err(error) => kind_of(&error),
    }
}

/// The header is text with numbers in it; the data after it tolerates blind mutations.
fn array(_: &[u8]) -> Mutation {
    |chance, input, other| {
        let text = input.get(10..).and_then(|rest| {
            let end = rest.iter().position(|b| *b == b'\n')?;
            std::str::from_utf8(&rest[..end]).ok()
        });
        let Some(text) = text.filter(|_| chance.bool()) else {
            return bytes::mutate(chance, input, other);
        };
        let behind = &input[10 + text.len()..];
        let mut new = bytes::mutate(chance, text.as_bytes(), b"'<f8' (3, 2,) -1 99999999999");
        if chance.bool() {
            let number = super::super::mutation::integer(chance).to_string();
            new = text.replacen(['2', '3', '4'], &number, 1).into_bytes();
        }
        let mut array = input[..8].to_vec();
        array.extend((new.len() as u16).to_le_bytes());
        array.extend(new);
        array.extend(behind);
        array
    }
}

fn npy(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    text.push_str(&" ".repeat((118 - text.len() % 118) % 118));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(elements);
    bytes
}

fn seeds() -> Vec<Vec<u8>> {
    let of = |arrays: &[(&str, Vec<u8>)]| {
        let entries = arrays
            .iter()
            .map(|(name, npy)| Entry::new(*name, npy.clone()));
        archive(&entries.collect::<Vec<_>>())
    };
    vec![
        of(&[("x.npy", npy("<f4", "(2, 3)", &[0; 24]))]),
        of(&[
            ("x.npy", npy("<i8", "(2,)", &[1; 16])),
            ("y.npy", npy("|b1", "(4,)", &[0, 1, 1, 0])),
        ]),
        of(&[
            ("a.npy", npy("<f2", "()", &[0, 0x3c])),
            ("b.npy", npy("|u1", "(0, 4)", &[])),
        ]),
        of(&[
            ("c.npy", npy("<f8", "(1, 1, 2)", &[0; 16])),
            ("readme.txt", b"no array".to_vec()),
        ]),
        deflated(),
    ]
}

/// Compressed, as `numpy.savez_compressed` writes it: one block of 0x01 bytes, repeated.
fn deflated() -> Vec<u8> {
    include_bytes!("../../seeds/compressed.npz").to_vec()
}
