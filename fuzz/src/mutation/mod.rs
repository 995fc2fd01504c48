//! Mutations of inputs: of bytes where a format tolerates that, and otherwise of its own parts.
//!
//! Every mutation takes an input and another one that may donate pieces, and returns a changed copy. All
//! random numbers come from one seeded generator, so that a run can be repeated.

pub mod bytes;
pub mod json;
pub mod program;
pub mod zip;

/// The source of random numbers.
pub type Chance = fastrand::Rng;

/// Changes an input, perhaps with pieces of another one.
pub type Mutation = fn(&mut Chance, &[u8], &[u8]) -> Vec<u8>;

/// Integers at which readers break: around zero, around the ends of types, around sizes that overflow
/// when they are multiplied by a few bytes.
const BORDERS: &[i64] = &[
    0,
    1,
    -1,
    2,
    3,
    5,
    7,
    8,
    16,
    63,
    64,
    65,
    255,
    256,
    1000,
    65_535,
    65_536,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    (1 << 32) + 1,
    1 << 40,
    1 << 50,
    (1 << 53) + 1,
    1 << 60,
    (1 << 61) - 1,
    1 << 61,
    1 << 62,
    i64::MAX - 1,
    i64::MAX,
    i64::MIN,
    i64::MIN + 1,
    -2,
    -3,
    -64,
];

/// An integer: mostly a small one, which lets an input get far, and sometimes a boundary value.
pub fn integer(chance: &mut Chance) -> i64 {
    match chance.u8(0..8) {
        0 => BORDERS[chance.usize(0..BORDERS.len())],
        1 => BORDERS[chance.usize(0..BORDERS.len())].wrapping_add(chance.i64(-2..=2)),
        _ => chance.i64(-4..=9),
    }
}

/// A float as text; readers in Rust, Python and JSON disagree about some of these.
pub fn float(chance: &mut Chance) -> &'static str {
    const FLOATS: &[&str] = &[
        "0.0", "-0.0", "1.0", "0.5", "-1.0", "2.5", "1e-30", "1e38", "3.5e38", "1e308", "NaN",
        "inf", "-inf", "1e999", "5e-324", "0.1",
    ];
    FLOATS[chance.usize(0..FLOATS.len())]
}

/// One of several.
pub fn one_of<'a, T>(chance: &mut Chance, among: &'a [T]) -> Option<&'a T> {
    match among.len() {
        0 => None,
        n => Some(&among[chance.usize(0..n)]),
    }
}
