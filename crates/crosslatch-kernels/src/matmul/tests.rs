//! The fast ways against plain loops.

use half::{bf16, f16};

use super::*;
use crate::Storage;
use crate::movement::quantize::{Unquantized, quantize};
use crate::tensor::quantized::WeightFormat;

#[test]
fn quantized_weights_agree_with_plain_loops_for_odd_sizes_strides_and_threads() {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 300, 65),
        (2, 63, 16),
        (3, 65, 15),
        (4, 17, 17),
        (5, 129, 63),
        (16, 9, 64),
        (17, 33, 300),
        (40, 5, 0),
        // More than one block, strip and slice.
        (200, 40, 531),
    ] {
        let (mut a, w, c) = (filled(2 * m * k, 1), filled(n * k, 2), filled(n, 3));
        // Left rows that rounding leaves as they are: whole numbers up to 127, which occurs often.
        let data: &mut [f32] = bytemuck::cast_slice_mut(a.bytes_mut());
        for (i, x) in data.iter_mut().enumerate() {
            *x = (127.0 * *x).round();
            if i % 5 == 0 {
                *x = 127.0;
            }
        }
        // The left rows lie in order, or as columns; the result's columns together or in groups
        // that lie apart.
        let rows = Layout::contiguous(&[2, m, k]);
        let columns = Layout::contiguous(&[2, k, m]).transpose(1, 2);
        let bias = Layout::contiguous(&[n]).expand(&[2, m, n]).unwrap();
        let plain_out = Layout::contiguous(&[2, m, n]);
        let transposed = Layout::contiguous(&[2, n, m]).transpose(1, 2);
        for format in [WeightFormat::Bf16, WeightFormat::Int8] {
            let mut stored = Storage::zeroed(format.bytes(n, k).unwrap());
            let from = bytemuck::cast_slice(w.bytes());
            let threads = Threads::new(1);
            quantize(
                format,
                Unquantized::F32(from),
                [n, k],
                stored.bytes_mut(),
                &threads,
                &|_| {},
            )
            .unwrap();
            let weight = QuantizedMatrix::new(format, n, k, stored.bytes()).unwrap();
            for la in [&rows, &columns] {
                let run_with = |epilogue, lo: &Layout, plain, threads| {
                    let linear = QuantizedLinear {
                        epilogue,
                        a: TensorRef::new(DType::F32, la, a.bytes()).unwrap(),
                        weight,
                        bias: Some(TensorRef::new(DType::F32, &bias, c.bytes()).unwrap()),
                    };
                    let mut out = Storage::zeroed(4 * lo.numel());
                    let mut view = TensorMut::new(DType::F32, lo, out.bytes_mut()).unwrap();
                    quantized_linear(&mut view, &linear, plain, &Threads::new(threads));
                    view.as_ref().to_vec::<f32>()
                };
                let run = |lo: &Layout, plain, threads| run_with(None, lo, plain, threads);
                let oracle = run(&plain_out, true, 1);
                let mut one = run(&plain_out, false, 1);
                assert_eq!(one, run(&plain_out, false, 3));
                assert_eq!(one, run(&transposed, false, 2));
                for (x, y) in oracle.iter().zip(&one) {
                    assert!(
                        (x - y).abs() < 127.0 * (4e-5 + 4e-6 * k as f32),
                        "{format:?} {m} {n} {k}: {x} {y}"
                    );
                }
                Function::Gelu.map(&mut one);
                assert_eq!(one, run_with(Some(Function::Gelu), &plain_out, false, 2));
                assert_eq!(one, run_with(Some(Function::Gelu), &transposed, false, 1));
            }
        }
    }
}

fn filled(n: usize, seed: usize) -> Storage {
    let mut storage = Storage::zeroed(4 * n);
    let data: &mut [f32] = bytemuck::cast_slice_mut(storage.bytes_mut());
    for (i, x) in data.iter_mut().enumerate() {
        *x = ((i * 31 + seed * 17) % 23) as f32 / 11.0 - 1.0;
    }
    storage
}

