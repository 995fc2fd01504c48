//! Writing where a mask is true.

use crate::elements::blocks::Compute;
use crate::movement::copy::convert;
use crate::movement::indexing::{Write, add_scaled};
use crate::runtime::partition::for_each_part;
use crate::tensor::layout::for_each_run;
use crate::{Bool, Layout, TensorMut, TensorRef, Threads, with_element};

/// Elements below which another thread is not worth waking.
const GRAIN: usize = 32 * 1024;

/// `to[i] = value`, converted, where `mask[i]` is true; `mask` broadcasts to the shape of `to`.
pub fn fill_masked<C: Compute>(
    to: &mut TensorMut<'_>,
    mask: &TensorRef<'_>,
    value: C,
    threads: &Threads,
) {
    let layout = mask.layout().expand(to.shape()).unwrap_or_default();
    let selected = mask.data::<Bool>();
    for_each_part(to, threads, GRAIN, &|part, to| {
        let (target, mask) = (to.layout().clone(), part.of(&layout));
        with_element!(to.dtype(), T => {
            let (data, value) = (to.data::<T>(), value.store::<T>());
            for_each_run([&target, &mask], |[a, m], [p, q], len| {
                for k in 0..len {
                    if selected[m + k * q].get() {
                        data[a + k * p] = value;
                    }
                }
            });
        });
    });
}

/// `to[i] = values[i]`, or `+=`, where `mask[i]` is true. All three have one shape; `values` has
/// the element type of `to`.
pub fn write_masked(
    to: &mut TensorMut<'_>,
    mask: &TensorRef<'_>,
    values: &TensorRef<'_>,
    write: Write,
) {
    let selected = mask.data::<Bool>();
    let layout = to.layout().clone();
    with_element!(to.dtype(), T => {
        let (target, source) = (to.data::<T>(), values.data::<T>());
        for_each_run(
            [&layout, mask.layout(), values.layout()],
            |[a, m, v], [p, q, r], len| {
                for k in 0..len {
                    if selected[m + k * q].get() {
                        let (place, value) = (&mut target[a + k * p], source[v + k * r]);
                        *place = match write {
                            Write::Replace => value,
                            Write::Add(alpha) => add_scaled(*place, value, alpha),
                        };
                    }
                }
            },
        );
    });
}

/// Where `mask` is true, in order, `to` gets the next element of `source`, which has its element type; `mask`
/// broadcasts to the shape of `to`. Returns whether `source` had enough elements; if not, what is left of
/// `to` stays.
pub fn scatter_masked(
    to: &mut TensorMut<'_>,
    mask: &TensorRef<'_>,
    source: &TensorRef<'_>,
) -> bool {
    let layout = to.layout().clone();
    let masked = mask.layout().expand(to.shape()).unwrap_or_default();
    let selected = mask.data::<Bool>();
    let from = source.layout();
    let (mut taken, count) = (0, from.numel());
    with_element!(to.dtype(), T => {
        let (target, data) = (to.data::<T>(), source.data::<T>());
        for_each_run([&layout, &masked], |[a, m], [p, q], len| {
            for k in 0..len {
                if selected[m + k * q].get() {
                    if taken < count {
                        target[a + k * p] = data[element(from, taken)];
                    }
                    taken += 1;
                }
            }
        });
    });
    taken <= count
}

/// Writes the indices of the elements of `from` that are not zero, in order: row `i` of `to`, which is `i64`
/// and has two dimensions, is the index of the `i`-th one, an entry for each dimension of `from`. Rows behind
/// the last one are filled with `fill`; elements behind the last row are left out.
pub fn nonzero(to: &mut TensorMut<'_>, from: &TensorRef<'_>, fill: i64) {
    let layout = to.layout().clone();
    let (rows, columns) = (layout.shape[0], layout.shape[1]);
    let shape = &from.layout().shape;
    let target = to.data::<i64>();
    let mut row = 0;
    with_element!(from.dtype(), T => {
        let data = from.data::<T>();
        let mut before = 0;
        for_each_run([from.layout()], |[at], [step], len| {
            for k in 0..len {
                if row < rows && convert::<T, f64>(data[at + k * step]) != 0.0 {
                    let mut rest = before + k;
                    let start = layout.offset + row * layout.strides[0];
                    for column in (0..columns).rev() {
                        target[start + column * layout.strides[1]] = (rest % shape[column]) as i64;
                        rest /= shape[column];
                    }
                    row += 1;
                }
            }
            before += len;
        });
    });
    for row in row..rows {
        for column in 0..columns {
            target[layout.offset + row * layout.strides[0] + column * layout.strides[1]] = fill;
        }
    }
}

/// Position of an element of a tensor, of which there are more before it in order.
fn element(layout: &Layout, mut before: usize) -> usize {
    let dims = layout.shape.iter().zip(&layout.strides).rev();
    dims.fold(layout.offset, |at, (size, stride)| {
        let entry = before % size;
        before /= size;
        at + entry * stride
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Storage};

    #[test]
    fn indices_of_what_is_not_zero_are_rows_in_order() {
        // The transpose of [[0, 1, 0], [2, -0, 3]].
        let mut layout = Layout::contiguous(&[2, 3]);
        (layout.shape, layout.strides) = (smallvec::smallvec![3, 2], smallvec::smallvec![1, 3]);
        let values = [0f32, 1.0, 0.0, 2.0, -0.0, 3.0];
        let from = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(&values)).unwrap();
        let found = |rows: usize| {
            let shape = Layout::contiguous(&[rows, 2]);
            let mut memory = Storage::zeroed(rows * 16);
            let mut to = TensorMut::new(DType::I64, &shape, memory.bytes_mut()).unwrap();
            nonzero(&mut to, &from, -1);
            to.as_ref().to_vec::<i64>()
        };
        assert_eq!(found(3), [0, 1, 1, 0, 2, 1]);
        assert_eq!(found(4), [0, 1, 1, 0, 2, 1, -1, -1]);
        assert_eq!(found(1), [0, 1]);
        assert_eq!(found(0), [0; 0]);
    }

    #[test]
    fn only_chosen_elements_change() {
        let shape = Layout::contiguous(&[2, 2]);
        let row = Layout::contiguous(&[2]).expand(&[2, 2]).unwrap();
        let mask = [Bool::new(true), Bool::new(false)];
        let mask = TensorRef::new(DType::Bool, &row, bytemuck::cast_slice(&mask)).unwrap();
        let values = [5i64, 6, 7, 8];
        let values = TensorRef::new(DType::I64, &shape, bytemuck::cast_slice(&values)).unwrap();
        let mut memory = Storage::copy_of(bytemuck::cast_slice(&[1i64; 4]));
        let mut to = TensorMut::new(DType::I64, &shape, memory.bytes_mut()).unwrap();
        write_masked(&mut to, &mask, &values, Write::Replace);
        assert_eq!(to.as_ref().to_vec::<i64>(), [5, 1, 7, 1]);
        write_masked(&mut to, &mask, &values, Write::Add(2.0));
        assert_eq!(to.as_ref().to_vec::<i64>(), [15, 1, 21, 1]);
        fill_masked(&mut to, &mask, -2.5, &crate::Threads::new(1));
        assert_eq!(to.as_ref().to_vec::<i64>(), [-2, 1, -2, 1]);
    }
}
