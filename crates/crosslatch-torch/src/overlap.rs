//! Whether the elements of a tensor, or two tensors, share memory.
//!
//! A cache whose elements share memory has no contents that a write could give it, and is refused.
//! A value that shares memory with the cache is copied elsewhere before the cache is written.

/// Whether two elements of a tensor have the same address.
///
/// Almost always the strides prove that there are none: taken from the smallest up, each is larger
/// than everything that the smaller ones can reach. Where that fails, the addresses are counted,
/// with one bit for each element that the tensor's memory has. Where they are too many to count,
/// as they can be only in a tensor without memory, the answer is that two may coincide.
pub fn within(sizes: &[i64], strides: &[i64]) -> bool {
    if sizes.contains(&0) {
        return false;
    }
    let mut axes = Axes::new(sizes, strides);
    axes.sort();
    let mut reach = 0_i64;
    let mut proved = true;
    for &(stride, size) in axes.iter() {
        if stride == 0 {
            return true;
        }
        proved &= stride > reach;
        match stride
            .checked_mul(size - 1)
            .and_then(|more| reach.checked_add(more))
        {
            Some(sum) => reach = sum,
            None => return true,
        }
    }
    if proved {
        return false;
    }
    if reach > COUNTED {
        return true;
    }
    let mut taken = vec![0_u64; reach as usize / 64 + 1];
    let mut index = [0_i64; MAX];
    loop {
        let address: i64 = axes
            .iter()
            .zip(index)
            .map(|(&(stride, _), i)| stride * i)
            .sum();
        let (word, bit) = (address as usize / 64, 1 << (address % 64));
        if taken[word] & bit != 0 {
            return true;
        }
        taken[word] |= bit;
        let Some(axis) = axes
            .iter()
            .zip(index)
            .position(|(&(_, size), i)| i + 1 < size)
        else {
            return false;
        };
        index[..axis].fill(0);
        index[axis] += 1;
    }
}

const MAX: usize = crate::tensor::MAX_RANK;

/// The largest offset up to which addresses are counted; the bits for that many take a gibibyte.
const COUNTED: i64 = 1 << 33;

/// The axes that have more than one element, as (stride, size).
struct Axes {
    axes: [(i64, i64); MAX],
    len: usize,
}

impl Axes {
    fn new(sizes: &[i64], strides: &[i64]) -> Self {
        let mut all = Self {
            axes: [(0, 0); MAX],
            len: 0,
        };
        for (&size, &stride) in sizes.iter().zip(strides).filter(|(s, _)| **s > 1) {
            all.axes[all.len] = (stride, size);
            all.len += 1;
        }
        all
    }

    fn sort(&mut self) {
        self.axes[..self.len].sort_unstable();
    }

    fn iter(&self) -> std::slice::Iter<'_, (i64, i64)> {
        self.axes[..self.len].iter()
    }
}

/// The bytes between a tensor's first element and the end of its last.
pub fn extent(sizes: &[i64], strides: &[i64], element: usize) -> usize {
    if sizes.contains(&0) {
        return 0;
    }
    let last: i64 = sizes.iter().zip(strides).map(|(n, s)| (n - 1) * s).sum();
    (last as usize + 1) * element
}

/// Whether two ranges of addresses have a byte in common.
pub fn between(a: usize, a_bytes: usize, b: usize, b_bytes: usize) -> bool {
    a < b + b_bytes && b < a + a_bytes && a_bytes > 0 && b_bytes > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_within_is_exact() {
        assert!(!within(&[2, 3, 4], &[12, 4, 1]));
        assert!(!within(&[2, 3, 4], &[1, 2, 6]));
        assert!(within(&[2, 3], &[0, 1]), "expanded");
        assert!(!within(&[1, 3], &[0, 1]), "expanded by one");
        assert!(within(&[3, 3], &[1, 1]), "windows");
        assert!(!within(&[2, 3], &[3, 2]), "interleaved: 0 2 4 3 5 7");
        assert!(within(&[3, 4], &[3, 2]), "interleaved and meeting at 6");
        assert!(!within(&[0, 3], &[0, 0]), "empty");
        assert!(
            within(&[3, 3], &[1 << 62, 1 << 62]),
            "beyond what can be counted"
        );
        assert!(
            within(&[3, 4], &[1 << 40, (1 << 40) - 1]),
            "too far apart to count"
        );
    }

    #[test]
    fn ranges_meet_or_touch() {
        assert_eq!(extent(&[2, 3], &[10, 2], 4), 60);
        assert!(between(0, 60, 59, 1));
        assert!(!between(0, 60, 60, 4));
        assert!(!between(8, 0, 0, 60));
    }
}
