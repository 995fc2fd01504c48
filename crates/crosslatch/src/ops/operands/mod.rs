//! What all lowerings share: the type that operands meet in, numbers and shapes that are checked,
//! operands under other layouts.

pub(super) mod layouts;
pub(super) mod promotion;
pub(super) mod range;
pub(super) mod shapes;
