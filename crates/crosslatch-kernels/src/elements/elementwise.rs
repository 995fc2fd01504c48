//! Pointwise operators: one function on numbers, applied to every element.
//!
//! Ten element types, any strides and mixed operands would make thousands of loops. Here is one:
//! blocks of a few hundred elements of each operand are brought into the type that the operator
//! computes in (`f32`, `f64` or `i64`, [`Compute`]), the function runs over the blocks, where the
//! compiler vectorises it, and the results are converted into the output. Blocks that are in that
//! type already and lie without gaps are used where they are. 16-bit floats are thus computed in
//! `f32` and rounded once, booleans are 0 and 1.
//!
//! PyTorch converts operands to their common type before it computes: `x > 0.1` compares with the
//! nearest 16-bit number if `x` has 16 bits. Blocks of other types are therefore taken through that
//! type on their way.
//!
//! The loop over the operands knows nothing of the function but how to call it with blocks
//! ([`Blockwise`]), so it is compiled once and not once for each operator.

use crate::elements::blocks::{Compute, load, store};
#[cfg(target_arch = "x86_64")]
use crate::runtime::instructions::{self, Feature};
use crate::runtime::partition::for_each_part;
use crate::tensor::layout::for_each_run;
use crate::{DType, Layout, TensorMut, TensorRef, Threads};

/// Elements below which another thread is not worth waking.
const GRAIN: usize = 16 * 1024;

/// Elements converted at a time: small enough for the first-level cache.
const BLOCK: usize = 256;

/// What an operand of a pointwise operator is.
#[derive(Clone, Copy)]
pub enum Source<'t, C> {
    /// A tensor, broadcast to the shape of the result, to which it must fit.
    Tensor(&'t TensorRef<'t>),
    /// One number, which has been taken through the common type.
    Number(C),
}

/// A function over blocks of operands, all as long as the block of results.
pub type BlockFunction<'f, C, const N: usize> = &'f (dyn Fn([&[C]; N], &mut [C]) + Sync);

/// An owned function over blocks.
pub type Blockwise<C, const N: usize> = Box<dyn Fn([&[C]; N], &mut [C]) + Send + Sync>;

/// A function of numbers as one over blocks, for the instructions that this machine has.
pub fn blockwise<C: Compute, const N: usize>(
    f: impl Fn([C; N]) -> C + Send + Sync + 'static,
) -> Blockwise<C, N> {
    #[cfg(target_arch = "x86_64")]
    if C::VECTORS && instructions::has(Feature::Avx2) {
        // SAFETY: the machine has AVX2 and FMA.
        return Box::new(move |blocks, results| unsafe { each_avx2(blocks, results, &f) });
    }
    Box::new(move |blocks, results| each(blocks, results, &f))
}

#[inline(always)]
fn each<C: Compute, const N: usize>(blocks: [&[C]; N], out: &mut [C], f: &impl Fn([C; N]) -> C) {
    let n = out.len();
    // Make the lengths equal where the compiler sees it; it does not see through a closure for each
    // element.
    let mut equal: [&[C]; N] = [&[]; N];
    for (equal, block) in equal.iter_mut().zip(blocks) {
        *equal = &block[..n];
    }
    for (i, result) in out.iter_mut().enumerate() {
        let mut operands = [C::default(); N];
        for (operand, block) in operands.iter_mut().zip(&equal) {
            *operand = block[i];
        }
        *result = f(operands);
    }
}

/// The same, compiled for more instructions. The arithmetic is unchanged: multiplications and
/// additions are not fused.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn each_avx2<C: Compute, const N: usize>(
    blocks: [&[C]; N],
    out: &mut [C],
    f: &impl Fn([C; N]) -> C,
) {
    each(blocks, out, f);
}

