//! Large products of `f32`: by the microkernels for `f32`, or split into products of bf16.

use crate::Threads;
use crate::matmul::gemm::Gemm;
use crate::matmul::packing::Pack;
use crate::matmul::quantized::gemm::{QuantizedGemm, QuantizedRight};
use crate::matmul::result::ResultLayout;

/// Multiply-adds, and rows, columns and depth, from which a product is worth splitting into six.
const WORTH_SPLITTING: usize = 1 << 20;
const SHORTEST_SPLIT: usize = 32;

impl<R: Pack> Gemm<'_, R> {
    /// As [`run`](Gemm::run), the fastest way that this machine has for the product: large ones in
    /// three parts of bf16 where it multiplies those so fast
    /// ([`crate::matmul::quantized::gemm`]).
    pub fn run_best(&self, out: &mut [f32], layout: ResultLayout<'_>, threads: &Threads) {
        let [rows, columns] = layout.size();
        let depth = self.left.layout.shape[self.left.layout.rank() - 1];
        let is_large = rows * columns * depth >= WORTH_SPLITTING
            && rows.min(columns).min(depth) >= SHORTEST_SPLIT;
        let is_plain = self.alpha == 1.0 && (self.beta == 1.0 || self.bias.is_none());
        let split = QuantizedGemm {
            left: self.left,
            right: QuantizedRight::Split(self.right),
            bias: self.bias,
            epilogue: self.epilogue,
        };
        let is_done =
            is_large && is_plain && split.right.is_fast() && split.run(out, layout, threads);
        // What is not finite has no parts.
        if !is_done {
            self.run(out, layout, threads);
        }
    }
}
