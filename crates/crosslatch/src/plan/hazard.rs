//! Hazards: refusing programs that no plan can be right for.
//!
//! A write to a view whose elements share memory (`expand`, `unfold`, `as_strided`, then `copy_`)
//! has no meaning: which of several values remains depends on the order in which a kernel's threads
//! write them. PyTorch refuses such a write where it notices it, and kernels refuse such a tensor;
//! here the node is named before anything runs.
//!
//! The meaning of other programs depends on which branch of a `cond` ran. Where one branch returns an
//! operand's memory and the other fresh memory, the result *is* the operand after one branch and is
//! not after the other; likewise, two results may be one memory after one branch only. As long as
//! neither is written while the other is still wanted, the two cannot be told apart, and the plan
//! treats the result as a value of its own. Otherwise no single plan is right for both branches, and
//! the program is refused. `torch.cond` itself forbids such branches; a program gets into this state
//! only through operators that hide their aliasing from `torch.cond`.

use std::collections::HashMap;

use crosslatch_kernels::tensor::TensorError;

use super::conflict::Conflict;
use super::instructions::Position;
use super::instructions::{
    Copies, CopyReason, Inst, Join, Lowered, Place, StorageId, in_program_order,
};
use super::liveness::{Access, Accesses, Events, live_at_end};

/// A program that cannot be planned, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hazard {
    /// The node that writes, or the `cond`.
    pub node: String,
    /// What no plan can do.
    pub reason: String,
}

/// Finds the first write to a place whose elements share memory.
pub fn check_writes(lowered: &Lowered) -> Result<(), Hazard> {
    for inst in in_program_order(&lowered.insts) {
        match inst {
            Inst::Run { outputs, node, .. } => {
                outputs.iter().try_for_each(|to| check_write(to, node))?;
            }
            Inst::Copy(copy) => check_write(&copy.to, &copy.node)?,
            Inst::Cond { .. } | Inst::Loop { .. } | Inst::Test { .. } => {}
        }
    }
    Ok(())
}

fn check_write(to: &Place, node: &str) -> Result<(), Hazard> {
    if !to.layout.overlaps_itself() || !Conflict::SharedElements.counts() {
        return Ok(());
    }
    let layout = Box::new(to.layout.clone());
    Err(Hazard {
        node: node.to_owned(),
        reason: TensorError::OverlapsItself { layout }.to_string(),
    })
}

/// Finds the first result of a `cond` whose meaning depends on the branch that ran.
pub fn check(lowered: &Lowered, events: &Events) -> Result<(), Hazard> {
    let copies = Copies::of(lowered);
    // A result exists from the end of its `cond` on.
    let mut defined: HashMap<StorageId, Position> = HashMap::new();
    for (at, inst) in in_program_order(&lowered.insts).enumerate() {
        if let Inst::Copy(copy) = inst
            && copy.why == CopyReason::BranchResult
        {
            defined.insert(copy.to.storage, at);
        }
    }
    for join in &lowered.joins {
        let Some(&defined) = defined.get(&join.result) else {
            continue;
        };
        for (written, other) in [(join.operand, join.result), (join.result, join.operand)] {
            let info = &lowered.storages[other.0];
            let other_lives_on = live_at_end(info.origin);
            let others = Accesses::to(&events.of[other.0], info.contents);
            let hazard = events.of[written.0].iter().any(|event| {
                // Storing each element in its own place changes nothing if both are one memory.
                let stores_the_other = event.copy.is_some_and(|id| {
                    let copy = &copies[id];
                    let overwrites = matches!(event.access, Access::Overwrite(_));
                    let in_place = copy.from.layout == copy.to.layout;
                    copy.from.storage == other && overwrites && in_place
                });
                event.access != Access::Read
                    && event.at > defined
                    && !stores_the_other
                    && events.live_after(&others, Some(event.at), other_lives_on)
            });
            if hazard && Conflict::UndecidedResult.counts() {
                return Err(describe(join));
            }
        }
    }
    Ok(())
}

fn describe(join: &Join) -> Hazard {
    Hazard {
        node: join.node.to_string(),
        reason: "what it returns is the memory of an operand, or of another result, after one \
                 branch and not after the other, and one of the two is written later while the \
                 other is still read; return a clone"
            .into(),
    }
}
