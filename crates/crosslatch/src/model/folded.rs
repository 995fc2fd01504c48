//! Weights that are made of a program's other weights when it is loaded.
//!
//! [`passes::fold`](crate::passes::fold) says which. Their nodes are run one after the other, each result in
//! memory of its own that is freed behind its last reader; what is kept lies in the model's memory, as payloads
//! do that had to be copied. Where that is not possible, the program stays as it is, and a run computes the
//! values or says why it cannot.

use std::collections::HashMap;

use crosslatch_kernels::{Layout, Operands, Storage, TensorRef, Threads};

use crate::ir::bind::{Known, bind_call};
use crate::ir::graph::{Graph, Node, Program, ValueId};
use crate::ir::lowering::{Compute, View};
use crate::ir::{KernelSet, Lowering};
use crate::passes::fold::{Folded, fold};
use crate::pt2::archive::Archive;
use crate::pt2::weights::{Weight, Weights};
use crate::tensor::Tensor;

/// Computes what a program makes of quantized weights, and binds it to new slots of the program.
pub(super) fn fold_weights(
    program: &mut Program,
    bindings: &mut Vec<Option<Weight>>,
    weights: &mut Weights,
    files: &[Archive],
) {
    let Some(folded) = fold(program) else {
        return;
    };
    let Some(made) = compute(&program.graph, &folded, bindings, weights, files) else {
        return;
    };
    let mut made = made.into_iter();
    let binding = |from: &Option<usize>| match from {
        Some(slot) => bindings[*slot].clone(),
        None => made.next(),
    };
    *bindings = folded.rest.slots.iter().map(binding).collect();
    *program = folded.rest.program;
}

/// The values that are taken out, as weights; `None` if one cannot be computed.
fn compute(
    graph: &Graph,
    folded: &Folded,
    bindings: &[Option<Weight>],
    weights: &mut Weights,
    files: &[Archive],
) -> Option<Vec<Weight>> {
    let nodes = || folded.nodes.iter().map(|&index| &graph.nodes[index]);
    let mut readers: HashMap<ValueId, usize> = HashMap::new();
    for id in nodes().flat_map(Node::operands) {
        *readers.entry(id).or_default() += 1;
    }
    // Kernels read weights in their own types.
    let mut inputs: HashMap<ValueId, Weight> = HashMap::new();
    for (id, weight) in graph.inputs.iter().zip(bindings) {
        let Some(mut weight) = weight.clone().filter(|_| readers.contains_key(id)) else {
            continue;
        };
        if weight.stored != weight.dtype {
            weights.widen(files, &mut weight).ok()?;
        }
        inputs.insert(*id, weight);
    }
    let mut values: HashMap<ValueId, Tensor> = HashMap::new();
    let mut made = Vec::new();
    for node in nodes() {
        let value = |id: &ValueId| match inputs.get(id) {
            Some(weight) => {
                let bytes = weights.bytes(files, &weight.source)?;
                TensorRef::new(weight.dtype, &weight.layout, bytes).ok()
            }
            None => values.get(id).map(Tensor::view),
        };
        let result = evaluate(node, &value)?;
        for id in node.operands() {
            let left = readers.entry(id).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                values.remove(&id);
                if let Some(weight) = inputs.get(&id) {
                    weight.source.release(files);
                }
            }
        }
        let id = node.results[0];
        if folded.kept.iter().any(|kept| kept.id == id) {
            made.push(weights.add(&result).ok()?);
        }
        if readers.contains_key(&id) {
            values.insert(id, result);
        }
    }
    Some(made)
}

/// The result of a node, in row-major order.
fn evaluate<'v>(node: &Node, value: &dyn Fn(&ValueId) -> Option<TensorRef<'v>>) -> Option<Tensor> {
    let known = |id: ValueId| {
        let tensor = value(&id)?;
        Some(Known::Tensor(tensor.dtype(), tensor.layout().clone()))
    };
    let bound = bind_call(node, &known, &|_| None).ok()?;
    let operands: Option<Vec<TensorRef<'v>>> = bound.operands.iter().map(value).collect();
    let operands = operands?;
    match bound.lower(node, KernelSet::Fast).ok()? {
        Lowering::Views(views) => match &views[..] {
            [view] => copied(view, &operands),
            _ => None,
        },
        Lowering::Copy(copy) => {
            let whole = copied(&copy.view, &operands)?;
            Tensor::from_bytes(whole.dtype(), &copy.shape, whole.bytes()).ok()
        }
        Lowering::Compute(compute) => computed(&compute, &operands),
        _ => None,
    }
}

fn copied(view: &View, operands: &[TensorRef<'_>]) -> Option<Tensor> {
    let base = operands.get(view.of)?;
    let view = TensorRef::new(base.dtype(), &view.layout, base.bytes()).ok()?;
    Tensor::try_copy_of(&view).ok()
}

fn computed(compute: &Compute, operands: &[TensorRef<'_>]) -> Option<Tensor> {
    let [(dtype, shape)] = &compute.results[..] else {
        return None;
    };
    // Kernels rely on memory that begins with the first element.
    let layouts: Vec<Layout> = operands
        .iter()
        .map(|operand| Layout {
            offset: 0,
            ..operand.layout().clone()
        })
        .collect();
    let operands = operands.iter().zip(&layouts);
    let operands: Option<Vec<TensorRef<'_>>> = operands
        .map(|(operand, layout)| from_start(operand, layout))
        .collect();
    let mut result = Tensor::zeros(*dtype, shape).ok()?;
    let mut scratch = Storage::try_zeroed(compute.kernel.scratch_bytes()).ok()?;
    let mut output = [result.view_mut()];
    let done = compute.kernel.run(&mut Operands {
        inputs: &operands?,
        outputs: &mut output,
        scratch: scratch.bytes_mut(),
        threads: &Threads::new(1),
    });
    done.ok()?;
    Some(result)
}

/// A tensor whose memory begins with its first element, in this layout.
fn from_start<'l>(tensor: &TensorRef<'l>, layout: &'l Layout) -> Option<TensorRef<'l>> {
    let first = tensor.layout().offset * tensor.dtype().size();
    TensorRef::new(tensor.dtype(), layout, tensor.bytes().get(first..)?).ok()
}
