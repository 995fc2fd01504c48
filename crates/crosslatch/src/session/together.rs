//! Several sessions that take the same step at the same time.
//!
//! A decoder step reads every weight and computes little with it, so that four steps in a row take
//! four times as long as one, and most of that is reading the same weights again. Sessions whose
//! inputs have the same types and shapes have the same plan; they go through it side by side, and a
//! kernel that reads a weight does so once for all of them ([`Kernel::run_batched`]). Each session
//! keeps its state where it is: no batch is formed, and sessions may join and leave from step to step.
//!
//! Results are those of one run after the other, bit for bit.
//!
//! [`Kernel::run_batched`]: crosslatch_kernels::Kernel::run_batched

use std::sync::Arc;

use crosslatch_kernels::{Storage, TensorRef, Threads};
use smallvec::SmallVec;

use super::carried::Left;
use super::method::MethodState;
use super::steps::Run;
use super::{Input, Session};
use crate::error::Error;

/// What a session brings along: its inputs in order, and which of its plans is for them.
type Prepared<'a> = (SmallVec<[TensorRef<'a>; 8]>, usize);

impl Session {
    /// Runs a method in each of these sessions, in the first with the first inputs and so on, with
    /// weights read once for all that have inputs of the same shapes. The outputs are in the
    /// sessions afterwards. Sessions of different models or options run one after the other. The
    /// threads are those of the first session.
    ///
    /// # Errors
    /// If there are not as many sets of inputs as sessions, or for what [`Session::run`] fails; then
    /// it is not known how far the sessions came, and each is to be reset before it is used again.
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

    /// [`run_together`](Session::run_together) on threads that are none of the sessions' own. What is
    /// latched, and sessions of different models or options, run on their own.
    ///
    /// # Errors
    /// Those of [`run_together`](Session::run_together).
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
        if !others.iter().all(alike) {
            let mut pairs = sessions.iter_mut().zip(named);
            return pairs.try_for_each(|(session, named)| session.run(method, named).map(|_| ()));
        }
        let index = first.model.method_index(method)?;
        for (session, named) in sessions.iter_mut().zip(named) {
            if let Some(once) = session.once(index) {
                session.compute_latched(index, once, named)?;
            }
        }
        // Taken out, so that their memory can be written while other methods' outputs are read.
        let mut memory = std::mem::replace(&mut sessions[0].memory, Storage::zeroed(0));
        let mut states: Vec<MethodState> = sessions
            .iter_mut()
            .map(|session| std::mem::replace(&mut session.methods[index], MethodState::empty()))
            .collect();
        let result = run_states(threads, sessions, index, &mut states, named, &mut memory);
        for (session, state) in sessions.iter_mut().zip(states) {
            session.methods[index] = state;
        }
        sessions[0].memory = memory;
        result
    }
}

/// Runs the methods that were taken out of these sessions, those with inputs of the same types
/// together.
fn run_states(
    threads: &Threads,
    sessions: &[&mut Session],
    index: usize,
    states: &mut [MethodState],
    named: &[&[(&str, Input<'_>)]],
    memory: &mut Storage,
) -> Result<(), Error> {
    let mut left = Vec::with_capacity(states.len());
    for (session, state) in sessions.iter().zip(states.iter_mut()) {
        left.push(session.set_aside(index, state)?);
    }
    let result = run_after(threads, sessions, index, states, named, &left, memory);
    for (state, left) in states.iter_mut().zip(left) {
        state.take_back(left, result.is_ok());
    }
    result
}

/// Runs them after the runs that left this for them.
fn run_after(
    threads: &Threads,
    sessions: &[&mut Session],
    index: usize,
    states: &mut [MethodState],
    named: &[&[(&str, Input<'_>)]],
    left: &[Option<Left>],
    memory: &mut Storage,
) -> Result<(), Error> {
    let mut prepared: Vec<Prepared<'_>> = Vec::with_capacity(states.len());
    let members = sessions.iter().zip(states.iter_mut());
    for (((session, state), named), left) in members.zip(named).zip(left) {
        state.runs += 1;
        prepared.push(session.prepare(index, state, named, left.as_ref())?);
        state.last = None;
    }
    let mut left: Vec<usize> = (0..states.len()).collect();
    while let Some(&first) = left.first() {
        let types = |i: usize| &states[i].plans[prepared[i].1].types;
        let (group, rest): (Vec<_>, Vec<_>) = left.iter().partition(|i| types(**i) == types(first));
        left = rest;
        run_group(threads, sessions, index, states, &prepared, &group, memory)?;
    }
    Ok(())
}

/// Runs those with these numbers, which have plans for the same types of inputs.
fn run_group(
    threads: &Threads,
    sessions: &[&mut Session],
    index: usize,
    states: &mut [MethodState],
    prepared: &[Prepared<'_>],
    group: &[usize],
    memory: &mut Storage,
) -> Result<(), Error> {
    let plan = Arc::clone(&states[group[0]].plans[prepared[group[0]].1].plan);
    for &i in group {
        sessions[i].make_room(&mut states[i], &plan, index)?;
    }
    let session = &sessions[group[0]];
    let members = states.iter_mut().zip(prepared).enumerate();
    let members = members.filter(|(i, _)| group.contains(i));
    let members = members.map(|(_, (state, (tensors, _)))| {
        state.member(&session.model, session.quantized_weights(), tensors)
    });
    let mut run = Run {
        members: members.collect(),
        threads,
        method: &session.model.methods()[index],
        memory,
    };
    let who: Vec<usize> = (0..group.len()).collect();
    run.steps(&plan.steps, &who)?;
    drop(run);
    for &i in group {
        states[i].last = Some(prepared[i].1);
    }
    Ok(())
}
