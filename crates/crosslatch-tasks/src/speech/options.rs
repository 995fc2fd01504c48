//! What a caller may choose for a transcript.

use std::str::FromStr;

use crate::grammar::Grammar;
use crate::subtitles::Format;
use crate::voice::VoiceFilter;

/// What to do with the speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Write down what is said in its own language.
    Transcribe,
    /// Write down what is said in English.
    Translate,
}

impl Task {
    /// The name that configuration files use.
    pub fn name(self) -> &'static str {
        match self {
            Task::Transcribe => "transcribe",
            Task::Translate => "translate",
        }
    }
}

/// A name other than `transcribe` and `translate`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown task {0:?}; expected transcribe or translate")]
pub struct UnknownTask(pub String);

impl FromStr for Task {
    type Err = UnknownTask;

    /// Reads the name of a task, in any case.
    fn from_str(name: &str) -> Result<Self, UnknownTask> {
        [Task::Transcribe, Task::Translate]
            .into_iter()
            .find(|task| task.name().eq_ignore_ascii_case(name.trim()))
            .ok_or_else(|| UnknownTask(name.to_owned()))
    }
}

/// What a caller may choose; the default leaves everything to the model's files and gives what
/// transformers gives by default.
#[derive(Debug, Clone, PartialEq)]
pub struct TranscribeOptions {
    /// The language spoken, as a person names it: `de`, `German`, `de-AT` or `<|de|>`, in any case.
    /// With `None` it is detected, where the model can. A model that knows English only takes
    /// English.
    pub language: Option<String>,
    /// The task; `None` for the model's own choice.
    pub task: Option<Task>,
    /// What the transcript will be written as. A format with times, such as SRT, has the model
    /// write timestamps wherever it can.
    pub format: Format,
    /// Whether the model writes timestamps, by which its text is cut into segments and the next
    /// window is placed. With `None` a model that has timestamps writes them if its file says so,
    /// if the sound is longer than one window, or if `format` needs them. `Some(false)` cuts long
    /// sound into consecutive windows.
    pub timestamps: Option<bool>,
    /// Whether segments have the times of their words ([`Segment::words`]), where the model can say
    /// them. It has the model write timestamps wherever it can, unless `timestamps` says otherwise.
    ///
    /// [`Segment::words`]: crate::Segment::words
    pub word_timestamps: bool,
    /// Text that seems invented is left out where it stands beside silence of more than so many seconds,
    /// and decoding goes on behind the silence (openai-whisper's option of the same name). Segments then
    /// have words as well, by which this is decided.
    pub hallucination_silence_threshold: Option<f64>,
    /// Names and words to be expected, which every window is shown, in front of the prompt or the text
    /// so far (faster-whisper's option of the same name).
    pub hotwords: Option<String>,
    /// Text that comes before the transcript: names and words to be expected, or what was said
    /// earlier.
    pub prompt: Option<String>,
    /// Whether the prompt stays in front of the text so far
    /// (`prompt_condition_type="all-segments"`); otherwise it moves out of sight as text is added.
    /// Needs `condition_on_previous`.
    pub prompt_always: bool,
    /// Whether each window is shown the text of those before it; `None` for what the file says.
    pub condition_on_previous: Option<bool>,
    /// Greatest number of tokens for a window; `None` for what the files say.
    pub max_new_tokens: Option<usize>,
    /// Number of beams; 1 for greedy choice, `None` for what the file says.
    pub beam_size: Option<usize>,
    /// Above 0 beams favour longer texts, below 0 shorter ones; `None` for what the file says.
    pub length_penalty: Option<f32>,
    /// How many texts have to end before beams stop, as a multiple of the number of beams (Kasai et
    /// al., 2022), by openai-whisper's rule; `None` stands for transformers' rule.
    pub patience: Option<f32>,
    /// No run of so many tokens occurs twice, the prompt included; 0 allows any, `None` stands for
    /// what the file says.
    pub no_repeat_ngram_size: Option<usize>,
    /// Temperatures, tried in order until a window's text is good enough by the thresholds below.
    /// At 0 the best token is taken (or beams are searched), above 0 tokens are drawn at random. An
    /// empty list means 0 alone.
    pub temperatures: Vec<f32>,
    /// A text is not good enough if its tokens, as bytes, can be compressed by more than this
    /// factor, because it then repeats itself. transformers' documentation suggests 1.35.
    pub compression_ratio_threshold: Option<f32>,
    /// A text is not good enough if its mean log-probability is below this. −1 is usual.
    pub logprob_threshold: Option<f32>,
    /// A window is silent, and its text is dropped, if the probability of "no speech" is above this
    /// and, where there is a `logprob_threshold`, the mean log-probability is below that. 0.6 is
    /// usual.
    pub no_speech_threshold: Option<f32>,
    /// How many texts are drawn for a window at a temperature above 0, of which the most probable is
    /// taken (openai-whisper's option of the same name). `None` stands for one.
    pub best_of: Option<usize>,
    /// Seed of the random draws at temperatures above 0: the same seed gives the same text.
    pub seed: u64,
    /// Tokens that are never taken, in place of those that the file names, among which −1 stands for
    /// those of the file. `None` for those of the file alone.
    pub suppress_tokens: Option<Vec<i64>>,
    /// What the text of each window obeys.
    pub grammar: Option<Grammar>,
    /// The parts of the sound to decode, as seconds in rising order: start, end, start, end, …; a
    /// last start without an end goes to the end of the sound. If empty, all of it is decoded.
    /// (openai-whisper's option of the same name.)
    pub clip_timestamps: Vec<f64>,
    /// Sound whose level stays below this many decibels (0 is full scale) for a second or more is
    /// not decoded. With `None` everything is decoded.
    pub skip_silence: Option<f32>,
    /// What counts as speech if only speech is decoded. With `None` everything is decoded.
    pub voice: Option<VoiceFilter>,
}

