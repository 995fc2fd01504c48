//! Blind mutations of bits, numbers and pieces.

use super::{BORDERS, Chance};

/// Changes bytes in one to four places.
pub fn mutate(chance: &mut Chance, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..chance.usize(1..=4) {
        change(chance, &mut bytes, other);
    }
    bytes
}

fn change(chance: &mut Chance, bytes: &mut Vec<u8>, other: &[u8]) {
    let place = |chance: &mut Chance, len: usize| chance.usize(0..len.max(1));
    if bytes.is_empty() {
        bytes.push(chance.u8(..));
        return;
    }
    let at = place(chance, bytes.len());
    match chance.u8(0..10) {
        0 | 1 => bytes[at] ^= 1 << chance.u8(0..8),
        2 => bytes[at] = chance.u8(..),
        3 => bytes[at] = [0, 0xff, 0x7f, 0x80][chance.usize(0..4)],
        4 => {
            // A number of two, four or eight bytes, in either order.
            let number = BORDERS[chance.usize(0..BORDERS.len())];
            let width = [2, 4, 8][chance.usize(0..3)];
            let mut digits = number.to_le_bytes()[..width].to_vec();
            if chance.bool() {
                digits.reverse();
            }
            for (to, from) in bytes[at..].iter_mut().zip(digits) {
                *to = from;
            }
        }
        5 => bytes.truncate(at),
        6 => {
            let end = (at + chance.usize(1..=16)).min(bytes.len());
            bytes.drain(at..end);
        }
        7 => {
            let end = (at + chance.usize(1..=32)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            let to = place(chance, bytes.len());
            bytes.splice(to..to, piece);
        }
        8 if !other.is_empty() => {
            let from = place(chance, other.len());
            let end = (from + chance.usize(1..=64)).min(other.len());
            let over = (at + chance.usize(0..=64)).min(bytes.len());
            bytes.splice(at..over, other[from..end].iter().copied());
        }
        _ => {
            let new: Vec<u8> = (0..chance.usize(1..=8)).map(|_| chance.u8(..)).collect();
            bytes.splice(at..at, new);
        }
    }
}
