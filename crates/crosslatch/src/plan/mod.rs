//! Plans: a program made ready to run for one set of sizes.
//!
//! A plan is made in steps, one module each. `lower` walks the graph with all sizes known and
//! writes it down as a list of `instructions` over storages: every fresh result, and every copy that
//! the meaning of the program asks for, has a storage of its own. `limits` refuses what asks for too
//! much memory, and `hazard` what no plan can be right for. `fuse` lets products compute the
//! activations after them. `destination` lays values out as the copies after them would.
//! `coalesce` then proves which storages can be one memory, and copies between them vanish.
//! `arena` packs the storages that remain, `placement` says where each one lies, and `emit`
//! turns the instructions into `steps`, which a session runs without another thought.

mod arena;
mod coalesce;
mod conflict;
mod destination;
mod emit;
mod fuse;
mod hazard;
mod instructions;
mod limits;
mod liveness;
mod lower;
mod placement;
#[cfg(test)]
mod properties;
mod report;
mod request;
mod steps;

pub use report::{Memory, PlannedCopy, PlannedPiece, PlannedValue};
pub use request::Request;
pub use steps::{Block, Location, Operand, Plan, PlannedOutput, Repeat, RunStep, Step, Work, work};

use crate::error::Error;

/// Plans a method.
///
/// # Errors
/// If a node cannot be computed for these sizes, if no plan is right, or if more memory is needed
/// than the limit allows.
pub fn plan(request: &Request<'_>) -> Result<Plan, Error> {
    let name = &request.method().program.name;
    let refused = |hazard: hazard::Hazard| Error::Node {
        method: name.clone(),
        node: hazard.node,
        reason: hazard.reason,
    };
    let mut lowered = lower::lower(request)?;
    limits::check(&lowered, request.limit).map_err(|too_large| Error::Memory {
        what: format!("method `{name}`, node {}", too_large.node),
        source: too_large.error,
    })?;
    hazard::check_writes(&lowered).map_err(refused)?;
    fuse::fuse(&mut lowered);
    destination::pass_destinations(&mut lowered);
    let events = liveness::Events::collect(&lowered);
    hazard::check(&lowered, &events).map_err(refused)?;
    let decisions = coalesce::coalesce(&lowered, &events);
    let placement = placement::place(request, &lowered, &decisions)?;
    Ok(emit::emit(request, lowered, decisions, &placement))
}
