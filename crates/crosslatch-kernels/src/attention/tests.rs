use super::*;
use crate::Layout;
use crate::Storage;

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
    /// Keys and values stored in bf16.
    stored: bool,
    /// An operand (query, key, value), a row of its first head, and what stands there.
    odd: Option<(usize, usize, f32)>,
    threads: usize,
}

/// Results and logarithms of two heads.
fn run(case: Case) -> (Vec<f32>, Vec<f32>) {
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
    let (mut q, mut k, mut v) = (fill(t, e, 1), fill(s, e, 2), fill(s, d, 3));
    if let Some((operand, row, odd)) = case.odd {
        let (memory, size) = match operand {
            0 => (&mut q, [t, e]),
            1 => (&mut k, [s, e]),
            _ => (&mut v, [s, d]),
        };
        let at = layout(size[0], size[1]).slice(1, row, 1, 1).offset;
        bytemuck::cast_slice_mut::<_, f32>(memory.bytes_mut())[at] = odd;
    }
    let (lq, lk, lv) = (layout(t, e), layout(s, e), layout(s, d));
    let to_bf16 = |from: &Storage| {
        let mut stored = Storage::zeroed(from.len() / 2);
        let to = bytemuck::cast_slice_mut::<_, bf16>(stored.bytes_mut());
        let from = bytemuck::cast_slice::<_, f32>(from.bytes());
        to.iter_mut()
            .zip(from)
            .for_each(|(to, x)| *to = bf16::from_f32(*x));
        stored
    };
    let (stored, k, v) = match case.stored {
        true => (DType::BF16, to_bf16(&k), to_bf16(&v)),
        false => (DType::F32, k, v),
    };
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
    let (mut out, mut logs) = (Storage::zeroed(8 * t * d), Storage::zeroed(8 * t));
    let mut out = TensorMut::new(DType::F32, &lo, out.bytes_mut()).unwrap();
    let mut logs = TensorMut::new(DType::F32, &ll, logs.bytes_mut()).unwrap();
    attention_with(
        case.microkernel,
        &mut out,
        Some(&mut logs),
        [
            &TensorRef::new(DType::F32, &lq, q.bytes()).unwrap(),
            &TensorRef::new(stored, &lk, k.bytes()).unwrap(),
            &TensorRef::new(stored, &lv, v.bytes()).unwrap(),
        ],
        (case.mask > 0).then_some(&mask),
        Attention {
            scale: 0.25,
            causal: case.causal,
            plain: case.plain,
            allow_bf16: true,
        },
        &Threads::new(case.threads),
    );
    (out.as_ref().to_vec(), logs.as_ref().to_vec())
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
            let (exact, exact_logs) = run(Case {
                plain: true,
                ..case
            });
            // Weights of bf16 are right to one part in 512.
            let loops = [
                (None, 2e-5),
                (Some(ShortMicrokernel::bf16_portable()), 3e-3),
                (ShortMicrokernel::bf16(), 3e-3),
            ];
            for ((microkernel, tolerance), stored) in
                loops.into_iter().flat_map(|l| [(l, false), (l, true)])
            {
                let (fast, logs) = run(Case {
                    microkernel,
                    stored,
                    ..case
                });
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
