//! Rows of a table, chosen by index.

use crate::slabs::for_each_slab;
use crate::{Element, KernelError, TensorMut, TensorRef, Threads, with_element};

/// `out[…, :] = table[indices[…], :]`; `table` is `[n, d]`, `out` has the shape of `indices` and
/// one more dimension of `d`.
///
/// # Errors
/// If an index is negative or not below `n`.
pub fn embedding(
    out: &mut TensorMut<'_>,
    table: &TensorRef<'_>,
    indices: &TensorRef<'_>,
    threads: &Threads,
) -> Result<(), KernelError> {
    let [n, d] = [table.shape()[0], table.shape()[1]];
    let last = indices.layout().rank();
    // The indices repeated along the rows, so that both have one shape.
    let mut repeated = indices.layout().clone();
    repeated.shape.push(d);
    repeated.strides.push(0);
    let grain = (16 * 1024).max(d);
    for_each_slab(out, threads, grain, &|part, out| {
        let first = part.start(last);
        let rows = part.of(&repeated).slice(last, 0, 1.min(d), 1);
        let to_rows = out.layout().slice(last, 0, 1.min(d), 1);
        let (width, to_step) = (out.shape()[last], out.layout().strides[last]);
        with_element!(table.dtype(), T => with_element!(indices.dtype(), I => {
            let (table_data, indices) = (table.data::<T>(), indices.data::<I>());
            let [row_step, column_step] = [table.layout().strides[0], table.layout().strides[1]];
            let to = out.data::<T>();
            let mut failed = None;
            crate::layout::for_each_run([&to_rows, &rows], |[p, q], [s, t], count| {
                for i in 0..count {
                    let index = indices[q + i * t].to_i64();
                    if index < 0 || index as usize >= n {
                        failed = Some(KernelError::IndexOutOfRange { index, len: n });
                        return;
                    }
                    let from = table.layout().offset + index as usize * row_step + first * column_step;
                    for j in 0..width {
                        to[p + i * s + j * to_step] = table_data[from + j * column_step];
                    }
                }
            });
            failed.map_or(Ok(()), Err)
        }))
    })
}
