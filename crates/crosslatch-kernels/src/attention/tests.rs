use super::*;
use crate::movement::scale_rows;
use crate::tensor::scaled_rows::SCALE_BYTES;
use crate::{Layout, Storage, TensorMut};

fn numbers(count: usize, seed: u32) -> Storage {
    let mut storage = Storage::zeroed(4 * count);
    let data: &mut [f32] = bytemuck::cast_slice_mut(storage.bytes_mut());
    for (i, x) in data.iter_mut().enumerate() {
        let hash = (i as u32 + 77 * seed).wrapping_mul(2_654_435_761);
        // Numbers that a bf16 holds.
        *x = (hash >> 24) as f32 / 64.0 - 2.0;
    }
    storage
}

#[derive(Clone, Copy, Default)]
struct Case {
    queries: usize,
    keys: usize,
    inner: usize,
    width: usize,
    causal: bool,
    /// 0: none, 1: booleans, 2: numbers.
    mask: usize,
    /// Positions before heads in memory, as a projection leaves them; else the other way round.
    transposed: bool,
    plain: bool,
    /// Products of many queries in bf16, by this loop.
    microkernel: Option<ShortMicrokernel<f32>>,
    /// What keys and values are stored as: bf16, scaled rows, or else `f32`.
    stored: Option<DType>,
    /// An operand (query, key, value), a row of its first head, and what stands there.
    odd: Option<(usize, usize, f32)>,
    threads: usize,
}

/// Results and logarithms of two heads.
type Results = (Vec<f32>, Vec<f32>);

fn run(case: Case) -> Results {
    run_together(case, 1).remove(0)
}

/// Results of several problems with different queries. Every third has keys and values of its own,
/// which are the same ones in another place.
fn run_together(case: Case, count: usize) -> Vec<Results> {
    let Case {
        queries: t,
        keys: s,
        inner: e,
        width: d,
        ..
    } = case;
    let layout = |rows: usize, columns: usize| match case.transposed {
        true => Layout::contiguous(&[rows, 2, columns]).transpose(0, 1),
        false => Layout::contiguous(&[2, rows, columns]),
    };
    // The same elements at the same index in both orders.
    let fill = |rows: usize, columns: usize, seed: u32| {
        let straight = numbers(2 * rows * columns, seed);
        let mut transposed = Storage::zeroed(straight.len());
        let from: &[f32] = bytemuck::cast_slice(straight.bytes());
        let to: &mut [f32] = bytemuck::cast_slice_mut(transposed.bytes_mut());
        layout(rows, columns)
            .positions()
            .zip(from)
            .for_each(|(p, x)| to[p] = *x);
        transposed
    };
    let queries = (0..count as u32).map(|i| fill(t, e, 1 + 50 * i));
    let mut queries: Vec<Storage> = queries.collect();
    let (mut k, mut v) = (fill(s, e, 2), fill(s, d, 3));
    if let Some((operand, row, odd)) = case.odd {
        let (memory, size) = match operand {
            0 => (&mut queries[0], [t, e]),
            1 => (&mut k, [s, e]),
            _ => (&mut v, [s, d]),
        };
        let at = layout(size[0], size[1]).slice(1, row, 1, 1).offset;
        bytemuck::cast_slice_mut::<_, f32>(memory.bytes_mut())[at] = odd;
    }
    let lq = layout(t, e);
    let to_bf16 = |from: &Storage| {
        let mut stored = Storage::zeroed(from.len() / 2);
        let to = bytemuck::cast_slice_mut::<_, bf16>(stored.bytes_mut());
        let from = bytemuck::cast_slice::<_, f32>(from.bytes());
        to.iter_mut()
            .zip(from)
            .for_each(|(to, x)| *to = bf16::from_f32(*x));
        stored
    };
    let to_scaled = |from: &Storage, columns: usize| {
        let to = layout(s, columns + SCALE_BYTES);
        let mut stored = Storage::zeroed(2 * s * (columns + SCALE_BYTES));
        scale_rows(
            &mut TensorMut::new(DType::I8, &to, stored.bytes_mut()).unwrap(),
            &TensorRef::new(DType::F32, &layout(s, columns), from.bytes()).unwrap(),
            &Threads::new(1),
        );
        stored
    };
    let (stored, extra, k, v) = match case.stored {
        Some(DType::BF16) => (DType::BF16, 0, to_bf16(&k), to_bf16(&v)),
        Some(_) => (DType::I8, SCALE_BYTES, to_scaled(&k, e), to_scaled(&v, d)),
        None => (DType::F32, 0, k, v),
    };
    let (lk, lv) = (layout(s, e + extra), layout(s, d + extra));
    let own = [&k, &v].map(|t| Storage::copy_of(t.bytes()));
    let lm = Layout::contiguous(&[t, s]).expand(&[2, t, s]).unwrap();
    let mut mask = numbers(t * s, 4);
    if case.mask == 1 {
        mask.bytes_mut().iter_mut().for_each(|b| *b %= 2);
    } else {
        let data: &mut [f32] = bytemuck::cast_slice_mut(mask.bytes_mut());
        data.iter_mut()
            .filter(|x| **x > 1.0)
            .for_each(|x| *x = f32::NEG_INFINITY);
    }
    if t > 1 {
        // The second query sees nothing.
        match case.mask {
            1 => mask.bytes_mut()[s..2 * s].fill(0),
            _ => bytemuck::cast_slice_mut::<_, f32>(mask.bytes_mut())[s..2 * s]
                .fill(f32::NEG_INFINITY),
        }
    }
    let dtype = if case.mask == 1 {
        DType::Bool
    } else {
        DType::F32
    };
    let mask = TensorRef::new(dtype, &lm, mask.bytes()).unwrap();
    let (lo, ll) = (layout(t, d), Layout::contiguous(&[2, t]));
    let memory = |bytes| (0..count).map(|_| Storage::zeroed(bytes)).collect();
    let (mut out, mut logs): (Vec<Storage>, Vec<Storage>) = (memory(8 * t * d), memory(8 * t));
    let problems = queries.iter().zip(out.iter_mut().zip(&mut logs));
    let problems = problems.enumerate().map(|(i, (q, (out, logs)))| {
        let [k, v] = match i % 3 {
            2 => [&own[0], &own[1]],
            _ => [&k, &v],
        };
        AttentionTensors {
            out: TensorMut::new(DType::F32, &lo, out.bytes_mut()).unwrap(),
            logarithms: Some(TensorMut::new(DType::F32, &ll, logs.bytes_mut()).unwrap()),
            q: TensorRef::new(DType::F32, &lq, q.bytes()).unwrap(),
            k: TensorRef::new(stored, &lk, k.bytes()).unwrap(),
            v: TensorRef::new(stored, &lv, v.bytes()).unwrap(),
            mask: (case.mask > 0).then_some(mask),
        }
    });
    let mut problems: Vec<AttentionTensors<'_>> = problems.collect();
    attention_with(
        case.microkernel,
        &mut problems,
        Attention {
            scale: 0.25,
            causal: case.causal,
            plain: case.plain,
            allow_bf16: true,
        },
        &Threads::new(case.threads),
    );
    let results = problems.iter().map(|problem| {
        let logs = problem.logarithms.as_ref().unwrap();
        (problem.out.as_ref().to_vec(), logs.as_ref().to_vec())
    });
    results.collect()
}

