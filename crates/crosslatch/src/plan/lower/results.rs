//! Lowering the end of a method: what the caller gets, and what the buffers become.
//!
//! All results stand for the contents that their values have at the end of the graph, while the
//! buffers still hold what the graph left in them. Storing new contents may destroy what another
//! buffer or an output still needs; whatever would be lost is copied first.

use std::collections::HashSet;
use std::sync::Arc;

use super::lowerer::{Lowerer, Value, lowerer_error};
use crate::error::Error;
use crate::ir::Program;
use crate::ir::graph::{Output, SlotKind};
use crate::plan::conflict::Conflict;
use crate::plan::instructions::{CopyReason, Inst, LoweredOutput, Origin, Place, StorageId};
use crate::tensor::Tensor;

/// New contents of a buffer.
struct Store {
    name: String,
    from: Place,
    to: Place,
}

impl Lowerer<'_> {
    /// Lowers the outputs of a program from their values. `slots` says where each slot lies.
    pub(super) fn outputs(
        &mut self,
        program: &Program,
        results: Vec<Option<Value>>,
        slots: &[Option<Place>],
        insts: &mut Vec<Inst>,
    ) -> Result<Vec<(String, LoweredOutput)>, Error> {
        let mut outputs = Vec::new();
        let mut stores = Vec::new();
        for (output, result) in program.outputs.iter().zip(results) {
            match output {
                Output::User(name) => {
                    let output = self.output(name, result, insts)?;
                    outputs.push((name.clone(), output));
                }
                Output::Mutation { slot } => {
                    let name = program.slots[*slot].name.clone();
                    let from = self.new_contents(&name, result, slots[*slot].as_ref())?;
                    match &slots[*slot] {
                        Some(to) if program.slots[*slot].kind == SlotKind::State => {
                            let to = to.clone();
                            stores.push(Store { name, from, to });
                        }
                        // The caller's input is left alone; its new contents are an output.
                        _ => {
                            let output = self.output(&name, Some(Value::Place(from)), insts)?;
                            outputs.push((name, output));
                        }
                    }
                }
            }
        }
        self.save_what_is_overwritten(&mut stores, &mut outputs, insts)?;
        for Store { name, from, to } in stores.into_iter().filter(|s| s.from != s.to) {
            let node = format!("`{name}`").into();
            self.copy(from, to, CopyReason::Mutation, &node, insts);
        }
        Ok(outputs)
    }

    fn output(
        &mut self,
        name: &str,
        result: Option<Value>,
        insts: &mut Vec<Inst>,
    ) -> Result<LoweredOutput, Error> {
        match result {
            Some(Value::Place(place)) => match self.storages[place.storage.0].origin {
                Origin::Input(_) => self
                    .copied(name, place, CopyReason::ReturnedInput, insts)
                    .map(LoweredOutput::Place),
                Origin::State(_) if self.is_continued && Conflict::NextSegment.counts() => self
                    .copied(name, place, CopyReason::ReturnedState, insts)
                    .map(LoweredOutput::Place),
                _ => Ok(LoweredOutput::Place(place)),
            },
            Some(Value::Number(n)) => Ok(LoweredOutput::Constant(Tensor::from(n))),
            None => {
                let reason = "is neither a tensor nor a number".to_owned();
                Err(lowerer_error(
                    self.method,
                    &format!("output `{name}`"),
                    reason,
                ))
            }
        }
    }

    /// The value that a slot gets, which must be of the slot's type.
    fn new_contents(
        &self,
        name: &str,
        result: Option<Value>,
        slot: Option<&Place>,
    ) -> Result<Place, Error> {
        match (result, slot) {
            (Some(Value::Place(place)), Some(target))
                if target.layout.shape == place.layout.shape && target.dtype == place.dtype =>
            {
                Ok(place)
            }
            _ => Err(lowerer_error(
                self.method,
                &format!("output for `{name}`"),
                "does not have the type or shape of the buffer it replaces".into(),
            )),
        }
    }

    /// Copies every result that lies in a buffer which gets other contents.
    fn save_what_is_overwritten(
        &mut self,
        stores: &mut [Store],
        outputs: &mut [(String, LoweredOutput)],
        insts: &mut Vec<Inst>,
    ) -> Result<(), Error> {
        // One mutation may overwrite what another one stores, so all are saved before any is stored.
        let stored: HashSet<StorageId> = stores.iter().map(|s| s.to.storage).collect();
        for Store { name, from, to } in stores.iter_mut() {
            if from != to && stored.contains(&from.storage) && Conflict::LostByStore.counts() {
                *from = self.copied(name, from.clone(), CopyReason::OverlappingSource, insts)?;
            }
        }
        let changed = stores.iter().filter(|s| s.from != s.to);
        let changed: HashSet<StorageId> = changed.map(|s| s.to.storage).collect();
        for (name, output) in outputs {
            let LoweredOutput::Place(place) = output else {
                continue;
            };
            if changed.contains(&place.storage) && Conflict::LostByStore.counts() {
                *place = self.copied(name, place.clone(), CopyReason::OverlappingSource, insts)?;
            }
        }
        Ok(())
    }

    fn copied(
        &mut self,
        name: &str,
        place: Place,
        why: CopyReason,
        insts: &mut Vec<Inst>,
    ) -> Result<Place, Error> {
        let node: Arc<str> = format!("`{name}`").into();
        self.copy_of(&place, why, &node, insts)
            .map_err(|reason| lowerer_error(self.method, name, reason))
    }
}
