//! Texts that share one session: the rows of a program that was exported for several at a time.
//!
//! Problem. Such a program takes a source, and then a token, of each of its rows in one run, at one
//! position for all. But each text is searched by itself, in a thread of its own, and asks for what it
//! needs: one has ended, one follows several hypotheses, one feeds a token that it fed before.
//!
//! Idea. A row hands over what it wants and waits; the last one to arrive does what all want. Sources
//! are encoded when no row has a text left to decode, so that rows begin together, and steps are
//! taken when every row that has a text wants one. Hypotheses are sessions, forks of the first:
//! hypothesis `h` of every text is a row of session `h`. A run is at one position, so wishes at
//! different positions are different runs. A row that wants nothing of a run is fed what it was fed at
//! these positions before, which changes nothing, or any token where it has none, which nobody reads:
//! the position is fed again before it is looked at.
//!
//! Padding takes no part: sources shorter than the longest are masked, and rows without a text repeat
//! a source and are never looked at. A session cannot give one row what another row has, so
//! hypotheses that branch are fed again from where they part.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crosslatch::{Input, Layout, Model, Options, Session};

use super::decoder::{first_output, logits};
use super::step::{SourceMask, integers, states, wrong};
use super::text_programs::{DECODER_MASK, IDS, KIND, MASK, Programs, layout};
use super::{BatchError, ExportedError};
use crate::search::Feed;

/// How long sources wait for rows that rest, and may be between two texts.
const GATHERING: Duration = Duration::from_millis(2);

/// The rows of one session, and those of its forks.
struct Rows {
    state: Mutex<State>,
    /// Signalled when wishes have been met, and when a row leaves.
    changed: Condvar,
}

/// One row: a text at a time.
pub(super) struct Row {
    rows: Arc<Rows>,
    index: usize,
    /// Scores of the last step, one list for each feed.
    scores: Vec<Vec<f32>>,
}

/// What a row does.
enum Doing {
    /// Nothing; nobody waits for it.
    Resting,
    /// Its own work.
    Searching,
    /// It waits for its source to be encoded.
    Encoding(Vec<i64>),
    /// It waits for a step.
    Decoding(Vec<Wish>),
    /// What it waited for is there.
    Met(Result<Vec<Vec<f32>>, ExportedError>),
}

/// Tokens to feed to a hypothesis of a row.
#[derive(Clone)]
struct Wish {
    hypothesis: usize,
    tokens: Vec<i64>,
    position: usize,
}

struct State {
    model: Model,
    options: Options,
    programs: Programs,
    encoder_output: String,
    decoder_output: String,
    /// Number of rows that the programs are run with.
    height: usize,
    doing: Vec<Doing>,
    /// One for each hypothesis.
    sessions: Vec<Session>,
    /// The tokens that each row of each session holds.
    held: Vec<Vec<Vec<i64>>>,
    mask: Option<SourceMask>,
}

impl Row {
    /// Rows for so many texts at a time, at most as many as the programs take.
    pub fn several(
        model: &Model,
        options: Options,
        programs: Programs,
        count: usize,
    ) -> Result<Vec<Row>, ExportedError> {
        let state = State {
            encoder_output: first_output(model, "encoder", KIND)?,
            decoder_output: first_output(model, "decoder", KIND)?,
            sessions: vec![Session::new(model, options)?],
            model: model.clone(),
            options,
            height: count.max(programs.rows.0),
            programs,
            doing: (0..count).map(|_| Doing::Resting).collect(),
            held: Vec::new(),
            mask: None,
        };
        let rows = Arc::new(Rows {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let row = |index| Row {
            rows: Arc::clone(&rows),
            index,
            scores: Vec::new(),
        };
        Ok((0..count).map(row).collect())
    }

    /// Encodes the tokens of a text, when the other rows have none left to decode.
    pub fn encode(&mut self, tokens: &[i64]) -> Result<(), ExportedError> {
        self.rows
            .wait(self.index, Doing::Encoding(tokens.to_vec()))
            .map(drop)
    }

    /// Feeds several hypotheses of this row.
    pub fn decode_all(&mut self, feeds: &[Feed<'_>]) -> Result<&[Vec<f32>], ExportedError> {
        let wishes = feeds.iter().map(|feed| Wish {
            hypothesis: feed.sequence,
            tokens: feed.tokens.to_vec(),
            position: feed.position,
        });
        let wishes = Doing::Decoding(wishes.collect());
        self.scores = self.rows.wait(self.index, wishes)?;
        Ok(&self.scores)
    }

    /// Says that this row wants nothing for a while.
    pub fn pause(&mut self) {
        // If another row panicked, nobody waits any more.
        if let Ok(mut state) = self.rows.state.lock() {
            state.doing[self.index] = Doing::Resting;
        }
        self.rows.changed.notify_all();
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        self.pause();
    }
}

impl Rows {
    /// Waits until a wish is met, or meets it with all others if nobody else is still to arrive.
    fn wait(&self, row: usize, wish: Doing) -> Result<Vec<Vec<f32>>, ExportedError> {
        let broken = || ExportedError::Batch(BatchError::Panicked);
        let mut state = self.state.lock().map_err(|_| broken())?;
        state.doing[row] = wish;
        let mut gathered = false;
        loop {
            if matches!(state.doing[row], Doing::Met(_)) {
                let met = std::mem::replace(&mut state.doing[row], Doing::Searching);
                return match met {
                    Doing::Met(result) => result,
                    _ => Ok(Vec::new()),
                };
            }
            if state.all_wait() && (gathered || !state.may_grow()) {
                state = self.meet(state);
            } else if state.all_wait() {
                let waited = self.changed.wait_timeout(state, GATHERING);
                let (woken, timeout) = waited.map_err(|_| broken())?;
                (state, gathered) = (woken, timeout.timed_out());
            } else {
                state = self.changed.wait(state).map_err(|_| broken())?;
            }
        }
    }

    /// Does what all rows wait for.
    fn meet<'s>(&self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        /// Wakes the others also if the engine panics; they then find the lock poisoned.
        struct Wake<'c>(&'c Condvar);
        impl Drop for Wake<'_> {
            fn drop(&mut self) {
                self.0.notify_all();
            }
        }
        let wake = Wake(&self.changed);
        state.meet();
        drop(wake);
        state
    }
}

