//! How deep a program may be nested.

/// The deepest nesting that a file or a text may have: branches within branches, operations within
/// a size, lists within lists. No exporter comes near it, but a hostile file might, and code that
/// walks nested things is recursive: this bounds the stack that it needs.
pub const MAX_DEPTH: usize = 32;

/// Something is nested deeper than [`MAX_DEPTH`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("nested more than {MAX_DEPTH} deep")]
pub struct TooDeep;

impl TooDeep {
    /// Fails if `depth` levels are too many.
    pub fn check(depth: usize) -> Result<(), TooDeep> {
        match depth {
            0..=MAX_DEPTH => Ok(()),
            _ => Err(TooDeep),
        }
    }
}
