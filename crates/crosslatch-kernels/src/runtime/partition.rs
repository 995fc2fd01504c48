//! Partition of a result among threads.
//!
//! Threads may write one tensor together if no element belongs to two of them. A tensor is cut
//! along the dimension with the longest stride, and only where that stride is longer than the reach
//! of all other dimensions together: then each part lies in a range of memory of its own, and a
//! task can be given that range as an ordinary exclusive slice. Contiguous tensors, slices of
//! caches and transposed tensors can be cut this way. A tensor that cannot (because its dimensions
//! are interleaved), or that is too small for another thread to be worth waking, is left to the
//! caller alone.

use std::sync::Mutex;

use crate::runtime::threads::Threads;
use crate::tensor::view::TensorError;
use crate::{Layout, TensorMut};

/// Which part of a tensor a task writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// `len` entries of dimension `dim`, from `start`.
    Along {
        /// The dimension that was cut.
        dim: usize,
        /// First entry.
        start: usize,
        /// Number of entries.
        len: usize,
    },
}

impl Part {
    /// The same part of another tensor whose shape is that of the one that was cut.
    pub fn of(&self, layout: &Layout) -> Layout {
        match *self {
            Part::Whole => layout.clone(),
            Part::Along { dim, start, len } => layout.slice(dim, start, len, 1),
        }
    }

    /// First entry of dimension `d`.
    pub fn start(&self, d: usize) -> usize {
        match *self {
            Part::Along { dim, start, .. } if dim == d => start,
            _ => 0,
        }
    }
}

/// The memory that parts are cut from.
struct PartMemory(*mut u8);

// SAFETY: the pointer is only used to make slices that do not overlap, one for each task.
unsafe impl Sync for PartMemory {}

impl PartMemory {
    fn at(&self, bytes: usize) -> *mut u8 {
        self.0.wrapping_add(bytes)
    }
}

/// Runs `work` on parts of `to` that together are all of it, on several threads if it has more than
/// `grain` elements for each.
pub fn for_each_part(
    to: &mut TensorMut<'_>,
    threads: &Threads,
    grain: usize,
    work: &(dyn Fn(Part, &mut TensorMut<'_>) + Sync),
) {
    let result = try_for_each_part::<TensorError>(to, threads, grain, &|part, to| {
        work(part, to);
        Ok(())
    });
    debug_assert!(result.is_ok(), "a part of a tensor is a tensor");
}

/// As [`for_each_part`], for work that may fail. Returns the error of a part that failed, if one
/// did.
pub fn try_for_each_part<E: From<TensorError> + Send>(
    to: &mut TensorMut<'_>,
    threads: &Threads,
    grain: usize,
    work: &(dyn Fn(Part, &mut TensorMut<'_>) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let layout = to.layout().clone();
    let tasks = threads.count().min(layout.numel() / grain.max(1));
    let cut = if tasks > 1 {
        cut_dimension(&layout)
    } else {
        None
    };
    let Some((dim, reach)) = cut else {
        return work(Part::Whole, to);
    };
    let size = layout.shape[dim];
    let stride = layout.strides[dim];
    let tasks = tasks.min(size);
    let dtype = to.dtype();
    let memory = PartMemory(to.bytes_mut().as_mut_ptr());
    let failed: Mutex<Option<E>> = Mutex::new(None);
    threads.run(tasks, &|task| {
        let start = size * task / tasks;
        let len = size * (task + 1) / tasks - start;
        if len == 0 {
            return;
        }
        let mut part = layout.slice(dim, start, len, 1);
        let first = part.offset;
        part.offset = 0;
        let elements = (len - 1) * stride + reach + 1;
        // SAFETY: `first .. first + elements` lies inside the tensor's memory, which `to` borrows
        // exclusively until all tasks are done; and because `reach < stride`, the next part, which
        // begins at `first + len * stride`, begins after this one's last element.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(memory.at(first * dtype.size()), elements * dtype.size())
        };
        let result = match TensorMut::new(dtype, &part, bytes) {
            Ok(mut piece) => work(Part::Along { dim, start, len }, &mut piece),
            Err(e) => Err(E::from(e)),
        };
        if let Err(e) = result {
            *failed.lock().unwrap_or_else(|p| p.into_inner()) = Some(e);
        }
    });
    match failed.into_inner().unwrap_or_else(|p| p.into_inner()) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The dimension with the longest stride and the reach of the others, if that is shorter.
fn cut_dimension(layout: &Layout) -> Option<(usize, usize)> {
    let dim = (0..layout.rank())
        .filter(|&d| layout.shape[d] > 1)
        .max_by_key(|&d| layout.strides[d])?;
    let reach: usize = (0..layout.rank())
        .filter(|&d| d != dim)
        .map(|d| (layout.shape[d] - 1) * layout.strides[d])
        .sum();
    (reach < layout.strides[dim]).then_some((dim, reach))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Storage};

    fn written_by(layout: &Layout, threads: usize, grain: usize) -> Vec<i32> {
        let mut memory = Storage::zeroed(4 * layout.end().unwrap());
        let mut to = TensorMut::new(DType::I32, layout, memory.bytes_mut()).unwrap();
        for_each_part(&mut to, &Threads::new(threads), grain, &|part, piece| {
            let label = match part {
                Part::Whole => 100,
                Part::Along { start, .. } => 1 + start as i32,
            };
            let layout = piece.layout().clone();
            let data = piece.data::<i32>();
            layout.positions().for_each(|p| data[p] += label);
        });
        to.as_ref().to_vec()
    }

    #[test]
    fn parts_cover_every_element_once() {
        assert_eq!(written_by(&Layout::contiguous(&[4, 1]), 2, 1), [1, 1, 3, 3]);
        let transposed = Layout::contiguous(&[3, 2]).transpose(0, 1);
        assert_eq!(written_by(&transposed, 3, 1), [1, 2, 3, 1, 2, 3]);
        let slice = Layout::contiguous(&[3, 8]).slice(1, 3, 2, 1);
        assert_eq!(written_by(&slice, 2, 1), [1, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn what_is_small_is_done_whole() {
        assert_eq!(written_by(&Layout::contiguous(&[2]), 2, 8), [100, 100]);
    }

    #[test]
    fn an_error_of_one_part_is_returned() {
        let layout = Layout::contiguous(&[4]);
        let mut memory = Storage::zeroed(16);
        let mut to = TensorMut::new(DType::I32, &layout, memory.bytes_mut()).unwrap();
        let result = try_for_each_part(
            &mut to,
            &Threads::new(2),
            1,
            &|part, _| match part.start(0) {
                0 => Ok(()),
                _ => Err(TensorError::Overflow),
            },
        );
        assert_eq!(result, Err(TensorError::Overflow));
    }
}