impl Default for TranscribeOptions {
    fn default() -> Self {
        Self {
            language: None,
            task: None,
            format: Format::default(),
            timestamps: None,
            word_timestamps: false,
            hallucination_silence_threshold: None,
            hotwords: None,
            prompt: None,
            prompt_always: false,
            condition_on_previous: None,
            max_new_tokens: None,
            beam_size: None,
            length_penalty: None,
            patience: None,
            no_repeat_ngram_size: None,
            temperatures: vec![0.0],
            compression_ratio_threshold: None,
            logprob_threshold: None,
            no_speech_threshold: None,
            best_of: None,
            seed: 0,
            suppress_tokens: None,
            grammar: None,
            clip_timestamps: Vec::new(),
            skip_silence: None,
            voice: None,
        }
    }
}

impl TranscribeOptions {
    /// Whether segments are to have the times of their words, for whatever reason.
    pub fn needs_words(&self) -> bool {
        self.word_timestamps || self.hallucination_silence_threshold.is_some()
    }

    /// Has doubtful windows decoded again, with the temperatures and thresholds of openai-whisper's
    /// command: temperatures 0, 0.2, …, 1; compression ratio, as transformers measures it, 1.35;
    /// log-probability −1; "no speech" 0.6.
    pub fn with_fallback(self) -> Self {
        Self {
            temperatures: vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
            compression_ratio_threshold: Some(1.35),
            logprob_threshold: Some(-1.0),
            no_speech_threshold: Some(0.6),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_known_by_name_in_any_case() {
        assert_eq!("Translate".parse(), Ok(Task::Translate));
        assert_eq!(" transcribe".parse(), Ok(Task::Transcribe));
        assert_eq!(
            "sing".parse::<Task>().unwrap_err().to_string(),
            "unknown task \"sing\"; expected transcribe or translate"
        );
    }
}
