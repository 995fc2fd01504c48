//! What a beam search follows, and how it is told to.

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeamOptions {
    /// Number of hypotheses followed at once, at least one.
    pub beams: usize,
    /// Exponent of the length by which the score of an ended text is divided.
    pub length_penalty: f32,
    /// When to stop.
    pub early_stopping: EarlyStopping,
}

/// When a search has found enough ended texts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum EarlyStopping {
    /// When no unfinished text, if it ended now, would beat the worst of them (`early_stopping=False` of
    /// transformers).
    #[default]
    Heuristic,
    /// As soon as there are as many as beams (`True`).
    WhenFull,
    /// When no unfinished text could beat it, now or at the greatest length (`"never"`).
    WhenHopeless,
    /// As soon as so many times as many texts have ended as there are beams, whichever they are
    /// (`patience` of openai-whisper).
    Patience(f32),
}

/// A text that is still being continued.
#[derive(Debug, Clone)]
pub(super) struct Hypothesis {
    /// The tokens, those of the prompt included.
    pub tokens: Vec<u32>,
    /// Sum of the log-probabilities of the tokens among all tokens.
    pub score: f32,
    /// The log-probability among the tokens that the rules allowed, of each token after the prompt.
    pub logprobs: Vec<f64>,
}

/// An unfinished text and the token after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Continuation {
    pub score: f32,
    pub parent: usize,
    pub token: u32,
    pub logprob: f64,
}
