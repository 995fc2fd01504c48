//! What a session keeps for each method: its state, its arena, its plans.
//!
//! State may be shared by sessions that were forked from one another ([`fork`](super::fork)).

use std::ops::Range;
use std::sync::Arc;

use crosslatch_kernels::runtime::{Blocks, Loan};
use crosslatch_kernels::{DType, Layout, Storage, TensorRef};
use smallvec::SmallVec;

use super::latched::Seen;
use super::steps::Member;
use super::written::Written;
use crate::error::Error;
use crate::inputs::InputTypes;
use crate::ir::Number;
use crate::ir::graph::SlotKind;
use crate::memory::{MemoryError, MemoryLimit};
use crate::model::{Model, QuantizedWeights};
use crate::plan::Plan;

/// Numbers that earlier segments of a run computed. They are compared bit for bit.
pub(super) type Numbers = SmallVec<[Number; 4]>;

/// How many plans a session keeps for a method: those that were used most recently. A decoder needs
/// two or three, for its prompts and its steps; a text model needs one for each common length of a
/// text.
const MOST_PLANS: usize = 32;

/// A plan and the inputs that it is for.
#[derive(Clone)]
pub(super) struct Kept {
    pub types: InputTypes,
    /// The numbers that earlier segments of the run computed.
    pub numbers: Numbers,
    pub plan: Arc<Plan>,
    /// Number of the run that used it last.
    pub used: u64,
}

/// The state and the memory of one method in one session.
pub(super) struct MethodState {
    /// For each slot that is state, its bytes in `state`.
    pub slots: Vec<Option<Range<usize>>>,
    pub(super) state: Storage,
    /// For each slot, what of it may differ from its contents in the file.
    pub(super) written: Vec<Written>,
    /// For each slot, whether it has been shared since the state was that of the file.
    pub(super) was_lent: Vec<bool>,
    /// Whether `state` may differ from its contents in the file.
    pub(super) is_touched: bool,
    /// The parts of `state` that still lie in memory which this session shares with others.
    pub(super) loans: Vec<Loan>,
    /// For each slot that a `cond` fills, whether this session has filled it.
    pub(super) filled: Vec<bool>,
    pub(super) arena: Storage,
    /// The arena of the last run, if forks may read it too.
    pub(super) shared_arena: Option<Arc<Storage>>,
    /// An arena of an earlier run, if the method carries.
    pub(super) spare: Storage,
    pub plans: Vec<Kept>,
    /// The plan that ran last, whose outputs are in the arena.
    pub last: Option<usize>,
    /// How often it was run.
    pub runs: u64,
    /// What its outputs were computed from, if they are latched values of other methods.
    pub seen: Seen,
    /// The run of the method before this one from which the last run carried on.
    pub follows: Option<u64>,
}

impl MethodState {
    /// A placeholder for the state of a method that is running.
    pub fn empty() -> MethodState {
        MethodState {
            slots: Vec::new(),
            state: Storage::zeroed(0),
            written: Vec::new(),
            was_lent: Vec::new(),
            is_touched: false,
            loans: Vec::new(),
            filled: Vec::new(),
            arena: Storage::zeroed(0),
            shared_arena: None,
            spare: Storage::zeroed(0),
            plans: Vec::new(),
            last: None,
            runs: 0,
            seen: Seen::default(),
            follows: None,
        }
    }

    /// The state of a fresh session.
    pub fn new(
        model: &Model,
        index: usize,
        limit: MemoryLimit,
        taken: usize,
    ) -> Result<MethodState, MemoryError> {
        let method = &model.methods()[index];
        let mut len = 0usize;
        let slots: Vec<Option<Range<usize>>> = method
            .program
            .slots
            .iter()
            .zip(&method.bindings)
            .map(|(slot, binding)| {
                let weight = binding.as_ref().filter(|_| slot.kind == SlotKind::State)?;
                let bytes = weight.layout.end().unwrap_or(0) * weight.dtype.size();
                let start = len;
                // A sum that overflows stays larger than any memory.
                len = len.saturating_add(bytes.saturating_add(63) / 64 * 64);
                Some(start..start.saturating_add(bytes))
            })
            .collect();
        let is_own = method.works_on(index).is_none();
        let mut state = MethodState {
            filled: vec![false; slots.len()],
            written: vec![Written::default(); slots.len()],
            was_lent: vec![false; slots.len()],
            slots,
            state: limit.allocate(if is_own { len } else { 0 }, taken)?,
            ..MethodState::empty()
        };
        if is_own {
            state.fill_from_file(model, index);
        }
        Ok(state)
    }

