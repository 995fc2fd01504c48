//! Copies strided bytes, each of them once.
//!
//! The values of a cache usually come from a projection `[B, S, H, D]` seen as `[B, H, S, D]`: rows
//! of `D` elements lie in one piece, the rows do not. Axes are brought into the order of the
//! destination's memory and merged where both sides allow it. What is left is one of two things:
//! rows that are contiguous on both sides, which are moved as bytes, or a destination whose
//! neighbours are not neighbours in the source, which is a transposition and goes tile by tile, so
//! that each cache line is fetched once.
//!
//! A [`Plan`] numbers its pieces; any thread can do any range of them.

use crate::tensor::MAX_RANK;

/// A contiguous row is cut into pieces of this many bytes, so that one long row has pieces enough
/// for all threads.
const PIECE: usize = 1 << 15;

/// Side of a tile of a transposition, in elements: a tile of 8-byte elements is half of a
/// first-level cache.
const TILE: usize = 32;

/// One axis, with strides in bytes.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
struct Axis {
    size: usize,
    from: usize,
    to: usize,
}

/// How to copy one shape from some strides to others.
#[derive(Debug)]
pub struct Plan {
    /// The axes over which pieces are numbered, the slowest first.
    outer: [Axis; MAX_RANK],
    rank: usize,
    inner: Inner,
    pieces: usize,
}

/// What one piece does.
#[derive(Debug, PartialEq)]
enum Inner {
    /// Moves bytes; `per_row` pieces make up a row.
    Row { bytes: usize, per_row: usize },
    /// Moves a plane of elements: `across` is contiguous in the source, `along` in the destination.
    Plane {
        across: Axis,
        along: Axis,
        element: usize,
    },
}

impl Plan {
    /// A plan for these sizes; strides are in elements of `element` bytes.
    pub fn new(sizes: &[i64], from: &[i64], to: &[i64], element: usize) -> Self {
        let mut axes = [Axis::default(); MAX_RANK + 1];
        let mut rank = 0;
        for ((&size, &from), &to) in sizes.iter().zip(from).zip(to) {
            if size != 1 {
                axes[rank] = Axis {
                    size: size as usize,
                    from: from as usize * element,
                    to: to as usize * element,
                };
                rank += 1;
            }
        }
        axes[..rank].sort_by_key(|axis| std::cmp::Reverse((axis.to, axis.from)));
        rank = merge(&mut axes[..rank]);
        let elements: usize = axes[..rank].iter().map(|axis| axis.size).product();
        let mut plan = Self {
            outer: [Axis::default(); MAX_RANK],
            rank: 0,
            inner: Inner::Row {
                bytes: element,
                per_row: 1,
            },
            pieces: 1,
        };
        let last = axes[..rank].last().copied();
        let mut outer = rank;
        if let Some(along) = last {
            outer -= 1;
            if along.from == element && along.to == element {
                let bytes = along.size * element;
                let per_row = bytes.div_ceil(PIECE).max(1);
                plan.inner = Inner::Row { bytes, per_row };
                plan.pieces = per_row;
            } else {
                // The axis that is closest in the source; an axis of size one if that is the same.
                let closest = (0..outer).min_by_key(|&i| axes[i].from);
                let across = match closest {
                    Some(i) if axes[i].from < along.from => {
                        let across = axes[i];
                        axes.copy_within(i + 1..rank, i);
                        outer -= 1;
                        across
                    }
                    _ => Axis {
                        size: 1,
                        from: 0,
                        to: 0,
                    },
                };
                plan.inner = Inner::Plane {
                    across,
                    along,
                    element,
                };
            }
        }
        plan.outer[..outer].copy_from_slice(&axes[..outer]);
        plan.rank = outer;
        plan.pieces *= axes[..outer]
            .iter()
            .map(|axis| axis.size)
            .product::<usize>();
        if elements == 0 {
            plan.pieces = 0;
        }
        plan
    }

    /// How many pieces there are.
    pub fn pieces(&self) -> usize {
        self.pieces
    }

    /// Bytes that one piece moves, roughly.
    pub fn piece_bytes(&self) -> usize {
        match self.inner {
            Inner::Row { bytes, per_row } => bytes / per_row,
            Inner::Plane {
                across,
                along,
                element,
            } => across.size * along.size * element,
        }
    }

