//! Machines for which no loops are written: everything is compiled once, for the baseline.

use super::Features;

/// `CROSSLATCH_INSTRUCTIONS` has nothing to limit.
pub(super) const LIMITS: &[(&str, Features)] = &[];

/// No features are known.
pub(super) fn detect() -> Features {
    Features::NONE
}

/// The baseline is not fused.
pub(super) fn is_fused(_features: Features) -> bool {
    false
}

/// Makes a function that runs another one, `portable`, which has a parameter `const FUSED: bool`
/// and then, if there is one, the type parameter in brackets.
macro_rules! multiversion {
    ($(#[$attribute:meta])* $vis:vis fn $name:ident$([$type:ident: $bound:ident])?
     ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?, $portable:ident) => {
        $(#[$attribute])*
        #[inline]
        $vis fn $name$(<$type: $bound>)?($($arg: $ty),*) $(-> $ret)? {
            $portable::<false $(, $type)?>($($arg),*)
        }
    };
}
pub(crate) use multiversion;