    /// Exchanges the state with that of a method with the same slots, for a run that works on it.
    pub fn exchange_state(&mut self, other: &mut MethodState) {
        std::mem::swap(&mut self.state, &mut other.state);
        std::mem::swap(&mut self.is_touched, &mut other.is_touched);
        std::mem::swap(&mut self.loans, &mut other.loans);
        std::mem::swap(&mut self.filled, &mut other.filled);
        std::mem::swap(&mut self.written, &mut other.written);
        std::mem::swap(&mut self.was_lent, &mut other.was_lent);
    }

    /// Bytes of memory that this method takes by itself.
    pub fn bytes(&self) -> usize {
        let shared = self.shared_arena.as_ref().map_or(0, |arena| arena.len());
        let own = [&self.state, &self.arena, &self.spare].map(Storage::len);
        own.iter().fold(shared, |sum, len| sum.saturating_add(*len))
    }

    /// Puts the state back to what the file has.
    pub fn reset(&mut self, model: &Model, index: usize) {
        self.last = None;
        self.seen.forget();
        if std::mem::take(&mut self.is_touched) {
            self.loans.clear();
            self.filled.fill(false);
            self.written.fill(Written::default());
            self.was_lent.fill(false);
            self.state.bytes_mut().fill(0);
            self.fill_from_file(model, index);
        }
    }

    /// Gives a slot of the state other contents; returns whether it lies here and has so many bytes.
    pub fn overwrite(&mut self, slot: usize, contents: &[u8]) -> bool {
        let range = self.slots.get(slot).and_then(Option::clone);
        let Some(range) = range.filter(|r| r.end <= self.state.len() && r.len() == contents.len())
        else {
            return false;
        };
        self.loans.retain(|loan| loan.start != range.start);
        self.state.bytes_mut()[range].copy_from_slice(contents);
        self.written[slot] = Written::All;
        self.is_touched = true;
        true
    }

    /// Copies the initial contents from the file into the state, which is all zeros. Slots that start
    /// as zeros are left alone, so that they take no memory until they are written.
    fn fill_from_file(&mut self, model: &Model, index: usize) {
        let bytes = self.state.bytes_mut();
        for (range, binding) in self.slots.iter().zip(&model.methods()[index].bindings) {
            if let (Some(range), Some(weight)) = (range, binding)
                && let Some(contents) = model.weight_bytes(weight).filter(|_| !weight.is_zero)
            {
                bytes[range.clone()].copy_from_slice(&contents[..range.len()]);
                model.release(weight);
            }
        }
    }

