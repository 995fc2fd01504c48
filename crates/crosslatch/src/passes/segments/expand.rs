//! Operators whose results have as many rows as some contents say, written with numbers.
//!
//! | operator | written as |
//! |---|---|
//! | `nonzero(x)` | `nonzero_static(x, size=item(count_nonzero(x)))` |
//! | `where(x)` and `nonzero_numpy(x)`, which return a tensor for each dimension | the columns of `nonzero(x)` |
//! | `masked_select(x, m)` | `x` indexed with `m` |
//! | `x[…, m, …]` with a mask, and a write of one value for each element of a mask | the columns of `nonzero(m)` as indices |
//! | `repeat_interleave` by a tensor | with `output_size=item(sum(repeats))` |

use crosslatch_kernels::DType;

use crate::ir::Size;
use crate::ir::graph::{Arg, Graph, Node, Program, Symbol, TensorType, ValueId, ValueType};
use crate::passes::insertion::Insertion;

/// Writes such operators with numbers, in the program and in its regions.
pub fn expand(program: &mut Program) {
    let mut counts = Vec::new();
    expand_graph(&mut program.graph, &mut counts);
    program.symbols.append(&mut counts);
}

fn expand_graph(graph: &mut Graph, counts: &mut Vec<Symbol>) {
    let nodes = std::mem::take(&mut graph.nodes);
    for mut node in nodes {
        for region in &mut node.regions {
            expand_graph(region, counts);
        }
        let mut expander = Expander {
            at: Insertion {
                graph: &mut *graph,
                provenance: node.provenance.clone(),
            },
            counts: &mut *counts,
        };
        let node = match node.op.schema.name.as_str() {
            "aten::nonzero" => expander.nonzero(&node),
            "aten::where" | "aten::nonzero_numpy" => expander.indices(&node),
            "aten::masked_select" => expander.masked_select(&node),
            "aten::index.Tensor" | "aten::_unsafe_index.Tensor" => expander.index(&node),
            name if name.contains("index_put") => expander.index_put(&node),
            name if name.starts_with("aten::repeat_interleave.") => expander.repeat(&node),
            _ => None,
        }
        .unwrap_or(node);
        graph.nodes.push(node);
    }
}

/// Adds nodes to a graph in front of the one at hand, and gives what replaces that.
struct Expander<'g> {
    at: Insertion<'g>,
    counts: &'g mut Vec<Symbol>,
}