    /// Does the pieces from `begin` up to `end`.
    ///
    /// # Safety
    /// `from` may be read and `to` written wherever the plan's sizes and strides reach, the two
    /// share no memory, and nobody else reads or writes these pieces of `to` meanwhile.
    pub unsafe fn run(&self, from: *const u8, to: *mut u8, begin: usize, end: usize) {
        // An axis may have no elements, and then there are no pieces.
        if begin >= end {
            return;
        }
        let per_row = match self.inner {
            Inner::Row { per_row, .. } => per_row,
            Inner::Plane { .. } => 1,
        };
        let mut cut = begin % per_row;
        let mut odometer = Odometer::at(&self.outer[..self.rank], begin / per_row);
        for _ in begin..end {
            // SAFETY: both offsets are within what the plan reaches.
            let (from, to) = unsafe { (from.add(odometer.from), to.add(odometer.to)) };
            match self.inner {
                Inner::Row { bytes, per_row } => {
                    let start = cut * PIECE;
                    let length = if per_row == 1 {
                        bytes
                    } else {
                        PIECE.min(bytes - start)
                    };
                    // SAFETY: the row is contiguous on both sides and this is a part of it.
                    unsafe {
                        from.add(start)
                            .copy_to_nonoverlapping(to.add(start), length)
                    };
                }
                Inner::Plane {
                    across,
                    along,
                    element,
                } => {
                    // SAFETY: as the caller promises for every element of the plane.
                    unsafe {
                        match element {
                            1 => plane::<u8>(from, to, across, along),
                            2 => plane::<u16>(from, to, across, along),
                            4 => plane::<u32>(from, to, across, along),
                            _ => plane::<u64>(from, to, across, along),
                        }
                    }
                }
            }
            cut += 1;
            if cut == per_row {
                cut = 0;
                odometer.step(&self.outer[..self.rank]);
            }
        }
    }
}

/// Merges axes that are contiguous to each other on both sides, and returns how many are left.
fn merge(axes: &mut [Axis]) -> usize {
    let mut kept = 0;
    for i in 0..axes.len() {
        let axis = axes[i];
        let fuses = kept > 0 && {
            let before = axes[kept - 1];
            before.from == axis.from * axis.size && before.to == axis.to * axis.size
        };
        if fuses {
            axes[kept - 1] = Axis {
                size: axes[kept - 1].size * axis.size,
                ..axis
            };
        } else {
            axes[kept] = axis;
            kept += 1;
        }
    }
    kept
}

/// An index over the outer axes, with the offsets that belong to it.
struct Odometer {
    index: [usize; MAX_RANK],
    from: usize,
    to: usize,
}

impl Odometer {
    fn at(axes: &[Axis], mut number: usize) -> Self {
        let mut odometer = Self {
            index: [0; MAX_RANK],
            from: 0,
            to: 0,
        };
        for (axis, index) in axes.iter().zip(&mut odometer.index).rev() {
            *index = number % axis.size;
            number /= axis.size;
            odometer.from += *index * axis.from;
            odometer.to += *index * axis.to;
        }
        odometer
    }

    fn step(&mut self, axes: &[Axis]) {
        for (axis, index) in axes.iter().zip(&mut self.index).rev() {
            *index += 1;
            self.from += axis.from;
            self.to += axis.to;
            if *index < axis.size {
                return;
            }
            *index = 0;
            self.from -= axis.size * axis.from;
            self.to -= axis.size * axis.to;
        }
    }
}

