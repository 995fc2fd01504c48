//! The arena: one block of memory for everything that lives within a run.
//!
//! Each piece is wanted from its first use to its last. Pieces that are wanted at different times
//! may lie in the same place. The largest piece is placed first, and each goes to the lowest place
//! that is free for as long as it is wanted: simple, and within a few percent of the optimum for
//! graphs of neural networks.
//!
//! A tree over the first uses finds the placed pieces that are wanted at the same time, so that a
//! long program of short-lived values is planned in little more than linear time. Where more than
//! `MOST_NEIGHBOURS` pieces are wanted together, which no model comes near, a piece goes above all of
//! them instead of into the lowest gap.

/// A piece of memory that is wanted for a while.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Bytes.
    pub bytes: usize,
    /// First and last position at which it is used.
    pub span: (usize, usize),
}

/// Pieces start at multiples of a cache line, so that vector loads do not cross one.
const ALIGNMENT: usize = 64;

/// The most pieces between which a gap is searched for.
const MOST_NEIGHBOURS: usize = 1024;

/// Gives each piece its first byte; also returns the size of the arena. `None` if it overflows.
pub fn place(pieces: &[Piece]) -> Option<(Vec<usize>, usize)> {
    let mut order: Vec<usize> = (0..pieces.len()).filter(|&i| pieces[i].bytes > 0).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(pieces[i].bytes));
    let mut starts = vec![0; pieces.len()];
    let mut placed = Placed::none_of(pieces);
    let mut total = 0;
    let mut neighbours = Vec::new();
    for i in order {
        let piece = &pieces[i];
        let start = match placed.beside(piece.span, &mut neighbours) {
            true => {
                neighbours.sort_unstable_by_key(|&other| starts[other]);
                lowest_gap(piece.bytes, pieces, &starts, &neighbours)?
            }
            false => placed
                .tops
                .highest(piece.span)
                .checked_next_multiple_of(ALIGNMENT)?,
        };
        let end = start.checked_add(piece.bytes)?;
        starts[i] = start;
        total = total.max(end);
        placed.add(i, piece.span, end);
    }
    Some((starts, total))
}

/// The lowest place for this many bytes between these pieces, which are sorted by their places.
fn lowest_gap(
    bytes: usize,
    pieces: &[Piece],
    starts: &[usize],
    neighbours: &[usize],
) -> Option<usize> {
    let mut start = 0usize;
    for &other in neighbours {
        if start.checked_add(bytes)? <= starts[other] {
            break;
        }
        let end = starts[other] + pieces[other].bytes;
        start = start.max(end.checked_next_multiple_of(ALIGNMENT)?);
    }
    Some(start)
}

/// The pieces that have been placed.
struct Placed {
    /// All pieces, by their first use.
    by_first: Vec<usize>,
    /// The first uses in that order.
    firsts: Vec<usize>,
    /// For each piece, its rank in that order.
    rank: Vec<usize>,
    /// A tree over that order. A node holds the latest last use of the placed pieces below it, plus
    /// one, or 0 if none is placed. The second half of the vector are the leaves.
    last: Vec<usize>,
    tops: Tops,
}

impl Placed {
    fn none_of(pieces: &[Piece]) -> Placed {
        let mut by_first: Vec<usize> = (0..pieces.len()).collect();
        by_first.sort_by_key(|&i| pieces[i].span.0);
        let mut rank = vec![0; pieces.len()];
        for (at, &i) in by_first.iter().enumerate() {
            rank[i] = at;
        }
        let leaves = pieces.len().next_power_of_two();
        let end = pieces.iter().map(|p| p.span.1 + 1).max().unwrap_or(0);
        Placed {
            firsts: by_first.iter().map(|&i| pieces[i].span.0).collect(),
            by_first,
            rank,
            last: vec![0; 2 * leaves],
            tops: Tops::over(end),
        }
    }

    fn add(&mut self, piece: usize, span: (usize, usize), end: usize) {
        let mut node = self.last.len() / 2 + self.rank[piece];
        while node > 0 {
            self.last[node] = self.last[node].max(span.1 + 1);
            node /= 2;
        }
        self.tops.raise(span, end);
    }

    /// Collects the placed pieces that are wanted at the same time; false if there are too many.
    fn beside(&self, span: (usize, usize), found: &mut Vec<usize>) -> bool {
        found.clear();
        let before = self.firsts.partition_point(|first| *first <= span.1);
        let leaves = self.last.len() / 2;
        // Nodes to look at, with the first of their leaves and the number of leaves.
        let mut open = vec![(1, 0, leaves)];
        while let Some((node, first, count)) = open.pop() {
            if first >= before || self.last[node] <= span.0 {
                continue;
            }
            if count > 1 {
                let half = count / 2;
                open.push((2 * node + 1, first + half, half));
                open.push((2 * node, first, half));
                continue;
            }
            if found.len() == MOST_NEIGHBOURS {
                return false;
            }
            found.push(self.by_first[first]);
        }
        true
    }
}

/// For each position, the end of the highest piece that is wanted then.
struct Tops {
    /// Trees over the positions: the highest end that holds for all positions of a node, and the
    /// highest end of any position below it.
    all: Vec<usize>,
    any: Vec<usize>,
}

impl Tops {
    fn over(positions: usize) -> Tops {
        let leaves = positions.next_power_of_two();
        Tops {
            all: vec![0; 2 * leaves],
            any: vec![0; 2 * leaves],
        }
    }

    fn raise(&mut self, span: (usize, usize), end: usize) {
        self.visit(span, &mut |tops, node, whole| {
            tops.any[node] = tops.any[node].max(end);
            if whole {
                tops.all[node] = tops.all[node].max(end);
            }
        });
    }

    fn highest(&mut self, span: (usize, usize)) -> usize {
        let mut highest = 0;
        self.visit(span, &mut |tops, node, whole| {
            highest = highest.max(if whole {
                tops.any[node]
            } else {
                tops.all[node]
            });
        });
        highest
    }

    /// Visits the largest nodes that lie within the span, and the nodes above them.
    fn visit(&mut self, (from, to): (usize, usize), visit: &mut dyn FnMut(&mut Tops, usize, bool)) {
        let leaves = self.all.len() / 2;
        let mut open = vec![(1, 0, leaves)];
        while let Some((node, first, count)) = open.pop() {
            let last = first + count - 1;
            if first > to || last < from {
                continue;
            }
            let whole = from <= first && last <= to;
            visit(self, node, whole);
            if !whole {
                let half = count / 2;
                open.push((2 * node, first, half));
                open.push((2 * node + 1, first + half, half));
            }
        }
    }
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
    fn a_piece_goes_into_the_lowest_gap_and_above_all_where_too_many_are_wanted() {
        // The second piece ends before the fourth begins, and leaves a gap below the third.
        let four = [
            piece(300, 0, 9),
            piece(200, 0, 4),
            piece(100, 0, 9),
            piece(64, 5, 9),
        ];
        assert_eq!(place(&four).unwrap().0, [0, 320, 576, 320]);
        let many = vec![piece(64, 0, 9); MOST_NEIGHBOURS + 10];
        let (mut starts, total) = place(&many).unwrap();
        starts.sort_unstable();
        assert!(starts.iter().enumerate().all(|(i, start)| *start == 64 * i));
        assert_eq!(total, 64 * many.len());
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
        for round in 0..50 {
            let count = if round == 0 { 3 * MOST_NEIGHBOURS } else { 40 };
            let pieces: Vec<Piece> = (0..count)
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
