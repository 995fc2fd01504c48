//! Embedding: rows of a table, selected by index.

use half::{bf16, f16};

use crate::movement::quantize::dequantize_row;
use crate::runtime::partition::try_for_each_part;
use crate::tensor::layout::for_each_run;
use crate::tensor::quantized::QuantizedMatrix;
use crate::{DType, Element, KernelError, TensorMut, TensorRef, Threads, with_element};

/// `out[…, :] = table[indices[…], :]`; `table` is `[n, d]`, `out` has the shape of `indices` and
/// one more dimension of `d`. If `out` is `f32`, the table may be f16 or bf16.
///
/// # Errors
/// If an index is negative or not below `n`.
pub fn embedding(
    out: &mut TensorMut<'_>,
    table: &TensorRef<'_>,
    indices: &TensorRef<'_>,
    threads: &Threads,
) -> Result<(), KernelError> {
    match (out.dtype(), table.dtype()) {
        (DType::F32, DType::F16) => rows::<f16, f32>(out, table, indices, f16::to_f32, threads),
        (DType::F32, DType::BF16) => rows::<bf16, f32>(out, table, indices, bf16::to_f32, threads),
        (dtype, _) => {
            with_element!(dtype, T => rows::<T, T>(out, table, indices, |x| x, threads))
        }
    }
}

/// Rows of a table with elements `T`, converted to those of the result.
fn rows<T: Element, O: Element>(
    out: &mut TensorMut<'_>,
    table: &TensorRef<'_>,
    indices: &TensorRef<'_>,
    convert: fn(T) -> O,
    threads: &Threads,
) -> Result<(), KernelError> {
    let [n, d] = [table.shape()[0], table.shape()[1]];
    let last = indices.layout().rank();
    // The indices repeated along the rows, so that both have one shape.
    let mut repeated = indices.layout().clone();
    repeated.shape.push(d);
    repeated.strides.push(0);
    let grain = (16 * 1024).max(d);
    try_for_each_part(out, threads, grain, &|part, out| {
        let first = part.start(last);
        let rows = part.of(&repeated).slice(last, 0, 1.min(d), 1);
        let to_rows = out.layout().slice(last, 0, 1.min(d), 1);
        let (width, to_step) = (out.shape()[last], out.layout().strides[last]);
        with_element!(indices.dtype(), I => {
            let (table_data, indices) = (table.data::<T>(), indices.data::<I>());
            let [row_step, column_step] = [table.layout().strides[0], table.layout().strides[1]];
            let to = out.data::<O>();
            let mut failed = None;
            for_each_run([&to_rows, &rows], |[p, q], [s, t], count| {
                for i in 0..count {
                    let index = indices[q + i * t].to_i64();
                    if index < 0 || index as usize >= n {
                        failed = Some(KernelError::IndexOutOfRange { index, len: n });
                        return;
                    }
                    let from = table.layout().offset + index as usize * row_step + first * column_step;
                    for j in 0..width {
                        to[p + i * s + j * to_step] = convert(table_data[from + j * column_step]);
                    }
                }
            });
            failed.map_or(Ok(()), Err)
        })
    })
}

/// The same for a quantized table: the rows that are taken are widened. `out` is contiguous.
///
/// # Errors
/// As [`embedding`].
///
/// # Panics
/// If `out` is not contiguous, or not as large as the selected rows.
pub fn quantized_embedding(
    out: &mut TensorMut<'_>,
    table: &QuantizedMatrix<'_>,
    indices: &TensorRef<'_>,
) -> Result<(), KernelError> {
    let (n, d) = (table.rows(), table.columns());
    let to = out.contiguous::<f32>();
    let mut to = to.into_iter().flat_map(|to| to.chunks_exact_mut(d.max(1)));
    with_element!(indices.dtype(), I => {
        let data = indices.data::<I>();
        for at in indices.layout().positions() {
            let index = data[at].to_i64();
            let row = usize::try_from(index).ok().filter(|row| *row < n);
            let row = row.ok_or(KernelError::IndexOutOfRange { index, len: n })?;
            match to.next() {
                Some(to) => dequantize_row(table, row, 0..d, to),
                None => assert_eq!(d, 0, "the result is not contiguous or too small"),
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::movement::quantize::{Unquantized, quantize};
    use crate::tensor::quantized::WeightFormat;
    use crate::{Layout, Storage};

    #[test]
    fn rows_of_a_table_in_16_bits_are_those_of_the_widened_one() {
        let values: Vec<f32> = (0..21).map(|i| i as f32 * 0.37 - 3.0).collect();
        let halves: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
        let bytes = bytemuck::cast_slice(&halves);
        let (shape, at) = (Layout::contiguous(&[7, 3]), Layout::contiguous(&[2]));
        let table = TensorRef::new(DType::F16, &shape, bytes).unwrap();
        let indices = [6i64, 1];
        let indices = TensorRef::new(DType::I64, &at, bytemuck::cast_slice(&indices)).unwrap();
        let mut out = Storage::zeroed(24);
        let shape = Layout::contiguous(&[2, 3]);
        let mut to = TensorMut::new(DType::F32, &shape, out.bytes_mut()).unwrap();
        embedding(&mut to, &table, &indices, &Threads::new(1)).unwrap();
        let widened = [18, 19, 20, 3, 4, 5].map(|i: usize| halves[i].to_f32());
        assert_eq!(to.as_ref().to_vec::<f32>(), widened);
    }

    #[test]
    fn rows_of_a_quantized_table_are_widened_and_bad_indices_refused() {
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let mut stored = Storage::zeroed(WeightFormat::Bf16.bytes(4, 3).unwrap());
        let threads = Threads::new(1);
        let (format, to) = (WeightFormat::Bf16, stored.bytes_mut());
        quantize(
            format,
            Unquantized::F32(&values),
            [4, 3],
            to,
            &threads,
            &|_| {},
        )
        .unwrap();
        let table = QuantizedMatrix::new(WeightFormat::Bf16, 4, 3, stored.bytes()).unwrap();
        let look_up = |indices: [i64; 2]| {
            let layout = Layout::contiguous(&[2]);
            let indices = TensorRef::new(DType::I64, &layout, bytemuck::cast_slice(&indices));
            let shape = Layout::contiguous(&[2, 3]);
            let mut out = Storage::zeroed(24);
            let mut to = TensorMut::new(DType::F32, &shape, out.bytes_mut()).unwrap();
            quantized_embedding(&mut to, &table, &indices.unwrap())?;
            Ok(to.as_ref().to_vec::<f32>())
        };
        assert_eq!(look_up([3, 0]).unwrap(), [9.0, 10.0, 11.0, 0.0, 1.0, 2.0]);
        for index in [-1, 4] {
            let error = KernelError::IndexOutOfRange { index, len: 4 };
            assert_eq!(look_up([0, index]), Err(error));
        }
    }
}
