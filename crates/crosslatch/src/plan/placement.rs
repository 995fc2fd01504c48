//! Placement: the bytes that each storage and each kernel's working memory get.
//!
//! Storages that were coalesced with state, weights or inputs lie where those lie. All others, and the
//! working memory of kernels, are pieces of the arena.

use std::collections::HashMap;
use std::sync::Arc;

use super::Request;
use super::arena::{self, Piece};
use super::coalesce::Decisions;
use super::instructions::Position;
use super::instructions::{Inst, Lowered, Origin, StorageId, in_program_order};
use super::steps::{Block, Location};
use crate::error::Error;
use crate::model::Stored;
use crate::pt2::weights::Source;

/// Where everything lies.
pub struct Placement {
    /// For each storage, its bytes.
    pub storages: Vec<Location>,
    /// For each instruction that runs a kernel, its working memory.
    pub scratch: HashMap<Position, Location>,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// The pieces of the arena.
    pub pieces: Vec<PlacedPiece>,
    /// For each class of storages, by its representative, the piece that it is.
    piece_of_class: Vec<Option<usize>>,
}

/// A piece of the arena.
pub struct PlacedPiece {
    /// Its first byte.
    pub start: usize,
    /// Its size, and the instructions that need it.
    pub piece: Piece,
    /// The node whose kernel works in it, if it holds no value.
    pub scratch_of: Option<Arc<str>>,
}

impl Placement {
    /// The piece of the arena that a storage is, if it is one.
    pub fn piece(&self, decisions: &Decisions, storage: StorageId) -> Option<usize> {
        self.piece_of_class[decisions.class[storage.0].0]
    }
}

/// A piece of the arena that is not placed yet.
struct Wanted {
    piece: Piece,
    scratch: Option<(Position, Arc<str>)>,
}

/// Gives every storage and every kernel's working memory its place.
///
/// # Errors
/// If the arena's size overflows, or the memory of a slot is missing.
pub fn place(
    request: &Request<'_>,
    lowered: &Lowered,
    decisions: &Decisions,
) -> Result<Placement, Error> {
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut piece_of_class = vec![None; decisions.span.len()];
    for (class, span) in decisions.span.iter().enumerate() {
        if let Some(span) = span {
            piece_of_class[class] = Some(wanted.len());
            let piece = Piece {
                bytes: decisions.bytes[class],
                span: *span,
            };
            wanted.push(Wanted {
                piece,
                scratch: None,
            });
        }
    }
    wanted.extend(scratch_pieces(&lowered.insts));
    let pieces: Vec<Piece> = wanted.iter().map(|wanted| wanted.piece).collect();
    let (starts, arena_bytes) = arena::place(&pieces)
        .ok_or_else(|| request.error("the size of the memory that it needs overflows"))?;

    let mut scratch = HashMap::new();
    for (wanted, start) in wanted.iter().zip(&starts) {
        if let Some((at, _)) = &wanted.scratch {
            let location = Location {
                block: Block::Arena,
                start: *start,
                len: wanted.piece.bytes,
            };
            scratch.insert(*at, location);
        }
    }
    let storages = decisions.class.iter().zip(&lowered.storages);
    let storages = storages.map(|(class, storage)| match decisions.origin[class.0] {
        Origin::Fresh => Ok(match piece_of_class[class.0] {
            Some(piece) => Location {
                block: Block::Arena,
                start: starts[piece],
                len: storage.bytes,
            },
            // No instruction uses it.
            None => Location::EMPTY,
        }),
        origin => outside(request, origin, storage.bytes),
    });
    let storages = storages.collect::<Result<_, _>>()?;
    let pieces = wanted.into_iter().zip(starts);
    Ok(Placement {
        storages,
        scratch,
        arena_bytes,
        pieces: pieces
            .map(|(wanted, start)| PlacedPiece {
                start,
                piece: wanted.piece,
                scratch_of: wanted.scratch.map(|(_, node)| node),
            })
            .collect(),
        piece_of_class,
    })
}

/// Working memory of kernels, each needed by one instruction only.
fn scratch_pieces(insts: &[Inst]) -> impl Iterator<Item = Wanted> {
    let insts = in_program_order(insts).enumerate();
    insts.filter_map(|(at, inst)| match inst {
        Inst::Run { kernel, node, .. } => Some(Wanted {
            piece: Piece {
                bytes: kernel.scratch_bytes(),
                span: (at, at),
            },
            scratch: Some((at, Arc::clone(node))),
        }),
        _ => None,
    })
}

/// The bytes of memory from outside the run.
fn outside(request: &Request<'_>, origin: Origin, bytes: usize) -> Result<Location, Error> {
    match origin {
        Origin::Fresh => Ok(Location::EMPTY),
        Origin::Input(n) => Ok(Location::of(Block::Input(n), &(0..bytes))),
        Origin::State(slot) => {
            let range = request.state.get(slot).and_then(Option::as_ref);
            let range = range.ok_or_else(|| request.error("a state slot has no memory"))?;
            Ok(Location::of(Block::State, range))
        }
        Origin::Weight(slot) => {
            let weight = request.method().bindings[slot].as_ref();
            let weight = weight.ok_or_else(|| request.error("a weight has no payload"))?;
            Ok(match (request.stored().get(slot), &weight.source) {
                (Some(Stored::Quantized(_, range)), _) => Location::of(Block::Quantized, range),
                (_, Source::File(file, range)) => Location::of(Block::File(*file), range),
                (_, Source::Copied(range)) => Location::of(Block::Copied, range),
                // Only state is described so.
                (_, Source::Zeros) => return Err(request.error("a weight has no payload")),
            })
        }
    }
}