impl State {
    /// Whether no row is doing its own work, and some wait.
    fn all_wait(&self) -> bool {
        let waits = |d: &Doing| matches!(d, Doing::Encoding(_) | Doing::Decoding(_));
        self.doing.iter().any(waits)
            && self
                .doing
                .iter()
                .all(|d| waits(d) || matches!(d, Doing::Resting))
    }

    /// Whether sources are to be encoded, and rows that have none may be about to get one.
    fn may_grow(&self) -> bool {
        let is_step = |d: &Doing| matches!(d, Doing::Decoding(_));
        let rests = |d: &Doing| matches!(d, Doing::Resting);
        self.doing.iter().any(rests) && !self.doing.iter().any(is_step)
    }

    /// Takes the steps that are waited for, or else encodes the sources.
    fn meet(&mut self) {
        let mut wishes = Vec::new();
        for (row, doing) in self.doing.iter_mut().enumerate() {
            if let Doing::Decoding(own) = doing {
                wishes.push((row, std::mem::take(own)));
            }
        }
        if !wishes.is_empty() {
            let met = self.decode(&wishes);
            match met {
                Ok(scores) => {
                    for ((row, _), scores) in wishes.iter().zip(scores) {
                        self.doing[*row] = Doing::Met(Ok(scores));
                    }
                }
                Err(error) => self.fail(wishes.iter().map(|(row, _)| *row), error),
            }
            return;
        }
        let mut sources = Vec::new();
        for (row, doing) in self.doing.iter_mut().enumerate() {
            if let Doing::Encoding(tokens) = doing {
                sources.push((row, std::mem::take(tokens)));
            }
        }
        let met = self.encode(&sources);
        let rows = sources.iter().map(|(row, _)| *row);
        match met {
            Ok(()) => rows.for_each(|row| self.doing[row] = Doing::Met(Ok(Vec::new()))),
            Err(error) => self.fail(rows, error),
        }
    }

    /// Gives the same error to each of these rows.
    fn fail(&mut self, rows: impl Iterator<Item = usize>, error: ExportedError) {
        let error = match error {
            ExportedError::Engine(error) => BatchError::Engine(Arc::new(error)),
            other => BatchError::Model(other.to_string()),
        };
        for row in rows {
            self.doing[row] = Doing::Met(Err(ExportedError::Batch(error.clone())));
        }
    }

