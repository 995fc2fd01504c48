//! A step of the decoder in some sequences of a model: what is fed to which session.
//!
//! A step owns its sessions and inputs, so that it can be handed to another thread, which takes it
//! together with those of other models ([`step_batching`](super::step_batching)).

use std::sync::Arc;

use crosslatch::{DType, Input, Layout, Session, TensorRef, Threads};
use smallvec::SmallVec;

use crate::search::Feed;

/// A step, ready to be taken.
pub(super) struct Step {
    /// The sessions of the model's sequences.
    pub sessions: Vec<Session>,
    /// What each sequence is fed; no sequence is fed twice.
    pub feeds: Vec<(usize, Tokens)>,
    /// Name of the encoder's output; `None` for a model of one stack.
    pub encoder_output: Option<Arc<str>>,
    /// The mask over it, for a decoder that takes one.
    pub mask: Option<Arc<SourceMask>>,
}

/// The mask over a source, under the name by which the decoder takes it.
pub(super) struct SourceMask {
    input: &'static str,
    layout: Layout,
    values: Vec<i64>,
}

impl SourceMask {
    /// The mask over so many sources, one after the other in `values`.
    pub fn new(input: &'static str, sources: usize, values: &[i64]) -> SourceMask {
        SourceMask {
            input,
            layout: Layout::contiguous(&[sources, values.len() / sources.max(1)]),
            values: values.to_vec(),
        }
    }

    pub fn input(&self) -> Result<(&'static str, Input<'_>), String> {
        Ok((self.input, integers(&self.layout, &self.values)?.into()))
    }
}

impl Step {
    /// A step of these sessions, which it takes away.
    pub fn new(
        sessions: &mut Vec<Session>,
        feeds: &[Feed<'_>],
        encoder_output: Option<&Arc<str>>,
        mask: Option<&Arc<SourceMask>>,
    ) -> Step {
        let feeds = feeds.iter().map(|feed| (feed.sequence, Tokens::new(*feed)));
        Step {
            sessions: std::mem::take(sessions),
            feeds: feeds.collect(),
            encoder_output: encoder_output.cloned(),
            mask: mask.cloned(),
        }
    }
}

/// Takes steps side by side, on these threads or else on those of the first session.
pub(super) fn take(steps: &mut [Step], threads: Option<&Threads>) -> Result<(), crosslatch::Error> {
    let (mut sessions, mut named) = (Vec::new(), Vec::new());
    for step in steps {
        let mask = step.mask.as_ref().map(|mask| mask.input()).transpose();
        let mask = mask.map_err(wrong)?;
        let mut sequences: Vec<_> = step.sessions.iter_mut().map(Some).collect();
        for (sequence, tokens) in &step.feeds {
            let sequence = sequences.get_mut(*sequence).and_then(Option::take);
            sessions.push(sequence.ok_or_else(|| wrong("a sequence is fed twice at once".into()))?);
            let mut inputs = Vec::from(tokens.inputs().map_err(wrong)?);
            inputs.extend(step.encoder_output.as_deref().map(states));
            inputs.extend(mask);
            named.push(inputs);
        }
    }
    let named: Vec<&[(&str, Input<'_>)]> = named.iter().map(Vec::as_slice).collect();
    match threads {
        Some(threads) => Session::run_together_on(threads, &mut sessions, "decoder", &named),
        None => Session::run_together(&mut sessions, "decoder", &named),
    }
}

/// Feeds one sequence to a method with the inputs of the decoder. This allocates nothing if the session has run with as many tokens before.
pub(super) fn take_one(
    session: &mut Session,
    method: &str,
    feed: Feed<'_>,
    encoder_output: Option<&str>,
    mask: Option<&SourceMask>,
) -> Result<(), crosslatch::Error> {
    let tokens = Tokens::new(feed);
    let [ids, positions] = tokens.inputs().map_err(wrong)?;
    let mask = mask.map(SourceMask::input).transpose().map_err(wrong)?;
    match (encoder_output.map(states), mask) {
        (None, _) => session.run(method, &[ids, positions])?,
        (Some(states), None) => session.run(method, &[ids, positions, states])?,
        (Some(states), Some(mask)) => session.run(method, &[ids, positions, states, mask])?,
    };
    Ok(())
}

pub(super) fn wrong(reason: String) -> crosslatch::Error {
    crosslatch::Error::Input {
        method: "decoder".into(),
        reason,
    }
}

/// The encoder's output of this name, as an input of the decoder.
pub(super) fn states(name: &str) -> (&'static str, Input<'_>) {
    let method = "encoder";
    ("encoder_hidden_states", Input::Output { method, name })
}

/// Tokens and their positions, as the decoder takes them.
pub(super) struct Tokens {
    tokens: SmallVec<[i64; 8]>,
    positions: SmallVec<[i64; 8]>,
    /// Layouts of both.
    layouts: [Layout; 2],
}

impl Tokens {
    pub fn new(feed: Feed<'_>) -> Self {
        let n = feed.tokens.len();
        Tokens {
            tokens: SmallVec::from_slice(feed.tokens),
            positions: (feed.position..feed.position + n)
                .map(|p| p as i64)
                .collect(),
            layouts: [Layout::contiguous(&[1, n]), Layout::contiguous(&[n])],
        }
    }

    fn inputs(&self) -> Result<[(&'static str, Input<'_>); 2], String> {
        let ids = integers(&self.layouts[0], &self.tokens)?;
        let positions = integers(&self.layouts[1], &self.positions)?;
        Ok([
            ("input_ids", ids.into()),
            ("cache_position", positions.into()),
        ])
    }
}

/// Integers as a tensor.
pub(super) fn integers<'t>(layout: &'t Layout, values: &'t [i64]) -> Result<TensorRef<'t>, String> {
    TensorRef::new(DType::I64, layout, bytemuck::cast_slice(values)).map_err(|e| e.to_string())
}
