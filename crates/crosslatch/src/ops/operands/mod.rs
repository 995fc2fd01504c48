//! What lowerings share: the type that operands meet in, numbers and sizes that are checked, operands
//! under other layouts.

pub(super) mod promotion;
pub(super) mod range;
pub(super) mod relayout;
pub(super) mod sizes;
