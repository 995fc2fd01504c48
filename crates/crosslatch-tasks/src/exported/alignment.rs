//! Where a decoder looks: the method that returns the weights of its attention.
//!
//! The engine makes the method of the decoder itself ([`Model::aligned`]); it works on the decoder's
//! state, so that a sequence that holds a prompt need not be fed it again. Tokens are filled up to a few
//! lengths, because a plan is made for each, and what stands behind a token changes nothing about it. A
//! decoder that takes only so many tokens at a time is given them in parts.

use crosslatch::ir::Size;
use crosslatch::ir::graph::{Program, ValueType};
use crosslatch::passes::alignment::Heads;
use crosslatch::{DType, Model, Session};

use super::ExportedError;
use super::step::{self, SourceMask};
use crate::search::{Feed, HeadWeights};

const DECODER: &str = "decoder";
const TOKENS: &str = "input_ids";

/// Lengths to which tokens are filled up: multiples of this.
const STEP: usize = 16;

/// How to ask a decoder where it looks.
pub(super) struct Alignment {
    method: String,
    /// Names of the outputs, in the order of the heads.
    weights: Vec<String>,
    /// Greatest number of tokens at a time, and greatest position and one.
    most: Option<usize>,
}

impl Alignment {
    /// The model with a method that returns the weights of these heads, and how to use it.
    ///
    /// # Errors
    /// If the decoder's cross-attention is not found, or lacks one of the heads.
    pub fn of(model: &Model, heads: &Heads) -> Result<(Model, Alignment), crosslatch::Error> {
        let model = model.aligned(DECODER, TOKENS, heads)?;
        let method = model.methods().last();
        let found = method.and_then(|method| {
            let alignment = method.alignment.as_ref()?;
            Some(Alignment {
                method: method.program.name.clone(),
                weights: alignment.weights.clone(),
                most: most_tokens(&method.program),
            })
        });
        let alignment = found.ok_or_else(|| step::wrong("it has no alignment".to_owned()))?;
        Ok((model, alignment))
    }

    /// Feeds tokens to a session and gives `take` the weights of each head.
    pub fn take(
        &self,
        session: &mut Session,
        feed: Feed<'_>,
        encoder_output: Option<&str>,
        mask: Option<&SourceMask>,
        take: &mut dyn FnMut(HeadWeights<'_>),
    ) -> Result<(), ExportedError> {
        let mut first = 0;
        let mut filled: Vec<i64> = Vec::new();
        while first < feed.tokens.len() {
            let position = feed.position + first;
            let rest = &feed.tokens[first..];
            let count = rest.len().min(self.most.unwrap_or(rest.len()).max(1));
            filled.clear();
            filled.extend_from_slice(&rest[..count]);
            if let Some(most) = self.most {
                let length = count.next_multiple_of(STEP);
                let room = most.saturating_sub(position);
                filled.resize(length.min(most).min(room).max(count), rest[0]);
            }
            let part = Feed {
                sequence: feed.sequence,
                tokens: &filled,
                position,
            };
            step::take_one(session, &self.method, part, encoder_output, mask)?;
            self.read(session, first, count, take)?;
            first += count;
        }
        Ok(())
    }

    /// Gives `take` the weights of the first `count` tokens of the last run.
    fn read(
        &self,
        session: &Session,
        first: usize,
        count: usize,
        take: &mut dyn FnMut(HeadWeights<'_>),
    ) -> Result<(), ExportedError> {
        let outputs = session.outputs(&self.method)?;
        let mut head = 0;
        for name in &self.weights {
            let wrong = || ExportedError::Layout {
                kind: "speech or text",
                cause: format!("`{}` returns no f32 weights as `{name}`", self.method),
            };
            let weights = outputs.get(name)?;
            if weights.dtype() != DType::F32 {
                return Err(wrong());
            }
            let &[.., tokens, source] = weights.shape() else {
                return Err(wrong());
            };
            let values = weights.contiguous::<f32>().ok_or_else(wrong)?;
            if tokens < count || source == 0 {
                return Err(wrong());
            }
            for values in values.chunks_exact(tokens * source) {
                take(HeadWeights {
                    head,
                    first,
                    values: &values[..count * source],
                    source,
                });
                head += 1;
            }
        }
        Ok(())
    }
}

/// Greatest number of tokens that a program takes at a time, if it says.
fn most_tokens(program: &Program) -> Option<usize> {
    let mut inputs = crosslatch::inputs::input_slots(program);
    let (slot, _) = inputs.find(|(_, name)| *name == TOKENS)?;
    let ValueType::Tensor(ty) = &program.graph.value(program.graph.inputs[slot]).ty else {
        return None;
    };
    match ty.sizes.get(1)? {
        Size::Const(n) => usize::try_from(*n).ok(),
        Size::Symbol(name) => {
            let symbol = program.symbols.iter().find(|s| s.name == *name);
            usize::try_from(symbol?.max?).ok()
        }
        Size::Op(..) | Size::Unknown => None,
    }
}
