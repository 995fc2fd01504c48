//! Finding the cross-attention of each layer.
//!
//! Attention is one call, or the product of queries and keys whose scaled and masked result a softmax
//! turns into weights. It is cross-attention if its queries depend on tokens and its keys on none: the
//! keys of self-attention come of the tokens themselves, and in later layers of the source as well.

use crate::ir::graph::{Arg, Graph, Node, TensorType, ValueId, ValueType};

use super::dependence::Dependence;

/// Calls of attention that do not return their weights.
const FUSED: [&str; 2] = [
    "aten::scaled_dot_product_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
];

/// Operators whose result is weights.
const SOFTMAX: [&str; 3] = ["aten::softmax.int", "aten::_softmax", "aten::_safe_softmax"];

/// Products of queries and keys.
const PRODUCTS: [&str; 4] = ["aten::matmul", "aten::bmm", "aten::baddbmm", "aten::einsum"];

/// What may lie between the product and the softmax, without overload and mark of an in-place operator:
/// scaling, masking, conversions and views.
const BETWEEN: [&str; 20] = [
    "aten::add",
    "aten::sub",
    "aten::mul",
    "aten::div",
    "aten::masked_fill",
    "aten::where",
    "aten::maximum",
    "aten::clamp",
    "aten::_to_copy",
    "aten::to",
    "aten::type_as",
    "aten::view",
    "aten::_unsafe_view",
    "aten::reshape",
    "aten::clone",
    "aten::contiguous",
    "aten::expand",
    "aten::squeeze",
    "aten::unsqueeze",
    "aten::alias",
];

/// The cross-attention of a layer.
pub(super) struct Found {
    /// The node that attends or, if weights are in the graph, makes them.
    pub node: usize,
    /// How its weights are got, or why they cannot be.
    pub attention: Result<Attention, &'static str>,
}

/// A cross-attention whose weights can be got.
#[derive(Clone)]
pub(super) struct Attention {
    /// The node behind which its weights can be computed.
    pub node: usize,
    /// Number of heads.
    pub heads: usize,
    pub weights: Weights,
}

/// Where the weights of an attention come from.
#[derive(Clone)]
pub(super) enum Weights {
    /// From queries `[batch, heads, tokens, size]` and keys `[batch, own heads, source, size]`.
    Product {
        query: ValueId,
        key: ValueId,
        /// Heads of the keys: as many as of the queries, or fewer that several of these share.
        own_heads: usize,
        mask: Option<ValueId>,
        /// The factor for the products.
        scale: Arg,
    },
    /// They are this value, whose heads lie along this dimension.
    Value(ValueId, usize),
}

impl Attention {
    /// Whether each head of the queries has keys of its own, so that all can be computed at once.
    pub fn has_heads_of_its_own(&self) -> bool {
        match &self.weights {
            Weights::Product { own_heads, .. } => *own_heads == self.heads,
            Weights::Value(..) => true,
        }
    }
}

/// The cross-attention of each layer, in order.
pub(super) fn find(graph: &Graph, dependence: &[Dependence]) -> Vec<Found> {
    let is_cross = |query: ValueId, key: ValueId| {
        let (query, key) = (dependence[query.index()], dependence[key.index()]);
        query.tokens && !key.tokens && key.others
    };
    let mut found = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let name = node.op.schema.name.as_str();
        let attention = if FUSED.contains(&name) {
            match [tensor(node, "query"), tensor(node, "key")] {
                [Some(query), Some(key)] if is_cross(query, key) => {
                    fused(graph, index, node, [query, key])
                }
                _ => continue,
            }
        } else if SOFTMAX.contains(&name) {
            let is_weights = tensor(node, "self").is_some_and(|scores| {
                let mut sides = Vec::new();
                products(graph, scores, &mut sides);
                sides.iter().any(|&[query, key]| is_cross(query, key))
            });
            match is_weights {
                true => computed(graph, index, node),
                false => continue,
            }
        } else {
            continue;
        };
        found.push(Found {
            node: index,
            attention,
        });
    }
    found
}

