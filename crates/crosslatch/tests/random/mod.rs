//! Pseudo-random tensors: a seed gives the same ones in every run.

use crosslatch::{DType, Tensor};

/// A generator of pseudo-random numbers.
pub struct Random(pub u64);

impl Random {
    /// The next number: 31 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    fn below(&mut self, range: u64, shape: &[usize]) -> Vec<u64> {
        let numel: usize = shape.iter().product();
        (0..numel).map(|_| self.next() % range).collect()
    }

    /// Floats are tenths from -1 to 1, so that some are zero. Integers are below `integers`, so
    /// that they are valid indices.
    pub fn tensor(&mut self, dtype: DType, shape: &[usize], integers: u64) -> Tensor {
        match dtype {
            DType::F32 => {
                let numbers = self.below(21, shape).into_iter();
                let data: Vec<f32> = numbers.map(|n| n as f32 / 10.0 - 1.0).collect();
                Tensor::from_slice(shape, &data).unwrap()
            }
            DType::F16 | DType::BF16 => {
                let numbers = self.below(21, shape).into_iter();
                let numbers = numbers.map(|n| n as f32 / 10.0 - 1.0);
                match dtype {
                    DType::F16 => {
                        let data: Vec<_> = numbers.map(half::f16::from_f32).collect();
                        Tensor::from_slice(shape, &data).unwrap()
                    }
                    _ => {
                        let data: Vec<_> = numbers.map(half::bf16::from_f32).collect();
                        Tensor::from_slice(shape, &data).unwrap()
                    }
                }
            }
            DType::I64 => {
                let numbers = self.below(integers, shape).into_iter();
                let data: Vec<i64> = numbers.map(|n| n as i64).collect();
                Tensor::from_slice(shape, &data).unwrap()
            }
            // Any byte: these are quantized numbers, not indices.
            DType::I8 | DType::U8 => {
                let numbers = self.below(256, shape).into_iter();
                let data: Vec<u8> = numbers.map(|n| n as u8).collect();
                Tensor::from_bytes(dtype, shape, &data).unwrap()
            }
            DType::Bool => {
                let numbers = self.below(2, shape).into_iter();
                let data: Vec<u8> = numbers.map(|n| n as u8).collect();
                Tensor::from_bytes(DType::Bool, shape, &data).unwrap()
            }
            other => panic!("no random tensors of type {other}"),
        }
    }
}
