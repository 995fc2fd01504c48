//! Passes: each module decides something about a program before it is planned, or rewrites it.

pub mod alignment;
pub mod caches;
pub mod carry;
mod costs;
mod dependence;
pub mod fold;
pub mod halves;
mod insertion;
pub mod latch;
pub mod linear;
pub mod part;
pub mod quantize;
pub mod random;
pub mod segments;
