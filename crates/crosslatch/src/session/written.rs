//! How far a slot of the state has been written.
//!
//! A self-attention cache has room for the longest text, and most texts are short. A kernel that
//! writes entries of a dimension says which ([`Kernel::entries_written`]); what lies behind them is
//! still what the file has, in every session of a model, and need not be copied from one to another.
//!
//! [`Kernel::entries_written`]: crosslatch_kernels::Kernel::entries_written

use crosslatch_kernels::Layout;
use crosslatch_kernels::kernel::Entries;

/// What of a slot may differ from its contents in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing.
    #[default]
    Nothing,
    /// The first entries of a dimension.
    Entries(Entries),
    /// All of it.
    All,
}

impl Written {
    /// What may differ if either of two has been written.
    pub fn or(self, other: Written) -> Written {
        match (self, other) {
            (Written::Nothing, some) | (some, Written::Nothing) => some,
            (Written::Entries(a), Written::Entries(b)) if a.dim == b.dim => {
                Written::Entries(Entries {
                    end: a.end.max(b.end),
                    ..a
                })
            }
            _ => Written::All,
        }
    }

    /// Copies that much of a slot of this shape, whose elements lie in order and without gaps.
    pub fn copy(self, shape: &[usize], from: &[u8], to: &mut [u8]) {
        let entries = match self {
            Written::Nothing => return,
            Written::Entries(entries) if entries.dim < shape.len() => entries,
            _ => return to.copy_from_slice(from),
        };
        let blocks: usize = shape[..entries.dim].iter().product();
        let (len, end) = (shape[entries.dim], entries.end.min(shape[entries.dim]));
        let block = from.len() / blocks.max(1);
        let part = block / len.max(1) * end;
        let blocks = to.chunks_mut(block.max(1)).zip(from.chunks(block.max(1)));
        for (to, from) in blocks.filter(|_| part > 0) {
            to[..part].copy_from_slice(&from[..part]);
        }
    }
}

/// Whether entries of a dimension of a slot are pieces of its memory in order.
pub(super) fn lies_in_order(layout: &Layout) -> bool {
    layout.is_contiguous() && layout.offset == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_entries_that_were_written_are_copied() {
        let shape = [2, 4, 3];
        let from: Vec<u8> = (1..=24).collect();
        let copied = |written: Written| {
            let mut to = [0; 24];
            written.copy(&shape, &from, &mut to);
            (0..24).filter(|i| to[*i] == from[*i]).collect::<Vec<_>>()
        };
        let entries = |dim, end| Written::Entries(Entries { dim, end });
        assert!(copied(Written::Nothing).is_empty());
        assert_eq!(copied(Written::All).len(), 24);
        assert_eq!(copied(entries(1, 1)), [0, 1, 2, 12, 13, 14]);
        assert_eq!(copied(entries(0, 1)), (0..12).collect::<Vec<_>>());
        assert_eq!(
            copied(entries(2, 1)),
            (0..24).step_by(3).collect::<Vec<_>>()
        );
        assert_eq!(copied(entries(1, 9)).len(), 24);
        assert_eq!(copied(entries(3, 1)).len(), 24);
        let both = entries(1, 1).or(entries(1, 3));
        assert_eq!(
            (both, entries(0, 1).or(entries(1, 1))),
            (entries(1, 3), Written::All)
        );
    }
}