    /// Encodes the sources of these rows. Rows without one get another row's.
    fn encode(&mut self, sources: &[(usize, Vec<i64>)]) -> Result<(), ExportedError> {
        let longest = sources.iter().map(|(_, tokens)| tokens.len()).max();
        let length = longest.unwrap_or(0).max(self.programs.source.0);
        let is_masked = self.programs.encoder_is_masked && self.programs.decoder_is_masked;
        if let Some((_, short)) = sources.iter().find(|(_, tokens)| tokens.len() < length)
            && !is_masked
        {
            return Err(layout(format!(
                "a text of {} tokens would have to be padded to {length}, and there is no mask",
                short.len()
            )));
        }
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for row in 0..self.height {
            let own = sources.iter().find(|(of, _)| *of == row);
            let (_, tokens) = own.unwrap_or(&sources[0]);
            ids.extend(tokens);
            mask.resize(ids.len(), 1);
            // Padding that is masked may be any token.
            ids.resize((row + 1) * length, 0);
            mask.resize(ids.len(), 0);
        }
        self.sessions.truncate(1);
        self.held.clear();
        if self.sessions.is_empty() {
            self.sessions.push(Session::new(&self.model, self.options)?);
        }
        let shape = Layout::contiguous(&[self.height, length]);
        let inputs: [(&str, Input<'_>); 2] = [
            (IDS, integers(&shape, &ids).map_err(layout)?.into()),
            (MASK, integers(&shape, &mask).map_err(layout)?.into()),
        ];
        let taken = 1 + usize::from(self.programs.encoder_is_masked);
        self.sessions[0].reset();
        self.sessions[0].run("encoder", &inputs[..taken])?;
        self.mask = (self.programs.decoder_is_masked)
            .then(|| SourceMask::new(DECODER_MASK, self.height, &mask));
        Ok(())
    }

    /// Takes a step of these rows and returns the scores of each wish.
    fn decode(&mut self, all: &[(usize, Vec<Wish>)]) -> Result<Vec<Vec<Vec<f32>>>, ExportedError> {
        let mut scores: Vec<Vec<Vec<f32>>> = Vec::new();
        // A run takes one number of tokens, at one position.
        let mut runs: BTreeMap<(usize, usize), Vec<(usize, usize)>> = BTreeMap::new();
        for (at, (_, wishes)) in all.iter().enumerate() {
            scores.push(vec![Vec::new(); wishes.len()]);
            for (i, wish) in wishes.iter().enumerate() {
                self.grow(wish.hypothesis)?;
                let run = (wish.position, wish.tokens.len());
                runs.entry(run).or_default().push((at, i));
            }
        }
        for ((position, count), members) in runs {
            let wishes = members.iter().map(|&(at, i)| (all[at].0, &all[at].1[i]));
            let wishes: Vec<(usize, &Wish)> = wishes.collect();
            let mut hypotheses: Vec<usize> = wishes.iter().map(|(_, w)| w.hypothesis).collect();
            hypotheses.sort_unstable();
            hypotheses.dedup();
            self.run(position, count, &hypotheses, &wishes)?;
            for (&(at, i), (row, wish)) in members.iter().zip(&wishes) {
                let outputs = self.sessions[wish.hypothesis].outputs("decoder")?;
                let (rows, [_, tokens, vocabulary]) = logits(&outputs, &self.decoder_output, KIND)?;
                let last = ((row + 1) * tokens - 1) * vocabulary;
                let last = rows
                    .get(last..last + vocabulary)
                    .ok_or_else(|| layout(format!("`decoder` returns no scores for row {row}")))?;
                scores[at][i] = last.to_vec();
            }
        }
        Ok(scores)
    }

    /// Makes the sessions up to this hypothesis.
    fn grow(&mut self, hypothesis: usize) -> Result<(), ExportedError> {
        let first = self.sessions.first_mut().ok_or(ExportedError::Lost)?;
        let mut forks = Vec::new();
        for _ in self.held.len().max(1)..=hypothesis {
            forks.push(first.fork()?);
        }
        self.sessions.extend(forks);
        let empty = vec![Vec::new(); self.height];
        self.held.resize(self.sessions.len(), empty);
        Ok(())
    }

    /// Runs the decoder for these hypotheses side by side, each with all its rows.
    fn run(
        &mut self,
        position: usize,
        count: usize,
        hypotheses: &[usize],
        wishes: &[(usize, &Wish)],
    ) -> Result<(), ExportedError> {
        let end = position + count;
        let mut ids = Vec::new();
        for &hypothesis in hypotheses {
            let mut fed = Vec::with_capacity(self.height * count);
            for (row, held) in self.held[hypothesis].iter_mut().enumerate() {
                let wish = wishes
                    .iter()
                    .find(|(of, w)| (*of, w.hypothesis) == (row, hypothesis));
                if let Some((_, wish)) = wish {
                    held.truncate(position);
                    held.extend(&wish.tokens);
                }
                let own = held.get(position..end.min(held.len())).unwrap_or_default();
                fed.extend(own);
                fed.resize(fed.len() + count - own.len(), 0);
            }
            ids.push(fed);
        }
        let positions: Vec<i64> = (position..end).map(|p| p as i64).collect();
        let shapes = [
            Layout::contiguous(&[self.height, count]),
            Layout::contiguous(&[count]),
        ];
        let mask = self.mask.as_ref().map(SourceMask::input).transpose();
        let mask = mask.map_err(wrong)?;
        let mut inputs = Vec::new();
        for ids in &ids {
            let mut named: Vec<(&str, Input<'_>)> = vec![
                (IDS, integers(&shapes[0], ids).map_err(wrong)?.into()),
                (
                    "cache_position",
                    integers(&shapes[1], &positions).map_err(wrong)?.into(),
                ),
                states(&self.encoder_output),
            ];
            named.extend(mask);
            inputs.push(named);
        }
        let inputs: Vec<&[(&str, Input<'_>)]> = inputs.iter().map(Vec::as_slice).collect();
        let sessions = self.sessions.iter_mut().enumerate();
        let sessions = sessions.filter(|(i, _)| hypotheses.contains(i));
        let mut sessions: Vec<&mut Session> = sessions.map(|(_, session)| session).collect();
        let ran = Session::run_together(&mut sessions, "decoder", &inputs);
        if ran.is_err() {
            // How far each came is not known; the next source begins with a fresh one.
            self.sessions.clear();
        }
        Ok(ran?)
    }
}
