//! Limits: programs that ask for more memory than they may have.
//!
//! Every tensor that an instruction reads or writes, and every output, is counted as if its elements
//! lay one after the other, and none may pass the session's limit alone. That names the node which
//! asks for too much, before the sum of all is asked for ([`MemoryLimit::allocate`]), and it bounds
//! what a kernel walks over: a view that repeats a few elements without end takes no memory and all
//! time, and so may one of as many rows of no elements.

use super::instructions::{Inst, Lowered, LoweredOutput, Place};
use crate::memory::{MemoryError, MemoryLimit};

/// A tensor that passes the limit.
pub struct TooLarge {
    /// The node, or the output.
    pub node: String,
    /// By how much.
    pub error: MemoryError,
}

/// Finds the first tensor that passes the limit.
pub fn check(lowered: &Lowered, limit: MemoryLimit) -> Result<(), TooLarge> {
    check_insts(&lowered.insts, limit)?;
    for (name, output) in &lowered.outputs {
        if let LoweredOutput::Place(place) = output {
            check_places([place], limit, &format!("output `{name}`"))?;
        }
    }
    Ok(())
}

fn check_insts(insts: &[Inst], limit: MemoryLimit) -> Result<(), TooLarge> {
    for inst in insts {
        match inst {
            Inst::Run {
                inputs,
                outputs,
                node,
                ..
            } => check_places(inputs.iter().chain(outputs), limit, node)?,
            Inst::Copy(copy) => check_places([&copy.from], limit, &copy.node)?,
            Inst::Cond { branches, .. } => {
                (branches.iter()).try_for_each(|branch| check_insts(branch, limit))?;
            }
        }
    }
    Ok(())
}

fn check_places<'p>(
    places: impl IntoIterator<Item = &'p Place>,
    limit: MemoryLimit,
    node: &str,
) -> Result<(), TooLarge> {
    for place in places {
        limit
            .check(place.layout.extent() * place.dtype.size(), 0)
            .map_err(|error| TooLarge {
                node: node.to_owned(),
                error,
            })?;
    }
    Ok(())
}
