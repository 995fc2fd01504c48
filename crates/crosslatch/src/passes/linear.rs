//! Products with a transposed weight are linear layers.
//!
//! `linear(x, w, b)` is `addmm(b, x, t(w))` to many who write programs: PyTorch's default decompositions do,
//! and torchao's quantized layers. The product is the same, but a weight that a view stands in front of cannot
//! be stored in the formats that kernels of linear layers read ([`halves`](super::halves),
//! [`quantize`](super::quantize)). [`as_linear`] writes the layer again, where the matrix of a product is the
//! transpose of what is made of weights alone, or of what a region takes. A conversion behind the transpose is
//! done before it, if the product is all that reads it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::effects::overwritten;
use crate::ir::graph::{Arg, Graph, Node, Program, TensorType, ValueId, ValueType};
use crate::ops::Catalogue;

use super::dependence::fixed;

/// Writes products with a transposed weight as linear layers, in the program and in its regions.
pub fn as_linear(program: &mut Program) {
    let fixed = fixed(program, &[]);
    rewrite(&mut program.graph, &|_, id| fixed.value(id));
}

/// Rewrites a graph; `is_weight` says of which values a matrix may be the transpose.
fn rewrite(graph: &mut Graph, is_weight: &dyn Fn(&Graph, ValueId) -> bool) {
    let regions = graph.nodes.iter_mut().flat_map(|node| &mut node.regions);
    regions.for_each(|region| rewrite(region, &|graph, id| graph.inputs.contains(&id)));
    let products = graph.nodes.iter().enumerate();
    let products = products.filter_map(|(index, node)| Some((index, Product::of(graph, node)?)));
    let products: Vec<(usize, Product)> = products.collect();
    if products.is_empty() {
        return;
    }
    let makers = Makers::of(graph);
    for (index, product) in products {
        if let Some(matrix) = makers.transpose(graph, product.matrix)
            && is_weight(graph, matrix.of)
        {
            write(graph, index, &product, &matrix);
        }
    }
    // A weight that is still transposed for nobody would have another reader than layers.
    let read: HashSet<ValueId> = read(graph).collect();
    let is_read = |node: &Node| node.results.iter().any(|id| read.contains(id));
    graph
        .nodes
        .retain(|node| !is_transposition(node) || is_read(node));
}

/// Whatever nodes take, and the graph returns.
fn read(graph: &Graph) -> impl Iterator<Item = ValueId> + '_ {
    let returned = graph.outputs.iter().flat_map(Arg::values);
    graph.nodes.iter().flat_map(Node::operands).chain(returned)
}

/// A product of an input with a matrix, and perhaps a bias.
struct Product {
    input: ValueId,
    matrix: ValueId,
    bias: Option<ValueId>,
}

impl Product {
    /// The product that a node computes, if a linear layer can have its form.
    fn of(graph: &Graph, node: &Node) -> Option<Product> {
        let (input, matrix, bias) = match node.op.schema.name.as_str() {
            "aten::mm" => ("self", "mat2", None),
            "aten::matmul" => ("self", "other", None),
            "aten::addmm" => ("mat1", "mat2", Some("self")),
            _ => return None,
        };
        let bias = match bias {
            Some(name) => Some(node.argument(name)?.value()?),
            None => None,
        };
        let product = Product {
            input: node.argument(input)?.value()?,
            matrix: node.argument(matrix)?.value()?,
            bias,
        };
        let columns = graph.tensor(product.matrix)?.sizes.get(1)?;
        let is_bias = |id| {
            let is_one = |name| node.argument(name) == Some(&Arg::Int(1));
            let sizes = graph.tensor(id).map(|ty| ty.sizes.as_slice());
            sizes == Some(std::slice::from_ref(columns)) && is_one("alpha") && is_one("beta")
        };
        bias.is_none_or(is_bias).then_some(product)
    }
}

/// A matrix that is a transpose.
struct Transpose {
    of: ValueId,
    /// The node that converts the transpose, if the matrix is what that makes of it.
    converted_by: Option<usize>,
}

