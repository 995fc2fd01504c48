//! Shapes and strides: how a tensor's elements lie in memory, and the views of it.
//!
//! A view operator (`transpose`, `slice`, `expand`, …) moves no data: it makes another [`Layout`]
//! of the same memory. All of them are here, as methods that return the new layout, so that
//! aliasing analysis, the planner and kernels agree on what a view is. Strides count elements and
//! are never negative, as in PyTorch.

use smallvec::SmallVec;

/// A list with one entry per dimension; on the heap only above six dimensions.
pub type Dims = SmallVec<[usize; 6]>;

/// Shape, strides and offset of a tensor, in elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Layout {
    /// Length of each dimension, outermost first.
    pub shape: Dims,
    /// Distance between neighbours along each dimension.
    pub strides: Dims,
    /// Position of the first element.
    pub offset: usize,
}

/// The most dimensions of a tensor. PyTorch's own kernels take as many.
pub const MAX_RANK: usize = 64;

/// More elements than this cannot be addressed, in the widest element type.
const MOST_ELEMENTS: usize = isize::MAX as usize / 16;

/// Whether a tensor of this shape can exist: everything that is computed from such a shape (numbers
/// of elements and of bytes, strides, products of some of its sizes) is a number that does not
/// overflow. Sizes beside a zero count as well, because strides are made of them.
pub fn is_addressable(shape: &[usize]) -> bool {
    let elements = shape
        .iter()
        .try_fold(1usize, |n, &size| n.checked_mul(size.max(1)));
    shape.len() <= MAX_RANK && elements.is_some_and(|n| n <= MOST_ELEMENTS)
}

