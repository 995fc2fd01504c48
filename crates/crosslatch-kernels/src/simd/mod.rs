//! Loops over slices in vector instructions, some found by the compiler, some written by hand.

pub(crate) mod approximate;
pub(crate) mod axpy;
pub(crate) mod convert;
pub(crate) mod dot_products;
pub(crate) mod functions;
pub(crate) mod nibbles;
pub(crate) mod transpose;
pub(crate) mod vectors;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86_64;

pub use functions::Function;