#[test]
fn all_fast_ways_agree_with_the_definition() {
    for (queries, keys, inner, width) in [
        (1, 1, 1, 1),
        (1, 530, 64, 64),
        (2, 19, 7, 9),
        (4, 1030, 16, 100),
        (5, 9, 3, 2),
        (33, 300, 64, 64),
        (70, 17, 20, 5),
        (150, 300, 40, 23),
        (3, 0, 4, 4),
        (9, 0, 4, 4),
    ] {
        for (causal, mask) in [(false, 0), (true, 0), (false, 1), (false, 2)] {
            let case = Case {
                queries,
                keys,
                inner,
                width,
                causal,
                mask,
                threads: 1,
                ..Case::default()
            };
            // Weights of bf16 are right to one part in 512.
            let loops = [
                (None, 2e-5),
                (Some(ShortMicrokernel::bf16_portable()), 3e-3),
                (ShortMicrokernel::bf16(), 3e-3),
            ];
            let stored = [None, Some(DType::BF16), Some(DType::I8)];
            for ((microkernel, tolerance), stored) in
                loops.into_iter().flat_map(|l| stored.map(|s| (l, s)))
            {
                let (exact, exact_logs) = run(Case {
                    plain: true,
                    stored,
                    ..case
                });
                let (fast, logs) = run(Case {
                    microkernel,
                    stored,
                    ..case
                });
                // Elements that are multiples of a scale are no bf16, and are rounded once more.
                let tolerance = match (microkernel, stored) {
                    (Some(_), Some(DType::I8)) => 2e-2,
                    _ => tolerance,
                };
                let close = |a: &[f32], b: &[f32]| {
                    a.iter()
                        .zip(b)
                        .all(|(a, b)| (a - b).abs() <= tolerance * (1.0 + b.abs()))
                };
                assert!(close(&fast, &exact), "{queries} {keys} {causal} {mask}");
                assert!(
                    close(&logs, &exact_logs),
                    "{queries} {keys} {causal} {mask}"
                );
                if mask > 0 && queries > 1 {
                    assert!(fast[width..2 * width].iter().all(|x| *x == 0.0));
                }
            }
        }
    }
}

