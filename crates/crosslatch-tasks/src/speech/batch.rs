//! A long sound in pieces, several at a time.
//!
//! Following the timestamps that the model writes is work for one decoder: where the next window
//! begins is not known before the last one is done. A sound can also be cut beforehand, where it is
//! quiet, into pieces that fit a window, and the pieces can be decoded side by side, each by a
//! model of its own. That uses several cores better than the small products of one decoder step do.
//!
//! Each piece is transcribed as if it were the whole sound, so the result depends on the pieces and
//! not on how many are decoded at a time. The price is that no piece sees the text before it, and
//! that a cut may go through a word where it is never quiet.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use super::options::TranscribeOptions;
use super::{Event, SpeechModel, SpeechPipeline, TranscribeError, clips, join, pieces};
use crate::config::OptionsError;
use crate::transcript::Transcript;

impl SpeechPipeline {
    /// Transcribes `samples` in pieces, as many at a time as there are models. `observer` is told
    /// of segments and progress in order of time; if it breaks, the transcript ends there.
    ///
    /// A language that has to be detected is detected in the first piece that is not silent.
    ///
    /// # Errors
    /// Any [`TranscribeError`]; [`OptionsError::Option`] if the options ask for windows to be shown
    /// the text before them, or if there is no model.
    pub fn transcribe_batch<M: SpeechModel + Send>(
        &self,
        models: &mut [M],
        samples: &[f32],
        options: &TranscribeOptions,
        mut observer: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Transcript, TranscribeError<M::Error>> {
        let mut options = self.for_pieces(samples, options)?;
        if samples.is_empty() {
            return Err(TranscribeError::NoSound);
        }
        let (rate, window) = (self.sample_rate(), self.features.window_samples());
        if let Some(filter) = options.voice {
            return self.spoken(samples, filter, &options, &mut observer, |spoken, tell| {
                let pieces = spoken.pieces(window);
                self.side_by_side(
                    models,
                    spoken.samples(),
                    &pieces,
                    spoken.options.clone(),
                    tell,
                )
            });
        }
        let mut all = Vec::new();
        for clip in clips::clips(&options, samples.len(), rate) {
            let cuts = pieces::pieces(&samples[clip.clone()], window, rate, &[]).into_iter();
            all.extend(cuts.map(|cut| clip.start + cut.start..clip.start + cut.end));
        }
        // A piece is a sound of its own.
        options.clip_timestamps.clear();
        self.side_by_side(models, samples, &all, options, observer)
    }

    /// Decodes these pieces of a sound.
    fn side_by_side<M: SpeechModel + Send>(
        &self,
        models: &mut [M],
        samples: &[f32],
        pieces: &[Range<usize>],
        mut options: TranscribeOptions,
        mut observer: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Transcript, TranscribeError<M::Error>> {
        let rate = f64::from(self.sample_rate());
        let mut whole = Whole {
            pieces,
            rate,
            transcript: Transcript {
                text: String::new(),
                language: None,
                duration: samples.len() as f64 / rate,
                segments: Vec::new(),
            },
        };
        let (done, total) = (0.0, whole.transcript.duration);
        if observer(Event::Progress { done, total }).is_break() {
            return Ok(whole.transcript);
        }
        let Some(first) = models.first_mut() else {
            return Err(no_model().into());
        };
        let mut begun = 0;
        let known = self.known_languages(&self.config.plan(&options, false)?);
        if let Some(languages) = &known
            && observer(Event::Languages(languages)).is_break()
        {
            return Ok(whole.transcript);
        }
        let is_open = known.is_none();
        while let (true, None, Some(piece)) = (is_open, &options.language, pieces.get(begun)) {
            let tell = |event: Event<'_>| match event {
                Event::Languages(_) => observer(event),
                _ => ControlFlow::Continue(()),
            };
            let transcript = self.piece(first, samples, piece, rate, &options, tell)?;
            options.language.clone_from(&transcript.language);
            if whole.add(begun, transcript, &mut observer).is_break() {
                return Ok(whole.transcript);
            }
            begun += 1;
        }
        let next = AtomicUsize::new(begun);
        let stopped = AtomicBool::new(false);
        let work = |model: &mut M, results: Sender<_>| {
            let is_stopped = || stopped.load(Ordering::Relaxed);
            while !is_stopped() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(piece) = pieces.get(index) else {
                    break;
                };
                let stop = |_: Event<'_>| match is_stopped() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                };
                let result = self.piece(model, samples, piece, rate, &options, stop);
                if results.send((index, result)).is_err() {
                    break;
                }
            }
        };
        std::thread::scope(|scope| {
            let (sender, results) = channel();
            for model in models.iter_mut() {
                let sender = sender.clone();
                let work = &work;
                scope.spawn(move || work(model, sender));
            }
            drop(sender);
            let mut waiting = BTreeMap::new();
            let mut turn = begun;
            for (index, result) in results {
                waiting.insert(index, result);
                while let Some(result) = waiting.remove(&turn) {
                    let flow = match result {
                        Ok(transcript) => whole.add(turn, transcript, &mut observer),
                        Err(error) => {
                            stopped.store(true, Ordering::Relaxed);
                            return Err(error);
                        }
                    };
                    if flow.is_break() {
                        stopped.store(true, Ordering::Relaxed);
                        return Ok(());
                    }
                    turn += 1;
                }
            }
            Ok(())
        })?;
        Ok(whole.transcript)
    }

