//! How far a sound has been followed.
//!
//! A file is followed from its beginning to its end in one go. A sound that is still coming is followed
//! as far as its windows are full, and later on from there. So what the loop over windows carries from
//! one window to the next lies here, and the loop takes it up again.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::SpokenLanguage;
use super::context::Context;
use super::options::TranscribeOptions;
use crate::transcript::Transcript;

/// The part of a sound that is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sound<'a> {
    /// One channel at the model's rate.
    pub samples: &'a [f32],
    /// Samples before these, which nobody needs any more: a multiple of the distance of frames.
    pub dropped: usize,
    /// Whether more comes behind.
    pub is_open: bool,
}

impl<'a> Sound<'a> {
    /// All of a sound.
    pub fn whole(samples: &'a [f32]) -> Self {
        Self {
            samples,
            dropped: 0,
            is_open: false,
        }
    }
}

/// What is carried from window to window.
#[derive(Debug)]
pub(super) struct Followed {
    /// Where the next window begins, in the cursor's unit.
    pub at: usize,
    /// The highest logarithm of a feature so far.
    pub highest: f64,
    /// What is put in front of windows; `None` before the first.
    pub context: Option<Context>,
    pub random: ChaCha8Rng,
    /// Tokens of the detected languages with their probabilities.
    pub detected: Vec<(u32, f32)>,
    /// The languages that the observer was told of.
    pub languages: Option<Vec<SpokenLanguage>>,
    pub transcript: Transcript,
}

impl Followed {
    /// Nothing yet.
    pub fn new(options: &TranscribeOptions) -> Self {
        Self {
            at: 0,
            highest: f64::NEG_INFINITY,
            context: None,
            random: ChaCha8Rng::seed_from_u64(options.seed),
            detected: Vec::new(),
            languages: None,
            transcript: Transcript {
                text: String::new(),
                language: None,
                duration: 0.0,
                segments: Vec::new(),
            },
        }
    }
}
