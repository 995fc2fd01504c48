//! Sums of products over any dimensions of any number of tensors: the general case of `einsum`.
//!
//! Three plain loops, for what is not a matrix product and therefore rare.

use crate::elements::blocks::{Compute, store};
use crate::elements::elementwise::Class;
use crate::tensor::arithmetic::Accumulate;
use crate::{Dims, Layout, TensorMut, TensorRef, with_element};

/// `out[kept] = sum over summed of the product of operands[kept, summed]`, computed in the type of
/// the result. Each operand has the dimensions of `out` first, then the summed ones, of equal
/// lengths (those that it lacks have stride 0).
pub fn contract(out: &mut TensorMut<'_>, operands: &[TensorRef<'_>]) {
    match Class::of(out.dtype()) {
        Class::F32 => contract_in::<f32>(out, operands),
        Class::F64 => contract_in::<f64>(out, operands),
        Class::I64 => contract_in::<i64>(out, operands),
    }
}

fn contract_in<C: Compute + Accumulate>(out: &mut TensorMut<'_>, operands: &[TensorRef<'_>]) {
    let to = out.layout().clone();
    let parts: Vec<(Reader<'_, C>, Layout, Vec<usize>)> = operands
        .iter()
        .map(|operand| {
            let (kept, summed) = split(operand.layout(), to.rank());
            (reader(operand), kept, summed.positions().collect())
        })
        .collect();
    let terms = parts.first().map_or(0, |(_, _, summed)| summed.len());
    let mut starts: Vec<_> = parts.iter().map(|(_, kept, _)| kept.positions()).collect();
    for at in to.positions() {
        // The layouts have as many positions as the result: they were broadcast to its shape.
        let starts: Dims = starts.iter_mut().filter_map(Iterator::next).collect();
        let mut sum = C::default();
        for term in 0..terms {
            let mut product = <C as Accumulate>::from_f64(1.0);
            for ((read, _, summed), start) in parts.iter().zip(&starts) {
                product = product.mul(read(start + summed[term]));
            }
            sum = sum.add(product);
        }
        store(out, at, 1, &[sum]);
    }
}

/// Gives the element at a position.
type Reader<'t, C> = Box<dyn Fn(usize) -> C + 't>;

fn reader<'t, C: Compute>(tensor: &'t TensorRef<'_>) -> Reader<'t, C> {
    with_element!(tensor.dtype(), T => {
        let data = tensor.data::<T>();
        Box::new(move |at| C::load(data[at]))
    })
}

/// The first `kept` dimensions, and the others from offset 0.
fn split(layout: &Layout, kept: usize) -> (Layout, Layout) {
    let part = |range: std::ops::Range<usize>, offset| Layout {
        shape: Dims::from_slice(&layout.shape[range.clone()]),
        strides: Dims::from_slice(&layout.strides[range]),
        offset,
    };
    let rank = layout.rank();
    (part(0..kept, layout.offset), part(kept..rank, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Storage};

    #[test]
    fn kept_dimensions_stay_and_the_others_are_summed() {
        let values: Vec<i64> = (1..=6).collect();
        let memory = Storage::copy_of(bytemuck::cast_slice(&values));
        // The second operand lacks the kept dimension: the sum is a matrix times a vector.
        let matrix = Layout::contiguous(&[2, 3]);
        let vector = Layout::contiguous(&[3]).expand(&[2, 3]).unwrap();
        let operands =
            [&matrix, &vector].map(|l| TensorRef::new(DType::I64, l, memory.bytes()).unwrap());
        let layout = Layout::contiguous(&[2]);
        let mut out = Storage::zeroed(16);
        let mut to = TensorMut::new(DType::I64, &layout, out.bytes_mut()).unwrap();
        contract(&mut to, &operands);
        assert_eq!(to.as_ref().to_vec::<i64>(), [14, 32]);
        let nothing = Layout::contiguous(&[2, 0]);
        let empty = TensorRef::new(DType::I64, &nothing, memory.bytes()).unwrap();
        contract(&mut to, &[empty]);
        assert_eq!(to.as_ref().to_vec::<i64>(), [0, 0]);
    }
}
