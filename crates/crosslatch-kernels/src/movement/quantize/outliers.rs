//! Which columns of a matrix are too large for the others to be rounded to integers beside them.
//!
//! A few rows tell: a column that matters is large in many rows. What is large is measured by the
//! mean of the row's other magnitudes. Where large weights are scattered over many columns, nothing
//! is kept apart; rows that lose most of their weights are noticed when they are rounded.

use crate::tensor::wide_columns::MOST_WIDE;

/// Rows that are looked at.
pub(super) const SAMPLED: usize = 32;

/// A weight so many times the mean of its row is an outlier. Rounding a row to 127 steps of it leaves
/// an error of 6 % in the others.
const LARGE: f32 = 32.0;

/// Part of the rows in which a column is an outlier.
const OFTEN: f32 = 0.25;

/// Counts in how many rows each column is an outlier.
pub(super) struct Outliers {
    counts: Vec<u32>,
    rows: u32,
}

impl Outliers {
    /// Of a matrix of so many columns.
    pub fn new(columns: usize) -> Outliers {
        Outliers {
            counts: vec![0; columns],
            rows: 0,
        }
    }

    /// Looks at a row.
    pub fn look(&mut self, row: &[f32]) {
        // The mean of what is not far above the mean, twice: first without what is far above all.
        let mut limit = f32::INFINITY;
        for _ in 0..3 {
            let below = |x: &&f32| x.abs() <= limit;
            let (sum, count) = row
                .iter()
                .filter(below)
                .fold((0f32, 0u32), |(sum, count), x| (sum + x.abs(), count + 1));
            limit = LARGE * sum / count.max(1) as f32;
        }
        for (count, x) in self.counts.iter_mut().zip(row) {
            *count += (x.abs() > limit) as u32;
        }
        self.rows += 1;
    }

    /// The columns to keep apart, in ascending order; none if there would be too many.
    pub fn columns(&self) -> Vec<u32> {
        let least = ((self.rows as f32 * OFTEN).ceil() as u32).max(1);
        let counts = (0..).zip(&self.counts);
        let often: Vec<u32> = counts
            .filter(|(_, n)| **n >= least)
            .map(|(k, _)| k)
            .collect();
        match often.len() <= MOST_WIDE {
            true => often,
            false => Vec::new(),
        }
    }
}
