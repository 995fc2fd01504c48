//! The decoder of an exported model: each sequence is a session.
//!
//! A decoder program takes one sequence at a time and keeps one self-attention cache, so each
//! sequence is a session of its own. A sequence comes into being as a fork of another one: it reads
//! the encoder's output and the cross-attention keys and values where the first sequence has them,
//! and copies what it writes, which is its self-attention cache.

use std::sync::Arc;

use crosslatch::ir::Output;
use crosslatch::passes::alignment::Heads;
use crosslatch::{DType, Input, Model, Options, Outputs, Session};

use super::ExportedError;
use super::alignment::Alignment;
use super::step::{self, SourceMask, Step};
use super::step_batching::{Participant, StepBatcher};
use crate::search::{Feed, HeadWeights};

/// The sessions of one source.
pub(super) struct ExportedDecoder {
    /// What messages call the model.
    kind: &'static str,
    model: Model,
    options: Options,
    /// One for each sequence. The first holds what the encoder returned; the others are forks of it
    /// or of one another. There is none if they were lost in a batch that failed.
    sessions: Vec<Session>,
    /// Name of what the decoder reads of the encoder; `None` for a model of one stack.
    encoder_output: Option<Arc<str>>,
    decoder_output: String,
    /// The mask over the encoder's output, for a decoder that takes one.
    source_mask: Option<Arc<SourceMask>>,
    /// Where steps are taken together with those of other models.
    pub(super) participant: Option<Participant>,
    /// How to ask where the decoder looks, or why that cannot be asked.
    alignment: Result<Alignment, String>,
    /// Whether nothing has been decoded since the encoder ran, so that what depends on its output
    /// is still to be computed.
    is_fresh: bool,
}

impl ExportedDecoder {
    /// A decoder with one sequence; `kind` is what messages call the model. It can say where it looks if
    /// `heads` names the heads that tell, or else it is told why not.
    ///
    /// # Errors
    /// If the model lacks the decoder, or one of its methods has no output.
    pub fn new(
        model: &Model,
        options: Options,
        kind: &'static str,
        heads: Result<Heads, String>,
    ) -> Result<Self, ExportedError> {
        let aligned =
            heads.and_then(|heads| Alignment::of(model, &heads).map_err(|e| e.to_string()));
        let (model, alignment) = match aligned {
            Ok((model, alignment)) => (model, Ok(alignment)),
            Err(why) => (model.clone(), Err(why)),
        };
        let model = &model;
        let has_encoder = model.method_index("encoder").is_ok();
        let encoder_output = has_encoder.then(|| first_output(model, "encoder", kind));
        Ok(ExportedDecoder {
            kind,
            encoder_output: encoder_output.transpose()?.map(Arc::from),
            decoder_output: first_output(model, "decoder", kind)?,
            sessions: vec![Session::new(model, options)?],
            model: model.clone(),
            options,
            source_mask: None,
            participant: None,
            alignment,
            is_fresh: true,
        })
    }

    /// This decoder, with steps that are taken together with those of other models.
    pub fn batched_by(mut self, batcher: &Arc<StepBatcher>) -> Self {
        self.participant = Some(Participant::new(batcher, self.options.threads));
        self
    }

    /// Says that nothing will be decoded for a while, so that no other model waits for this one.
    pub fn pause(&mut self) {
        if let Some(participant) = &mut self.participant {
            participant.pause();
        }
    }

