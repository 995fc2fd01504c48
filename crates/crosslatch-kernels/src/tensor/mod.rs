//! The nouns: what a tensor is made of and where its elements lie.

pub mod arithmetic;
pub mod dtype;
pub mod layout;
pub mod quantized;
pub mod storage;
pub mod untyped;
pub mod view;