/// Number of elements of a shape; `None` where it overflows.
pub fn checked_numel(shape: &[usize]) -> Option<usize> {
    // A zero anywhere makes the tensor empty, however large the other sizes are.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

impl Layout {
    /// A row-major layout that starts at offset 0.
    pub fn contiguous(shape: &[usize]) -> Layout {
        let mut strides: Dims = SmallVec::from_elem(1, shape.len());
        for d in (1..shape.len()).rev() {
            strides[d - 1] = strides[d].saturating_mul(shape[d].max(1));
        }
        Layout {
            shape: shape.into(),
            strides,
            offset: 0,
        }
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements if none of the sizes were 0: a bound for loops over some of the
    /// dimensions.
    pub fn extent(&self) -> usize {
        self.shape.iter().map(|&size| size.max(1)).product()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether elements lie in row-major order without gaps. Dimensions of length 1 do not count.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size == 0 {
                return true;
            }
            if size != 1 {
                if stride != expected {
                    return false;
                }
                expected *= size;
            }
        }
        true
    }

    /// One past the last element's position; `offset` for an empty tensor. `None` on overflow.
    pub fn end(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(self.offset);
        }
        let mut last = self.offset;
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add((size - 1).checked_mul(stride)?)?;
        }
        last.checked_add(1)
    }

    /// Whether two different indices may be the same element (a broadcast dimension, say).
    /// Conservative: a layout whose dimensions are interleaved (strides 2 and 3, say) counts as
    /// overlapping; views other than `as_strided` never make one.
    pub fn overlaps_itself(&self) -> bool {
        if self.is_contiguous() {
            return false;
        }
        let mut dims: SmallVec<[(usize, usize); 6]> = self
            .shape
            .iter()
            .zip(&self.strides)
            .filter(|(size, _)| **size > 1)
            .map(|(&size, &stride)| (stride, size))
            .collect();
        if self.shape.contains(&0) {
            return false;
        }
        dims.sort_unstable();
        let mut reach = 0usize;
        for (stride, size) in dims {
            if stride <= reach {
                return true;
            }
            reach = reach.saturating_add(stride.saturating_mul(size - 1));
        }
        false
    }

    /// Each element once, where a dimension of stride 0 repeats it.
    pub fn without_repeats(&self) -> Layout {
        let mut result = self.clone();
        for (size, stride) in result.shape.iter_mut().zip(&self.strides) {
            if *stride == 0 && *size > 1 {
                *size = 1;
            }
        }
        result
    }

    /// The dimensions in another order: dimension `d` of the result is `order[d]` of this.
    pub fn permute(&self, order: &[usize]) -> Layout {
        Layout {
            shape: order.iter().map(|&d| self.shape[d]).collect(),
            strides: order.iter().map(|&d| self.strides[d]).collect(),
            offset: self.offset,
        }
    }

    /// Two dimensions exchanged.
    pub fn transpose(&self, a: usize, b: usize) -> Layout {
        let mut result = self.clone();
        result.shape.swap(a, b);
        result.strides.swap(a, b);
        result
    }

    /// `len` entries of dimension `dim`, from `start`, every `step`-th.
    pub fn slice(&self, dim: usize, start: usize, len: usize, step: usize) -> Layout {
        let mut result = self.clone();
        if len > 0 {
            result.offset += start * self.strides[dim];
        }
        result.shape[dim] = len;
        result.strides[dim] = self.strides[dim].saturating_mul(step);
        result
    }

    /// Entry `index` of dimension `dim`; the dimension goes away.
    pub fn select(&self, dim: usize, index: usize) -> Layout {
        let mut result = self.clone();
        result.offset += index * self.strides[dim];
        result.shape.remove(dim);
        result.strides.remove(dim);
        result
    }

    /// A dimension of length 1 put in front of dimension `dim` (or last, for `dim == rank`).
    pub fn unsqueeze(&self, dim: usize) -> Layout {
        let mut result = self.clone();
        let stride = match self.shape.get(dim) {
            Some(size) => size.saturating_mul(self.strides[dim]),
            None => 1,
        };
        result.shape.insert(dim, 1);
        result.strides.insert(dim, stride);
        result
    }

    /// Dimension `dim`, whose length must be 1, taken away.
    pub fn squeeze(&self, dim: usize) -> Layout {
        self.select(dim, 0)
    }

    /// The tensor broadcast to `shape` by NumPy's rules; `None` where it does not fit.
    pub fn expand(&self, shape: &[usize]) -> Option<Layout> {
        let lead = shape.len().checked_sub(self.rank())?;
        let mut strides: Dims = SmallVec::from_elem(0, shape.len());
        for d in 0..self.rank() {
            if self.shape[d] == shape[lead + d] {
                strides[lead + d] = self.strides[d];
            } else if self.shape[d] != 1 {
                return None;
            }
        }
        Some(Layout {
            shape: shape.into(),
            strides,
            offset: self.offset,
        })
    }

    /// The same elements, in the same order, under another shape, without moving any; `None` where
    /// the strides do not allow it. `shape` must have as many elements as this.
    pub fn reshape(&self, shape: &[usize]) -> Option<Layout> {
        if self.numel() == 0 {
            return (checked_numel(shape) == Some(0)).then(|| Layout {
                offset: self.offset,
                ..Layout::contiguous(shape)
            });
        }
        let mut strides: Dims = SmallVec::from_elem(1, shape.len());
        // Dimensions of length 1 carry no order; what is left is cut into runs that lie without
        // gaps, and each run is divided into dimensions of the new shape.
        let old: SmallVec<[(usize, usize); 6]> = self
            .shape
            .iter()
            .zip(&self.strides)
            .filter(|(size, _)| **size != 1)
            .map(|(&size, &stride)| (size, stride))
            .collect();
        let mut new = shape.len();
        let mut end = old.len();
        while end > 0 {
            let mut start = end - 1;
            let mut run = old[start].0;
            while start > 0 && old[start - 1].1 == old[start].0 * old[start].1 {
                start -= 1;
                run *= old[start].0;
            }
            let mut stride = old[end - 1].1;
            let mut left = run;
            while left > 1 {
                new = new.checked_sub(1)?;
                let size = shape[new];
                if size == 0 || !left.is_multiple_of(size) {
                    return None;
                }
                strides[new] = stride;
                stride *= size;
                left /= size;
            }
            end = start;
        }
        shape[..new].iter().all(|&d| d == 1).then(|| Layout {
            shape: shape.into(),
            strides,
            offset: self.offset,
        })
    }

    /// Position of the `n`-th element in row-major order.
    pub fn position(&self, mut n: usize) -> usize {
        let mut position = self.offset;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            position += n % size * stride;
            n /= size;
        }
        position
    }

    /// Positions of all elements in row-major order of the indices.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        let mut index: Dims = SmallVec::from_elem(0, self.rank());
        let mut position = self.offset;
        let mut left = self.numel();
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            left -= 1;
            let current = position;
            for d in (0..index.len()).rev() {
                index[d] += 1;
                position += self.strides[d];
                if index[d] < self.shape[d] {
                    break;
                }
                position -= self.strides[d] * self.shape[d];
                index[d] = 0;
            }
            Some(current)
        })
    }
}

/// The shape that tensors of these shapes broadcast to; `None` where they do not fit.
pub fn broadcast_shapes(shapes: &[&[usize]]) -> Option<Dims> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut result: Dims = SmallVec::from_elem(1, rank);
    for shape in shapes {
        let lead = rank - shape.len();
        for (d, &size) in shape.iter().enumerate() {
            let current = &mut result[lead + d];
            if *current == 1 {
                *current = size;
            } else if size != 1 && size != *current {
                return None;
            }
        }
    }
    Some(result)
}