    /// Checks that pieces can be decoded side by side with these options.
    ///
    /// # Errors
    /// [`OptionsError::Option`] if the options ask for windows to be shown the text before them.
    pub fn check_batch(&self, options: &TranscribeOptions) -> Result<(), OptionsError> {
        match options.condition_on_previous {
            Some(true) => Err(OptionsError::Option {
                name: "condition_on_previous",
                cause: "pieces that are decoded side by side cannot see the text before them",
            }),
            _ => Ok(()),
        }
    }

    /// The options for a piece of `samples`.
    fn for_pieces(
        &self,
        samples: &[f32],
        options: &TranscribeOptions,
    ) -> Result<TranscribeOptions, OptionsError> {
        clips::check(options)?;
        self.check_batch(options)?;
        let is_long = samples.len() > self.features.window_samples();
        Ok(TranscribeOptions {
            timestamps: options
                .timestamps
                .or((is_long && self.config.has_timestamps()).then_some(true)),
            condition_on_previous: Some(false),
            ..options.clone()
        })
    }

    /// The transcript of one piece, with times in the whole sound.
    fn piece<M: SpeechModel>(
        &self,
        model: &mut M,
        samples: &[f32],
        piece: &Range<usize>,
        rate: f64,
        options: &TranscribeOptions,
        observer: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Transcript, TranscribeError<M::Error>> {
        let offset = piece.start as f64 / rate;
        let transcript = self.transcribe_with(model, &samples[piece.clone()], options, observer);
        let later = |seconds: f64| seconds + offset;
        let mut transcript = transcript.map_err(|e| e.retimed(later))?;
        let segments = transcript.segments.iter_mut();
        segments.for_each(|segment| segment.retime(later, later));
        Ok(transcript)
    }
}

fn no_model() -> OptionsError {
    OptionsError::Option {
        name: "batch",
        cause: "needs at least one model to decode with",
    }
}

/// The transcript of the whole sound as far as it is done.
struct Whole<'a> {
    pieces: &'a [Range<usize>],
    rate: f64,
    transcript: Transcript,
}

impl Whole<'_> {
    /// Adds the next piece.
    fn add(
        &mut self,
        index: usize,
        piece: Transcript,
        observer: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let whole = &mut self.transcript;
        whole.language = whole.language.take().or(piece.language);
        for segment in piece.segments {
            let before = whole.text.len();
            let mut flow = ControlFlow::Continue(());
            if !segment.text.is_empty() {
                join::append(&mut whole.text, &segment.text);
                flow = observer(Event::Text(&whole.text[before..]));
            }
            if flow.is_continue() {
                flow = observer(Event::Segment(&segment));
            }
            whole.segments.push(segment);
            flow?;
        }
        observer(Event::Progress {
            done: self.pieces[index].end as f64 / self.rate,
            total: whole.duration,
        })
    }
}
