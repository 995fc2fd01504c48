//! Two operators for PyTorch that let a cross-attention cache live inside `torch.cond`.
//!
//! `torch.cond` forbids a branch to return an operand or to write one, which is what a cache does.
//! `executorch::alias(Tensor x, Tensor y) -> (Tensor, Tensor)` returns its operands and
//! `executorch::update_cross_attn_cache(Tensor value, Tensor cache) -> Tensor` writes `value` into
//! the first rows of `cache` and returns it; both look pure to `torch.cond`. This library is a
//! plain shared object: loading it into a process that has libtorch registers both, with kernels
//! for the CPU and for everything else, through PyTorch's stable C interface. Neither building
//! nor installing it needs torch, and one binary serves every torch from 2.10 on.
//!
//! What tracing and compiling need (shape rules, functionalization, lowerings) is Python's
//! business and lies in `python/crosslatch/`.
//!
//! - `symbols` finds the functions of libtorch,
//! - `register` defines the operators,
//! - `kernels` are what the dispatcher calls,
//! - `tensor` reads a tensor's description and owns handles,
//! - `check` says whether a value fits a cache,
//! - `overlap` finds out who shares memory with whom,
//! - `copy` moves strided bytes,
//! - `message` turns an error into the exception that PyTorch raises.

#[cfg(not(unix))]
compile_error!("the operators for PyTorch are built for Linux and macOS only");

mod check;
mod copy;
mod kernels;
mod message;
mod overlap;
mod register;
mod symbols;
mod tensor;
