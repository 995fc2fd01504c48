//! The loop over texts.

use std::ops::ControlFlow;

use super::alignment::alignment;
use super::languages::Languages;
use super::source::source_tokens;
use super::{
    Candidate, GenerateError, GenerateOptions, Generation, TextConfig, TextLimits, TextModel,
    TextPlan,
};
use crate::config::{ConfigError, OptionsError};
use crate::rules::Rule;
use crate::search::{Generated, Request, Sequences, Told, beam_search_all, greedy};
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
        let plan = self
            .config
            .plan(options, &self.languages, self.limits, &[])?;
        self.grammar(&plan, options)?;
        Ok(plan)
    }

    /// The rule of the grammar, if there is one.
    fn grammar(
        &self,
        plan: &TextPlan,
        options: &GenerateOptions,
    ) -> Result<Option<Box<dyn Rule>>, OptionsError> {
        let grammar = options.grammar.as_ref();
        let rule = grammar.map(|grammar| grammar.rule(&self.tokenizer, plan.eos(), None));
        rule.transpose().map_err(OptionsError::Grammar)
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
        if let (true, Some(why)) = (options.alignment, model.unaligned()) {
            return Err(GenerateError::Unaligned(why.to_owned()));
        }
        let source = source_tokens(tokenizer, languages, &plan, options, self.limits, text)?;
        let (source, is_around): (Vec<u32>, Vec<bool>) = source.into_iter().unzip();
        let fed: Vec<i64> = source.iter().map(|&token| i64::from(token)).collect();
        let plan = self.config.plan(options, languages, self.limits, &source)?;
        model.encode(&fed).map_err(GenerateError::Encoder)?;
        let mut rules = plan.rules(&source);
        rules.splice(0..0, self.grammar(&plan, options)?);
        let request = Request {
            prompt: plan.prompt(),
            rules: &rules,
            eos: plan.eos(),
            max_length: plan.max_length(),
        };
        let mut sequences = Sequences::default();
        // Texts are short, and shown when they are done.
        let told: &mut Told<'_> = &mut |_| ControlFlow::Continue(());
        let generated = match plan.beam().beams {
            1 => vec![greedy(model, &mut sequences, &request, told)?],
            _ => beam_search_all(model, &mut sequences, &request, plan.beam(), told)?,
        };
        let is_own: Vec<bool> = is_around.into_iter().map(|is_around| !is_around).collect();
        let mut texts = Vec::new();
        for generated in generated.into_iter().take(1 + plan.alternatives()) {
            let aligned = options
                .alignment
                .then(|| alignment(model, &mut sequences, plan.prompt(), &generated, &is_own));
            let alignment = aligned.transpose()?;
            texts.push(self.candidate(generated, alignment)?);
        }
        let mut texts = texts.into_iter();
        Ok(Generation {
            source: text.to_owned(),
            best: texts.next().unwrap_or_else(|| nothing(text).best),
            source_tokens: options.alignment.then_some(source),
            alternatives: texts.collect(),
        })
    }

    fn candidate(
        &self,
        generated: Generated,
        alignment: Option<Vec<usize>>,
    ) -> Result<Candidate, TokenizerError> {
        Ok(Candidate {
            text: self.tokenizer.decode(&generated.tokens)?,
            tokens: generated.tokens,
            score: generated.score,
            complete: generated.end.is_some(),
            alignment,
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
            alignment: None,
        },
        source_tokens: None,
        alternatives: Vec::new(),
    }
}