impl Expander<'_> {
    fn nonzero(&mut self, node: &Node) -> Option<Node> {
        let (of, &result) = (node.args.first()?.value()?, node.results.first()?);
        let count = self.count(of)?;
        self.at.call(
            "aten::nonzero_static",
            vec![Arg::Value(of), Arg::Value(count), Arg::Int(-1)],
            vec![result],
        )
    }

    /// The indices of what is not zero, a tensor for each dimension.
    fn indices(&mut self, node: &Node) -> Option<Node> {
        let of = node.args.first()?.value()?;
        let (last, others) = node.results.split_last()?;
        let places = self.places(of)?.0;
        let column = |d: usize| vec![Arg::Value(places), Arg::Int(1), Arg::Int(d as i64)];
        for (d, result) in others.iter().enumerate() {
            let node = self.at.call("aten::select.int", column(d), vec![*result])?;
            self.at.graph.nodes.push(node);
        }
        self.at
            .call("aten::select.int", column(others.len()), vec![*last])
    }

    fn masked_select(&mut self, node: &Node) -> Option<Node> {
        let (of, mask) = (node.args.first()?.value()?, node.args.get(1)?.value()?);
        let (whole, masked) = (
            self.at.graph.tensor(of)?.clone(),
            self.at.graph.tensor(mask)?.clone(),
        );
        let (of, mask) = match whole.sizes == masked.sizes {
            true => (of, mask),
            false => {
                let sizes = broadcast(&whole.sizes, &masked.sizes);
                let mut broadcast = |ty: TensorType, what: &str| {
                    let ty = TensorType {
                        sizes: sizes.clone(),
                        ..ty
                    };
                    self.at.graph.add_value(
                        format!("{what}_{}", self.at.graph.values.len()),
                        ValueType::Tensor(ty),
                    )
                };
                let results = [broadcast(whole, "broadcast"), broadcast(masked, "mask")];
                let args = vec![Arg::Values(vec![Some(of), Some(mask)])];
                let node = self
                    .at
                    .call("aten::broadcast_tensors", args, results.to_vec())?;
                self.at.graph.nodes.push(node);
                results.into()
            }
        };
        let indices = self.columns(mask)?.into_iter().map(Some).collect();
        self.at.call(
            "aten::index.Tensor",
            vec![Arg::Value(of), Arg::Values(indices)],
            node.results.clone(),
        )
    }

    fn index(&mut self, node: &Node) -> Option<Node> {
        let Arg::Values(indices) = node.args.get(1)? else {
            return None;
        };
        self.with_integers(node, indices)
    }

    fn index_put(&mut self, node: &Node) -> Option<Node> {
        let Arg::Values(indices) = node.args.get(1)? else {
            return None;
        };
        let (of, values) = (node.args.first()?.value()?, node.args.get(2)?.value()?);
        if let [mask] = indices.iter().flatten().collect::<Vec<_>>()[..] {
            let before = indices.iter().take_while(|i| i.is_none()).count();
            let covered = before + self.at.graph.tensor(*mask)?.sizes.len();
            let behind = self.at.graph.tensor(of)?.sizes.len().checked_sub(covered)?;
            let sizes = &self.at.graph.tensor(values)?.sizes;
            // The dimension of the values that goes along the elements of the mask.
            let along = sizes.len().checked_sub(behind + 1).map(|d| &sizes[d]);
            if along.is_none_or(|size| size.constant() == Some(1)) {
                return None;
            }
        }
        self.with_integers(node, indices)
    }

    /// A node that indexes with integers where it does so with masks; `None` if there are none.
    fn with_integers(&mut self, node: &Node, indices: &[Option<ValueId>]) -> Option<Node> {
        let mut node = node.clone();
        node.args[1] = Arg::Values(self.without_masks(indices)?);
        Some(node)
    }

    /// `repeat_interleave` by a tensor with its size. A tensor of one number counts for all entries.
    fn repeat(&mut self, node: &Node) -> Option<Node> {
        let place = node.op.schema.position("output_size")?;
        let repeats = node.op.schema.position("repeats")?;
        let (Arg::None, repeats) = (&node.args[place], node.args[repeats].value()?) else {
            return None;
        };
        let ty = self.at.graph.tensor(repeats)?;
        let is_one = ty.sizes.iter().all(|size| size.constant() == Some(1));
        if is_one && node.op.schema.position("self").is_some() {
            return None;
        }
        let sum = self.at.single("sum", ValueType::Tensor(of_rank_0()));
        let node_of_sum =
            self.at
                .call("aten::sum", vec![Arg::Value(repeats), Arg::None], vec![sum]);
        self.at.graph.nodes.push(node_of_sum?);
        let total = self.item(sum)?;
        let mut node = node.clone();
        node.args[place] = Arg::Value(total);
        Some(node)
    }

    /// Indices with the masks among them as integers; `None` if there are no masks.
    fn without_masks(&mut self, indices: &[Option<ValueId>]) -> Option<Vec<Option<ValueId>>> {
        let is_mask = |graph: &Graph, id: &ValueId| {
            let ValueType::Tensor(ty) = &graph.value(*id).ty else {
                return false;
            };
            matches!(ty.dtype, DType::Bool | DType::U8)
        };
        if !indices
            .iter()
            .flatten()
            .any(|id| is_mask(self.at.graph, id))
        {
            return None;
        }
        let mut all = Vec::new();
        for index in indices {
            match index {
                Some(mask) if is_mask(self.at.graph, mask) => {
                    all.extend(self.columns(*mask)?.into_iter().map(Some));
                }
                other => all.push(*other),
            }
        }
        Some(all)
    }

    /// For each dimension of a mask, the indices of its true elements.
    fn columns(&mut self, mask: ValueId) -> Option<Vec<ValueId>> {
        let (places, rows) = self.places(mask)?;
        let rank = self.at.graph.tensor(mask)?.sizes.len();
        let mut columns = Vec::new();
        for d in 0..rank {
            let column = self
                .at
                .single("column", indices_of_sizes(vec![rows.clone()]));
            let args = vec![Arg::Value(places), Arg::Int(1), Arg::Int(d as i64)];
            let node = self.at.call("aten::select.int", args, vec![column])?;
            self.at.graph.nodes.push(node);
            columns.push(column);
        }
        Some(columns)
    }

    /// The indices of the elements of a tensor that are not zero, as rows, and how many rows they are.
    fn places(&mut self, of: ValueId) -> Option<(ValueId, Size)> {
        let rank = self.at.graph.tensor(of)?.sizes.len();
        let count = self.count(of)?;
        let rows = Size::Symbol(self.symbol());
        let sizes = vec![rows.clone(), Size::Const(rank as i64)];
        let places = self.at.single("places", indices_of_sizes(sizes));
        let args = vec![Arg::Value(of), Arg::Value(count), Arg::Int(-1)];
        let node = self.at.call("aten::nonzero_static", args, vec![places])?;
        self.at.graph.nodes.push(node);
        Some((places, rows))
    }

    /// How many elements of a tensor are not zero, as a number.
    fn count(&mut self, of: ValueId) -> Option<ValueId> {
        let count = self.at.single("count", ValueType::Tensor(of_rank_0()));
        let args = vec![Arg::Value(of), Arg::None];
        let node = self.at.call("aten::count_nonzero", args, vec![count])?;
        self.at.graph.nodes.push(node);
        self.item(count)
    }

    fn item(&mut self, of: ValueId) -> Option<ValueId> {
        let number = self.at.single("number", ValueType::Int);
        let node = self
            .at
            .call("aten::item", vec![Arg::Value(of)], vec![number])?;
        self.at.graph.nodes.push(node);
        Some(number)
    }

    /// A new symbol, which only describes.
    fn symbol(&mut self) -> String {
        let name = format!("count{}", self.counts.len());
        self.counts.push(Symbol {
            name: name.clone(),
            min: 0,
            max: None,
        });
        name
    }
}

fn of_rank_0() -> TensorType {
    TensorType {
        dtype: DType::I64,
        sizes: Vec::new(),
    }
}

fn indices_of_sizes(sizes: Vec<Size>) -> ValueType {
    let dtype = DType::I64;
    ValueType::Tensor(TensorType { dtype, sizes })
}

/// The sizes of two tensors that are broadcast against each other.
fn broadcast(a: &[Size], b: &[Size]) -> Vec<Size> {
    let rank = a.len().max(b.len());
    let from_end = |sizes: &[Size], d: usize| sizes.len().checked_sub(d).map(|i| sizes[i].clone());
    let size = |d: usize| match (from_end(a, d), from_end(b, d)) {
        (Some(a), Some(b)) if a.constant() == Some(1) => b,
        (Some(a), _) => a,
        (None, b) => b.unwrap_or(Size::Const(1)),
    };
    (1..=rank).rev().map(size).collect()
}
