//! The arena: one block of memory for everything that lives within a run.
//!
//! Each piece is wanted from its first use to its last. Pieces that are wanted at different times
//! may lie in the same place. Largest first, each goes to the lowest place that is free for as
//! long as it is wanted: simple, and within a few percent of the best for graphs of neural nets.

/// A piece of memory that is wanted for a while.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Bytes.
    pub bytes: usize,
    /// First and last position at which it is used.
    pub span: (usize, usize),
}

/// Places start at multiples of this: what vector loads like.
const ALIGNMENT: usize = 64;

/// Gives each piece its first byte; also returns the size of the arena. `None` if it overflows.
pub fn place(pieces: &[Piece]) -> Option<(Vec<usize>, usize)> {
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(pieces[i].bytes));
    let mut starts = vec![0; pieces.len()];
    // Pieces that have their place, by that place.
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for i in order {
        let piece = pieces[i];
        let mut start = 0usize;
        for &other in &placed {
            let (o, other_start) = (&pieces[other], starts[other]);
            let together = o.span.0 <= piece.span.1 && piece.span.0 <= o.span.1;
            if !together || o.bytes == 0 {
                continue;
            }
            if start.checked_add(piece.bytes)? <= other_start {
                break;
            }
            start = start.max((other_start + o.bytes).checked_next_multiple_of(ALIGNMENT)?);
        }
        starts[i] = start;
        total = total.max(start.checked_add(piece.bytes)?);
        let at = placed.partition_point(|&p| starts[p] < start);
        placed.insert(at, i);
    }
    Some((starts, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(bytes: usize, from: usize, to: usize) -> Piece {
        Piece {
            bytes,
            span: (from, to),
        }
    }

    #[test]
    fn pieces_wanted_at_different_times_share_a_place() {
        let (starts, total) = place(&[piece(100, 0, 1), piece(100, 2, 3)]).unwrap();
        assert_eq!(starts, [0, 0]);
        assert_eq!(total, 100);
    }

    #[test]
    fn pieces_wanted_together_never_overlap() {
        let mut random = 12345u64;
        let mut next = |n: usize| {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (random >> 33) as usize % n
        };
        for _ in 0..50 {
            let pieces: Vec<Piece> = (0..40)
                .map(|_| {
                    let from = next(50);
                    piece(next(300), from, from + next(10))
                })
                .collect();
            let (starts, total) = place(&pieces).unwrap();
            for (i, a) in pieces.iter().enumerate() {
                assert!(starts[i] % ALIGNMENT == 0 && starts[i] + a.bytes <= total);
                for (j, b) in pieces.iter().enumerate().skip(i + 1) {
                    let together = a.span.0 <= b.span.1 && b.span.0 <= a.span.1;
                    let apart =
                        starts[i] + a.bytes <= starts[j] || starts[j] + b.bytes <= starts[i];
                    assert!(!together || apart || a.bytes == 0 || b.bytes == 0);
                }
            }
        }
    }
}
