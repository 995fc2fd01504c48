//! All loops are compared with the portable ones.

use super::*;
use crate::matmul::quantized::gemv::bf16::Bf16Weights;
use crate::matmul::quantized::gemv::int4::Int4Weights;
use crate::matmul::quantized::gemv::int8::Int8Weights;
use crate::runtime::instructions::{Feature, has};
use crate::simd::nibbles::unpack;
use crate::tensor::int4::{self, BLOCK_BYTES, GROUPS, Int4Rows};

fn numbers(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32)
        .map(|i| ((i ^ (seed << 20)).wrapping_mul(2654435761) >> 8) as f32 * 1.2e-7 - 1.0)
        .collect()
}

/// Lengths around blocks, and addresses that fit no vector.
fn lengths() -> impl Iterator<Item = (usize, usize)> {
    let lengths = [0, 1, 7, 15, 16, 17, 31, 63, 64, 65, 200, 513, CHUNK];
    lengths
        .into_iter()
        .flat_map(|n| (0..3).map(move |offset| (n, offset)))
}

fn prepared<D: WeightDots>(row: &[f32]) -> (Vec<D::Activation>, f32) {
    let mut to = vec![bytemuck::Zeroable::zeroed(); row.len().next_multiple_of(D::BLOCK)];
    let row_of = |data| Strided {
        data,
        row_stride: 1,
        column_stride: 1,
    };
    let scale = D::prepare(row_of(row), row.len(), &mut to);
    (to, scale)
}

fn every_loop_gives_the_same_bits<D: WeightDots>(n: usize, right: [D::Piece; 5]) {
    let x: [Vec<D::Activation>; 3] =
        std::array::from_fn(|r| prepared::<D>(&numbers(n, r as u32)).0);
    let left: [&[D::Activation]; 3] = std::array::from_fn(|r| &x[r][..]);
    let plain = D::dots::<false, 3, 5>(left, right, 0);
    let single = D::dots::<false, 1, 1>([left[2]], [right[3]], 0);
    assert_eq!(single[0][0].to_bits(), plain[2][3].to_bits());
    if has(Feature::Avx2) {
        // A single row has loops of its own.
        let [one] = D::dots::<true, 1, 5>([left[0]], right, 40);
        let [_, two, three] = D::dots::<true, 3, 5>(left, right, 40);
        let fast = [one, two, three];
        for (f, p) in fast.as_flattened().iter().zip(plain.as_flattened()) {
            let near = (f - p).abs() <= 1e-5 * (1.0 + n as f32);
            assert!(near || f.to_bits() == p.to_bits(), "{n}: {f} {p}");
        }
    }
}

/// Five rows of `n` stored elements, whose addresses fit no vector, one after the other.
fn stored<T>(n: usize, offset: usize, element: impl Fn(u32) -> T) -> Vec<T> {
    (0..(5 * n + offset) as u32)
        .map(|i| element(i * 7))
        .collect()
}

#[test]
fn bf16_loops_agree_at_odd_lengths_and_addresses() {
    for (n, offset) in lengths() {
        let element = |i| half::bf16::from_f32((i * 37 % 61) as f32 / 30.0 - 1.0).to_bits();
        let w = stored(n, offset, element);
        let rows = std::array::from_fn(|c| &w[offset + c * n..][..n]);
        every_loop_gives_the_same_bits::<Bf16Weights<'_>>(n, rows);
    }
    if !has(Feature::Avx2) {
        return;
    }
    // With fused multiply-adds, the bits are equal too.
    #[cfg(target_arch = "x86_64")]
    for (n, offset) in lengths() {
        #[target_feature(enable = "avx2,fma")]
        fn fused(x: &[f32], w: &[u16]) -> f32 {
            portable::bf16::<true, 1, 1>([x], [w], 0)[0][0]
        }
        let (x, _) = prepared::<Bf16Weights<'_>>(&numbers(n, 5));
        let w: Vec<u16> = numbers(n + offset, 9)
            .iter()
            .map(|w| half::bf16::from_f32(*w).to_bits())
            .collect();
        // SAFETY: the machine has AVX2 and FMA.
        let wanted = unsafe { fused(&x, &w[offset..]) }.to_bits();
        let fast = Bf16Weights::dots::<true, 1, 1>([&x], [&w[offset..]], 0)[0][0];
        let fast_too = Bf16Weights::dots::<true, 2, 1>([&x, &x], [&w[offset..]], 0)[1][0];
        assert_eq!([fast, fast_too].map(f32::to_bits), [wanted; 2]);
    }
}

#[test]
fn int8_loops_agree_in_every_bit_also_at_the_limits() {
    for (n, offset) in lengths() {
        let w = stored(n, offset, |i| (i * 37) as i8);
        let rows = std::array::from_fn(|c| &w[offset + c * n..][..n]);
        every_loop_gives_the_same_bits::<Int8Weights<'_>>(n, rows);
    }
    let (x, w) = (vec![-32767i16; CHUNK], vec![-127i8; CHUNK]);
    let exact = 32767.0 * 127.0 * CHUNK as f32;
    assert_eq!(
        portable::int8::<false, 1, 1>([&x[..]], [&w[..]], 0)[0][0],
        exact
    );
    if has(Feature::Avx2) {
        assert_eq!(Int8Weights::dots::<true, 1, 1>([&x], [&w], 0)[0][0], exact);
    }
}

#[test]
fn int4_loops_give_the_bits_of_the_int8_weights_that_are_looked_up() {
    for (n, offset) in lengths() {
        let blocks = 5 * int4::blocks(n);
        let bytes = |len: usize, seed: u32| -> Vec<u8> {
            let hashed = (0..len as u32).map(|i| (i ^ seed).wrapping_mul(2654435761) >> 11);
            hashed.map(|bits| bits as u8).collect()
        };
        let factors = bytes(blocks * GROUPS, 7);
        let indices = bytes(blocks * BLOCK_BYTES + offset, 8);
        let rows = Int4Rows::new(n, factors.as_chunks().0, indices[offset..].as_chunks().0);
        let weights = Int4Weights(rows);
        let right = std::array::from_fn(|c| weights.piece(c, 0, n));
        every_loop_gives_the_same_bits::<Int4Weights<'_>>(n, right);
        let (x, _) = prepared::<Int4Weights<'_>>(&numbers(n, 3));
        let (mut w, len) = (vec![0; n], n.next_multiple_of(BLOCK));
        unpack(&rows, 4, 0, &mut w);
        let wanted = portable::int8::<false, 1, 1>([&x[..len]], [&w], 0)[0][0].to_bits();
        let [[plain]] = Int4Weights::dots::<false, 1, 1>([&x], [right[4]], 0);
        assert_eq!(plain.to_bits(), wanted, "{n}");
        if has(Feature::Avx2) {
            let [[one]] = Int4Weights::dots::<true, 1, 1>([&x], [right[4]], 0);
            let [[_, two], _] = Int4Weights::dots::<true, 2, 2>([&x, &x], [right[0], right[4]], 0);
            assert_eq!([one, two].map(f32::to_bits), [wanted; 2], "{n}");
        }
    }
}
