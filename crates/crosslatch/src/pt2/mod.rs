//! Reading what `torch.export.save` writes.
//!
//! A `.pt2` is a zip archive whose entries are stored, not compressed. [`archive`] finds the entries
//! and gives access to their bytes in the file's memory, which [`mod@file`] maps or copies; `formats`
//! recognises what people give instead. [`schema`] mirrors the JSON in which PyTorch serialises a
//! program, [`weights`] ties names to payloads, and [`convert`] turns the program into IR, with the
//! help of `arguments`, `signature` and `inlining`. [`components`] reads the list of several archives that are
//! one model.
//!
//! A file is hostile until it is checked: every size and position is verified against the file before
//! it is used, nothing is allocated that the file does not justify, and a pickle is never opened.

pub mod archive;
mod arguments;
pub mod components;
pub mod convert;
pub mod file;
mod formats;
mod inlining;
pub mod schema;
mod signature;
pub mod weights;

pub use archive::Archive;