#[test]
fn strides_and_threads_do_not_change_a_bit() {
    let microkernel = Some(ShortMicrokernel::bf16_portable());
    for (queries, microkernel) in [
        (1, None),
        (3, None),
        (70, None),
        (290, None),
        (70, microkernel),
        (70, ShortMicrokernel::bf16()),
    ] {
        let case = Case {
            queries,
            microkernel,
            keys: 700,
            inner: 24,
            width: 40,
            mask: 1,
            threads: 1,
            ..Case::default()
        };
        let one = run(case);
        assert_eq!(one, run(Case { threads: 3, ..case }));
        assert_eq!(
            one,
            run(Case {
                transposed: true,
                ..case
            })
        );
    }
}

#[test]
fn problems_that_are_solved_together_have_the_bits_that_they_have_alone() {
    for (count, queries, keys, inner, width) in [
        (2, 1, 530, 64, 64),
        (7, 1, 1030, 7, 100),
        (5, 3, 19, 64, 9),
        (3, 4, 0, 4, 4),
        (4, 9, 40, 8, 8),
    ] {
        for stored in [None, Some(DType::BF16), Some(DType::I8)] {
            for (causal, mask) in [(false, 0), (true, 0), (false, 1), (false, 2)] {
                let case = Case {
                    queries,
                    keys,
                    inner,
                    width,
                    causal,
                    mask,
                    stored,
                    odd: (keys > 0).then_some((0, 0, f32::NAN)),
                    threads: 3,
                    ..Case::default()
                };
                let bits = |results: &[Results]| -> Vec<Vec<u32>> {
                    let all = results.iter().map(|(out, logs)| out.iter().chain(logs));
                    all.map(|all| all.map(|x| x.to_bits()).collect()).collect()
                };
                let together = bits(&run_together(case, count));
                for fewer in 1..count {
                    assert_eq!(bits(&run_together(case, fewer)), together[..fewer]);
                }
            }
        }
    }
}

#[test]
fn all_ways_agree_where_something_is_nan_or_infinite() {
    for (queries, keys) in [(1, 6), (3, 40), (4, 600), (5, 6), (40, 300)] {
        for (operand, row, odd) in [
            (0, 0, f32::NAN),
            (0, queries - 1, f32::INFINITY),
            (1, 2, f32::NAN),
            (1, keys - 1, f32::NEG_INFINITY),
            (2, 3, f32::NAN),
            (2, keys - 1, f32::INFINITY),
            // All bits of the fraction are set: rounding must not carry into the exponent.
            (1, 2, f32::from_bits(0x7fff_ffff)),
        ] {
            for (causal, mask) in [(false, 0), (true, 0), (false, 1), (false, 2)] {
                let case = Case {
                    queries,
                    keys,
                    inner: 8,
                    width: 12,
                    causal,
                    mask,
                    odd: Some((operand, row, odd)),
                    threads: 2,
                    ..Case::default()
                };
                let (exact, _) = run(Case {
                    plain: true,
                    ..case
                });
                for microkernel in [
                    None,
                    Some(ShortMicrokernel::bf16_portable()),
                    ShortMicrokernel::bf16(),
                ] {
                    for transposed in [false, true] {
                        let (fast, _) = run(Case {
                            microkernel,
                            transposed,
                            ..case
                        });
                        let agree = |(a, b): (&f32, &f32)| match b.is_finite() {
                            true => (a - b).abs() <= 3e-3 * (1.0 + b.abs()),
                            false => a == b || a.is_nan() && b.is_nan(),
                        };
                        let at = (queries, operand, row, odd, causal, mask, transposed);
                        assert!(fast.iter().zip(&exact).all(agree), "{at:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_hidden_key_has_no_influence_whatever_it_holds() {
    for queries in [2, 9] {
        for (operand, causal) in [(1, true), (2, true)] {
            let case = Case {
                queries,
                keys: 9,
                inner: 4,
                width: 4,
                causal,
                threads: 1,
                ..Case::default()
            };
            let (usual, _) = run(case);
            let (odd, _) = run(Case {
                odd: Some((operand, queries - 1, f32::NAN)),
                ..case
            });
            // The first head's queries before the last one do not see it.
            let seen = (queries - 1) * 4;
            let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
            assert!(usual[..seen].iter().zip(&odd).all(close));
            assert!(odd[seen..seen + 4].iter().any(|x| x.is_nan()));
        }
    }
}