#[test]
fn the_fast_ways_agree_with_plain_loops_for_odd_sizes_and_strides() {
    let threads = Threads::new(2);
    for (m, n, k) in [
        (1, 1, 1),
        (1, 300, 65),
        (2, 5, 3),
        (17, 33, 63),
        (64, 7, 129),
        (1, 9, 0),
    ] {
        for transposed in [false, true] {
            let (a, b, c) = (filled(2 * m * k, 1), filled(k * n, 2), filled(n, 3));
            let la = Layout::contiguous(&[2, m, k]);
            let lb = match transposed {
                true => Layout::contiguous(&[n, k]).transpose(0, 1),
                false => Layout::contiguous(&[k, n]),
            };
            let lb = lb.expand(&[2, k, n]).unwrap();
            let lc = Layout::contiguous(&[n]).expand(&[2, m, n]).unwrap();
            let lo = Layout::contiguous(&[2, m, n]);
            let product = |epilogue| Product {
                epilogue,
                a: TensorRef::new(DType::F32, &la, a.bytes()).unwrap(),
                b: TensorRef::new(DType::F32, &lb, b.bytes()).unwrap(),
                bias: Some(TensorRef::new(DType::F32, &lc, c.bytes()).unwrap()),
                alpha: 1.0,
                beta: 1.0,
            };
            let run = |epilogue, plain| {
                let mut out = Storage::zeroed(4 * lo.numel());
                let mut view = TensorMut::new(DType::F32, &lo, out.bytes_mut()).unwrap();
                matmul(&mut view, &product(epilogue), plain, &threads);
                view.as_ref().to_vec::<f32>()
            };
            for plain in [true, false] {
                let mut one = run(None, plain);
                for (x, y) in run(None, true).iter().zip(&one) {
                    assert!((x - y).abs() < 1e-4, "{m} {n} {k}: {x} {y}");
                }
                Function::Silu.map(&mut one);
                assert_eq!(one, run(Some(Function::Silu), plain));
            }
        }
    }
}

/// The matrix in 16 bits, and those numbers widened.
fn halves<W: Element<Accumulator = f32>>(from: &Storage) -> [Storage; 2] {
    let from: &[f32] = bytemuck::cast_slice(from.bytes());
    let stored: Vec<W> = from.iter().map(|x| W::from_accumulator(x * 0.37)).collect();
    let widened: Vec<f32> = stored.iter().map(|x| x.widen()).collect();
    let bytes = [
        bytemuck::cast_slice(&stored),
        bytemuck::cast_slice(&widened),
    ];
    bytes.map(Storage::copy_of)
}

#[test]
fn a_right_side_in_16_bits_gives_the_bits_of_the_widened_one() {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 300, 65),
        (2, 63, 16),
        (3, 65, 15),
        (5, 129, 63),
        (8, 40, 129),
        (16, 9, 64),
        (40, 5, 77),
        (17, 33, 300),
        (101, 140, 531),
        (33, 16, 0),
    ] {
        for dtype in [DType::F16, DType::BF16] {
            let (a, b, c) = (filled(2 * m * k, 1), filled(k * n, 2), filled(n, 3));
            let [stored, widened] = match dtype {
                DType::F16 => halves::<f16>(&b),
                _ => halves::<bf16>(&b),
            };
            let la = Layout::contiguous(&[2, m, k]);
            let bias = Layout::contiguous(&[n]).expand(&[2, m, n]).unwrap();
            let lo = Layout::contiguous(&[2, m, n]);
            let as_stored = [
                Layout::contiguous(&[n, k]).transpose(0, 1),
                Layout::contiguous(&[k, n]),
            ];
            for lb in as_stored.map(|l| l.expand(&[2, k, n]).unwrap()) {
                let run = |dtype, b: &Storage, plain, threads, epilogue| {
                    let product = Product {
                        epilogue,
                        a: TensorRef::new(DType::F32, &la, a.bytes()).unwrap(),
                        b: TensorRef::new(dtype, &lb, b.bytes()).unwrap(),
                        bias: Some(TensorRef::new(DType::F32, &bias, c.bytes()).unwrap()),
                        alpha: 1.0,
                        beta: 1.0,
                    };
                    let mut out = Storage::zeroed(4 * lo.numel());
                    let mut view = TensorMut::new(DType::F32, &lo, out.bytes_mut()).unwrap();
                    matmul(&mut view, &product, plain, &Threads::new(threads));
                    out.bytes().to_vec()
                };
                for (plain, epilogue) in
                    [(true, None), (false, None), (false, Some(Function::Gelu))]
                {
                    let expected = run(DType::F32, &widened, plain, 1, epilogue);
                    let got = run(dtype, &stored, plain, 3, epilogue);
                    assert!(expected == got, "{dtype} {m} {n} {k}");
                }
            }
        }
    }
}