/// For each value of a graph, how it is made and read.
struct Makers {
    made_by: Vec<Option<usize>>,
    readers: Vec<usize>,
    overwritten: Vec<bool>,
}

impl Makers {
    fn of(graph: &Graph) -> Makers {
        let mut made_by = vec![None; graph.values.len()];
        let mut readers = vec![0; graph.values.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            node.operands().for_each(|id| readers[id.index()] += 1);
            node.results
                .iter()
                .for_each(|id| made_by[id.index()] = Some(index));
        }
        let returned = graph.outputs.iter().flat_map(Arg::values);
        returned.for_each(|id| readers[id.index()] += 1);
        Makers {
            made_by,
            readers,
            overwritten: overwritten(graph),
        }
    }

    /// What a matrix is the transpose of, if it is one.
    fn transpose(&self, graph: &Graph, matrix: ValueId) -> Option<Transpose> {
        let made_by = |id: ValueId| self.made_by[id.index()];
        let conversion = made_by(matrix).filter(|&index| {
            let is_read_once = self.readers[matrix.index()] == 1;
            is_conversion(&graph.nodes[index]) && is_read_once && !self.overwritten[matrix.index()]
        });
        let transposed = match conversion {
            Some(index) => graph.nodes[index].operands().next()?,
            None => matrix,
        };
        let node = &graph.nodes[made_by(transposed)?];
        let of = node.operands().next()?;
        let is_matrix = graph.tensor(of)?.sizes.len() == 2;
        (is_matrix && is_transposition(node)).then_some(Transpose {
            of,
            converted_by: conversion,
        })
    }
}

fn is_conversion(node: &Node) -> bool {
    matches!(
        node.op.schema.name.as_str(),
        "aten::_to_copy" | "aten::to.dtype"
    )
}

/// Whether a node transposes a matrix.
fn is_transposition(node: &Node) -> bool {
    let dim = |arg: &Arg| match arg {
        Arg::Int(i) => Some(i.rem_euclid(2)),
        _ => None,
    };
    let dims = match node.op.schema.name.as_str() {
        "aten::t" | "aten::numpy_T" => return true,
        "aten::transpose.int" => node.args.get(1..3),
        "aten::permute" => match node.args.get(1) {
            Some(Arg::List(dims)) => Some(&dims[..]),
            _ => None,
        },
        _ => None,
    };
    let dims = dims.map(|dims| dims.iter().map(dim).collect::<Vec<_>>());
    match dims.as_deref() {
        Some([Some(first), Some(second)]) => {
            first != second && (node.op.schema.name != "aten::permute" || *first == 1)
        }
        _ => false,
    }
}

/// Writes the product at this index as a linear layer.
fn write(graph: &mut Graph, index: usize, product: &Product, matrix: &Transpose) {
    let Some(linear) = Catalogue::builtin().get("aten::linear") else {
        return;
    };
    let weight = match matrix.converted_by {
        Some(conversion) => converted(graph, conversion, matrix.of),
        None => Some(matrix.of),
    };
    if let Some(weight) = weight {
        let node = &mut graph.nodes[index];
        node.op = Arc::clone(linear);
        node.args = vec![
            Arg::Value(product.input),
            Arg::Value(weight),
            product.bias.map_or(Arg::None, Arg::Value),
        ];
    }
}

/// Lets a conversion convert a matrix instead of its transpose; returns its new result.
fn converted(graph: &mut Graph, conversion: usize, matrix: ValueId) -> Option<ValueId> {
    let result = *graph.nodes[conversion].results.first()?;
    let value = graph.value(result);
    let ty = TensorType {
        dtype: graph.tensor(result)?.dtype,
        sizes: graph.tensor(matrix)?.sizes.clone(),
    };
    let new = graph.add_value(format!("{}.t", value.name), ValueType::Tensor(ty));
    let node = &mut graph.nodes[conversion];
    *node.args.first_mut()? = Arg::Value(matrix);
    node.results = vec![new];
    Some(new)
}
