//! What comes of a sound: a text, and the segments that it consists of.

/// The text of a sound, whole and in segments.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Transcript {
    /// The whole text.
    pub text: String,
    /// Code of the language spoken, such as `en`; `None` if the model's prompt names none.
    pub language: Option<String>,
    /// Length of the sound in seconds.
    pub duration: f64,
    /// The segments in order of time: from timestamp to timestamp where the model writes them, else
    /// one for each window.
    pub segments: Vec<Segment>,
}

/// The text of one window, or of the part of it between two timestamps.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Segment {
    /// Where the window begins that it was decoded in, in hundredths of a second.
    pub seek: u64,
    /// Where it begins, in seconds.
    pub start: f64,
    /// Where it ends, or the sound in it ends, in seconds.
    pub end: f64,
    /// The text, without space around it.
    pub text: String,
    /// The tokens that the model chose, timestamps included, without the prompt and the end.
    pub tokens: Vec<u32>,
    /// Mean natural logarithm of the probability of each token of the window, the end included.
    pub avg_logprob: f32,
    /// How well the window's tokens can be compressed; high for a text that repeats itself.
    pub compression_ratio: f32,
    /// Probability that nothing is spoken in the window; `None` if no threshold asks for it.
    pub no_speech_prob: Option<f32>,
    /// Temperature at which the window was decoded; 0 if no token was drawn at random.
    pub temperature: f32,
    /// Whether the model ended the text itself or closed it with a timestamp; `false` if it was cut
    /// off at the greatest length.
    pub complete: bool,
    /// The words of the text with their times; `None` if they were not asked for, or the model cannot
    /// say them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<Vec<Word>>,
    /// The channel of the recording in which it is spoken, if channels are transcribed by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

impl Segment {
    /// Changes its times, all of which are seconds: `begins` says when something begins that began
    /// at a time, and `ends` when something ends.
    pub(crate) fn retime(&mut self, begins: impl Fn(f64) -> f64, ends: impl Fn(f64) -> f64) {
        self.seek = (begins(self.seek as f64 / 100.0) * 100.0).round() as u64;
        self.start = begins(self.start);
        self.end = ends(self.end).max(self.start);
        for word in self.words.iter_mut().flatten() {
            word.start = begins(word.start);
            word.end = ends(word.end).max(word.start);
        }
    }
}

/// A word, with the punctuation and the space that belong to it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Word {
    /// Where it begins, in seconds.
    pub start: f64,
    /// Where it ends, in seconds.
    pub end: f64,
    /// The word. The words of a segment, one behind the other, are its text.
    pub word: String,
    /// Mean probability of its tokens, each among those that were allowed.
    pub probability: f32,
}