#[test]
fn products_of_many_rows_have_the_same_bits_for_any_layout_and_number_of_threads() {
    for (batches, m, n, k) in [
        (1, 113, 33, 300),
        // Several batches in a chunk; the last panel of rows is not full.
        (3, 125, 40, 77),
        // More than one chunk along the depth.
        (1, 120, 36, 2100),
        // Several pieces, more columns than one has.
        (1, 230, 1124, 9),
        // Several chunks of columns.
        (2, 115, 612, 2050),
    ] {
        let (a, b, c) = (
            filled(batches * m * k, 1),
            filled(n * k, 2),
            filled(batches * n, 3),
        );
        let lb = Layout::contiguous(&[n, k]).transpose(0, 1);
        let lb = lb.expand(&[batches, k, n]).unwrap();
        let bias = Layout::contiguous(&[batches, 1, n]);
        let bias = bias.expand(&[batches, m, n]).unwrap();
        let plain = Layout::contiguous(&[batches, m, n]);
        let transposed = Layout::contiguous(&[batches, n, m]).transpose(1, 2);
        // The columns of a group together, rows after one another in each group.
        let groups = Layout::contiguous(&[batches, n / 2, m, 2]).transpose(1, 2);
        let rows_of = |batch: usize| batch * m * k;
        let values: &[f32] = bytemuck::cast_slice(a.bytes());
        // The same left matrices, as columns.
        let mut columns = Storage::zeroed(4 * batches * m * k);
        let to: &mut [f32] = bytemuck::cast_slice_mut(columns.bytes_mut());
        for batch in 0..batches {
            for i in 0..m {
                for x in 0..k {
                    to[rows_of(batch) + x * m + i] = values[rows_of(batch) + i * k + x];
                }
            }
        }
        let as_rows = Layout::contiguous(&[batches, m, k]);
        let as_columns = Layout::contiguous(&[batches, k, m]).transpose(1, 2);
        let run = |(la, a): (&Layout, &Storage), lo: &Layout, slow, threads| {
            let product = Product {
                a: TensorRef::new(DType::F32, la, a.bytes()).unwrap(),
                b: TensorRef::new(DType::F32, &lb, b.bytes()).unwrap(),
                bias: Some(TensorRef::new(DType::F32, &bias, c.bytes()).unwrap()),
                alpha: 0.5,
                beta: 2.0,
                epilogue: Some(Function::Gelu),
            };
            let mut out = Storage::zeroed(4 * lo.numel());
            let mut view = TensorMut::new(DType::F32, lo, out.bytes_mut()).unwrap();
            matmul(&mut view, &product, slow, &Threads::new(threads));
            view.as_ref().to_vec::<f32>()
        };
        let expected = run((&as_rows, &a), &plain, false, 1);
        let oracle = run((&as_rows, &a), &plain, true, 1);
        for (x, y) in oracle.iter().zip(&expected) {
            let allowed = 1e-4 + 1e-6 * k as f32;
            assert!((x - y).abs() < allowed, "{m} {n} {k}: {x} {y}");
        }
        for left in [(&as_rows, &a), (&as_columns, &columns)] {
            for lo in [&plain, &transposed, &groups] {
                if lo == &groups && n % 2 == 1 {
                    continue;
                }
                for threads in [1, 3] {
                    let result = run(left, lo, false, threads);
                    assert!(result == expected, "{m} {n} {k}, {lo:?}, {threads} threads");
                }
            }
        }
    }
}
