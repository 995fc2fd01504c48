//! Only what is spoken is decoded.
//!
//! The parts of a sound in which somebody speaks are joined, decoded as if there were nothing else,
//! and what comes of them gets its own times back. So noise and music cost nothing and leave no
//! invented words, and windows are full of speech.

mod splice;

use std::ops::{ControlFlow, Range};

use super::options::TranscribeOptions;
use super::pieces::{self, Pause};
use super::{Event, SpeechPipeline, TranscribeError, clips};
use crate::audio::AudioError;
use crate::transcript::Transcript;
use crate::voice::{Voice, VoiceFilter};
pub(super) use splice::Parts;
use splice::Splice;

/// Seconds that a pause lasts at least at which a sound may be cut.
const PAUSE: f64 = 0.1;

/// Who is told of what is decoded.
pub(super) type Observer<'o> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'o;

impl SpeechPipeline {
    /// Finds the speech in a sound, has `decode` decode it, and gives what comes of it the times of
    /// the sound. If there is none, nothing is decoded.
    pub(super) fn spoken<E: std::error::Error>(
        &self,
        samples: &[f32],
        filter: VoiceFilter,
        options: &TranscribeOptions,
        observer: &mut Observer<'_>,
        decode: impl FnOnce(&Spoken<'_>, &mut Observer<'_>) -> Result<Transcript, TranscribeError<E>>,
    ) -> Result<Transcript, TranscribeError<E>> {
        let is_long = samples.len() > self.features.window_samples();
        let is_long = is_long && self.config.has_timestamps();
        let rate = self.sample_rate();
        let spoken = Spoken::find(samples, rate, is_long, filter, options);
        let spoken = spoken.map_err(TranscribeError::Resample)?;
        if spoken.samples().is_empty() {
            return self.unspoken(&spoken, observer);
        }
        let transcript = decode(&spoken, &mut |event| spoken.tell(event, observer));
        let mut transcript =
            transcript.map_err(|e| e.retimed(|seconds| spoken.splice.parts().begins(seconds)))?;
        transcript.duration = spoken.total;
        let segments = transcript.segments.iter_mut();
        segments.for_each(|segment| spoken.splice.parts().restore(segment));
        Ok(transcript)
    }

    /// The transcript of a sound without speech.
    fn unspoken<E: std::error::Error>(
        &self,
        spoken: &Spoken<'_>,
        observer: &mut Observer<'_>,
    ) -> Result<Transcript, TranscribeError<E>> {
        let total = spoken.total;
        let known = self.known_languages(&self.config.plan(&spoken.options, false)?);
        let known = known.unwrap_or_default();
        let _ = observer(Event::Progress { done: 0.0, total })
            .is_continue()
            .then(|| observer(Event::Languages(&known)))
            .filter(|flow| flow.is_continue())
            .map(|_| observer(Event::Progress { done: total, total }));
        Ok(Transcript {
            text: String::new(),
            language: known.into_iter().next().map(|language| language.code),
            duration: total,
            segments: Vec::new(),
        })
    }
}

/// The speech of a sound, and how to decode it.
pub(super) struct Spoken<'a> {
    splice: Splice<'a>,
    voice: Voice,
    filter: VoiceFilter,
    /// The length of the recording, in seconds.
    total: f64,
    rate: u32,
    /// The options for decoding the speech alone.
    pub options: TranscribeOptions,
}

impl<'a> Spoken<'a> {
    /// Finds the speech in the clips of a sound; `is_long` says that it is to be followed by
    /// timestamps, however little is said in it.
    fn find(
        samples: &'a [f32],
        rate: u32,
        is_long: bool,
        filter: VoiceFilter,
        options: &TranscribeOptions,
    ) -> Result<Self, AudioError> {
        let voice = Voice::hear(samples, rate)?;
        let clips = clips::clips(options, samples.len(), rate);
        let parts = common(&voice.stretches(&filter), &clips);
        Ok(Self {
            splice: Splice::new(samples, parts, rate),
            voice,
            filter,
            total: samples.len() as f64 / f64::from(rate),
            rate,
            options: TranscribeOptions {
                timestamps: options.timestamps.or(is_long.then_some(true)),
                clip_timestamps: Vec::new(),
                voice: None,
                ..options.clone()
            },
        })
    }

    /// The speech, its parts joined.
    pub fn samples(&self) -> &[f32] {
        self.splice.samples()
    }

    /// Cuts the speech into pieces of at most `window` samples, at pauses.
    pub fn pieces(&self, window: usize) -> Vec<Range<usize>> {
        let joints = self.splice.parts().joints();
        let mut pauses: Vec<Pause> = joints.map(|(at, length)| Pause { at, length }).collect();
        let within = self.voice.pauses(PAUSE, &self.filter);
        let within = within
            .iter()
            .filter_map(|pause| self.splice.parts().place(pause));
        pauses.extend(within.map(|pause| Pause {
            at: pause.start + pause.len() / 2,
            length: pause.len(),
        }));
        pauses.sort_by_key(|pause| pause.at);
        pieces::pieces(self.samples(), window, self.rate, &pauses)
    }

    /// Tells `observer` of an event with the times of the recording.
    fn tell(&self, event: Event<'_>, observer: &mut Observer<'_>) -> ControlFlow<()> {
        match event {
            Event::Languages(_) | Event::Text(_) => observer(event),
            Event::Segment(segment) => {
                let mut segment = segment.clone();
                self.splice.parts().restore(&mut segment);
                observer(Event::Segment(&segment))
            }
            Event::Progress { done, total } => {
                let done = match done {
                    0.0 => 0.0,
                    done if done >= total => self.total,
                    done => self.splice.parts().ends(done),
                };
                let total = self.total;
                observer(Event::Progress { done, total })
            }
        }
    }
}

/// What two lists of stretches have in common; each is in order and apart, and so is the result.
fn common(some: &[Range<usize>], others: &[Range<usize>]) -> Vec<Range<usize>> {
    let pairs = some.iter().flat_map(|a| {
        let first = others.partition_point(|b| b.end <= a.start);
        let others = others[first..].iter().take_while(|b| b.start < a.end);
        others.map(move |b| a.start.max(b.start)..a.end.min(b.end))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoken_in_the_clips_is_what_is_decoded() {
        let both = |a: &[(usize, usize)], b: &[(usize, usize)]| {
            let ranges = |list: &[(usize, usize)]| -> Vec<Range<usize>> {
                list.iter().map(|&(start, end)| start..end).collect()
            };
            common(&ranges(a), &ranges(b))
        };
        assert_eq!(both(&[(5, 10), (20, 30)], &[(0, 40)]), [5..10, 20..30]);
        assert_eq!(
            both(&[(5, 10), (20, 30)], &[(0, 7), (8, 22), (30, 40)]),
            [5..7, 8..10, 20..22]
        );
        assert!(both(&[], &[(0, 7)]).is_empty());
    }
}
