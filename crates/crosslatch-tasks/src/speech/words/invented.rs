//! Text that is invented where nothing is spoken.
//!
//! A model that hears silence may still write a sentence. Such a sentence shows in its words: they are
//! improbable, or their times are far too short or too long, because there is no sound to align them with.
//! Where such a segment stands beside silence, or beside more of its kind, it is dropped, and the next
//! window begins behind the silence before it, so that what is spoken there is heard without it.
//!
//! The rules are those of openai-whisper (20250625) for `hallucination_silence_threshold`. They first cut
//! the long words at the edges of segments short, because silence beside a word is aligned with the word.
//! That is done here for the decision alone; the times of words stay as they are.

use super::split::{BEFORE, BEHIND};
use crate::config::OptionsError;
use crate::speech::options::TranscribeOptions;
use crate::transcript::{Segment, Word};

/// A word less probable than this is odd.
const IMPROBABLE: f64 = 0.15;
/// Seconds below which a word is too short, and above which it is too long.
const SHORTEST: f64 = 0.133;
const LONGEST: f64 = 2.0;
/// Seconds at the edges of a window that count as silence, because nothing is known of what is behind them.
const EDGE: f64 = 2.0;
/// Most seconds that are taken for the usual length of a word.
const USUAL: f64 = 0.7;
/// Least seconds by which a window is left.
const LEAST_STEP: f64 = 1.0;

/// Finds text that is invented, window by window.
pub(crate) struct Inventions {
    threshold: f64,
    /// Where the last word that was kept ends, in seconds.
    spoken: f64,
}

/// A window, all in seconds of the sound.
pub(crate) struct Window {
    pub start: f64,
    /// Where it ends, which may be behind the end of the sound.
    pub end: f64,
    /// Where the sound in it ends.
    pub heard: f64,
    /// Where the whole sound ends.
    pub sound: f64,
    /// Whether the model said that nothing is spoken after its last segment.
    pub is_closed: bool,
}

/// A segment as the rules see it.
struct Spoken<'s> {
    start: f64,
    end: f64,
    words: Vec<Timed<'s>>,
}

struct Timed<'s> {
    start: f64,
    end: f64,
    word: &'s Word,
}

impl Inventions {
    /// `None` if they are not to be found.
    pub fn new(options: &TranscribeOptions) -> Option<Self> {
        let threshold = options.hallucination_silence_threshold?;
        Some(Self {
            threshold,
            spoken: 0.0,
        })
    }

    /// Refuses a threshold that is none.
    pub fn check(options: &TranscribeOptions) -> Result<(), OptionsError> {
        match options.hallucination_silence_threshold {
            Some(seconds) if !(seconds >= 0.0 && seconds.is_finite()) => {
                Err(OptionsError::Option {
                    name: "hallucination_silence_threshold",
                    cause: "must be a number of seconds, 0 or above",
                })
            }
            _ => Ok(()),
        }
    }

    /// Drops what is invented from the segments of a window, and everything behind it. Returns where the
    /// next window begins, in seconds; `None` for where it begins anyway.
    pub fn judge(&mut self, segments: &mut Vec<Segment>, window: &Window) -> Option<f64> {
        let (kept, next) = self.verdict(segments, window);
        segments.truncate(kept);
        // However odd the times are, a window is left.
        next.map(|next| next.max(window.start + 0.01))
    }

    fn verdict(&mut self, segments: &[Segment], window: &Window) -> (usize, Option<f64>) {
        let all = spoken(segments, self.spoken);
        let with_words: Vec<usize> = (0..all.len())
            .filter(|&i| !all[i].words.is_empty())
            .collect();
        let mut next = None;
        if let Some(end) = end_of(&all)
            && !window.is_closed
            && end > window.start
        {
            let is_silent_behind = window.end - end > self.threshold;
            next = Some(if is_silent_behind { end } else { window.heard });
        }
        let Some(&first) = with_words.first() else {
            self.spoken = end_of(&all).unwrap_or(self.spoken);
            return (segments.len(), next);
        };
        let gap = all[first].start - window.start;
        if all[first].is_odd() && gap > self.threshold {
            return (0, Some(window.start + gap));
        }
        let mut before = self.spoken;
        for (place, &i) in with_words.iter().enumerate() {
            let segment = &all[i];
            if segment.is_odd() {
                let behind = with_words.get(place + 1).map(|&i| &all[i]);
                let next_start = behind.map_or(window.heard, |behind| behind.words[0].start);
                let silent_before = segment.start - before > self.threshold
                    || segment.start < self.threshold
                    || segment.start - window.start < EDGE;
                let silent_behind = next_start - segment.end > self.threshold
                    || behind.is_some_and(Spoken::is_odd)
                    || window.end - segment.end < EDGE;
                if silent_before && silent_behind {
                    next = Some(match window.sound - segment.end < self.threshold {
                        true => window.sound,
                        false => segment.start.max(window.start + LEAST_STEP),
                    });
                    self.spoken = end_of(&all[..i]).unwrap_or(self.spoken);
                    return (i, next);
                }
            }
            before = segment.end;
        }
        self.spoken = end_of(&all).unwrap_or(self.spoken);
        (segments.len(), next)
    }
}

/// Where the last word ends, or else the last segment.
fn end_of(segments: &[Spoken<'_>]) -> Option<f64> {
    let words = segments
        .iter()
        .rev()
        .find_map(|segment| segment.words.last());
    let last = segments.last().map(|segment| segment.end);
    words.map(|word| word.end).or(last)
}

impl Spoken<'_> {
    /// Whether its first words are so odd that it seems invented.
    fn is_odd(&self) -> bool {
        let is_mark = |word: &str| BEFORE.contains(word) || BEHIND.contains(word);
        let words = self.words.iter().filter(|word| !is_mark(&word.word.word));
        let scores: Vec<f64> = words.take(8).map(Timed::oddness).collect();
        let score: f64 = scores.iter().sum();
        !self.words.is_empty() && (score >= 3.0 || score + 0.01 >= scores.len() as f64)
    }
}

