//! The element type that two element types meet in.

use crosslatch_kernels::DType;

/// PyTorch's type promotion for two tensors of equal standing: a float wins over an integer, an
/// integer over `bool`; within a kind the smallest type that holds both.
pub(super) fn promote(a: DType, b: DType) -> DType {
    use DType::*;
    if a == b {
        return a;
    }
    match (a.is_float(), b.is_float()) {
        (true, false) => return a,
        (false, true) => return b,
        _ => {}
    }
    match (a, b) {
        (Bool, other) | (other, Bool) => other,
        (F16, BF16) | (BF16, F16) => F32,
        (U8, I8) | (I8, U8) => I16,
        // Left are floats by size and integers by size, where U8 fits into all but I8.
        _ if a.size() >= b.size() => a,
        _ => b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_meet_where_pytorch_has_them_meet() {
        for (a, b, both) in [
            (DType::Bool, DType::U8, DType::U8),
            (DType::U8, DType::I8, DType::I16),
            (DType::U8, DType::I16, DType::I16),
            (DType::I64, DType::F16, DType::F16),
            (DType::F16, DType::BF16, DType::F32),
            (DType::BF16, DType::F64, DType::F64),
            (DType::I8, DType::I32, DType::I32),
        ] {
            assert_eq!(promote(a, b), both);
            assert_eq!(promote(b, a), both);
        }
    }
}
