//! What a caller may choose for a text.

use crate::grammar::Grammar;

/// What a caller may choose; the default leaves everything to the model's files and gives what
/// transformers gives by default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GenerateOptions {
    /// Put before every text: the task in words, such as `summarize: ` for T5.
    pub prefix: Option<String>,
    /// The language of the texts, as the model's tokens name it (`eng_Latn`, `en_XX`, `en`); `None`
    /// for the one that the tokenizer names by itself.
    pub source_language: Option<String>,
    /// The language to write in, named in the same way; `None` for what the files say.
    pub target_language: Option<String>,
    /// Number of beams; 1 for greedy choice, `None` for what the file says.
    pub beam_size: Option<usize>,
    /// How many of the next best texts to return as well, fewer than there are beams; `None` for
    /// what the file says (`num_return_sequences` less one).
    pub alternatives: Option<usize>,
    /// Greatest number of tokens after the start; `None` for what the files say.
    pub max_new_tokens: Option<usize>,
    /// Least number of tokens after the start; `None` for what the files say.
    pub min_new_tokens: Option<usize>,
    /// No run of so many tokens occurs twice; 0 allows any, `None` stands for what the file says.
    pub no_repeat_ngram_size: Option<usize>,
    /// Above 1, tokens that have occurred become less probable; `None` for what the file says.
    pub repetition_penalty: Option<f32>,
    /// Above 0 beams favour longer texts, below 0 shorter ones; `None` for what the file says.
    pub length_penalty: Option<f32>,
    /// What each text obeys.
    pub grammar: Option<Grammar>,
    /// Whether a text that is too long for the model is cut off; otherwise it is an error.
    pub truncate: bool,
    /// Whether to say which token of the source each token comes from ([`Candidate::alignment`]).
    ///
    /// [`Candidate::alignment`]: crate::Candidate::alignment
    pub alignment: bool,
}
