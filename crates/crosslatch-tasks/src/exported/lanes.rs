//! Lanes as sessions.
//!
//! A decoder program takes one sequence at a time and keeps one self-attention cache, so each lane
//! is a session of its own. A lane comes into being as a fork of another one: it reads the encoder's
//! output and the cross-attention keys and values where the first lane has them, and copies what it
//! writes, which is its self-attention cache.

use std::sync::Arc;

use crosslatch::{DType, Input, Model, Options, Session, TensorRef};

use super::ExportedError;
use super::circle::{Circle, Member};
use super::step::{self, Step};
use crate::search::Feed;

/// The sessions of one source.
pub(super) struct Lanes {
    kind: &'static str,
    model: Model,
    options: Options,
    /// The first lane holds what the encoder returned; the others are forks of it, or of one another.
    /// None at all if they were lost in a step that failed.
    sessions: Vec<Session>,
    encoder_output: Arc<str>,
    decoder_output: String,
    /// Where steps are taken with those of other models.
    pub(super) member: Option<Member>,
    /// Nothing has been decoded since the encoder ran: what depends on its output is to be computed.
    is_fresh: bool,
}

impl Lanes {
    /// One lane on a model; `kind` is what messages call it.
    ///
    /// # Errors
    /// If the model lacks one of the two methods, or one of them has no output.
    pub fn new(model: &Model, options: Options, kind: &'static str) -> Result<Self, ExportedError> {
        let first_output = |method: &str| -> Result<String, ExportedError> {
            let program = &model.methods()[model.method_index(method)?].program;
            let mut names = program.outputs.iter().filter_map(|o| match o {
                crosslatch::ir::Output::User(name) => Some(name.clone()),
                crosslatch::ir::Output::Mutation { .. } => None,
            });
            names.next().ok_or_else(|| ExportedError::Layout {
                kind,
                cause: format!("`{method}` returns nothing"),
            })
        };
        Ok(Lanes {
            kind,
            encoder_output: first_output("encoder")?.into(),
            decoder_output: first_output("decoder")?,
            sessions: vec![Session::new(model, options)?],
            model: model.clone(),
            options,
            member: None,
            is_fresh: true,
        })
    }

    /// Lanes whose steps are taken with those of the others in a circle.
    pub fn in_circle(mut self, circle: &Arc<Circle>) -> Self {
        self.member = Some(Member::new(circle, self.options.threads));
        self
    }

    /// Does not decode for a while; in a circle, nobody waits for these lanes.
    pub fn rest(&mut self) {
        if let Some(member) = &mut self.member {
            member.rest();
        }
    }

    /// Encodes a new source; no lane holds anything of the last one.
    pub fn encode(&mut self, source: &[(&str, Input<'_>)]) -> Result<(), ExportedError> {
        self.is_fresh = true;
        self.sessions.truncate(1);
        let Lanes {
            sessions,
            model,
            options,
            member,
            ..
        } = self;
        let encode = || {
            if sessions.is_empty() {
                sessions.push(Session::new(model, *options)?);
            }
            sessions[0].reset();
            sessions[0].run("encoder", source).map(drop)
        };
        Ok(alone(member, encode)?)
    }

    /// Makes lane `to` go on from where lane `from` is.
    pub fn branch(&mut self, from: usize, to: usize) -> Result<(), ExportedError> {
        self.grow(from.max(to))?;
        self.sessions[to] = self.sessions[from].fork()?;
        Ok(())
    }

    /// Makes lanes up to this one.
    fn grow(&mut self, lane: usize) -> Result<(), ExportedError> {
        while self.sessions.len() <= lane {
            let first = self.sessions.first_mut().ok_or_else(lost)?;
            let fork = first.fork()?;
            self.sessions.push(fork);
        }
        Ok(())
    }

    /// Bytes of the decoder's state that a lane reads where another one has it.
    #[cfg(test)]
    pub fn shared_bytes(&self, lane: usize) -> usize {
        self.sessions[lane]
            .shared_state_bytes("decoder")
            .unwrap_or(0)
    }

    /// Feeds tokens to a lane and returns the scores of the token after the last, `[vocab]`. `more`
    /// is what this decoder takes beside tokens, positions and the encoder's output.
    pub fn decode(
        &mut self,
        feed: Feed<'_>,
        more: Option<(&str, TensorRef<'_>)>,
    ) -> Result<&[f32], ExportedError> {
        self.step(&[feed], more)?;
        self.scores(feed.lane)
    }

    /// The same for several lanes, no lane twice, side by side.
    pub fn decode_all(
        &mut self,
        feeds: &[Feed<'_>],
        more: Option<(&str, TensorRef<'_>)>,
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), ExportedError> {
        self.step(feeds, more)?;
        for feed in feeds {
            take(self.scores(feed.lane)?);
        }
        Ok(())
    }

    /// Runs the decoder in these lanes. A prompt, and the step that computes what depends on the
    /// encoder's output, are work enough to be taken alone.
    fn step(
        &mut self,
        feeds: &[Feed<'_>],
        more: Option<(&str, TensorRef<'_>)>,
    ) -> Result<(), ExportedError> {
        for feed in feeds {
            self.grow(feed.lane)?;
        }
        let is_small = feeds.iter().all(|feed| feed.tokens.len() == 1);
        let is_first = std::mem::take(&mut self.is_fresh);
        let joins = is_small && more.is_none() && !is_first;
        match (&mut self.member, feeds) {
            (Some(member), _) if joins => {
                let step = Step::new(&mut self.sessions, feeds, &self.encoder_output);
                self.sessions = member.step(step).map_err(ExportedError::Together)?;
            }
            (member, [feed]) => {
                let session = &mut self.sessions[feed.lane];
                let take = || step::take_one(session, *feed, &self.encoder_output, more);
                alone(member, take)?;
            }
            (member, _) => {
                let mut step = Step::new(&mut self.sessions, feeds, &self.encoder_output);
                let take = || step::take(std::slice::from_mut(&mut step), more, None);
                let result = alone(member, take);
                self.sessions = step.sessions;
                result?;
            }
        }
        Ok(())
    }

    /// The scores that a lane's last run ended with.
    fn scores(&self, lane: usize) -> Result<&[f32], ExportedError> {
        let wrong = |cause: &str| ExportedError::Layout {
            kind: self.kind,
            cause: cause.to_owned(),
        };
        let outputs = self.sessions[lane].outputs("decoder")?;
        let logits = outputs
            .get(&self.decoder_output)
            .ok()
            .filter(|t| t.dtype() == DType::F32 && t.shape().len() == 3)
            .ok_or_else(|| wrong("`decoder` returns no f32 logits"))?;
        let vocabulary = logits.shape()[2];
        let all = logits
            .contiguous::<f32>()
            .filter(|all| all.len() >= vocabulary)
            .ok_or_else(|| wrong("`decoder` returns strided logits"))?;
        Ok(&all[all.len() - vocabulary..])
    }
}

/// Works outside of the circle, if there is one.
fn alone<T>(member: &mut Option<Member>, work: impl FnOnce() -> T) -> T {
    match member {
        Some(member) => member.alone(work),
        None => work(),
    }
}

fn lost() -> ExportedError {
    ExportedError::Together("what was decoded so far is lost".into())
}
