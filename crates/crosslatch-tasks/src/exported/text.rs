//! An exported text model: `encoder` takes `input_ids` and, as a rule, `attention_mask`. A model of one stack
//! has a `decoder` only, which goes on with a text.
//!
//! A program that was exported for texts of a least length, or of one length only, is given
//! padding, which the mask hides. One that was exported for several texts at a time is run with a
//! row for each (`rows`). With any other, texts that are written at the same time have a session
//! each and take their steps together; their sources are padded to a few lengths, because only
//! sessions with inputs of the same sizes read a weight once for all.

use crosslatch::passes::alignment::Heads;
use crosslatch::{Layout, Model, Options};

use super::decoder::ExportedDecoder;
use super::rows::Row;
use super::step::integers;
use super::text_programs::{DECODER_MASK, IDS, KIND, MASK, Programs, layout};
use super::{ExportedError, ExportedModel, StepBatcher};
use crate::search::{Decoder, Feed, HeadWeights};
use crate::text::{GenerateError, TextLimits, TextModel, TextPipeline};
use crate::tokenizer::TextTokenizer;

/// Lengths to which the sources of texts that are written together are padded: multiples of this.
const STEP: usize = 16;

/// An exported text model, for one text at a time.
pub struct ExportedTextModel(Way);

/// How texts are decoded.
enum Way {
    /// With a session for each hypothesis.
    Sessions(Box<ExportedModel<TextSource>>),
    /// As a row of a session that several texts share.
    Row(Row),
}

/// The source of a text model: tokens and, as a rule, their mask.
struct TextSource {
    /// Whether there is no encoder.
    goes_on: bool,
    encoder_is_masked: bool,
    decoder_is_masked: bool,
    /// Least and greatest number of tokens that the encoder takes.
    length: (usize, Option<usize>),
    /// Sources are padded to multiples of this, if there is a mask.
    multiple: usize,
    ids: Vec<i64>,
    mask: Vec<i64>,
}

/// Reads the files beside a model's weights that turn text into text.
///
/// # Errors
/// If a file is missing from the archive or malformed, or the archive is not laid out as a text
/// model.
pub fn text_pipeline(model: &Model) -> Result<TextPipeline, GenerateError<ExportedError>> {
    let programs = Programs::of(model).map_err(GenerateError::Model)?;
    let limits = TextLimits {
        source: programs.source.1,
        positions: programs.positions,
        goes_on: programs.one_stack,
    };
    let tokenizer = TextTokenizer::from_files(|name| model.extra_file(name))?;
    let config = model.extra_file("config.json").ok_or_else(|| {
        let cause =
            "the archive has no `config.json`; export the model together with its tokenizer";
        GenerateError::Model(layout(cause.to_owned()))
    })?;
    let generation = model.extra_file("generation_config.json");
    Ok(TextPipeline::new(tokenizer, generation, config, limits)?)
}

impl ExportedTextModel {
    /// A model for one text at a time, with fresh sessions.
    ///
    /// # Errors
    /// If the archive is not laid out as a text model.
    pub fn new(model: &Model, options: Options) -> Result<Self, ExportedError> {
        let programs = Programs::of(model)?;
        if programs.rows.0 > 1 {
            let row = Row::several(model, options, programs, 1)?.pop();
            return row
                .map(|row| Self(Way::Row(row)))
                .ok_or(ExportedError::Lost);
        }
        Self::alone(model, options, programs, 1)
    }

    /// Models for so many texts at a time, at least one, which share the threads of `options`. Each
    /// has to be used in a thread of its own, and to be [paused](Decoder::pause) when it has no
    /// more texts. What is written for a text does not depend on the others.
    ///
    /// # Errors
    /// If the archive is not laid out as a text model.
    pub fn several(
        model: &Model,
        options: Options,
        count: usize,
    ) -> Result<Vec<Self>, ExportedError> {
        let (programs, count) = (Programs::of(model)?, count.max(1));
        let most = programs.most_rows();
        if most == 1 {
            let batcher = StepBatcher::new(options.threads);
            let options = shared(options, count);
            let alone = (0..count).map(|_| {
                let multiple = if count > 1 { STEP } else { 1 };
                match Self::alone(model, options, programs, multiple)?.0 {
                    Way::Sessions(model) => {
                        Ok(Self(Way::Sessions(Box::new(model.batched_by(&batcher)))))
                    }
                    row => Ok(Self(row)),
                }
            });
            return alone.collect();
        }
        let options = shared(options, count.div_ceil(most));
        let mut models = Vec::new();
        while models.len() < count {
            let rows = Row::several(model, options, programs, most.min(count - models.len()))?;
            models.extend(rows.into_iter().map(|row| Self(Way::Row(row))));
        }
        Ok(models)
    }

    /// How many texts the model's programs were exported for at a time: one, unless the export said
    /// otherwise.
    ///
    /// # Errors
    /// If the archive is not laid out as a text model.
    pub fn batch_of(model: &Model) -> Result<usize, ExportedError> {
        Ok(Programs::of(model)?.most_rows())
    }

