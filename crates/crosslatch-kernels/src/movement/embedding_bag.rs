//! Bags of rows of a table: their sum, their mean, or the greatest of each column.
//!
//! The indices of all bags lie one behind the other, and offsets say where each bag begins. Beside
//! the bags there are the results that PyTorch has for gradients: the bag of each index, the number
//! of rows of each bag, and the row that each greatest element is from.

use crate::movement::fill::{Scalar, fill};
use crate::movement::indexing::{Integers, Negative, position};
use crate::{Element, KernelError, TensorMut, TensorRef, with_element};

/// What a bag becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bag {
    /// The sum of its rows.
    Sum,
    /// Their mean.
    Mean,
    /// The greatest of each column.
    Greatest,
}

/// Bags of rows.
pub struct EmbeddingBag<'a> {
    /// The table, `[n, d]`.
    pub table: TensorRef<'a>,
    /// The rows of all bags.
    pub indices: TensorRef<'a>,
    /// Where each bag begins among the indices, the first one at 0; perhaps also where the last one
    /// ends.
    pub offsets: TensorRef<'a>,
    /// A factor for each index.
    pub weights: Option<TensorRef<'a>>,
    /// A row that does not count.
    pub padding: Option<i64>,
    /// What a bag becomes.
    pub bag: Bag,
}

