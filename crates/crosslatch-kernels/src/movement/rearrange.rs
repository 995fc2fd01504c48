//! Rearranging a tensor dimension by dimension: padding of every kind, flipping, rolling,
//! repeating.
//!
//! All of these are the same thing: index `i` of dimension `d` of the result is index `map[d][i]`
//! of the source, or lies outside of it and is filled with a constant. The maps are made when a
//! plan is made; the kernel only follows them. Dimensions at the end that are not rearranged are
//! moved together.

use bytemuck::Pod;
use smallvec::SmallVec;

use crate::movement::fill::{Scalar, fill};
use crate::runtime::partition::{Part, for_each_part};
use crate::tensor::layout::for_each_run;
use crate::tensor::untyped::{untyped_data, untyped_data_mut};
use crate::{Layout, TensorMut, TensorRef, Threads, with_untyped};

/// An entry of a [`DimMap`] that lies outside of the source.
pub const OUTSIDE: usize = usize::MAX;

/// For each index of a dimension of the result the index in the source, or [`OUTSIDE`]. `None` is
/// the identity.
pub type DimMap = Option<Box<[usize]>>;

/// Elements below which the work is not worth another thread.
const GRAIN: usize = 16 * 1024;

/// Fills `to` from `from`, by one map for each dimension; `outside` is the value of elements that
/// are outside of the source. Both have one element type. Entries of the maps must be below the
/// length of the dimension in `from`.
pub fn rearrange(
    to: &mut TensorMut<'_>,
    from: &TensorRef<'_>,
    maps: &[DimMap],
    outside: Scalar,
    threads: &Threads,
) {
    for_each_part(to, threads, GRAIN, &|part, to| {
        // The constant as an untyped element, of which the widest has 16 bytes: written and read back.
        let mut one = [0u128];
        let layout = Layout::contiguous(&[]);
        let bytes = bytemuck::cast_slice_mut(&mut one);
        if let Ok(mut value) = TensorMut::new(from.dtype(), &layout, bytes) {
            fill(&mut value, outside);
            with_untyped!(from.dtype(), B => {
                let outside = untyped_data::<B>(&value.as_ref())[0];
                rearrange_part(to, untyped_data::<B>(from), from.layout(), maps, outside, part);
            });
        }
    });
}

