//! Weights of several heads, made comparable and smooth.
//!
//! Some heads always look at one place whatever the token, and each is more or less certain by nature. So
//! each position of the sound is measured against what the other tokens give to it: the mean over tokens
//! is taken away, and what is left is divided by the deviation. A median over neighbouring positions then
//! removes single peaks, and the heads are averaged.
//!
//! Where all tokens give a position the same weight, nothing can be told from it: it becomes zero.
//! (transformers divides zero by zero there, and finds no path any more.)

/// The mean over the heads of their smoothed weights. Each head is `[tokens, positions]`, row by row, with
/// more than no tokens and positions.
pub(super) fn smooth(heads: &mut [Vec<f32>], shape: [usize; 2], filter: usize) -> Vec<f32> {
    let [tokens, positions] = shape;
    let mut sum = vec![0.0_f32; tokens * positions];
    let mut row = Vec::new();
    let count = heads.len() as f32;
    for head in heads {
        let head = &mut head[..tokens * positions];
        standardize(head, shape);
        for (from, to) in head
            .chunks_exact(positions)
            .zip(sum.chunks_exact_mut(positions))
        {
            median(from, filter, &mut row);
            for (sum, x) in to.iter_mut().zip(&row) {
                *sum += x;
            }
        }
    }
    for sum in &mut sum {
        *sum /= count;
    }
    sum
}

/// Subtracts from each weight the mean of its column, and divides by the column's deviation.
fn standardize(head: &mut [f32], [tokens, positions]: [usize; 2]) {
    let mut mean = vec![0.0_f64; positions];
    for row in head.chunks_exact(positions) {
        for (mean, &x) in mean.iter_mut().zip(row) {
            *mean += f64::from(x);
        }
    }
    for mean in &mut mean {
        *mean /= tokens as f64;
    }
    let mut variance = vec![0.0_f64; positions];
    for row in head.chunks_exact(positions) {
        for ((variance, mean), &x) in variance.iter_mut().zip(&mean).zip(row) {
            *variance += (f64::from(x) - mean).powi(2);
        }
    }
    let factor: Vec<f32> = variance
        .iter()
        .map(|variance| match (variance / tokens as f64).sqrt() as f32 {
            deviation if deviation > 0.0 => 1.0 / deviation,
            _ => 0.0,
        })
        .collect();
    let mean: Vec<f32> = mean.into_iter().map(|mean| mean as f32).collect();
    for row in head.chunks_exact_mut(positions) {
        for ((x, mean), factor) in row.iter_mut().zip(&mean).zip(&factor) {
            *x = (*x - mean) * factor;
        }
    }
}

/// The median of the `width` weights around each, `width` being odd. At the edges, weights are mirrored. A
/// row that is too short to be mirrored stays as it is.
fn median(row: &[f32], width: usize, out: &mut Vec<f32>) {
    let half = width / 2;
    out.clear();
    if row.len() <= half || half == 0 {
        out.extend_from_slice(row);
        return;
    }
    let last = row.len() - 1;
    let mirrored = |i: isize| {
        let i = i.unsigned_abs();
        row[if i > last { 2 * last - i } else { i }]
    };
    let edge = |at: usize| {
        let at = at as isize;
        let half = half as isize;
        let mut around: Vec<f32> = (at - half..=at + half).map(mirrored).collect();
        around.sort_unstable_by(f32::total_cmp);
        around[half as usize]
    };
    let inner = half..row.len().saturating_sub(half).max(half);
    out.extend((0..inner.start).map(edge));
    if width == SEVEN {
        medians_of_seven(row, out);
    }
    out.extend((out.len()..row.len()).map(edge));
}

/// Whisper's own width.
const SEVEN: usize = 7;
/// How many medians are computed side by side.
const LANES: usize = 16;
/// Pairs to put in order, after which the fourth of seven is their median.
const EXCHANGES: [(usize, usize); 13] = [
    (0, 5),
    (0, 3),
    (1, 6),
    (2, 4),
    (0, 1),
    (3, 5),
    (2, 6),
    (2, 3),
    (3, 6),
    (4, 5),
    (1, 4),
    (1, 3),
    (3, 4),
];

/// Appends the medians of seven in a row, as far as there are so many that they fill the lanes.
fn medians_of_seven(row: &[f32], out: &mut Vec<f32>) {
    let starts = (row.len() + 1).saturating_sub(SEVEN);
    for start in (0..starts / LANES).map(|block| block * LANES) {
        let mut around = [[0.0_f32; LANES]; SEVEN];
        for (k, lanes) in around.iter_mut().enumerate() {
            lanes.copy_from_slice(&row[start + k..][..LANES]);
        }
        for (a, b) in EXCHANGES {
            let (x, y) = (around[a], around[b]);
            // Without a thought for NaN, which the weights are not.
            around[a] = std::array::from_fn(|i| if x[i] < y[i] { x[i] } else { y[i] });
            around[b] = std::array::from_fn(|i| if x[i] < y[i] { y[i] } else { x[i] });
        }
        out.extend_from_slice(&around[SEVEN / 2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_that_sorting_gives() {
        // A generator of Lehmer's kind.
        let mut state = 1_u64;
        let mut next = move || {
            state = state * 48_271 % 2_147_483_647;
            (state % 9) as f32 - 4.0
        };
        for length in 1..60 {
            let row: Vec<f32> = (0..length).map(|_| next()).collect();
            for width in [1, 3, 5, 7, 9] {
                let half = width / 2;
                let mut out = Vec::new();
                median(&row, width, &mut out);
                if length <= half {
                    assert_eq!(out, row);
                    continue;
                }
                for (at, got) in out.iter().enumerate() {
                    let around = (0..width).map(|i| {
                        let i = (at + i) as isize - half as isize;
                        let i = i.unsigned_abs();
                        row[if i >= length { 2 * (length - 1) - i } else { i }]
                    });
                    let mut around: Vec<f32> = around.collect();
                    around.sort_by(f32::total_cmp);
                    assert_eq!(*got, around[half], "{row:?} at {at}, width {width}");
                }
                assert_eq!(out.len(), length);
            }
        }
    }

    #[test]
    fn a_position_that_tells_tokens_apart_counts_and_any_other_does_not() {
        let mut heads = vec![vec![0.25, 1.0, 0.25, 3.0], vec![0.0, 2.0, 0.0, 4.0]];
        let mean = smooth(&mut heads, [2, 2], 1);
        assert_eq!(mean, [0.0, -1.0, 0.0, 1.0]);
    }
}
