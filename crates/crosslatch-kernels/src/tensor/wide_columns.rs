//! The columns of a matrix in integers that are stored in `f32` beside it.
//!
//! An integer is a share of the largest weight of its row. Where one input's weights are a thousand
//! times as large as the others, the others are all 0 or 1, and a product has lost whatever does not
//! come from that input. Such columns are few, so they are zeros among the integers and lie behind
//! them as they are: a line of 64 bytes that begins with their number and their indices, in ascending
//! order, as `u32`; then the columns themselves.

use crate::DType;
use crate::tensor::view::TensorError;

/// The most columns that a matrix may have apart.
pub const MOST_WIDE: usize = 15;

/// The bytes of the indices and the number of columns.
const LINE: usize = 64;

const _: () = assert!(4 * (MOST_WIDE + 1) == LINE);

/// The columns that are stored apart.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WideColumns<'a> {
    indices: &'a [u32],
    /// Column after column.
    values: &'a [f32],
    rows: usize,
}

/// Number of bytes of so many columns of `rows` elements; `None` if it overflows.
pub(crate) fn wide_bytes(columns: usize, rows: usize) -> Option<usize> {
    match columns {
        0 => Some(0),
        _ => rows.checked_mul(4 * columns)?.checked_add(LINE),
    }
}

impl<'a> WideColumns<'a> {
    /// Reads what lies behind the integers of a matrix of `rows` and `columns`.
    ///
    /// # Errors
    /// If it is not what is described above.
    pub fn new(
        [rows, columns]: [usize; 2],
        bytes: &'a [u8],
    ) -> Result<WideColumns<'a>, TensorError> {
        if bytes.is_empty() {
            return Ok(WideColumns::default());
        }
        let floats: &[u32] =
            bytemuck::try_cast_slice(bytes).map_err(|_| TensorError::Misaligned(DType::F32))?;
        let available = bytes.len();
        let (line, values) = floats
            .split_at_checked(LINE / 4)
            .ok_or(TensorError::TooShort {
                needed: LINE,
                available,
            })?;
        let count = (line[0] as usize).min(MOST_WIDE);
        let indices = &line[1..][..count];
        let needed = wide_bytes(count, rows).ok_or(TensorError::Overflow)?;
        let are_columns = indices.iter().all(|k| (*k as usize) < columns);
        if needed != available || !are_columns || !indices.is_sorted_by(|a, b| a < b) {
            return Err(TensorError::TooShort { needed, available });
        }
        Ok(WideColumns {
            indices,
            values: bytemuck::cast_slice(values),
            rows,
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Their indices, each with the elements of all rows.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &'a [f32])> {
        let columns = self.values.chunks_exact(self.rows.max(1));
        self.indices.iter().map(|k| *k as usize).zip(columns)
    }
}

/// The memory of columns that are being stored, by column and row.
pub(crate) fn wide_columns_mut<'a>(indices: &[u32], bytes: &'a mut [u8]) -> &'a mut [f32] {
    let (line, values) = bytes.split_at_mut(LINE);
    let line: &mut [u32] = bytemuck::cast_slice_mut(line);
    line[0] = indices.len() as u32;
    line[1..][..indices.len()].copy_from_slice(indices);
    bytemuck::cast_slice_mut(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    #[test]
    fn what_was_stored_is_read_and_nonsense_is_refused() {
        let mut storage = Storage::zeroed(wide_bytes(2, 3).unwrap());
        let values = wide_columns_mut(&[1, 4], storage.bytes_mut());
        values.copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let columns = WideColumns::new([3, 5], storage.bytes()).unwrap();
        let read: Vec<_> = columns.iter().collect();
        assert_eq!(read, [(1, &[1.0, 2.0, 3.0][..]), (4, &[4.0, 5.0, 6.0])]);
        assert!(WideColumns::new([3, 4], storage.bytes()).is_err());
        assert!(WideColumns::new([2, 5], storage.bytes()).is_err());
        assert!(WideColumns::new([3, 5], &storage.bytes()[..60]).is_err());
        for indices in [[4, 4], [u32::MAX, 4]] {
            wide_columns_mut(&indices, storage.bytes_mut());
            assert!(WideColumns::new([3, 5], storage.bytes()).is_err());
        }
        storage.bytes_mut()[..4].fill(255);
        assert!(WideColumns::new([3, 5], storage.bytes()).is_err());
    }
}
