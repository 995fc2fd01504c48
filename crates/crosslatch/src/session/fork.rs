//! Sessions that share state.
//!
//! A slot that neither of two sessions has written since they were one lies in one place for both (a
//! *loan*), and the first session that writes it gets a copy of its own. So the beams of a search
//! share the cross-attention keys and values, which are written once, and have self-attention caches
//! of their own, although the model does not say which is which.
//!
//! A beam that takes over another one's text would lend and copy the same slots again and again, in
//! new memory each time. So a slot that was lent and has been written since is expected to be written
//! again: it is copied at once, into the memory that the session has. And it is copied as far as it
//! has been [written](super::written), since what lies behind is what the file has in both sessions.

use std::ops::Range;
use std::sync::Arc;

use crosslatch_kernels::Storage;
use crosslatch_kernels::runtime::Loan;
use crosslatch_kernels::tensor::OutOfMemory;

use super::method::MethodState;
use super::written::{Written, lies_in_order};
use crate::model::Method;

impl MethodState {
    /// The same state for another session. Both read it where it lies, and each copies what it writes.
    /// The outputs of the last run are shared if the method keeps no state. Those of a method that
    /// keeps state stay with this session alone, so that its arena need not be allocated again.
    ///
    /// # Errors
    /// If the system has no memory for what may be written.
    pub fn fork(&mut self) -> Result<MethodState, OutOfMemory> {
        let borrowed = |slot: &Range<usize>| self.loans.iter().any(|l| l.start == slot.start);
        let own = (0..self.slots.len()).filter_map(|i| self.own_slot(i));
        let own: Vec<Range<usize>> = own.filter(|slot| !borrowed(slot)).cloned().collect();
        if !own.is_empty() {
            let len = self.state.len();
            let from = Arc::new(std::mem::replace(
                &mut self.state,
                Storage::try_sparse(len)?,
            ));
            self.loans.extend(own.iter().map(|slot| Loan {
                start: slot.start,
                len: slot.len(),
                from: Arc::clone(&from),
            }));
        }
        self.was_lent.fill(true);
        let last = self.share_outputs();
        Ok(MethodState {
            slots: self.slots.clone(),
            state: Storage::try_sparse(self.state.len())?,
            written: self.written.clone(),
            was_lent: self.was_lent.clone(),
            is_touched: true,
            loans: self.loans.clone(),
            filled: self.filled.clone(),
            arena: Storage::zeroed(0),
            shared_arena: self.shared_arena.clone().filter(|_| last.is_some()),
            spare: Storage::zeroed(0),
            plans: self.plans.clone(),
            last,
            runs: self.runs,
            seen: self.seen.clone(),
            follows: self.follows,
        })
    }

    /// Where a slot lies in this state, if it has bytes there. A method that works on the state of another
    /// one has none of its own.
    fn own_slot(&self, slot: usize) -> Option<&Range<usize>> {
        let bytes = self.slots[slot].as_ref()?;
        (!bytes.is_empty() && bytes.end <= self.state.len()).then_some(bytes)
    }

    /// The plan whose outputs forks may read, if there is one: that of the last run of a method that
    /// keeps no state.
    fn share_outputs(&mut self) -> Option<usize> {
        let is_stateless = self.slots.iter().all(Option::is_none);
        let last = self.last.filter(|_| is_stateless);
        if last.is_some() && self.shared_arena.is_none() {
            let arena = std::mem::replace(&mut self.arena, Storage::zeroed(0));
            self.shared_arena = Some(Arc::new(arena));
        }
        last
    }

    /// Makes this the state that a [`fork`](MethodState::fork) of another one would be. Both are of
    /// one method.
    ///
    /// # Errors
    /// If the system has no memory for what may be written.
    pub fn continue_from(
        &mut self,
        other: &mut MethodState,
        method: &Method,
    ) -> Result<(), OutOfMemory> {
        let is_loan = |loans: &[Loan], slot: &Range<usize>| {
            let same = |loan: &Loan| loan.start == slot.start;
            loans.iter().position(same)
        };
        let all_lent = (0..other.slots.len()).all(|i| match other.own_slot(i) {
            Some(slot) => other.was_lent[i] || is_loan(&other.loans, slot).is_some(),
            None => true,
        });
        if !all_lent || self.slots != other.slots {
            *self = other.fork()?;
            return Ok(());
        }
        for i in 0..other.slots.len() {
            let Some(slot) = other.own_slot(i) else {
                continue;
            };
            let mine = is_loan(&self.loans, slot);
            match (is_loan(&other.loans, slot), mine) {
                (Some(theirs), Some(mine)) => self.loans[mine] = other.loans[theirs].clone(),
                (Some(theirs), None) => self.loans.push(other.loans[theirs].clone()),
                (None, mine) => {
                    let layout = method.bindings[i].as_ref().map(|weight| &weight.layout);
                    let layout = layout.filter(|layout| lies_in_order(layout));
                    // Where a slot was a loan, its own memory holds anything.
                    let differs = match (mine, layout) {
                        (None, Some(_)) => self.written[i].or(other.written[i]),
                        _ => Written::All,
                    };
                    if let Some(mine) = mine {
                        self.loans.swap_remove(mine);
                    }
                    let shape = layout.map_or(&[][..], |layout| &layout.shape);
                    let from = &other.state.bytes()[slot.clone()];
                    differs.copy(shape, from, &mut self.state.bytes_mut()[slot.clone()]);
                }
            }
            (self.written[i], self.was_lent[i]) = (other.written[i], true);
        }
        self.is_touched = true;
        self.filled.clone_from(&other.filled);
        let last = other.share_outputs();
        self.shared_arena = other.shared_arena.clone().filter(|_| last.is_some());
        if last.is_some() {
            self.plans.clone_from(&other.plans);
        }
        self.last = last;
        (self.runs, self.follows) = (other.runs, other.follows);
        self.seen.clone_from(&other.seen);
        Ok(())
    }
}