    /// The plan for these inputs, the last one first: most runs repeat the sizes of the one
    /// before.
    pub fn find(&self, tensors: &[TensorRef<'_>], numbers: &[Number]) -> Option<usize> {
        let fits = |plan: &usize| {
            let types = &self.plans[*plan].types;
            types.len() == tensors.len()
                && are_same(&self.plans[*plan].numbers, numbers)
                && types
                    .iter()
                    .zip(tensors)
                    .all(|((dtype, layout), t)| *dtype == t.dtype() && layout == t.layout())
        };
        self.last
            .filter(fits)
            .or_else(|| (0..self.plans.len()).find(fits))
    }

    /// The plan for inputs of these types, made if there is none.
    pub fn find_or_make(
        &mut self,
        types: &[(DType, Layout)],
        numbers: &[Number],
        make: impl FnOnce(&[Option<Range<usize>>]) -> Result<Plan, Error>,
    ) -> Result<usize, Error> {
        let fits = |kept: &Kept| kept.types == types && are_same(&kept.numbers, numbers);
        if let Some(found) = self.plans.iter().position(fits) {
            return Ok(found);
        }
        let plan = make(&self.slots)?;
        if self.plans.len() == MOST_PLANS {
            self.drop_a_plan();
        }
        self.plans.push(Kept {
            types: types.to_vec(),
            numbers: numbers.into(),
            plan: Arc::new(plan),
            used: self.runs,
        });
        Ok(self.plans.len() - 1)
    }

    /// Drops the plan whose last use is the oldest. The plan that ran last stays, because its outputs
    /// may be wanted.
    fn drop_a_plan(&mut self) {
        let others = (0..self.plans.len()).filter(|i| Some(*i) != self.last);
        if let Some(oldest) = others.min_by_key(|i| self.plans[*i].used) {
            self.plans.remove(oldest);
            self.last = self.last.map(|last| last - usize::from(oldest < last));
        }
    }

    /// Makes sure that there is an arena for this plan, where other memory takes `taken` bytes.
    pub fn make_room(
        &mut self,
        plan: &Plan,
        limit: MemoryLimit,
        taken: usize,
    ) -> Result<(), MemoryError> {
        // The arena that forks read is theirs now, unless none of them is left.
        let returned = self.shared_arena.take().map(Arc::try_unwrap);
        if let Some(Ok(arena)) = returned {
            self.arena = arena;
        }
        if self.arena.len() < plan.arena_bytes {
            // The old arena is freed first, so that both never exist at once.
            self.arena = Storage::zeroed(0);
            self.arena = limit.allocate(plan.arena_bytes, taken.saturating_add(self.bytes()))?;
        }
        Ok(())
    }

    /// The memory that a run of a plan works on; the arena has room for it. After the run, the
    /// outputs are in the arena.
    pub fn member<'r>(
        &'r mut self,
        model: &'r Model,
        weights: Option<&'r QuantizedWeights>,
        tensors: &[TensorRef<'r>],
    ) -> Member<'r> {
        self.is_touched = true;
        let mut blocks = Blocks::new();
        blocks.push_exclusive(self.arena.bytes_mut());
        blocks.push_borrowing(self.state.bytes_mut(), &mut self.loans);
        blocks.push_shared(model.copied_bytes());
        blocks.push_shared(weights.map_or(&[], QuantizedWeights::bytes));
        for file in model.files() {
            blocks.push_shared(file.contents().bytes());
        }
        for tensor in tensors {
            blocks.push_shared(tensor.bytes());
        }
        Member {
            blocks,
            filled: &mut self.filled,
            slots: &self.slots,
            written: &mut self.written,
        }
    }

    /// The arena of the last run.
    pub fn arena(&self) -> &[u8] {
        match &self.shared_arena {
            Some(arena) => arena.bytes(),
            None => self.arena.bytes(),
        }
    }

    /// The contents of a slot as they are now.
    pub fn state(&self, slot: &Range<usize>) -> Option<&[u8]> {
        match self.loans.iter().find(|loan| loan.start == slot.start) {
            Some(loan) => loan.bytes().get(..slot.len()),
            None => self.state.bytes().get(slot.clone()),
        }
    }

    /// Bytes of state that lie in memory that this session shares with others.
    pub fn borrowed_bytes(&self) -> usize {
        self.loans.iter().map(|loan| loan.len).sum()
    }
}

/// Whether these are the same numbers; two that are not a number are.
fn are_same(some: &[Number], others: &[Number]) -> bool {
    let bits = |number: &Number| match number {
        Number::Float(x) => (2, x.to_bits() as i64),
        Number::Int(i) => (1, *i),
        Number::Bool(b) => (0, i64::from(*b)),
    };
    some.iter().map(bits).eq(others.iter().map(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::parse::parse;
    use crate::ops::Catalogue;
    use crate::{Options, Session, Tensor};

    #[test]
    fn plans_of_old_sizes_are_dropped_and_made_again() {
        let text = "program model\nsymbol s0 in 1..100\ninput %x: f32[s0]\n\
                    %y: f32[s0] = aten::neg(self=%x)\nreturn \"y\"=%y\n";
        let program = parse(text, Catalogue::builtin()).unwrap();
        let model = Model::in_memory(program, &[]).unwrap();
        let mut session = Session::new(&model, Options::default()).unwrap();
        for round in 0..2 {
            for n in (1..=100).chain([1, 50, 100, 100]) {
                let x: Vec<f32> = (0..n).map(|i| i as f32 + 1.0).collect();
                let x = Tensor::from_slice(&[n], &x).unwrap();
                let outputs = session.run("model", &[("x", x.view().into())]).unwrap();
                let y = outputs.get("y").unwrap().to_vec::<f32>();
                assert_eq!((y.len(), y[n - 1]), (n, -(n as f32)), "round {round}");
                assert!(session.methods[0].plans.len() <= MOST_PLANS);
            }
        }
        assert_eq!(session.methods[0].plans.len(), MOST_PLANS);
    }
}