fn rearrange_part<B: Pod>(
    to: &mut TensorMut<'_>,
    source: &[B],
    from_layout: &Layout,
    maps: &[DimMap],
    outside: B,
    part: Part,
) {
    let to_layout = to.layout().clone();
    if to_layout.shape.contains(&0) {
        return;
    }
    let mapped = maps.iter().rposition(Option::is_some).map_or(0, |d| d + 1);
    let tail = |l: &Layout, offset: usize| Layout {
        shape: to_layout.shape[mapped..].into(),
        strides: l.strides[mapped..].into(),
        offset,
    };
    // `place` adds the start of the part in mapped dimensions; the others add it here.
    let start = (mapped..to_layout.rank())
        .map(|d| part.start(d) * from_layout.strides[d])
        .sum();
    let (to_tail, from_tail) = (tail(&to_layout, 0), tail(from_layout, start));
    let single = to_tail.numel() == 1;
    let target = untyped_data_mut::<B>(to);
    let mut block = |a: usize, b: Option<usize>| match b {
        Some(b) if single => target[a] = source[b + from_tail.offset],
        Some(b) => for_each_run(
            [&to_tail, &from_tail],
            |[i, j], strides, len| match strides {
                [1, 1] => target[a + i..a + i + len].copy_from_slice(&source[b + j..b + j + len]),
                [p, q] => {
                    for k in 0..len {
                        target[a + i + k * p] = source[b + j + k * q];
                    }
                }
            },
        ),
        None => for_each_run([&to_tail], |[i], [p], len| {
            for k in 0..len {
                target[a + i + k * p] = outside;
            }
        }),
    };
    let place = |d: usize, i: usize| {
        let i = part.start(d) + i;
        match &maps[d] {
            None => Some(i),
            Some(map) => Some(map[i]).filter(|&i| i != OUTSIDE),
        }
    };
    let Some(last) = mapped.checked_sub(1) else {
        block(to_layout.offset, Some(from_layout.offset));
        return;
    };
    // All indices of the dimensions before the last mapped one; that one is the inner loop.
    let mut index: SmallVec<[usize; 6]> = SmallVec::from_elem(0, last);
    loop {
        let mut a = to_layout.offset;
        let mut b = Some(from_layout.offset);
        for (d, &i) in index.iter().enumerate() {
            a += i * to_layout.strides[d];
            b = b.and_then(|b| Some(b + place(d, i)? * from_layout.strides[d]));
        }
        for i in 0..to_layout.shape[last] {
            let b = b.and_then(|b| Some(b + place(last, i)? * from_layout.strides[last]));
            block(a + i * to_layout.strides[last], b);
        }
        let mut d = last;
        loop {
            if d == 0 {
                return;
            }
            d -= 1;
            index[d] += 1;
            if index[d] < to_layout.shape[d] {
                break;
            }
            index[d] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Storage};

    fn run(shape: &[usize], from: &Layout, maps: &[DimMap], threads: usize) -> Vec<i16> {
        let source: Vec<i16> = (0..from.end().unwrap()).map(|x| x as i16).collect();
        let from = TensorRef::new(DType::I16, from, bytemuck::cast_slice(&source)).unwrap();
        let layout = Layout::contiguous(shape);
        let mut memory = Storage::zeroed(2 * layout.numel());
        let mut to = TensorMut::new(DType::I16, &layout, memory.bytes_mut()).unwrap();
        rearrange(
            &mut to,
            &from,
            maps,
            Scalar::Int(-1),
            &Threads::new(threads),
        );
        to.as_ref().to_vec()
    }

    #[test]
    fn maps_select_and_fill() {
        let flip: DimMap = Some([2, 1, 0].into());
        let pad: DimMap = Some([OUTSIDE, 0, 1].into());
        let from = Layout::contiguous(&[2, 3]);
        assert_eq!(
            run(&[2, 3], &from, &[None, flip.clone()], 1),
            [2, 1, 0, 5, 4, 3]
        );
        assert_eq!(
            run(&[3, 3], &from, &[pad.clone(), None], 1),
            [-1, -1, -1, 0, 1, 2, 3, 4, 5]
        );
        assert_eq!(
            run(&[3, 3], &from, &[pad, flip], 1),
            [-1, -1, -1, 2, 1, 0, 5, 4, 3]
        );
        assert_eq!(run(&[2, 3], &from, &[None, None], 1), [0, 1, 2, 3, 4, 5]);
        assert_eq!(
            run(&[0, 3], &from, &[Some([].into()), None], 1),
            [] as [i16; 0]
        );
        assert_eq!(run(&[], &Layout::contiguous(&[]), &[], 1), [0]);
    }

    #[test]
    fn threads_and_transposed_sources_change_nothing() {
        let (n, m) = (300, 110);
        let from = Layout::contiguous(&[m, n]).transpose(0, 1);
        let flip: DimMap = Some((0..n).rev().collect());
        let roll: DimMap = Some((0..m).map(|i| (i + 7) % m).collect());
        for maps in [
            [flip.clone(), None],
            [None, roll.clone()],
            [flip, roll],
            [None, None],
        ] {
            let alone = run(&[n, m], &from, &maps, 1);
            assert_eq!(alone, run(&[n, m], &from, &maps, 2));
            let at = |d: usize, i: usize| maps[d].as_ref().map_or(i, |map| map[i]);
            for (k, &x) in alone.iter().enumerate() {
                assert_eq!(x, (at(0, k / m) + at(1, k % m) * n) as i16);
            }
        }
    }
}