/// Walks `N` tensors of one shape together, a run at a time: `visit(offsets, strides, len)` is
/// called for runs of `len` elements, where tensor `i`'s elements lie at `offsets[i] + j *
/// strides[i]`. Neighbouring dimensions that can be walked as one are merged first, so that
/// contiguous tensors are one run. Order is row-major.
pub fn for_each_run<const N: usize>(
    layouts: [&Layout; N],
    mut visit: impl FnMut([usize; N], [usize; N], usize),
) {
    walk(layouts, &mut visit);
}

/// The walk, compiled once for all that is done on the way.
fn walk<const N: usize>(
    layouts: [&Layout; N],
    visit: &mut dyn FnMut([usize; N], [usize; N], usize),
) {
    let shape = &layouts[0].shape;
    debug_assert!(layouts.iter().all(|l| l.shape == *shape));
    if shape.contains(&0) {
        return;
    }
    // Merged dimensions, outermost first.
    let mut dims: SmallVec<[(usize, [usize; N]); 6]> = SmallVec::new();
    for d in 0..shape.len() {
        if shape[d] == 1 {
            continue;
        }
        let strides: [usize; N] = std::array::from_fn(|i| layouts[i].strides[d]);
        match dims.last_mut() {
            Some((size, outer)) if (0..N).all(|i| outer[i] == strides[i] * shape[d]) => {
                *size *= shape[d];
                *outer = strides;
            }
            _ => dims.push((shape[d], strides)),
        }
    }
    let mut offsets: [usize; N] = std::array::from_fn(|i| layouts[i].offset);
    let Some((len, strides)) = dims.pop() else {
        visit(offsets, [0; N], 1);
        return;
    };
    let mut index: Dims = SmallVec::from_elem(0, dims.len());
    loop {
        visit(offsets, strides, len);
        let mut d = dims.len();
        loop {
            if d == 0 {
                return;
            }
            d -= 1;
            let (size, outer) = &dims[d];
            index[d] += 1;
            for i in 0..N {
                offsets[i] += outer[i];
            }
            if index[d] < *size {
                break;
            }
            for i in 0..N {
                offsets[i] -= outer[i] * size;
            }
            index[d] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strided(shape: &[usize], strides: &[usize]) -> Layout {
        Layout {
            shape: shape.into(),
            strides: strides.into(),
            offset: 0,
        }
    }

    #[test]
    fn contiguity_ignores_dimensions_of_length_one() {
        assert!(Layout::contiguous(&[2, 3, 4]).is_contiguous());
        assert!(strided(&[2, 1, 4], &[4, 99, 1]).is_contiguous());
        assert!(!Layout::contiguous(&[2, 3]).transpose(0, 1).is_contiguous());
    }

    #[test]
    fn a_view_reshape_exists_exactly_where_positions_allow_it() {
        let l = Layout::contiguous(&[2, 3, 4]);
        assert_eq!(
            l.reshape(&[6, 2, 2])
                .unwrap()
                .positions()
                .collect::<Vec<_>>(),
            (0..24).collect::<Vec<_>>()
        );
        let t = l.transpose(0, 1);
        assert!(t.reshape(&[6, 4]).is_none());
        let v = t.reshape(&[3, 2, 2, 2]).unwrap();
        assert_eq!(
            v.positions().collect::<Vec<_>>(),
            t.positions().collect::<Vec<_>>()
        );
        assert!(strided(&[2, 1, 3], &[3, 7, 1]).reshape(&[6]).is_some());
    }

    #[test]
    fn expanding_repeats_without_moving() {
        let l = Layout::contiguous(&[3, 1]).expand(&[2, 3, 2]).unwrap();
        assert_eq!(
            l.positions().collect::<Vec<_>>(),
            [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]
        );
        assert!(l.overlaps_itself());
        assert!(Layout::contiguous(&[3]).expand(&[4]).is_none());
    }

    #[test]
    fn runs_cover_all_elements_in_order() {
        let a = Layout::contiguous(&[2, 3, 4]);
        let b = Layout::contiguous(&[4, 3, 2]).permute(&[2, 1, 0]);
        let mut seen = Vec::new();
        for_each_run([&a, &b], |o, s, n| {
            for j in 0..n {
                seen.push((o[0] + j * s[0], o[1] + j * s[1]));
            }
        });
        let expected: Vec<_> = a.positions().zip(b.positions()).collect();
        assert_eq!(seen, expected);
        let mut runs = 0;
        for_each_run([&a, &a], |_, _, n| {
            assert_eq!(n, 24);
            runs += 1;
        });
        assert_eq!(runs, 1);
    }

    #[test]
    fn the_end_of_a_hostile_layout_is_no_number() {
        assert_eq!(strided(&[usize::MAX, 3], &[2, 1]).end(), None);
        assert_eq!(strided(&[0, usize::MAX], &[1, 1]).end(), Some(0));
    }
}