/// Transposes a plane of elements, tile by tile.
///
/// # Safety
/// As for [`Plan::run`], for each element of the plane.
unsafe fn plane<T: Copy>(from: *const u8, to: *mut u8, across: Axis, along: Axis) {
    for i in (0..across.size).step_by(TILE) {
        for j in (0..along.size).step_by(TILE) {
            for i in i..(i + TILE).min(across.size) {
                for j in j..(j + TILE).min(along.size) {
                    // SAFETY: the caller vouches for every index within the sizes. Torch lets
                    // elements lie at any address, hence the unaligned access.
                    unsafe {
                        let value = from.add(i * across.from + j * along.from).cast::<T>();
                        let place = to.add(i * across.to + j * along.to).cast::<T>();
                        place.write_unaligned(value.read_unaligned());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies with a plan, in ranges of `step` pieces, and element by element, and compares.
    fn check(sizes: &[i64], from: &[i64], to: &[i64], element: usize, step: usize) -> Plan {
        let reach = |strides: &[i64]| crate::overlap::extent(sizes, strides, element);
        let source: Vec<u8> = (0..reach(from)).map(|i| (i * 31 % 251) as u8).collect();
        let mut target = vec![0_u8; reach(to)];
        let mut expected = target.clone();
        let count: i64 = sizes.iter().product();
        for mut n in 0..count {
            let (mut a, mut b) = (0, 0);
            for axis in (0..sizes.len()).rev() {
                a += n % sizes[axis] * from[axis];
                b += n % sizes[axis] * to[axis];
                n /= sizes[axis];
            }
            let (a, b) = (a as usize * element, b as usize * element);
            expected[b..b + element].copy_from_slice(&source[a..a + element]);
        }
        let plan = Plan::new(sizes, from, to, element);
        for begin in (0..plan.pieces()).step_by(step) {
            let end = (begin + step).min(plan.pieces());
            // SAFETY: both vectors are as long as the strides reach.
            unsafe { plan.run(source.as_ptr(), target.as_mut_ptr(), begin, end) };
        }
        assert!(target == expected, "{sizes:?} {from:?} {to:?} {element}");
        plan
    }

    #[test]
    fn every_order_of_axes_on_both_sides() {
        let sizes = [2, 3, 37, 5];
        let mut orders = vec![];
        for n in 0..256 {
            let order = [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6];
            if (0..4).all(|axis| order.contains(&axis)) {
                orders.push(order);
            }
        }
        assert_eq!(orders.len(), 24);
        let strides = |order: &[usize; 4], pad: i64| {
            let mut strides = [0; 4];
            let mut stride = 1;
            for &axis in order.iter().rev() {
                strides[axis] = stride;
                stride *= sizes[axis] + pad;
            }
            strides
        };
        for a in &orders {
            for b in &orders {
                for (element, pad) in [(1, 0), (2, 1), (4, 0), (8, 1)] {
                    check(&sizes, &strides(a, 0), &strides(b, pad), element, 7);
                }
            }
        }
    }

    #[test]
    fn a_transposed_projection_moves_rows() {
        let plan = check(&[2, 3, 5, 4], &[60, 4, 12, 1], &[96, 32, 4, 1], 4, 4);
        assert_eq!(
            plan.inner,
            Inner::Row {
                bytes: 16,
                per_row: 1
            }
        );
        assert_eq!(plan.pieces(), 30);
    }

    #[test]
    fn a_long_row_is_cut() {
        let plan = check(
            &[1, 1, 1000, 33],
            &[33000, 33000, 33, 1],
            &[0, 0, 33, 1],
            4,
            1,
        );
        assert_eq!(plan.pieces(), 5);
    }

    #[test]
    fn expanded_values_scalars_and_nothing() {
        check(&[2, 3, 4, 5], &[0, 0, 5, 1], &[60, 20, 5, 1], 4, 1);
        check(&[2, 3, 4, 5], &[0, 0, 0, 0], &[60, 20, 5, 1], 2, 1);
        check(&[1, 1, 1, 1], &[0, 0, 0, 0], &[1, 1, 1, 1], 8, 1);
    }

    #[test]
    fn a_plan_without_elements_does_nothing() {
        for axis in 0..4 {
            let mut sizes = [2, 3, 4, 5];
            sizes[axis] = 0;
            for from in [[60, 20, 5, 1], [1, 2, 6, 24], [0, 0, 0, 0]] {
                let plan = check(&sizes, &from, &[60, 20, 5, 1], 4, 1);
                assert_eq!(plan.pieces(), 0);
                let mut nothing = [];
                // SAFETY: there is nothing to read or to write.
                unsafe { plan.run(nothing.as_ptr(), nothing.as_mut_ptr(), 0, 0) };
            }
        }
    }
}
