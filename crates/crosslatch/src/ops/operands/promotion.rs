//! Type promotion: the element type in which operands meet.
//!
//! PyTorch computes `a + b` in one type, which depends on more than the types of `a` and `b`: a
//! number, or a tensor without dimensions, adapts to a tensor with dimensions unless it is of a
//! higher kind (bool, integer, float). So `x * 2.5` is `f16` if `x` is, and `f32` if `x` is an
//! integer.

use crosslatch_kernels::DType;

use crate::ir::Number;

/// The promotion of two tensors of equal standing: a complex number wins over a float, a float over
/// an integer, an integer over `bool`; within a kind, the smallest type that holds both. The parts
/// of complex numbers are promoted with floats.
pub(in crate::ops) fn promote(a: DType, b: DType) -> DType {
    use DType::*;
    if a == b {
        return a;
    }
    if a.is_complex() || b.is_complex() {
        let parts = match (a.of_parts().is_float(), b.of_parts().is_float()) {
            (true, true) => promote(a.of_parts(), b.of_parts()),
            (true, false) => a.of_parts(),
            _ => b.of_parts(),
        };
        return parts.of_pairs().unwrap_or(C64);
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
        // Two floats or two integers of different sizes; U8 fits into all larger integers.
        _ if a.size() >= b.size() => a,
        _ => b,
    }
}

/// How much an operand counts when the common type is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ops) enum Standing {
    /// A tensor with dimensions.
    Tensor,
    /// A tensor without dimensions.
    Scalar,
    /// A number.
    Number,
}

/// The type of a number beside tensors.
pub(in crate::ops) fn number_type(number: Number) -> DType {
    match number {
        Number::Bool(_) => DType::Bool,
        Number::Int(_) => DType::I64,
        Number::Float(_) => DType::F32,
    }
}

/// The rank of a kind of types: bool, integers, floats, complex numbers.
fn kind(dtype: DType) -> u8 {
    match dtype {
        DType::Bool => 0,
        d if d.is_int() => 1,
        d if d.is_complex() => 3,
        _ => 2,
    }
}

/// The type that all operands are converted to; `f32` if there are none. Operands of one standing
/// are promoted ([`promote`]); those of a lower standing count only if they are of a higher kind.
pub(in crate::ops) fn common_type(operands: impl IntoIterator<Item = (Standing, DType)>) -> DType {
    let mut met = [None; 3];
    for (standing, dtype) in operands {
        let so_far = &mut met[standing as usize];
        *so_far = Some(so_far.map_or(dtype, |d| promote(d, dtype)));
    }
    let higher = |a: DType, b: DType| if kind(b) > kind(a) { b } else { a };
    met.into_iter()
        .flatten()
        .reduce(higher)
        .unwrap_or(DType::F32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of the types in the tables below.
    const TYPES: [(char, DType); 10] = [
        ('b', DType::Bool),
        ('u', DType::U8),
        ('i', DType::I8),
        ('s', DType::I16),
        ('w', DType::I32),
        ('l', DType::I64),
        ('h', DType::F16),
        ('g', DType::BF16),
        ('f', DType::F32),
        ('d', DType::F64),
    ];

    fn check(table: &str, standing: Standing) {
        let rows: Vec<&str> = table.split_whitespace().collect();
        for ((_, first), row) in TYPES.into_iter().zip(&rows) {
            for ((_, second), expected) in TYPES.into_iter().zip(row.chars()) {
                let both = [(Standing::Tensor, first), (standing, second)];
                let (name, _) = TYPES[TYPES.iter().position(|t| t.1 == common_type(both)).unwrap()];
                assert_eq!(name, expected, "{first} and {second} ({standing:?})");
            }
        }
    }

    #[test]
    fn tensors_meet_where_pytorch_has_them_meet() {
        // Made with `torch.result_type(torch.empty(1, dtype=row), torch.empty(1, dtype=column))`.
        check(
            "buiswlhgfd uusswlhgfd isiswlhgfd sssswlhgfd wwwwwlhgfd \
             llllllhgfd hhhhhhhffd ggggggfgfd fffffffffd dddddddddd",
            Standing::Tensor,
        );
    }

    #[test]
    fn a_tensor_without_dimensions_counts_by_its_kind() {
        // The same with `torch.empty((), dtype=column)`.
        check(
            "buiswlhgfd uuuuuuhgfd iiiiiihgfd sssssshgfd wwwwwwhgfd \
             llllllhgfd hhhhhhhhhh gggggggggg ffffffffff dddddddddd",
            Standing::Scalar,
        );
    }

    #[test]
    fn a_number_counts_by_its_kind() {
        // `torch.result_type(torch.empty(n, dtype=row), number)` for True, 1 and 1.0, where `n` is
        // a dimension or none.
        let numbers = [Number::Bool(true), Number::Int(1), Number::Float(1.0)];
        let expected = "blf uuf iif ssf wwf llf hhh ggg fff ddd";
        for ((_, dtype), row) in TYPES.into_iter().zip(expected.split_whitespace()) {
            for (number, expected) in numbers.into_iter().zip(row.chars()) {
                for standing in [Standing::Tensor, Standing::Scalar] {
                    let both = [(standing, dtype), (Standing::Number, number_type(number))];
                    let (_, right) = TYPES.into_iter().find(|t| t.0 == expected).unwrap();
                    assert_eq!(common_type(both), right, "{dtype} and {number:?}");
                }
            }
        }
        assert_eq!(common_type([(Standing::Number, DType::I64)]), DType::I64);
        assert_eq!(common_type([]), DType::F32);
    }
}
