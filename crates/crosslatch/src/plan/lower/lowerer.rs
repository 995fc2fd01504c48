//! The state of lowering: the storages and copies made so far.

use std::collections::HashMap;
use std::sync::Arc;

use crosslatch_kernels::tensor::checked_numel;
use crosslatch_kernels::{DType, Layout};

use super::joined::Joined;
use crate::effects::Readiness;
use crate::error::Error;
use crate::ir::call::StoredAs;
use crate::ir::graph::{Graph, Node};
use crate::ir::verify::label;
use crate::ir::{KernelSet, Number};
use crate::model::Stored;
use crate::plan::instructions::{
    Copy, CopyId, CopyReason, Inst, Join, NamedValue, Origin, Place, StorageId, StorageInfo,
};
use crate::pt2::weights::Weight;

/// What a value of the graph is when sizes are known.
#[derive(Clone)]
pub(super) enum Value {
    Place(Place),
    Number(Number),
}

/// What a graph was lowered to.
pub(super) struct LoweredGraph {
    pub insts: Vec<Inst>,
    /// What the outputs of the graph are; nothing where one is neither a tensor nor a number.
    pub results: Vec<Option<Value>>,
}

/// The walk over a graph, and what it has made so far.
pub(super) struct Lowerer<'a> {
    pub(super) method: &'a str,
    /// For each `cond` that fills caches or needs them filled, which.
    pub(super) readiness_of: HashMap<*const Node, Vec<&'a Readiness>>,
    pub(super) kernels: KernelSet,
    pub(super) stored: &'a [Stored],
    pub(super) bindings: &'a [Option<Weight>],
    pub(super) storages: Vec<StorageInfo>,
    /// Copies made so far.
    pub(super) copies: usize,
    pub(super) joins: Vec<Join>,
    pub(super) joined: Joined,
    pub(super) values: Vec<NamedValue>,
    /// The branches around the graph that is being lowered, each with a slash behind it.
    pub(super) path: String,
    /// Whether another segment of the run follows this method.
    pub(super) is_continued: bool,
}

impl Lowerer<'_> {
    fn storage(&mut self, origin: Origin, bytes: usize) -> StorageId {
        self.storages.push(StorageInfo {
            origin,
            bytes,
            contents: bytes,
        });
        StorageId(self.storages.len() - 1)
    }

    pub(super) fn slot(&mut self, origin: Origin, dtype: DType, layout: &Layout) -> Place {
        let bytes = layout.end().unwrap_or(0) * dtype.size();
        Place {
            storage: self.storage(origin, bytes),
            dtype,
            layout: layout.clone(),
        }
    }

    /// How the weight at a place lies in memory, if not in its type, and its type.
    pub(super) fn stored_as(&self, place: &Place) -> Option<(StoredAs, DType)> {
        let Origin::Weight(slot) = self.storages[place.storage.0].origin else {
            return None;
        };
        let weight = self.bindings[slot].as_ref()?;
        let quantized = self.stored.get(slot).and_then(Stored::format);
        let quantized = quantized.map(StoredAs::Quantized);
        Some((quantized.or_else(|| weight.halves())?, weight.dtype))
    }

    /// A place in a storage of its own.
    pub(super) fn fresh(&mut self, dtype: DType, shape: &[usize]) -> Result<Place, String> {
        let bytes = checked_numel(shape)
            .and_then(|n| n.checked_mul(dtype.size()))
            .filter(|b| isize::try_from(*b).is_ok())
            .ok_or_else(|| format!("a tensor of shape {shape:?} is too large"))?;
        Ok(Place {
            storage: self.storage(Origin::Fresh, bytes),
            dtype,
            layout: Layout::contiguous(shape),
        })
    }

    pub(super) fn error(&self, graph: &Graph, node: &Node, reason: String) -> Error {
        let line = node.provenance.line.as_ref().map(|s| format!(", {s}"));
        lowerer_error(
            self.method,
            &format!("{}{}", label(graph, node), line.unwrap_or_default()),
            reason,
        )
    }

    /// Writes down a copy.
    pub(super) fn copy(
        &mut self,
        from: Place,
        to: Place,
        why: CopyReason,
        node: &Arc<str>,
        insts: &mut Vec<Inst>,
    ) {
        let id = CopyId(self.copies);
        self.copies += 1;
        insts.push(Inst::Copy(Copy {
            id,
            from,
            to,
            why,
            node: Arc::clone(node),
        }));
    }

    /// Writes down a copy into a storage of its own; returns the copied place.
    pub(super) fn copy_of(
        &mut self,
        from: &Place,
        why: CopyReason,
        node: &Arc<str>,
        insts: &mut Vec<Inst>,
    ) -> Result<Place, String> {
        let to = self.fresh(from.dtype, &from.layout.shape)?;
        self.copy(from.clone(), to.clone(), why, node, insts);
        Ok(to)
    }
}

pub(super) fn lowerer_error(method: &str, node: &str, reason: String) -> Error {
    Error::Node {
        method: method.to_owned(),
        node: node.to_owned(),
        reason,
    }
}