    fn alone(
        model: &Model,
        options: Options,
        programs: Programs,
        multiple: usize,
    ) -> Result<Self, ExportedError> {
        let heads = match programs.one_stack {
            true => Err("it reads no source: it goes on with the text".to_owned()),
            false => Ok(Heads::LastHalf),
        };
        Ok(Self(Way::Sessions(Box::new(ExportedModel {
            decoder: ExportedDecoder::new(model, options, KIND, heads)?,
            source: TextSource {
                goes_on: programs.one_stack,
                encoder_is_masked: programs.encoder_is_masked,
                decoder_is_masked: programs.decoder_is_masked,
                length: programs.source,
                multiple,
                ids: Vec::new(),
                mask: Vec::new(),
            },
        }))))
    }
}

/// The options of each of so many that share the threads.
fn shared(options: Options, count: usize) -> Options {
    Options {
        threads: (options.threads / count).max(1),
        ..options
    }
}

impl TextModel for ExportedTextModel {
    fn encode(&mut self, tokens: &[i64]) -> Result<(), ExportedError> {
        match &mut self.0 {
            Way::Sessions(model) => model.encode(tokens),
            Way::Row(row) => row.encode(tokens),
        }
    }
}

impl Decoder for ExportedTextModel {
    type Error = ExportedError;

    fn sequences(&mut self, wanted: usize) -> Result<usize, ExportedError> {
        Ok(wanted.max(1))
    }

    fn branch(&mut self, from: usize, to: usize) -> Result<bool, ExportedError> {
        match &mut self.0 {
            Way::Sessions(model) => model.branch(from, to),
            Way::Row(_) => Ok(false),
        }
    }

    fn decode(
        &mut self,
        sequence: usize,
        tokens: &[i64],
        position: usize,
    ) -> Result<&[f32], ExportedError> {
        match &mut self.0 {
            Way::Sessions(model) => model.decode(sequence, tokens, position),
            Way::Row(row) => {
                let feed = Feed {
                    sequence,
                    tokens,
                    position,
                };
                let scores = row.decode_all(&[feed])?;
                Ok(scores.first().map_or(&[][..], Vec::as_slice))
            }
        }
    }

    fn decode_all(
        &mut self,
        feeds: &[Feed<'_>],
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), ExportedError> {
        match &mut self.0 {
            Way::Sessions(model) => model.decode_all(feeds, take),
            Way::Row(row) => {
                row.decode_all(feeds)?
                    .iter()
                    .for_each(|scores| take(scores));
                Ok(())
            }
        }
    }

    fn unaligned(&self) -> Option<&str> {
        match &self.0 {
            Way::Sessions(model) => model.unaligned(),
            Way::Row(_) => Some("it was exported for several texts at a time; export it for one"),
        }
    }

    fn align(
        &mut self,
        feed: Feed<'_>,
        take: &mut dyn FnMut(HeadWeights<'_>),
    ) -> Result<(), ExportedError> {
        match &mut self.0 {
            Way::Sessions(model) => model.align(feed, take),
            Way::Row(_) => Ok(()),
        }
    }

    fn pause(&mut self) {
        match &mut self.0 {
            Way::Sessions(model) => model.pause(),
            Way::Row(row) => row.pause(),
        }
    }
}

impl TextModel for ExportedModel<TextSource> {
    fn encode(&mut self, tokens: &[i64]) -> Result<(), ExportedError> {
        if self.source.goes_on {
            return self.decoder.restart();
        }
        let TextSource {
            goes_on: _,
            encoder_is_masked,
            decoder_is_masked,
            length: (least, most),
            multiple,
            ids,
            mask,
        } = &mut self.source;
        let is_masked = *encoder_is_masked && *decoder_is_masked;
        let mut length = tokens.len().max(*least);
        if length > tokens.len() && !is_masked {
            return Err(layout(format!(
                "a text of {} tokens would have to be padded to {length}, and there is no mask",
                tokens.len()
            )));
        }
        if is_masked {
            let padded = length.next_multiple_of(*multiple);
            length = most.map_or(padded, |most| padded.min(most).max(length));
        }
        ids.clear();
        ids.extend_from_slice(tokens);
        // Padding that is masked may be any token.
        ids.resize(length, 0);
        mask.clear();
        mask.resize(tokens.len(), 1);
        mask.resize(length, 0);
        if *decoder_is_masked {
            self.decoder.set_source_mask(DECODER_MASK, mask);
        }
        let shape = Layout::contiguous(&[1, length]);
        let ids = (IDS, integers(&shape, ids).map_err(layout)?.into());
        let mask = (MASK, integers(&shape, mask).map_err(layout)?.into());
        match encoder_is_masked {
            true => self.decoder.encode(&[ids, mask]),
            false => self.decoder.encode(&[ids]),
        }
    }
}
