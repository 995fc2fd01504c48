//! Loops over slices that a compiler or a person has made vector instructions of.

pub mod approximate;
pub(crate) mod axpy;
pub(crate) mod dot_products;
pub mod functions;
pub(crate) mod transpose;
pub mod vectors;
