//! Advanced indexing: reading and writing a tensor at positions that other tensors give.
//!
//! `x[i, :, j]` names, for each element of the broadcast index tensors, one block of `x`: the
//! dimensions that have no index. The result (or the values to be written) has the dimensions of
//! the indices where the first indexed dimension was if the indexed dimensions are neighbours, in
//! front otherwise; the caller says where. Both directions walk the indices and move one block for
//! each. The caller says whether negative indices count from the end; an index outside of its
//! dimension is an error, found before anything is read or written there.

use smallvec::SmallVec;

use crate::runtime::partition::{Part, try_for_each_part};
use crate::tensor::arithmetic::Accumulate;
use crate::tensor::layout::for_each_run;
use crate::tensor::untyped::{untyped_data, untyped_data_mut};
use crate::{
    Dims, Element, KernelError, Layout, TensorMut, TensorRef, Threads, with_element, with_untyped,
};

/// Elements below which the work is not worth another thread.
const GRAIN: usize = 16 * 1024;

/// What a negative index means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negative {
    /// It counts from the end.
    FromEnd,
    /// It is outside of every dimension.
    Outside,
}

/// An index as a position in a dimension of length `len`.
#[inline(always)]
pub fn position(index: i64, len: usize, negative: Negative) -> Result<usize, KernelError> {
    let wrapped = if index < 0 && negative == Negative::FromEnd {
        index.wrapping_add(len as i64)
    } else {
        index
    };
    if wrapped < 0 || wrapped as u64 >= len as u64 {
        return Err(KernelError::IndexOutOfRange { index, len });
    }
    Ok(wrapped as usize)
}

