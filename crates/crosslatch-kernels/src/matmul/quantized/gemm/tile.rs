//! What becomes of the sums of a tile: scaled, added to the bias or to what has been added up before,
//! and, after the last slice of the depth, given to the epilogue.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::QuantizedGemmPart;
use super::scheme::Scheme;
use crate::matmul::microkernel::short::WIDEST;

/// Rows of a tile that an epilogue is applied to at a time.
const EPILOGUE_ROWS: usize = 8;

/// What the sums of a strip are corrected by.
pub(super) struct Factors<S: Scheme> {
    factors: [f32; WIDEST],
    offsets: [S::Sum; WIDEST],
}

impl<S: Scheme> Factors<S> {
    #[inline(always)]
    pub fn of(scheme: &S, columns: Range<usize>, strip: &[u32]) -> Factors<S> {
        let mut factors = [1f32; WIDEST];
        if let Some(given) = scheme.factors(columns) {
            factors[..given.len()].copy_from_slice(given);
        }
        Factors {
            factors,
            offsets: scheme.offsets(strip),
        }
    }
}

/// The sums of a tile over a slice of the depth.
pub(super) struct TileSums<'a, S: Scheme> {
    pub sums: &'a [S::Sum],
    /// Factor of each row.
    pub scales: &'a [f32],
    pub factors: &'a Factors<S>,
    /// Whether nothing has been added up before.
    pub is_first: bool,
    /// Whether nothing will be added up after.
    pub is_last: bool,
}

impl<S: Scheme> QuantizedGemmPart<'_, S> {
    /// Adds the sums of a tile of `WIDTH` columns to the result. After the last slice the epilogue
    /// is applied, to a few rows at a time.
    #[inline(always)]
    pub fn store<const WIDTH: usize>(
        &self,
        sums: &TileSums<'_, S>,
        first: usize,
        columns: Range<usize>,
    ) {
        let rows = first..first + sums.scales.len();
        let Some(function) = self.epilogue.filter(|_| sums.is_last) else {
            for i in rows {
                let values = self.values::<WIDTH>(sums, i - first, i, columns.clone());
                self.check(&values, sums.is_last);
                self.put(i, columns.clone(), values);
            }
            return;
        };
        let mut results = [[0f32; WIDTH]; EPILOGUE_ROWS];
        for start in rows.clone().step_by(EPILOGUE_ROWS) {
            let rows = start..rows.end.min(start + EPILOGUE_ROWS);
            let results = &mut results[..rows.len()];
            for (i, to) in rows.clone().zip(&mut *results) {
                *to = self.values::<WIDTH>(sums, i - first, i, columns.clone());
                self.check(to, true);
            }
            function.map(results.as_flattened_mut());
            for (i, values) in rows.zip(results) {
                self.put(i, columns.clone(), *values);
            }
        }
    }

    /// Notes whether results are finite, if that matters.
    #[inline(always)]
    fn check<const WIDTH: usize>(&self, values: &[f32; WIDTH], is_last: bool) {
        // Without the sign, what is not finite has the greatest bits.
        let magnitudes = values.iter().map(|x| x.to_bits() & 0x7fff_ffff);
        if S::IS_CHECKED && is_last && magnitudes.fold(0, u32::max) >= f32::INFINITY.to_bits() {
            self.is_finite.store(false, Ordering::Relaxed);
        }
    }

    /// Whether columns are a strip whose elements lie together in the result.
    #[inline(always)]
    fn is_whole<const WIDTH: usize>(&self, columns: &Range<usize>) -> bool {
        columns.len() == WIDTH && self.result.is_contiguous(columns.start, WIDTH)
    }

    /// The sums of row `r` of a tile, scaled and added to row `i` of the result, the first ones to
    /// the bias.
    #[inline(always)]
    fn values<const WIDTH: usize>(
        &self,
        sums: &TileSums<'_, S>,
        r: usize,
        i: usize,
        columns: Range<usize>,
    ) -> [f32; WIDTH] {
        let row = &sums.sums.as_chunks::<WIDTH>().0[r];
        let scale = sums.scales[r];
        let mut values = [0f32; WIDTH];
        for j in 0..WIDTH {
            let factor = scale * sums.factors.factors[j];
            values[j] = S::scaled(row[j], sums.factors.offsets[j], factor);
        }
        let Some(addend) = self.addend::<WIDTH>(sums.is_first, i, columns) else {
            return values;
        };
        for j in 0..WIDTH {
            values[j] += addend[j];
        }
        values
    }

    /// What is added to the sums of a slice: the bias, or what has been added up before.
    #[inline(always)]
    fn addend<const WIDTH: usize>(
        &self,
        is_first: bool,
        i: usize,
        columns: Range<usize>,
    ) -> Option<[f32; WIDTH]> {
        let mut addend = [0f32; WIDTH];
        if is_first {
            let bias = self.bias?.from(i, columns.start);
            let chunk = bias.data.first_chunk::<WIDTH>();
            if let Some(chunk) = chunk.filter(|_| bias.column_stride == 1) {
                return Some(*chunk);
            }
            for (j, x) in addend.iter_mut().enumerate().take(columns.len()) {
                *x = bias.data[j * bias.column_stride];
            }
        } else if self.is_whole::<WIDTH>(&columns) {
            // SAFETY: tasks have different batches, rows or columns, the layout does not overlap
            // itself, and one slice is borrowed at a time.
            let so_far = unsafe {
                self.out
                    .slice(self.result.position(i, columns.start), WIDTH)
            };
            return so_far.first_chunk::<WIDTH>().copied();
        } else {
            for (j, x) in columns.zip(&mut addend) {
                // SAFETY: as above.
                *x = unsafe { self.out.slice(self.result.position(i, j), 1) }[0];
            }
        }
        Some(addend)
    }

    /// Writes a row of a tile to row `i` of the result.
    #[inline(always)]
    fn put<const WIDTH: usize>(&self, i: usize, columns: Range<usize>, values: [f32; WIDTH]) {
        if self.is_whole::<WIDTH>(&columns) {
            // SAFETY: as in `values`.
            let to = unsafe {
                self.out
                    .slice(self.result.position(i, columns.start), WIDTH)
            };
            // An array, unlike a slice, is stored from registers.
            if let Some(to) = to.first_chunk_mut::<WIDTH>() {
                *to = values;
            }
            return;
        }
        for (j, x) in columns.zip(values) {
            // SAFETY: as in `values`.
            let to = unsafe { self.out.slice(self.result.position(i, j), 1) };
            to[0] = x;
        }
    }
}
