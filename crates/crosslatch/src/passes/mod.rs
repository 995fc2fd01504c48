//! Passes: what is decided about a program before it is planned. One pass a file.

pub mod narrow;