impl EmbeddingBag<'_> {
    /// Computes the bags, `[bags, d]`, and three results for gradients: for each index its bag, if
    /// asked for (`[indices]`, or empty); the number of rows of each bag, `[bags]`, of a sum 0; and
    /// of the greatest elements their rows, `[bags, d]`, or else the number of rows again.
    ///
    /// # Errors
    /// If an index is outside of the table, or the offsets are not in order.
    ///
    /// # Panics
    /// If shapes do not fit together.
    pub fn run(&self, outputs: &mut [TensorMut<'_>]) -> Result<(), KernelError> {
        let [out, of_index, sizes, greatest] = outputs else {
            unreachable!("{} results", outputs.len());
        };
        for other in [&mut *of_index, &mut *sizes, &mut *greatest] {
            fill(other, Scalar::Int(0));
        }
        with_element!(out.dtype(), T => {
            let table = self.table.data::<T>();
            for bag in 0..out.shape()[0] {
                let [start, end] = self.bounds(bag, out.shape()[0])?;
                let results = [&mut *out, &mut *of_index, &mut *sizes, &mut *greatest];
                self.one::<T>(table, bag, start..end, results)?;
            }
        });
        Ok(())
    }

    /// Where a bag begins and ends among the indices.
    fn bounds(&self, bag: usize, bags: usize) -> Result<[usize; 2], KernelError> {
        let (layout, offsets) = (self.offsets.layout(), Integers::of(&self.offsets));
        let count = self.indices.layout().numel();
        let at = |i: usize| match i < layout.shape[0] {
            true => usize::try_from(offsets.at(layout.offset + i * layout.strides[0])).ok(),
            false => Some(count),
        };
        match (at(bag), at(bag + 1)) {
            (Some(start), Some(end))
                if start <= end && end <= count && (bag > 0 || start == 0) && bag < bags =>
            {
                Ok([start, end])
            }
            _ => Err(KernelError::Assertion(format!(
                "the offsets of bags are not in order from 0 to at most {count}, the number of indices"
            ))),
        }
    }

    fn one<T: Element>(
        &self,
        table: &[T],
        bag: usize,
        members: std::ops::Range<usize>,
        [out, of_index, sizes, greatest]: [&mut TensorMut<'_>; 4],
    ) -> Result<(), KernelError> {
        let (rows, columns) = (self.table.shape()[0], self.table.shape()[1]);
        let (layout, indices) = (self.indices.layout(), Integers::of(&self.indices));
        let weights = self.weights.map(|w| (w, w.layout()));
        let mut count = 0;
        // The rows that count, and their factors.
        let member = |i: usize| {
            let index = indices.at(layout.offset + i * layout.strides[0]);
            let row = position(index, rows, Negative::Outside)?;
            let factor = weights.map_or(1.0, |(w, l)| {
                w.data::<T>()[l.offset + i * l.strides[0]].to_f64()
            });
            Ok::<_, KernelError>((self.padding != Some(index)).then_some((row, factor)))
        };
        for i in members.clone() {
            count += i64::from(member(i)?.is_some());
            set_integer(of_index, &[i], bag as i64);
        }
        let steps = self.table.layout();
        for column in 0..columns {
            let (mut sum, mut from) = (0.0, None);
            for i in members.clone() {
                let Some((row, factor)) = member(i)? else {
                    continue;
                };
                let at = steps.offset + row * steps.strides[0] + column * steps.strides[1];
                let x = table[at].to_f64();
                match self.bag {
                    Bag::Greatest if from.is_none() || x > sum || x.is_nan() => {
                        (sum, from) = (x, Some(row));
                    }
                    Bag::Greatest => {}
                    Bag::Sum | Bag::Mean => sum += x * factor,
                }
            }
            if self.bag == Bag::Mean && count > 0 {
                sum /= count as f64;
            }
            let to = out.layout();
            let at = to.offset + bag * to.strides[0] + column * to.strides[1];
            out.data::<T>()[at] = T::from_f64(sum);
            if let (Bag::Greatest, Some(row)) = (self.bag, from) {
                set_integer(greatest, &[bag, column], row as i64);
            }
        }
        if self.bag != Bag::Sum {
            set_integer(sizes, &[bag], count);
        }
        if self.bag == Bag::Mean {
            set_integer(greatest, &[bag], count);
        }
        Ok(())
    }
}

/// Sets an element of a tensor of integers, if it exists.
fn set_integer(to: &mut TensorMut<'_>, index: &[usize], value: i64) {
    let layout = to.layout();
    if index.iter().zip(&layout.shape).any(|(i, n)| i >= n) {
        return;
    }
    let offsets = index.iter().zip(&layout.strides).map(|(i, s)| i * s);
    let at = layout.offset + offsets.sum::<usize>();
    with_element!(to.dtype(), T => to.data::<T>()[at] = T::from_i64(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Layout, Storage};

    fn bags(bag: Bag, offsets: &[i64], padding: Option<i64>) -> Result<Vec<f32>, KernelError> {
        let (table, indices) = ([1f32, 10., 2., 20., 3., -30.], [0i64, 1, 2, 2]);
        let layouts = [&[3usize, 2][..], &[4], &[offsets.len()]].map(Layout::contiguous);
        let tensor = |dtype, i: usize, bytes| TensorRef::new(dtype, &layouts[i], bytes).unwrap();
        let call = EmbeddingBag {
            table: tensor(DType::F32, 0, bytemuck::cast_slice(&table)),
            indices: tensor(DType::I64, 1, bytemuck::cast_slice(&indices)),
            offsets: tensor(DType::I64, 2, bytemuck::cast_slice(offsets)),
            weights: None,
            padding,
            bag,
        };
        let shapes = [
            &[offsets.len(), 2][..],
            &[4],
            &[offsets.len()],
            &[offsets.len(), 2],
        ];
        let layouts = shapes.map(Layout::contiguous);
        let mut memory = [0; 4].map(|_| Storage::zeroed(256));
        let types = [DType::F32, DType::I64, DType::I64, DType::I64];
        let mut outputs: Vec<_> = memory
            .iter_mut()
            .zip(&layouts)
            .zip(types)
            .map(|((m, l), t)| TensorMut::new(t, l, m.bytes_mut()).unwrap())
            .collect();
        call.run(&mut outputs)?;
        Ok(outputs[0].as_ref().to_vec())
    }

    #[test]
    fn a_bag_is_the_sum_the_mean_or_the_greatest_of_its_rows() {
        let sums = bags(Bag::Sum, &[0, 2, 2], None).unwrap();
        assert_eq!(sums, [3., 30., 0., 0., 6., -60.]);
        let means = bags(Bag::Mean, &[0, 1], Some(2)).unwrap();
        assert_eq!(means, [1., 10., 2., 20.]);
        let greatest = bags(Bag::Greatest, &[0], None).unwrap();
        assert_eq!(greatest, [3., 20.]);
    }

    #[test]
    fn offsets_out_of_order_are_refused() {
        for offsets in [&[1, 2][..], &[0, 3, 2], &[0, 5], &[0, -1]] {
            assert!(bags(Bag::Sum, offsets, None).is_err(), "{offsets:?}");
        }
    }
}