/// `out = f(sources)` for each element. Operand `i` is converted to the type `through[i]` first.
pub fn apply<C: Compute, const N: usize>(
    out: &mut TensorMut<'_>,
    sources: [Source<'_, C>; N],
    through: [DType; N],
    threads: &Threads,
    f: BlockFunction<'_, C, N>,
) {
    let layouts: [Layout; N] = std::array::from_fn(|i| match sources[i] {
        Source::Tensor(t) => t.layout().expand(out.shape()).unwrap_or_default(),
        Source::Number(_) => Layout::default(),
    });
    for_each_part(out, threads, GRAIN, &|part, out| {
        let target = out.layout().clone();
        let layouts: [Layout; N] = std::array::from_fn(|i| match sources[i] {
            Source::Tensor(_) => part.of(&layouts[i]),
            // No element of it is looked up, so any strides do.
            Source::Number(_) => Layout {
                offset: 0,
                ..target.clone()
            },
        });
        apply_part(out, &target, sources, &layouts, through, f);
    });
}

/// One operand in one run of elements: where it begins, how far apart its elements are.
type Walk = (usize, usize);

fn apply_part<C: Compute, const N: usize>(
    out: &mut TensorMut<'_>,
    to: &Layout,
    sources: [Source<'_, C>; N],
    from: &[Layout; N],
    through: [DType; N],
    f: BlockFunction<'_, C, N>,
) {
    let mut blocks = [[C::default(); BLOCK]; N];
    for (block, source) in blocks.iter_mut().zip(&sources) {
        if let Source::Number(c) = source {
            block.fill(*c);
        }
    }
    let mut run = |to: Walk, from: &[Walk], n: usize| {
        for_each_block(out, to, sources, from, n, through, &mut blocks, f);
    };
    match from.as_slice() {
        [a] => for_each_run([to, a], |[o, a], [s, t], n| run((o, s), &[(a, t)], n)),
        [a, b] => for_each_run([to, a, b], |[o, a, b], [s, t, u], n| {
            run((o, s), &[(a, t), (b, u)], n);
        }),
        [a, b, c] => for_each_run([to, a, b, c], |[o, a, b, c], [s, t, u, v], n| {
            run((o, s), &[(a, t), (b, u), (c, v)], n);
        }),
        _ => unreachable!("operators have one to three operands"),
    }
}

#[allow(clippy::too_many_arguments)]
fn for_each_block<C: Compute, const N: usize>(
    out: &mut TensorMut<'_>,
    (to, to_step): Walk,
    sources: [Source<'_, C>; N],
    from: &[Walk],
    n: usize,
    through: [DType; N],
    memory: &mut [[C; BLOCK]; N],
    f: BlockFunction<'_, C, N>,
) {
    let mut results = [C::default(); BLOCK];
    for done in (0..n).step_by(BLOCK) {
        let len = (n - done).min(BLOCK);
        let mut blocks: [&[C]; N] = [&[]; N];
        for (i, memory) in memory.iter_mut().enumerate() {
            let (start, step) = from[i];
            blocks[i] = match sources[i] {
                // A broadcast element is the same for the whole run.
                Source::Tensor(_) if step == 0 && done > 0 => &memory[..len],
                Source::Tensor(t) => {
                    let filled = if step == 0 { BLOCK.min(n) } else { len };
                    &load(
                        t,
                        (start + done * step, step),
                        through[i],
                        &mut memory[..filled],
                    )[..len]
                }
                Source::Number(_) => &memory[..len],
            };
        }
        let place = to + done * to_step;
        if out.dtype() == C::DTYPE && to_step == 1 {
            f(blocks, &mut out.data::<C>()[place..place + len]);
        } else {
            f(blocks, &mut results[..len]);
            store(out, place, to_step, &results[..len]);
        }
    }
}

/// Whether any element of a tensor of integers is zero once converted to `through`.
pub fn contains_zero(tensor: &TensorRef<'_>, through: DType) -> bool {
    let mut block = [0i64; BLOCK];
    let mut zero = false;
    for_each_run([tensor.layout()], |[at], [step], n| {
        for done in (0..n).step_by(BLOCK) {
            let len = (n - done).min(BLOCK);
            let elements = load(tensor, (at + done * step, step), through, &mut block[..len]);
            zero |= elements.contains(&0);
        }
    });
    zero
}

/// The type that an operator on elements of this type computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 16- and 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
    /// Integers and booleans.
    I64,
}

impl Class {
    /// The class of an element type.
    pub fn of(dtype: DType) -> Class {
        match dtype {
            DType::F64 => Class::F64,
            d if d.is_float() => Class::F32,
            _ => Class::I64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    fn memory<T: crate::Element>(values: &[T]) -> Storage {
        Storage::copy_of(bytemuck::cast_slice(values))
    }

    #[test]
    fn operands_of_other_types_and_strides_are_broadcast_and_converted() {
        let (a, b) = (memory(&[0f32, 1., 2., 3., 4., 5.]), memory(&[10i64, 20]));
        let la = Layout::contiguous(&[2, 3]).transpose(0, 1);
        let lb = Layout::contiguous(&[2]);
        let lo = Layout::contiguous(&[3, 2]);
        let mut out = Storage::zeroed(4 * 6);
        let mut to = TensorMut::new(DType::F32, &lo, out.bytes_mut()).unwrap();
        let a = TensorRef::new(DType::F32, &la, a.bytes()).unwrap();
        let b = TensorRef::new(DType::I64, &lb, b.bytes()).unwrap();
        let sources = [Source::Tensor(&a), Source::Tensor(&b), Source::Number(0.5)];
        let sum = blockwise(|[x, y, z]: [f32; 3]| x + y + z);
        apply(&mut to, sources, [DType::F32; 3], &Threads::new(1), &sum);
        assert_eq!(
            to.as_ref().to_vec::<f32>(),
            [10.5, 23.5, 11.5, 24.5, 12.5, 25.5]
        );
    }

    #[test]
    fn operands_of_other_types_go_through_the_common_type() {
        let (layout, single) = (Layout::contiguous(&[2]), Layout::contiguous(&[]));
        let (a, b) = (memory(&[255u8, 1]), memory(&[300i64]));
        let a = TensorRef::new(DType::U8, &layout, a.bytes()).unwrap();
        let b = TensorRef::new(DType::I64, &single, b.bytes()).unwrap();
        let mut out = Storage::zeroed(2);
        let mut to = TensorMut::new(DType::Bool, &layout, out.bytes_mut()).unwrap();
        let sources = [Source::Tensor(&a), Source::Tensor(&b)];
        let less = blockwise(|[x, y]: [i64; 2]| (x < y) as i64);
        apply(&mut to, sources, [DType::U8; 2], &Threads::new(1), &less);
        // 300 wraps to 44.
        assert_eq!(out.bytes(), [0, 1]);
    }

    #[test]
    fn long_runs_slices_and_threads_change_no_element() {
        for (n, threads) in [(0, 1), (1, 1), (255, 1), (256, 2), (257, 2), (70_000, 3)] {
            let values: Vec<f32> = (0..2 * n).map(|i| i as f32).collect();
            let (a, one) = (memory(&values), memory(&[1f32]));
            let pairs = Layout::contiguous(&[n, 2]);
            let (every_other, single) = (pairs.slice(1, 0, 1, 1), Layout::contiguous(&[1, 1]));
            let b = TensorRef::new(DType::F32, &single, one.bytes()).unwrap();
            let a = TensorRef::new(DType::F32, &every_other, a.bytes()).unwrap();
            let column = Layout::contiguous(&[n, 1]);
            for layout in [&column, &pairs.slice(1, 1.min(n), 1, 1)] {
                let mut out = Storage::zeroed(8 * n.max(1));
                let mut to = TensorMut::new(DType::F32, layout, out.bytes_mut()).unwrap();
                let sources = [Source::Tensor(&a), Source::Tensor(&b)];
                let team = Threads::new(threads);
                let sum = blockwise(|[x, y]: [f32; 2]| x + y);
                apply(&mut to, sources, [DType::F32; 2], &team, &sum);
                let expected: Vec<f32> = (0..n).map(|i| 2.0 * i as f32 + 1.0).collect();
                assert_eq!(to.as_ref().to_vec::<f32>(), expected);
            }
        }
    }
}