/// An argument that is a tensor.
fn tensor(node: &Node, name: &str) -> Option<ValueId> {
    match node.args.get(node.op.schema.position(name)?)? {
        Arg::Value(id) => Some(*id),
        _ => None,
    }
}

pub(super) fn tensor_type(graph: &Graph, id: ValueId) -> Option<&TensorType> {
    match &graph.value(id).ty {
        ValueType::Tensor(ty) => Some(ty),
        _ => None,
    }
}

/// A dimension of a tensor, if it is a constant.
pub(super) fn constant(ty: &TensorType, dim: usize) -> Option<usize> {
    usize::try_from(ty.sizes.get(dim)?.constant()?).ok()
}

fn fused(
    graph: &Graph,
    index: usize,
    node: &Node,
    [query, key]: [ValueId; 2],
) -> Result<Attention, &'static str> {
    let rank_four = |id| tensor_type(graph, id).filter(|ty| ty.sizes.len() == 4);
    let [Some(queries), Some(keys)] = [rank_four(query), rank_four(key)] else {
        return Err("its queries and keys do not have four dimensions");
    };
    let heads = constant(queries, 1).ok_or("its number of heads is not a constant")?;
    let own_heads = constant(keys, 1).ok_or("its number of heads is not a constant")?;
    if own_heads == 0 || heads % own_heads != 0 {
        return Err("its heads of queries and of keys do not fit together");
    }
    let given = |name: &str| {
        let position = node.op.schema.position(name);
        position.map_or(&Arg::None, |i| &node.args[i])
    };
    if matches!(given("is_causal"), Arg::Bool(true)) {
        return Err("it is causal");
    }
    let scale = match given("scale") {
        Arg::None => {
            let size = constant(queries, 3).ok_or("the size of its heads is not a constant")?;
            Arg::Float(1.0 / (size.max(1) as f64).sqrt())
        }
        scale => scale.clone(),
    };
    let mask = tensor(node, "attn_mask");
    Ok(Attention {
        node: index,
        heads,
        weights: Weights::Product {
            query,
            key,
            own_heads,
            mask,
            scale,
        },
    })
}

fn computed(graph: &Graph, index: usize, node: &Node) -> Result<Attention, &'static str> {
    let weights = *node.results.first().ok_or("it makes nothing")?;
    let ty = tensor_type(graph, weights).ok_or("it makes no tensor")?;
    // With three dimensions, the heads of all texts lie along the first.
    let dim = match ty.sizes.len() {
        4 => 1,
        3 => 0,
        _ => return Err("its weights do not have three or four dimensions"),
    };
    Ok(Attention {
        node: index,
        heads: constant(ty, dim).ok_or("its number of heads is not a constant")?,
        weights: Weights::Value(weights, dim),
    })
}

/// Collects the operands of the products that scores are made of.
fn products(graph: &Graph, scores: ValueId, sides: &mut Vec<[ValueId; 2]>) {
    let mut seen = vec![false; graph.values.len()];
    let mut open = vec![scores];
    while let Some(id) = open.pop() {
        if std::mem::replace(&mut seen[id.index()], true) {
            continue;
        }
        let maker = graph.nodes.iter().find(|node| node.results.contains(&id));
        let Some(node) = maker else {
            continue;
        };
        let name = node.op.schema.name.as_str();
        let base = name.split('.').next().unwrap_or(name).trim_end_matches('_');
        if PRODUCTS.contains(&name) {
            // The last two are the factors: `baddbmm` adds to what comes before.
            let operands: Vec<ValueId> = node.operands().collect();
            if let [.., query, key] = operands[..] {
                sides.push([query, key]);
            }
        } else if BETWEEN.contains(&base) {
            open.extend(node.operands());
        }
    }
}