    /// Encodes a new source. No sequence holds anything of the last one.
    pub fn encode(&mut self, source: &[(&str, Input<'_>)]) -> Result<(), ExportedError> {
        self.start(|session| session.run("encoder", source).map(drop))
    }

    /// Starts afresh, in a model of one stack: the source is what its only sequence is fed first.
    pub fn restart(&mut self) -> Result<(), ExportedError> {
        self.start(|_| Ok(()))
    }

    /// Resets the session of the first sequence, the only one then, and runs `first` in it.
    fn start(
        &mut self,
        first: impl FnOnce(&mut Session) -> Result<(), crosslatch::Error>,
    ) -> Result<(), ExportedError> {
        self.is_fresh = true;
        self.sessions.truncate(1);
        let ExportedDecoder {
            sessions,
            model,
            options,
            participant,
            ..
        } = self;
        let start = || {
            if sessions.is_empty() {
                sessions.push(Session::new(model, *options)?);
            }
            sessions[0].reset();
            first(&mut sessions[0])
        };
        Ok(alone(participant, start)?)
    }

    /// Has every step take `values` as the decoder's input `input`, the mask over the source.
    pub fn set_source_mask(&mut self, input: &'static str, values: &[i64]) {
        self.source_mask = Some(Arc::new(SourceMask::new(input, 1, values)));
    }

    /// Makes sequence `to` go on from where sequence `from` is.
    pub fn branch(&mut self, from: usize, to: usize) -> Result<(), ExportedError> {
        self.grow(from.max(to))?;
        if let Ok([from, to]) = self.sessions.get_disjoint_mut([from, to]) {
            to.continue_from(from)?;
        }
        Ok(())
    }

    /// Makes the sequences up to this one.
    fn grow(&mut self, sequence: usize) -> Result<(), ExportedError> {
        while self.sessions.len() <= sequence {
            let first = self.sessions.first_mut().ok_or(ExportedError::Lost)?;
            let fork = first.fork()?;
            self.sessions.push(fork);
        }
        Ok(())
    }

    /// Bytes of the decoder's state that a sequence reads where another one has it.
    #[cfg(test)]
    pub fn shared_bytes(&self, sequence: usize) -> usize {
        self.sessions[sequence]
            .shared_state_bytes("decoder")
            .unwrap_or(0)
    }

    /// Feeds tokens to a sequence and returns the scores of the token after the last one,
    /// `[vocabulary]`.
    pub fn decode(&mut self, feed: Feed<'_>) -> Result<&[f32], ExportedError> {
        self.step(&[feed])?;
        self.scores(feed.sequence)
    }

    /// Does the same for several sequences side by side, none of them twice.
    pub fn decode_all(
        &mut self,
        feeds: &[Feed<'_>],
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), ExportedError> {
        self.step(feeds)?;
        for feed in feeds {
            take(self.scores(feed.sequence)?);
        }
        Ok(())
    }

    /// Runs the decoder in these sequences. A prompt, and the step that computes what depends on
    /// the encoder's output, are enough work to be done alone.
    fn step(&mut self, feeds: &[Feed<'_>]) -> Result<(), ExportedError> {
        for feed in feeds {
            self.grow(feed.sequence)?;
        }
        let is_small = feeds.iter().all(|feed| feed.tokens.len() == 1);
        let is_first = std::mem::take(&mut self.is_fresh);
        let is_batched = is_small && !is_first;
        let mask = self.source_mask.as_ref();
        let output = self.encoder_output.as_ref();
        match (&mut self.participant, feeds) {
            (Some(participant), _) if is_batched => {
                let step = Step::new(&mut self.sessions, feeds, output, mask);
                self.sessions = participant.step(step).map_err(ExportedError::Batch)?;
            }
            (participant, [feed]) => {
                let session = &mut self.sessions[feed.sequence];
                let mask = mask.map(Arc::as_ref);
                let output = output.map(Arc::as_ref);
                let take = || step::take_one(session, "decoder", *feed, output, mask);
                alone(participant, take)?;
            }
            (participant, _) => {
                let mut step = Step::new(&mut self.sessions, feeds, output, mask);
                let take = || step::take(std::slice::from_mut(&mut step), None);
                let result = alone(participant, take);
                self.sessions = step.sessions;
                result?;
            }
        }
        Ok(())
    }

    /// Why nobody can be told where the decoder looks.
    pub fn unaligned(&self) -> Option<&str> {
        self.alignment.as_ref().err().map(String::as_str)
    }

    /// Feeds tokens to a sequence and gives `take` how much each head looks at which part of the source.
    pub fn align(
        &mut self,
        feed: Feed<'_>,
        take: &mut dyn FnMut(HeadWeights<'_>),
    ) -> Result<(), ExportedError> {
        self.grow(feed.sequence)?;
        self.is_fresh = false;
        let ExportedDecoder {
            sessions,
            encoder_output,
            source_mask,
            participant,
            alignment: Ok(alignment),
            ..
        } = self
        else {
            return Ok(());
        };
        let session = &mut sessions[feed.sequence];
        let mask = source_mask.as_ref().map(Arc::as_ref);
        alone(participant, || {
            alignment.take(session, feed, encoder_output.as_deref(), mask, take)
        })
    }

    /// The scores of the token after the last one that a sequence was fed.
    fn scores(&self, sequence: usize) -> Result<&[f32], ExportedError> {
        let outputs = self.sessions[sequence].outputs("decoder")?;
        let (all, [_, _, vocabulary]) = logits(&outputs, &self.decoder_output, self.kind)?;
        Ok(&all[all.len() - vocabulary..])
    }
}

/// Name of the first thing that a method returns.
pub(super) fn first_output(
    model: &Model,
    method: &str,
    kind: &'static str,
) -> Result<String, ExportedError> {
    let program = &model.methods()[model.method_index(method)?].program;
    let mut names = program.outputs.iter().filter_map(|output| match output {
        Output::User(name) => Some(name.clone()),
        Output::Mutation { .. } => None,
    });
    names.next().ok_or_else(|| ExportedError::Layout {
        kind,
        cause: format!("`{method}` returns nothing"),
    })
}

/// The scores that the decoder returned under this name, in row-major order, and their shape:
/// texts, tokens, vocabulary. There is at least one row.
pub(super) fn logits<'o>(
    outputs: &Outputs<'o>,
    name: &str,
    kind: &'static str,
) -> Result<(&'o [f32], [usize; 3]), ExportedError> {
    let wrong = |cause: &str| ExportedError::Layout {
        kind,
        cause: cause.to_owned(),
    };
    let logits = outputs.get(name).ok().filter(|t| t.dtype() == DType::F32);
    let logits = logits.ok_or_else(|| wrong("`decoder` returns no f32 logits"))?;
    let shape: [usize; 3] = logits
        .shape()
        .try_into()
        .map_err(|_| wrong("`decoder` returns no f32 logits"))?;
    let all = logits.contiguous::<f32>();
    let all = all.filter(|all| all.len() >= shape[2] && shape[2] > 0);
    let all = all.ok_or_else(|| wrong("`decoder` returns strided logits"))?;
    Ok((all, shape))
}

/// Does work that is not batched.
fn alone<T>(participant: &mut Option<Participant>, work: impl FnOnce() -> T) -> T {
    match participant {
        Some(participant) => participant.alone(work),
        None => work(),
    }
}
