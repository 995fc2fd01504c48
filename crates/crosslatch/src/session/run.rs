//! A run of a method, in one session or in several that take the same step at the same time.
//!
//! A decoder step reads every weight and computes little with it, so that four steps in a row take
//! four times as long as one, and most of that is reading the same weights again. Sessions whose
//! inputs have the same types and shapes have the same plan; they go through it side by side, and a
//! kernel that reads a weight does so once for all of them ([`Kernel::run_batched`]). Each session
//! keeps its state where it is: no batch is formed, and sessions may join and leave from step to step.
//!
//! Results are those of one run after the other, bit for bit. A session that runs alone takes the same
//! way, as the only one.
//!
//! [`Kernel::run_batched`]: crosslatch_kernels::Kernel::run_batched

use std::sync::Arc;

use crosslatch_kernels::{Storage, Threads};
use smallvec::SmallVec;

use super::Session;
use super::carried::Left;
use super::inputs::{Input, Prepared, missing};
use super::latched::Given;
use super::method::MethodState;
use super::outputs::Outputs;
use super::steps::Run;
use crate::error::Error;
use crate::inputs;
use crate::options::TurnsTaken;

/// One of these for each session; nothing is allocated for a session alone.
type Each<T> = SmallVec<[T; 1]>;

impl Session {
    /// Runs a method with these inputs, given by name. The outputs stay valid until the session
    /// is used again.
    ///
    /// # Errors
    /// If an input is missing, unknown or does not fit, or a node cannot be computed. State is
    /// then what the nodes before the failing one made of it.
    pub fn run(&mut self, method: &str, named: &[(&str, Input<'_>)]) -> Result<Outputs<'_>, Error> {
        let index = self.model.method_index(method)?;
        if let Some(once) = self.once(index) {
            self.compute_latched(index, once, named)?;
        }
        self.run_alone(index, named)?;
        Ok(self.outputs_of(index))
    }

    /// Runs a method in each of these sessions, in the first with the first inputs and so on, with
    /// weights read once for all that have inputs of the same shapes. The outputs are in the
    /// sessions afterwards. Sessions of different models or options run one after the other. The
    /// threads are those of the first session.
    ///
    /// # Errors
    /// If the numbers of sessions and of sets of inputs differ, and where [`Session::run`] fails. It is
    /// then not known how far each session came, and each must be reset before it is used again.
    pub fn run_together(
        sessions: &mut [&mut Session],
        method: &str,
        named: &[&[(&str, Input<'_>)]],
    ) -> Result<(), Error> {
        match sessions.first() {
            Some(first) => {
                let threads = Arc::clone(&first.threads);
                Session::run_together_on(&threads, sessions, method, named)
            }
            None => Session::run_together_on(&Threads::new(1), sessions, method, named),
        }
    }

    /// [`run_together`](Session::run_together) on threads that belong to none of the sessions. Latched
    /// values, and sessions of different models or options, are computed on the sessions' own threads.
    ///
    /// # Errors
    /// As for [`run_together`](Session::run_together).
    pub fn run_together_on(
        threads: &Threads,
        sessions: &mut [&mut Session],
        method: &str,
        named: &[&[(&str, Input<'_>)]],
    ) -> Result<(), Error> {
        if sessions.len() != named.len() {
            return Err(Error::Input {
                method: method.to_owned(),
                reason: format!(
                    "{} sessions are given {} sets of inputs",
                    sessions.len(),
                    named.len()
                ),
            });
        }
        let Some((first, others)) = sessions.split_first() else {
            return Ok(());
        };
        let alike = |other: &&mut Session| {
            other.model.is(&first.model)
                && other.kernels == first.kernels
                && other.precision == first.precision
        };
        let index = first.model.method_index(method)?;
        // Numbers may differ from session to session, and with them the ways that they go.
        let is_cut = first.model.methods()[index].segments.is_some();
        if is_cut || !others.iter().all(alike) {
            let mut pairs = sessions.iter_mut().zip(named);
            return pairs.try_for_each(|(session, named)| session.run(method, named).map(|_| ()));
        }
        for (session, named) in sessions.iter_mut().zip(named) {
            if let Some(once) = session.once(index) {
                session.compute_latched(index, once, named)?;
            }
        }
        run_sessions(threads, sessions, index, named)
    }

    /// Runs a method in this session alone, segment by segment, without looking at its latched values.
    fn run_alone(&mut self, index: usize, named: &[(&str, Input<'_>)]) -> Result<(), Error> {
        let threads = Arc::clone(&self.threads);
        let model = self.model.clone();
        let method = &model.methods()[index];
        let before = method.segments.iter().flat_map(|s| &s.before);
        for &segment in before.chain([&index]) {
            let done = run_sessions(&threads, &mut [self], segment, &[named]);
            done.map_err(|e| match e {
                // The caller gave the inputs to the method.
                Error::Input { reason, .. } => Error::Input {
                    method: method.program.name.clone(),
                    reason,
                },
                other => other,
            })?;
        }
        Ok(())
    }
}

impl Session {
    /// Computes the latched values of a method, unless they are those for these inputs already.
    fn compute_latched(
        &mut self,
        index: usize,
        once: usize,
        named: &[(&str, Input<'_>)],
    ) -> Result<(), Error> {
        let model = self.model.clone();
        let [step, part] = [index, once].map(|i| &model.methods()[i].program);
        let mut inputs: SmallVec<[(&str, Input<'_>); 8]> = SmallVec::new();
        let mut given: SmallVec<[Given<'_>; 8]> = SmallVec::new();
        for (_, slot) in inputs::input_slots(part) {
            let (_, input) = named
                .iter()
                .find(|(name, _)| *name == slot)
                .ok_or_else(|| missing(&step.name, slot))?;
            inputs.push((slot, *input));
            given.push(match *input {
                Input::Tensor(tensor) => Given::Tensor(tensor),
                Input::Output { method, name } => {
                    let method = model.method_index(method)?;
                    let run = self.methods[method].runs;
                    Given::Output { method, run, name }
                }
            });
        }
        // If a run has failed since, its outputs are gone.
        let kept = &self.methods[once];
        if kept.last.is_some() && kept.seen.is(kept.runs, &given) {
            return Ok(());
        }
        self.methods[once].seen.forget();
        self.run_alone(once, &inputs).map_err(|e| match e {
            // The caller gave the inputs to the step.
            Error::Input { reason, .. } => Error::Input {
                method: step.name.clone(),
                reason,
            },
            other => other,
        })?;
        let run = self.methods[once].runs;
        self.methods[once].seen.remember(run, &given);
        Ok(())
    }
}

/// Runs a method in these sessions, which have the same model and options.
fn run_sessions(
    threads: &Threads,
    sessions: &mut [&mut Session],
    index: usize,
    named: &[&[(&str, Input<'_>)]],
) -> Result<(), Error> {
    // Taken out of the sessions, so that their memory can be written while outputs of other methods
    // are read.
    let mut memory = std::mem::replace(&mut sessions[0].memory, Storage::zeroed(0));
    let taken = sessions.iter_mut().map(|session| {
        let mut state = std::mem::replace(&mut session.methods[index], MethodState::empty());
        state.runs += 1;
        if let Some(of) = session.works_on(index) {
            state.exchange_state(&mut session.methods[of]);
        }
        state
    });
    let mut states: Each<MethodState> = taken.collect();
    let result = run_states(threads, sessions, index, &mut states, named, &mut memory);
    for (session, mut state) in sessions.iter_mut().zip(states) {
        if let Some(of) = session.works_on(index) {
            state.exchange_state(&mut session.methods[of]);
        }
        session.methods[index] = state;
    }
    sessions[0].memory = memory;
    result
}

/// Runs the methods that were taken out of these sessions, and those with inputs of the same types
/// together.
fn run_states(
    threads: &Threads,
    sessions: &[&mut Session],
    index: usize,
    states: &mut [MethodState],
    named: &[&[(&str, Input<'_>)]],
    memory: &mut Storage,
) -> Result<(), Error> {
    let mut left: Each<Option<Left>> = SmallVec::new();
    for (session, state) in sessions.iter().zip(states.iter_mut()) {
        left.push(session.set_aside(index, state)?);
    }
    let result = run_after(threads, sessions, index, states, named, &left, memory);
    for (state, left) in states.iter_mut().zip(left) {
        state.take_back(left, result.is_ok());
    }
    result
}

/// Runs them after the runs that left these outputs for them.
fn run_after(
    threads: &Threads,
    sessions: &[&mut Session],
    index: usize,
    states: &mut [MethodState],
    named: &[&[(&str, Input<'_>)]],
    left: &[Option<Left>],
    memory: &mut Storage,
) -> Result<(), Error> {
    let mut prepared: Each<Prepared<'_>> = SmallVec::new();
    let members = sessions.iter().zip(states.iter_mut());
    for (((session, state), named), left) in members.zip(named).zip(left) {
        prepared.push(session.prepare(index, state, named, left.as_ref())?);
        state.last = None;
    }
    let mut waiting: SmallVec<[usize; 8]> = (0..states.len()).collect();
    while let Some(&first) = waiting.first() {
        let types = |i: usize| &states[i].plans[prepared[i].plan].types;
        let alike = |i: &usize| types(*i) == types(first);
        let group: SmallVec<[usize; 8]> = waiting.iter().copied().filter(alike).collect();
        waiting.retain(|i| !group.contains(i));
        run_group(threads, sessions, index, states, &prepared, &group, memory)?;
    }
    Ok(())
}

/// Runs the members with these numbers, which have plans for the same types of inputs.
fn run_group(
    threads: &Threads,
    sessions: &[&mut Session],
    index: usize,
    states: &mut [MethodState],
    prepared: &[Prepared<'_>],
    group: &[usize],
    memory: &mut Storage,
) -> Result<(), Error> {
    let plan = Arc::clone(&states[group[0]].plans[prepared[group[0]].plan].plan);
    for &i in group {
        sessions[i].make_room(&mut states[i], &plan, index)?;
    }
    let session = &sessions[group[0]];
    let members = states.iter_mut().zip(prepared).enumerate();
    let members = members.filter(|(i, _)| group.contains(i));
    let members = members.map(|(_, (state, prepared))| {
        state.member(
            &session.model,
            session.quantized_weights(),
            &prepared.tensors,
        )
    });
    let mut run = Run {
        members: members.collect(),
        threads,
        method: &session.model.methods()[index],
        files: session.model.files().len(),
        memory,
        turns: TurnsTaken::none(session.turn_limit),
    };
    let who: SmallVec<[usize; 8]> = (0..group.len()).collect();
    run.steps(&plan.steps, &who)?;
    drop(run);
    for &i in group {
        states[i].last = Some(prepared[i].plan);
    }
    Ok(())
}
