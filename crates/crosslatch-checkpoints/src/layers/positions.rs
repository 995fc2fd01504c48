//! Tables of positions that files leave out, because they are computed.
//!
//! A row holds sines in its first half and cosines in its second, of frequencies that fall from 1 to
//! about 1/10000. The two tables differ in how the frequencies are spaced and rounded.

/// The table of Marian and Pegasus, `[rows, width]`: frequencies in double precision, the last of
/// them above 1/10000.
pub fn halved_sines(rows: usize, width: usize) -> Vec<f32> {
    let angle = |row: usize, j: usize| {
        let power = 2.0 * (j / 2) as f64 / width as f64;
        row as f64 / 10000f64.powf(power)
    };
    let row = |row: usize| {
        let sines = (0..width)
            .step_by(2)
            .map(move |j| angle(row, j).sin() as f32);
        let cosines = (1..width)
            .step_by(2)
            .map(move |j| angle(row, j).cos() as f32);
        sines.chain(cosines)
    };
    (0..rows).flat_map(row).collect()
}

/// The table of M2M100, `[rows, width]`: frequencies in single precision, the last of them 1/10000; a
/// last column of zeros if the width is odd, and a row of zeros for padding.
pub fn counted_sines(rows: usize, width: usize, padding: usize) -> Vec<f32> {
    let half = width / 2;
    let step = -(10000f64.ln() / (half as f64 - 1.0)) as f32;
    let frequency = |j: usize| f64::from(j as f32 * step).exp() as f32;
    let frequencies: Vec<f32> = (0..half).map(frequency).collect();
    let mut table = vec![0.0; rows * width];
    for (row, values) in table.chunks_exact_mut(width).enumerate() {
        if row == padding {
            continue;
        }
        for (j, frequency) in frequencies.iter().enumerate() {
            let angle = f64::from(row as f32 * frequency);
            values[j] = angle.sin() as f32;
            values[half + j] = angle.cos() as f32;
        }
    }
    table
}