impl Timed<'_> {
    fn oddness(&self) -> f64 {
        let seconds = self.end - self.start;
        let improbable = f64::from(u8::from(f64::from(self.word.probability) < IMPROBABLE));
        improbable + (SHORTEST - seconds).max(0.0) * 15.0 + (seconds - LONGEST).max(0.0)
    }
}

/// The segments of a window with their long words cut short; the last word before the window ends at
/// `before`.
fn spoken(segments: &[Segment], mut before: f64) -> Vec<Spoken<'_>> {
    let usual = usual_length(segments);
    let longest = 2.0 * usual;
    let cut = segments.iter().map(|segment| {
        let mut spoken = Spoken {
            start: segment.start,
            end: segment.end,
            words: segment.words.iter().flatten().map(timed).collect(),
        };
        spoken.cut_beginning(before, usual, longest);
        if let Some(last) = spoken.words.last_mut() {
            if spoken.end > last.start && spoken.end + 0.5 < last.end {
                last.end = (last.start + usual).max(spoken.end);
            } else {
                spoken.end = last.end;
            }
            before = spoken.end;
        }
        spoken
    });
    cut.collect()
}

fn timed(word: &Word) -> Timed<'_> {
    Timed {
        start: word.start,
        end: word.end,
        word,
    }
}

impl Spoken<'_> {
    fn cut_beginning(&mut self, before: f64, usual: f64, longest: f64) {
        let [first, rest @ ..] = self.words.as_mut_slice() else {
            return;
        };
        let second = rest.first_mut();
        let are_long = second
            .as_ref()
            .is_some_and(|second| second.end - first.start > 2.0 * longest);
        if first.end - before > 4.0 * usual && (first.end - first.start > longest || are_long) {
            if let Some(second) = second.filter(|second| second.end - second.start > longest) {
                let boundary = (second.end / 2.0).max(second.end - longest);
                (first.end, second.start) = (boundary, boundary);
            }
            first.start = (first.end - longest).max(0.0);
        }
        if self.start < first.end && self.start - 0.5 > first.start {
            first.start = (first.end - usual).min(self.start).max(0.0);
        } else {
            self.start = first.start;
        }
    }
}

/// The median length of the words of a window, in seconds.
fn usual_length(segments: &[Segment]) -> f64 {
    let words = segments
        .iter()
        .flat_map(|segment| segment.words.iter().flatten());
    let mut lengths: Vec<f64> = words
        .map(|word| word.end - word.start)
        .filter(|&x| x != 0.0)
        .collect();
    lengths.sort_unstable_by(f64::total_cmp);
    let middle = lengths.len() / 2;
    let median = match lengths.len() {
        0 => 0.0,
        count if count % 2 == 1 => lengths[middle],
        _ => f64::midpoint(lengths[middle - 1], lengths[middle]),
    };
    median.min(USUAL)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn number(value: &Value) -> f64 {
        value.as_f64().unwrap()
    }

    fn segment(value: &Value) -> Segment {
        let words = value["words"].as_array().unwrap().iter();
        Segment {
            seek: 0,
            start: number(&value["start"]),
            end: number(&value["end"]),
            text: String::new(),
            tokens: Vec::new(),
            avg_logprob: 0.0,
            compression_ratio: 1.0,
            no_speech_prob: None,
            temperature: 0.0,
            complete: true,
            words: Some(
                words
                    .map(|word| Word {
                        start: number(&word["start"]),
                        end: number(&word["end"]),
                        word: word["word"].as_str().unwrap().to_owned(),
                        probability: number(&word["probability"]) as f32,
                    })
                    .collect(),
            ),
            channel: None,
        }
    }

    /// What openai-whisper itself did with these windows (`make_invented.py`).
    #[test]
    fn what_is_dropped_and_where_the_next_window_begins_are_those_of_openai() {
        let cases = include_str!("../../../tests/fixtures/invented.json");
        let cases: Value = serde_json::from_str(cases).unwrap();
        let (mut windows, mut dropped, mut moved) = (0, 0, 0);
        for case in cases.as_array().unwrap() {
            let mut inventions = Inventions {
                threshold: number(&case["threshold"]),
                spoken: 0.0,
            };
            let sound = number(&case["sound"]);
            for given in case["windows"].as_array().unwrap() {
                let segments = given["segments"].as_array().unwrap();
                let mut segments: Vec<Segment> = segments.iter().map(segment).collect();
                let count = segments.len();
                let start = number(&given["start"]);
                let window = Window {
                    start,
                    end: start + 30.0,
                    heard: (start + 30.0).min(sound),
                    sound,
                    is_closed: given["is_closed"].as_bool().unwrap(),
                };
                let next = inventions.judge(&mut segments, &window);
                let kept = given["kept"].as_u64().unwrap() as usize;
                assert_eq!(segments.len(), kept, "{given}");
                // A window that is closed is left as a whole.
                let next = next.unwrap_or(window.heard);
                let expected = number(&given["next"]);
                assert!((next - expected).abs() < 0.0051, "{next} for {given}");
                windows += 1;
                dropped += usize::from(kept < count);
                moved += usize::from(expected < window.heard);
            }
        }
        assert!(
            windows > 200 && dropped > 60 && moved > 100,
            "{windows}, {dropped}, {moved}"
        );
    }
}