/// Integers of any type, read as 64 bits.
#[derive(Clone, Copy)]
pub enum Integers<'a> {
    /// 64-bit integers.
    I64(&'a [i64]),
    /// 32-bit integers.
    I32(&'a [i32]),
    /// Any other type.
    Other(TensorRef<'a>),
}

impl<'a> Integers<'a> {
    /// The elements of `tensor`, at the positions of its layout.
    pub fn of(tensor: &TensorRef<'a>) -> Integers<'a> {
        match tensor.dtype() {
            crate::DType::I64 => Integers::I64(tensor.data()),
            crate::DType::I32 => Integers::I32(tensor.data()),
            _ => Integers::Other(*tensor),
        }
    }

    /// The integer at a position of the memory.
    #[inline(always)]
    pub fn at(&self, position: usize) -> i64 {
        match self {
            Integers::I64(data) => data[position],
            Integers::I32(data) => data[position] as i64,
            Integers::Other(tensor) => {
                with_element!(tensor.dtype(), T => tensor.data::<T>()[position].to_i64())
            }
        }
    }
}

/// The index of one dimension.
#[derive(Clone, Copy)]
pub struct Index<'a> {
    /// The dimension that is indexed.
    pub dim: usize,
    /// The index; broadcast to the shape of all indices together.
    pub tensor: TensorRef<'a>,
}

/// The indices of one call.
pub struct Indexing<'c, 'a> {
    /// The indices, one for each indexed dimension, in order of the dimensions.
    pub indices: &'c [Index<'a>],
    /// The shape that the indices broadcast to.
    pub shape: &'c [usize],
    /// First dimension of the result that is one of the indices' dimensions.
    pub at: usize,
    /// What negative indices mean.
    pub negative: Negative,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Write {
    /// It replaces the element. Where indices repeat, the last one wins.
    Replace,
    /// It is multiplied with the number and added to the element; repeated indices add up.
    Add(f64),
}

/// `to = from[indices]`. The shape of `to` is that of `from` without the indexed dimensions, with
/// those of the indices put in at [`Indexing::at`].
pub fn index(
    to: &mut TensorMut<'_>,
    from: &TensorRef<'_>,
    indexing: &Indexing<'_, '_>,
    threads: &Threads,
) -> Result<(), KernelError> {
    try_for_each_part(to, threads, GRAIN, &|part, to| {
        let layout = to.layout().clone();
        let blocks = IndexedBlocks::new(from.layout(), &layout, indexing, part);
        with_untyped!(from.dtype(), B => {
            let (target, source) = (untyped_data_mut::<B>(to), untyped_data::<B>(from));
            blocks.for_each(|in_from, in_to| {
                blocks.for_each_run(|[i, j], strides, len| {
                    let (b, a) = (in_from + i, in_to + j);
                    match strides {
                        [1, 1] => target[a..a + len].copy_from_slice(&source[b..b + len]),
                        [q, p] => {
                            for k in 0..len {
                                target[a + k * p] = source[b + k * q];
                            }
                        }
                    }
                });
            })
        })
    })
}

/// `to[indices] = values`, or `+=`. `values` has been expanded to the shape that `to[indices]` has,
/// and has the element type of `to`.
pub fn index_put(
    to: &mut TensorMut<'_>,
    values: &TensorRef<'_>,
    indexing: &Indexing<'_, '_>,
    write: Write,
) -> Result<(), KernelError> {
    let layout = to.layout().clone();
    let blocks = IndexedBlocks::new(&layout, values.layout(), indexing, Part::Whole);
    match write {
        Write::Replace => with_untyped!(to.dtype(), B => {
            let (target, source) = (untyped_data_mut::<B>(to), untyped_data::<B>(values));
            blocks.for_each(|in_to, in_values| {
                blocks.for_each_run(|[i, j], strides, len| {
                    let (a, b) = (in_to + i, in_values + j);
                    match strides {
                        [1, 1] => target[a..a + len].copy_from_slice(&source[b..b + len]),
                        [p, q] => {
                            for k in 0..len {
                                target[a + k * p] = source[b + k * q];
                            }
                        }
                    }
                });
            })
        }),
        Write::Add(alpha) => with_element!(to.dtype(), T => {
            let (target, source) = (to.data::<T>(), values.data::<T>());
            blocks.for_each(|in_to, in_values| {
                blocks.for_each_run(|[i, j], [p, q], len| {
                    for k in 0..len {
                        let place = &mut target[in_to + i + k * p];
                        *place = add_scaled(*place, source[in_values + j + k * q], alpha);
                    }
                });
            })
        }),
    }
}

/// `a + alpha * b`, computed in the accumulator type.
#[inline(always)]
pub fn add_scaled<T: Element<Accumulator: Accumulate>>(a: T, b: T, alpha: f64) -> T {
    let scale = <T::Accumulator as Accumulate>::from_f64(alpha);
    T::from_accumulator(a.widen().add(b.widen().mul(scale)))
}

/// The blocks of `whole` (the indexed tensor) beside those of `block` (result or values).
struct IndexedBlocks<'c, 'a> {
    whole: &'c Layout,
    /// Position of `block`'s first element.
    offset: usize,
    indices: &'c [Index<'a>],
    negative: Negative,
    /// Layout of each index, of this part, in the shape of all.
    index_layouts: SmallVec<[Layout; 3]>,
    /// Shape of the indices and the strides that `block` has along them.
    shape: Dims,
    strides: Dims,
    /// What one index names, in both tensors.
    rest_of_whole: Layout,
    rest_of_block: Layout,
}

impl<'c, 'a> IndexedBlocks<'c, 'a> {
    /// `block` is the given part of a tensor.
    fn new(
        whole: &'c Layout,
        block: &Layout,
        indexing: &Indexing<'c, 'a>,
        part: Part,
    ) -> IndexedBlocks<'c, 'a> {
        let (at, rank) = (indexing.at, indexing.shape.len());
        let is_index = |d: usize| (at..at + rank).contains(&d);
        let index_layouts = indexing
            .indices
            .iter()
            .map(|index| {
                let expanded = index.tensor.layout().expand(indexing.shape);
                let mut layout = expanded.unwrap_or_else(|| {
                    panic!(
                        "an index of shape {:?} among {:?}",
                        index.tensor.shape(),
                        indexing.shape
                    )
                });
                if let Part::Along { dim, start, len } = part
                    && is_index(dim)
                {
                    layout = layout.slice(dim - at, start, len, 1);
                }
                layout
            })
            .collect();
        let mut rest_of_whole = Layout::default();
        let mut rest_of_block = Layout::default();
        let not_indexed =
            (0..whole.rank()).filter(|d| indexing.indices.iter().all(|i| i.dim != *d));
        let blocks = (0..block.rank()).filter(|d| !is_index(*d));
        for (w, b) in not_indexed.zip(blocks) {
            rest_of_whole.shape.push(block.shape[b]);
            rest_of_whole.strides.push(whole.strides[w]);
            rest_of_whole.offset += part.start(b) * whole.strides[w];
            rest_of_block.shape.push(block.shape[b]);
            rest_of_block.strides.push(block.strides[b]);
        }
        IndexedBlocks {
            whole,
            offset: block.offset,
            indices: indexing.indices,
            negative: indexing.negative,
            index_layouts,
            shape: block.shape[at..at + rank].into(),
            strides: block.strides[at..at + rank].into(),
            rest_of_whole,
            rest_of_block,
        }
    }

    /// Calls `visit` with the offsets in both tensors for each element of the indices.
    fn for_each(&self, mut visit: impl FnMut(usize, usize)) -> Result<(), KernelError> {
        let rank = self.shape.len();
        let integers: SmallVec<[Integers<'a>; 3]> = self
            .indices
            .iter()
            .map(|i| Integers::of(&i.tensor))
            .collect();
        let mut index: Dims = SmallVec::from_elem(0, rank);
        if self.shape.contains(&0) {
            return Ok(());
        }
        loop {
            let mut in_whole = self.whole.offset;
            for ((i, layout), data) in self.indices.iter().zip(&self.index_layouts).zip(&integers) {
                let place = offset_of(layout.offset, &layout.strides, &index);
                let entry = position(data.at(place), self.whole.shape[i.dim], self.negative)?;
                in_whole += entry * self.whole.strides[i.dim];
            }
            visit(in_whole, offset_of(self.offset, &self.strides, &index));
            let mut d = rank;
            loop {
                if d == 0 {
                    return Ok(());
                }
                d -= 1;
                index[d] += 1;
                if index[d] < self.shape[d] {
                    break;
                }
                index[d] = 0;
            }
        }
    }

    fn for_each_run(&self, mut visit: impl FnMut([usize; 2], [usize; 2], usize)) {
        if self.rest_of_whole.rank() == 0 {
            visit([self.rest_of_whole.offset, 0], [1, 1], 1);
        } else {
            for_each_run([&self.rest_of_whole, &self.rest_of_block], visit);
        }
    }
}

fn offset_of(offset: usize, strides: &[usize], index: &[usize]) -> usize {
    offset + strides.iter().zip(index).map(|(s, i)| s * i).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Storage};

    const TWO: &[usize] = &[2];

    fn tensor<'a, T: Element>(layout: &'a Layout, data: &'a [T]) -> TensorRef<'a> {
        TensorRef::new(T::DTYPE, layout, bytemuck::cast_slice(data)).unwrap()
    }

    #[test]
    fn a_negative_index_counts_from_the_end_and_one_outside_is_an_error() {
        use Negative::{FromEnd, Outside};
        assert_eq!(position(-1, 3, FromEnd), Ok(2));
        assert!(position(-1, 3, Outside).is_err());
        assert_eq!(
            position(i64::MIN, 3, FromEnd).unwrap_err(),
            KernelError::IndexOutOfRange {
                index: i64::MIN,
                len: 3
            }
        );
        assert!(position(3, 3, Outside).is_err() && position(0, 0, FromEnd).is_err());
    }

    #[test]
    fn indices_apart_put_their_dimensions_in_front() {
        // x[i, :, j] with x of shape [2, 3, 4]: result [2, 3].
        let x: Vec<i32> = (0..24).collect();
        let x_layout = Layout::contiguous(&[2, 3, 4]);
        let two = Layout::contiguous(TWO);
        let (i, j) = ([1i64, 0], [-1i32, 2]);
        let indices = [
            Index {
                dim: 0,
                tensor: tensor(&two, &i),
            },
            Index {
                dim: 2,
                tensor: tensor(&two, &j),
            },
        ];
        let indexing = Indexing {
            indices: &indices,
            shape: TWO,
            at: 0,
            negative: Negative::FromEnd,
        };
        let to_layout = Layout::contiguous(&[2, 3]);
        let mut memory = Storage::zeroed(24);
        let mut to = TensorMut::new(DType::I32, &to_layout, memory.bytes_mut()).unwrap();
        index(&mut to, &tensor(&x_layout, &x), &indexing, &Threads::new(1)).unwrap();
        assert_eq!(to.as_ref().to_vec::<i32>(), [15, 19, 23, 2, 6, 10]);
    }

    #[test]
    fn threads_take_parts_of_the_indices_or_of_the_blocks() {
        let x: Vec<f32> = (0..200 * 300).map(|x| x as f32).collect();
        let x_layout = Layout::contiguous(&[200, 300]);
        let rows: Vec<i64> = (0..400).map(|i| (i * 7) % 200 - 200).collect();
        let rows_layout = Layout::contiguous(&[400]);
        for (dim, at) in [(0, 0), (1, 1)] {
            let indices = [Index {
                dim,
                tensor: tensor(&rows_layout, &rows),
            }];
            let indexing = Indexing {
                indices: &indices,
                shape: &[400],
                at,
                negative: Negative::FromEnd,
            };
            let shape = if dim == 0 { [400, 300] } else { [200, 400] };
            let run = |threads| {
                let layout = Layout::contiguous(&shape);
                let mut memory = Storage::zeroed(4 * layout.numel());
                let mut to = TensorMut::new(DType::F32, &layout, memory.bytes_mut()).unwrap();
                index(
                    &mut to,
                    &tensor(&x_layout, &x),
                    &indexing,
                    &Threads::new(threads),
                )
                .unwrap();
                to.as_ref().to_vec::<f32>()
            };
            let result = run(1);
            assert_eq!(result, run(2));
            assert_eq!(
                result[401],
                if dim == 0 {
                    x[7 * 300 + 101]
                } else {
                    x[300 + 107]
                }
            );
        }
    }

    #[test]
    fn added_values_accumulate_and_replaced_ones_do_not() {
        let i = [1i64, 1];
        let v = [2.0f32, 3.0];
        let two = Layout::contiguous(TWO);
        let indices = [Index {
            dim: 0,
            tensor: tensor(&two, &i),
        }];
        let indexing = Indexing {
            indices: &indices,
            shape: TWO,
            at: 0,
            negative: Negative::FromEnd,
        };
        for (write, expected) in [(Write::Replace, 3.0), (Write::Add(2.0), 10.0)] {
            let mut memory = Storage::zeroed(8);
            let mut to = TensorMut::new(DType::F32, &two, memory.bytes_mut()).unwrap();
            index_put(&mut to, &tensor(&two, &v), &indexing, write).unwrap();
            assert_eq!(to.as_ref().to_vec::<f32>(), [0.0, expected]);
        }
    }
}
