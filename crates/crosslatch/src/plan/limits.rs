//! Limits: refusing programs that ask for more memory than they may have.
//!
//! Every tensor that an instruction reads or writes, and every output, is counted as if its elements
//! lay one after the other, and none of them alone may exceed the session's limit. The check names the
//! node that asks for too much before the sum of all is allocated ([`MemoryLimit::allocate`]). It also
//! bounds the time that a kernel takes: a view that repeats a few elements endlessly takes no memory
//! but any amount of time, and so does a view of endlessly many rows without elements.

use super::instructions::{Inst, Lowered, LoweredOutput, Place, in_program_order};
use crate::memory::{MemoryError, MemoryLimit};

/// A tensor that exceeds the limit.
pub struct TooLarge {
    /// The node, or the output.
    pub node: String,
    /// By how much.
    pub error: MemoryError,
}

/// Finds the first tensor that exceeds the limit.
pub fn check(lowered: &Lowered, limit: MemoryLimit) -> Result<(), TooLarge> {
    for inst in in_program_order(&lowered.insts) {
        match inst {
            Inst::Run {
                inputs,
                outputs,
                node,
                ..
            } => check_places(inputs.iter().chain(outputs), limit, node)?,
            Inst::Copy(copy) => check_places([&copy.from], limit, &copy.node)?,
            Inst::Cond { .. } | Inst::Loop { .. } | Inst::Test { .. } => {}
        }
    }
    for (name, output) in &lowered.outputs {
        if let LoweredOutput::Place(place) = output {
            check_places([place], limit, &format!("output `{name}`"))?;
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
