//! Decoders of several inputs that take their steps side by side.
//!
//! Each is a session with caches of its own, as several recordings have them. They read each weight
//! once for all; keys and values each reads for itself.

use std::time::Instant;

use crosslatch::{DType, Input, Layout, Model, Options, Session, Tensor, TensorRef};

use super::measure::{milliseconds, noise};
use crate::CommandError;

/// Several sessions of a speech model.
pub struct Together {
    sessions: Vec<Session>,
    /// What the encoder returned.
    states: Tensor,
}

impl Together {
    /// So many sessions, whose encoder heard noise of this shape.
    pub fn new(
        model: &Model,
        options: Options,
        count: usize,
        features: [usize; 2],
    ) -> Result<Together, CommandError> {
        let sessions = (0..count).map(|_| Session::new(model, options));
        let mut sessions = sessions.collect::<Result<Vec<_>, _>>()?;
        let program = &model.methods()[model.method_index("encoder")?].program;
        let input = crosslatch::inputs::input_slots(program).next();
        let (_, input) = input.ok_or("method `encoder` has no input")?;
        let [mels, frames] = features;
        let sound = Tensor::from_slice(&[1, mels, frames], &noise(mels * frames))?;
        let outputs = sessions[0].run("encoder", &[(input, sound.view().into())])?;
        let states = outputs.iter().next().map(|(_, t)| Tensor::copy_of(&t));
        Ok(Together {
            sessions,
            states: states.ok_or("method `encoder` returns nothing")?,
        })
    }

    /// Feeds each session a prompt and then some tokens, at positions where it has no others. Returns
    /// the time of the first steps together, and of each step after it.
    pub fn pass(
        &mut self,
        prompt: usize,
        steps: usize,
        vocabulary: usize,
    ) -> Result<(f64, Vec<f64>), CommandError> {
        self.sessions.iter_mut().for_each(Session::reset);
        let first = self.step(0, &mut |_| vec![0; prompt])?;
        let mut later = Vec::with_capacity(steps);
        for i in 0..steps {
            let token = |session: usize| ((i * 7919 + session * 31) % vocabulary) as i64;
            later.push(self.step(prompt + i, &mut |session| vec![token(session)])?);
        }
        Ok((first, later))
    }

    fn step(
        &mut self,
        position: usize,
        tokens: &mut dyn FnMut(usize) -> Vec<i64>,
    ) -> Result<f64, CommandError> {
        let tokens: Vec<Vec<i64>> = (0..self.sessions.len()).map(tokens).collect();
        let count = tokens.first().map_or(0, Vec::len);
        let positions: Vec<i64> = (position..position + count).map(|p| p as i64).collect();
        let layouts = [&[1, count][..], &[count]].map(Layout::contiguous);
        let integers = |i: usize, values| {
            TensorRef::new(DType::I64, &layouts[i], bytemuck::cast_slice(values))
        };
        let positions = integers(1, &positions).map_err(|e| e.to_string())?;
        let mut named = Vec::new();
        for tokens in &tokens {
            let ids = integers(0, tokens).map_err(|e| e.to_string())?;
            named.push([
                ("input_ids", Input::from(ids)),
                ("cache_position", positions.into()),
                ("encoder_hidden_states", self.states.view().into()),
            ]);
        }
        let named: Vec<&[(&str, Input<'_>)]> = named.iter().map(|named| &named[..]).collect();
        let mut sessions: Vec<&mut Session> = self.sessions.iter_mut().collect();
        let begin = Instant::now();
        Session::run_together(&mut sessions, "decoder", &named)?;
        Ok(milliseconds(begin))
    }
}
