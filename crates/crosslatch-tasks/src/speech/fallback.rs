//! Whether a window's text is good enough.
//!
//! A model that has lost its way repeats itself, or writes what it finds improbable. Both can be
//! seen without knowing the right text: repetition in how well the tokens can be compressed, doubt
//! in their mean log-probability. Such a window is decoded again at a higher temperature. A window
//! that the model takes for silent, and whose text it doubts, is dropped.
//!
//! The measures and the order are those of `_need_fallback` in transformers (5.23).

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::options::TranscribeOptions;
use super::whisper::WhisperConfig;
use crate::config::OptionsError;

/// The bounds of what is good enough. Where there are none, every text is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Thresholds {
    compression_ratio: Option<f32>,
    logprob: Option<f32>,
    pub no_speech: Option<f32>,
}

/// What to do with a window's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    TryAgain,
    Silence,
}

impl Thresholds {
    pub fn new(options: &TranscribeOptions, file: &WhisperConfig) -> Result<Self, OptionsError> {
        let thresholds = Self {
            compression_ratio: options
                .compression_ratio_threshold
                .or(file.compression_ratio_threshold),
            logprob: options.logprob_threshold.or(file.logprob_threshold),
            no_speech: options.no_speech_threshold.or(file.no_speech_threshold),
        };
        if thresholds.no_speech.is_some() && file.no_timestamps_token_id.unwrap_or(0) == 0 {
            return Err(OptionsError::Option {
                name: "no_speech_threshold",
                cause: "this model has no token for \"no speech\"",
            });
        }
        Ok(thresholds)
    }

    /// Whether a text will be kept whatever it is; `is_last` says that there is no other try.
    pub fn keep_any(&self, is_last: bool, no_speech: Option<f32>) -> bool {
        let may_be_silent = match (no_speech, self.no_speech) {
            (Some(probability), Some(most)) => probability > most,
            _ => false,
        };
        let has_bounds = self.compression_ratio.is_some() || self.logprob.is_some();
        !may_be_silent && (is_last || !has_bounds)
    }

    pub fn judge(&self, ratio: f32, avg_logprob: f32, no_speech: Option<f32>) -> Verdict {
        let repeats = self.compression_ratio.is_some_and(|most| ratio > most);
        let doubts = self.logprob.is_some_and(|least| avg_logprob < least);
        let silent = match (no_speech, self.no_speech) {
            // Where nothing says what is doubtful, silence alone decides, as in openai-whisper.
            (Some(probability), Some(most)) => {
                (doubts || self.logprob.is_none()) && probability > most
            }
            _ => false,
        };
        match (silent, repeats || doubts) {
            (true, _) => Verdict::Silence,
            (false, true) => Verdict::TryAgain,
            (false, false) => Verdict::Keep,
        }
    }
}

/// The number of bytes of the tokens, each as wide as the vocabulary needs, divided by the number
/// of bytes of their zlib stream.
///
/// transformers uses zlib at its default level. The best level of zlib-rs comes closest to that:
/// for made-up texts five lengths in six were equal, and the others were a few bytes off.
pub(super) fn compression_ratio(tokens: &[u32], vocabulary: usize) -> f32 {
    let width = ((vocabulary.max(1) as f64).log2() / 8.0) as usize + 1;
    let mut bytes = Vec::with_capacity(tokens.len() * width);
    for token in tokens {
        bytes.extend(&u64::from(*token).to_le_bytes()[..width.min(8)]);
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    let written = encoder.write_all(&bytes).and_then(|()| encoder.finish());
    let compressed = written.map_or(bytes.len(), |stream| stream.len());
    bytes.len() as f32 / compressed.max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Thresholds = Thresholds {
        compression_ratio: Some(1.35),
        logprob: Some(-1.0),
        no_speech: Some(0.6),
    };

    #[test]
    fn repetition_and_doubt_ask_for_another_try_and_silence_wins() {
        assert_eq!(ALL.judge(1.0, -0.5, Some(0.9)), Verdict::Keep);
        assert_eq!(ALL.judge(1.4, -0.5, Some(0.9)), Verdict::TryAgain);
        assert_eq!(ALL.judge(1.0, -1.5, Some(0.1)), Verdict::TryAgain);
        assert_eq!(ALL.judge(1.0, -1.5, Some(0.9)), Verdict::Silence);
        assert_eq!(ALL.judge(9.0, -1.5, Some(0.9)), Verdict::Silence);
        let silence = Thresholds {
            logprob: None,
            ..ALL
        };
        assert_eq!(silence.judge(1.0, -0.1, Some(0.9)), Verdict::Silence);
        assert_eq!(silence.judge(1.0, -9.0, Some(0.1)), Verdict::Keep);
        let none = Thresholds {
            compression_ratio: None,
            logprob: None,
            no_speech: None,
        };
        assert_eq!(none.judge(9.0, -9.0, None), Verdict::Keep);
    }

    #[test]
    fn a_text_that_is_kept_whatever_it_is_passes_with_any_measures() {
        let mut kept = 0;
        for which in 0..8 {
            let thresholds = Thresholds {
                compression_ratio: ALL.compression_ratio.filter(|_| which & 1 != 0),
                logprob: ALL.logprob.filter(|_| which & 2 != 0),
                no_speech: ALL.no_speech.filter(|_| which & 4 != 0),
            };
            for no_speech in [None, Some(0.5), Some(0.7)] {
                for is_last in [false, true] {
                    if !thresholds.keep_any(is_last, no_speech) {
                        continue;
                    }
                    kept += 1;
                    for (ratio, logprob) in [(1.0, -0.1), (9.0, -0.1), (1.0, -9.0), (9.0, -9.0)] {
                        let verdict = thresholds.judge(ratio, logprob, no_speech);
                        assert!(
                            verdict == Verdict::Keep || (is_last && verdict == Verdict::TryAgain)
                        );
                    }
                }
            }
        }
        assert!(kept > 20, "{kept}");
    }

    /// `len(b) / len(zlib.compress(b))` of Python's zlib 1.2.13, with two bytes for each token.
    #[test]
    fn the_ratio_is_that_of_zlib() {
        let same = vec![7; 100];
        assert!((compression_ratio(&same, 51_865) - 200.0 / 13.0).abs() < 1e-4);
        let all: Vec<u32> = (0..100).collect();
        assert!((compression_ratio(&all, 51_865) - 200.0 / 145.0).abs() < 1e-4);
        assert_eq!(compression_ratio(&[], 51_865), 0.0);
    }
}
