//! What a caller may choose for one transcript.

/// What to do with the speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Write it down in its own language.
    Transcribe,
    /// Write it down in English.
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

/// What a caller may choose; the default leaves everything to the model's files and gives what
/// transformers gives by default.
#[derive(Debug, Clone, PartialEq)]
pub struct TranscribeOptions {
    /// The language spoken, as `de`, `german` or `<|de|>`; `None` to detect it where the model can.
    pub language: Option<String>,
    /// The task; `None` for the model's own choice.
    pub task: Option<Task>,
    /// Whether the model writes points in time, by which its text is cut into segments and the next
    /// window is placed. `None`: if the file says so, or the sound is longer than one window and the
    /// model knows points in time. `Some(false)` cuts long sound into consecutive windows.
    pub timestamps: Option<bool>,
    /// Text that comes before: names and words to be expected, or the text so far.
    pub prompt: Option<String>,
    /// Whether the prompt stays in front of every window's own; else it moves out of sight as text
    /// is added (`prompt_condition_type="all-segments"`). Needs `condition_on_previous`.
    pub prompt_always: bool,
    /// Whether each window's prompt is the text of those before it; `None` for what the file says.
    pub condition_on_previous: Option<bool>,
    /// Greatest number of tokens a window; `None` for what the files say.
    pub max_new_tokens: Option<usize>,
    /// Hypotheses followed at once; 1 for greedy choice, `None` for what the file says.
    pub beam_size: Option<usize>,
    /// Temperatures, tried in order until a window's text is good enough by the thresholds below.
    /// At 0 the best token is taken (or beams are searched), above it tokens are drawn by chance.
    /// Empty means 0 alone.
    pub temperatures: Vec<f32>,
    /// A text is not good enough if its tokens, as bytes, can be compressed by more than this
    /// factor: it repeats itself. transformers' documentation suggests 1.35.
    pub compression_ratio_threshold: Option<f32>,
    /// A text is not good enough if its mean log-probability is below this. Often −1.
    pub logprob_threshold: Option<f32>,
    /// A window is silent, and its text dropped, if the probability of "no speech" is above this
    /// and the mean log-probability below `logprob_threshold`, which has to be set too. Often 0.6.
    pub no_speech_threshold: Option<f32>,
    /// Where chance begins at temperatures above 0: the same seed, the same text.
    pub seed: u64,
    /// Sound whose level stays below this many decibels (0 is full scale) for a second or more is
    /// not decoded. `None` decodes everything.
    pub skip_silence: Option<f32>,
}

impl Default for TranscribeOptions {
    fn default() -> Self {
        Self {
            language: None,
            task: None,
            timestamps: None,
            prompt: None,
            prompt_always: false,
            condition_on_previous: None,
            max_new_tokens: None,
            beam_size: None,
            temperatures: vec![0.0],
            compression_ratio_threshold: None,
            logprob_threshold: None,
            no_speech_threshold: None,
            seed: 0,
            skip_silence: None,
        }
    }
}

impl TranscribeOptions {
    /// The thresholds and temperatures that openai-whisper's command falls back by, the compression
    /// ratio as transformers measures it: 0, 0.2, …, 1; 1.35; −1; 0.6.
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
