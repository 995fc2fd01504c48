//! Alignment: which parts of the source a decoder looks at while it writes.
//!
//! Problem. The weights of cross-attention say where in the source each token comes from: times of words
//! are computed from them, and so is which source token became which target token. A program that was
//! exported for decoding does not return them, and a step that did would pay for them at every token.
//!
//! Idea. The weights are in the graph, or can be computed from what is: cross-attention is the attention
//! whose keys depend on no token, while its queries do (`dependence`). This pass finds it in each layer
//! (`attention`) and makes a second program of the decoder (`rewrite`). It takes the same inputs, changes
//! the same state and returns, in place of scores, the weights of chosen heads. It is run once, over all
//! tokens of a text that has been chosen. Because it shares the decoder's slots, a session runs it on the
//! decoder's own caches: keys and values of the source are not computed again, and the caches of
//! self-attention exist once.
//!
//! Weights of a head are `[batch, 1, tokens, source]` in `f32`, those of all heads of a layer
//! `[batch, heads, tokens, source]`.

mod attention;
mod dependence;
mod rewrite;

use crate::ir::graph::{Program, Slot, SlotKind};
use crate::ir::verify::label;

/// Which heads' weights are returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Heads {
    /// These, each as layer and head, from 0.
    Named(Vec<(usize, usize)>),
    /// All heads of the last half of the layers.
    LastHalf,
}

/// A program that returns the weights of attention.
pub struct Aligned {
    /// The program. Its slots are those of the decoder.
    pub program: Program,
    /// Names of its outputs, in the order of the heads.
    pub weights: Vec<String>,
}

/// Why a program cannot be aligned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AlignError {
    /// The program does not take the tokens under the expected name.
    #[error("it has no input `{0}`")]
    NoTokens(String),
    /// There is no attention with queries that depend on tokens and keys that do not.
    #[error(
        "no cross-attention was found in its graph: no attention whose queries depend on `{0}` and \
         whose keys depend on other inputs alone"
    )]
    NoAttention(String),
    /// A head is named that the decoder does not have.
    #[error(
        "head {head} of layer {layer} is to be aligned by, and its graph has {layers} layers with \
         cross-attention{heads}"
    )]
    NoHead {
        /// The layer, from 0.
        layer: usize,
        /// The head, from 0.
        head: usize,
        /// Layers with cross-attention.
        layers: usize,
        /// Heads of that layer, in words, if there is such a layer.
        heads: String,
    },
    /// The cross-attention of a layer is written in a way that the pass does not know.
    #[error("the cross-attention {node} of layer {layer} cannot be read: {reason}")]
    Form {
        /// The layer, from 0.
        layer: usize,
        /// The node.
        node: String,
        /// What is not known.
        reason: &'static str,
    },
}

/// A layer with cross-attention.
pub struct Layer {
    /// The node that attends or, if weights are in the graph, makes them; as messages name it.
    pub node: String,
    /// Number of its heads, or why their weights cannot be got.
    pub heads: Result<usize, &'static str>,
}

/// The layers with cross-attention of a program that takes its tokens as the input `tokens`, in order.
///
/// # Errors
/// [`AlignError::NoTokens`] and [`AlignError::NoAttention`].
pub fn layers(program: &Program, tokens: &str) -> Result<Vec<Layer>, AlignError> {
    let layers = find(program, tokens)?.into_iter().map(|found| Layer {
        node: name(program, found.node),
        heads: found.attention.map(|attention| attention.heads),
    });
    Ok(layers.collect())
}

/// The program that returns the weights of these heads, of a decoder that takes its tokens as the input
/// `tokens`.
///
/// # Errors
/// If the decoder's cross-attention is not found, or lacks one of the heads.
pub fn align(program: &Program, tokens: &str, heads: &Heads) -> Result<Aligned, AlignError> {
    let chosen = choose(program, find(program, tokens)?, heads)?;
    Ok(rewrite::rewrite(program, &chosen))
}

fn find(program: &Program, tokens: &str) -> Result<Vec<attention::Found>, AlignError> {
    let is_tokens = |slot: &Slot| slot.kind == SlotKind::Input && slot.name == tokens;
    let input = program.slots.iter().position(is_tokens);
    let input = input.ok_or_else(|| AlignError::NoTokens(tokens.to_owned()))?;
    let dependence = dependence::of_program(program, input);
    let found = attention::find(&program.graph, &dependence);
    match found.is_empty() {
        true => Err(AlignError::NoAttention(tokens.to_owned())),
        false => Ok(found),
    }
}

fn name(program: &Program, node: usize) -> String {
    label(&program.graph, &program.graph.nodes[node])
}

/// Heads of one layer.
struct Chosen {
    /// The layer, from 0.
    layer: usize,
    /// The head; `None` for all heads of the layer together.
    head: Option<usize>,
    attention: attention::Attention,
}

fn choose(
    program: &Program,
    found: Vec<attention::Found>,
    heads: &Heads,
) -> Result<Vec<Chosen>, AlignError> {
    let layers = found.len();
    let readable = |layer: usize| {
        let found = &found[layer];
        found.attention.clone().map_err(|reason| AlignError::Form {
            layer,
            node: name(program, found.node),
            reason,
        })
    };
    match heads {
        Heads::LastHalf => {
            let all = (layers / 2..layers).map(|layer| {
                let attention = readable(layer)?;
                let heads: Vec<Option<usize>> = match attention.has_heads_of_its_own() {
                    true => vec![None],
                    false => (0..attention.heads).map(Some).collect(),
                };
                let chosen = heads.into_iter().map(move |head| Chosen {
                    layer,
                    head,
                    attention: attention.clone(),
                });
                Ok(chosen)
            });
            let all: Vec<_> = all.collect::<Result<_, _>>()?;
            Ok(all.into_iter().flatten().collect())
        }
        Heads::Named(named) => {
            let named = named.iter().map(|&(layer, head)| {
                let missing = |heads| AlignError::NoHead {
                    layer,
                    head,
                    layers,
                    heads,
                };
                if layer >= layers {
                    return Err(missing(String::new()));
                }
                let attention = readable(layer)?;
                if head >= attention.heads {
                    return Err(missing(format!(" of {} heads", attention.heads)));
                }
                Ok(Chosen {
                    layer,
                    head: Some(head),
                    attention,
                })
            });
            named.collect()
        }
    }
}
