//! The loop over texts.

use super::languages::Languages;
use super::source::source_tokens;
use super::{
    Candidate, GenerateError, GenerateOptions, Generation, TextConfig, TextLimits, TextModel,
    TextPlan,
};
use crate::config::{ConfigError, OptionsError};
use crate::search::{Generated, Request, Sequences, beam_search_all, greedy};
use crate::tokenizer::{TextTokenizer, TokenizerError};

/// The way from text to text around a text model: tokens, decoding, tokens again.
///
/// Made of the files beside the model's weights; see [`text_pipeline`](crate::text_pipeline).
#[derive(Debug)]
pub struct TextPipeline {
    tokenizer: TextTokenizer,
    languages: Languages,
    config: TextConfig,
    limits: TextLimits,
}

impl TextPipeline {
    /// Makes a pipeline of a tokenizer, the contents of `generation_config.json` and `config.json`,
    /// and the lengths that the model was exported for.
    ///
    /// # Errors
    /// Any [`ConfigError`], whose text names the file.
    pub fn new(
        tokenizer: TextTokenizer,
        generation: Option<&[u8]>,
        config: &[u8],
        limits: TextLimits,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            languages: Languages::of(&tokenizer),
            tokenizer,
            config: TextConfig::from_json(generation, config)?,
            limits,
        })
    }

    /// What `options` mean for this model: how texts will be generated.
    ///
    /// # Errors
    /// Any [`OptionsError`].
    pub fn plan(&self, options: &GenerateOptions) -> Result<TextPlan, OptionsError> {
        self.config.plan(options, &self.languages, self.limits)
    }

    /// Generates what the model makes of a text. A blank text gives an empty one, and the model is
    /// not run.
    ///
    /// # Errors
    /// Any [`GenerateError`].
    pub fn generate<M: TextModel>(
        &self,
        model: &mut M,
        text: &str,
        options: &GenerateOptions,
    ) -> Result<Generation, GenerateError<M::Error>> {
        let plan = self.plan(options)?;
        if text.trim().is_empty() {
            return Ok(nothing(text));
        }
        let (tokenizer, languages) = (&self.tokenizer, &self.languages);
        let source = source_tokens(tokenizer, languages, &plan, options, self.limits, text)?;
        let fed: Vec<i64> = source.iter().map(|&token| i64::from(token)).collect();
        model.encode(&fed).map_err(GenerateError::Encoder)?;
        let rules = plan.rules(&source);
        let request = Request {
            prompt: plan.prompt(),
            rules: &rules,
            eos: plan.eos(),
            max_length: plan.max_length(),
        };
        let mut sequences = Sequences::default();
        let generated = match plan.beam().beams {
            1 => vec![greedy(model, &mut sequences, &request)?],
            _ => beam_search_all(model, &mut sequences, &request, plan.beam())?,
        };
        let mut texts = generated.into_iter().map(|g| self.candidate(g));
        let best = texts.next().transpose()?;
        Ok(Generation {
            source: text.to_owned(),
            best: best.unwrap_or_else(|| nothing(text).best),
            alternatives: texts.take(plan.alternatives()).collect::<Result<_, _>>()?,
        })
    }

    fn candidate(&self, generated: Generated) -> Result<Candidate, TokenizerError> {
        Ok(Candidate {
            text: self.tokenizer.decode(&generated.tokens)?,
            tokens: generated.tokens,
            score: generated.score,
            complete: generated.end.is_some(),
        })
    }
}

/// What is generated for a blank text.
fn nothing(text: &str) -> Generation {
    Generation {
        source: text.to_owned(),
        best: Candidate {
            text: String::new(),
            tokens: Vec::new(),
            score: 0.0,
            complete: true,
        },
        alternatives: Vec::new(),
    }
}
