//! Made-up inputs, times and their quartiles.

use std::time::Instant;

use crosslatch::ir::graph::Symbol;

/// The smallest value of a symbolic size, but at least 1.
pub fn smallest(symbol: &Symbol) -> i64 {
    symbol.min.max(1)
}

/// Numbers between -1 and 1, without a pattern that could favour a kernel.
pub fn noise(len: usize) -> Vec<f32> {
    let hash = |i: u32| i.wrapping_add(1).wrapping_mul(2_654_435_761) >> 8;
    let unit = (1u32 << 23) as f32;
    (0..len as u32)
        .map(|i| hash(i) as f32 / unit - 1.0)
        .collect()
}

/// Milliseconds since a point in time.
pub fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Lower quartile, median and upper quartile; NaN if there are no times.
pub fn quartiles(times: &mut [f64]) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let position = part * (times.len().max(1) - 1) as f64;
        let [low, high] = [position.floor(), position.ceil()].map(|p| times.get(p as usize));
        let [low, high] = [low, high].map(|t| t.copied().unwrap_or(f64::NAN));
        low + (high - low) * position.fract()
    };
    [0.25, 0.5, 0.75].map(at)
}

/// Peak memory of the process, where the operating system tells it.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_their_neighbours() {
        assert_eq!(quartiles(&mut [4.0, 1.0, 3.0, 2.0, 5.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(&mut [2.0, 1.0]), [1.25, 1.5, 1.75]);
        assert!(quartiles(&mut [])[1].is_nan());
    }
}
