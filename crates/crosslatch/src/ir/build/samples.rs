//! Sizes that depend on symbols, found by lowering at samples.
//!
//! Shape rules are written for known sizes. Where sizes depend on symbols, the builder applies a rule
//! at several values of the symbols and interpolates. A size of a result is assumed to be an affine
//! function of the symbols, `c0 + c1 * s1 + …`: one base sample and one more for each symbol determine
//! the coefficients, and a last sample, where all symbols differ from the base, checks them. A rule
//! that is not affine in the symbols is an error, not a wrong size.

use crosslatch_kernels::Dims;

use crate::ir::bind::Known;
use crate::ir::call::Number;
use crate::ir::graph::{Symbol, TensorType, ValueType};
use crate::ir::size::{Size, SizeOp};

/// Values of the symbols at which calls are lowered.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    symbols: Vec<Symbol>,
    /// For each sample, the values of the symbols: the base, one for each symbol, the check.
    points: Vec<Vec<i64>>,
}

impl Samples {
    /// Samples for these symbols. Without symbols there is one, of no values.
    pub fn of(symbols: Vec<Symbol>) -> Samples {
        // Sizes of 0 and 1 are avoided where that is possible: they may be broadcast.
        let at = |symbol: &Symbol, step: i64| {
            let low = symbol.min.max(2).min(symbol.max.unwrap_or(i64::MAX));
            let value = low.saturating_add(step);
            match symbol.max.is_some_and(|max| value > max) {
                true => low.saturating_sub(step).max(symbol.min),
                false => value,
            }
        };
        let base: Vec<i64> = symbols.iter().map(|s| at(s, 0)).collect();
        let mut points = vec![base.clone()];
        if !symbols.is_empty() {
            for (i, symbol) in symbols.iter().enumerate() {
                let mut point = base.clone();
                point[i] = at(symbol, 1);
                points.push(point);
            }
            points.push(symbols.iter().map(|s| at(s, 5)).collect());
        }
        Samples { symbols, points }
    }

    /// The symbols.
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// Number of samples.
    pub fn count(&self) -> usize {
        self.points.len()
    }

    /// The shape that these sizes are at each sample; the size that is none, if there is one.
    pub fn shapes<'s>(&self, sizes: &'s [Size]) -> Result<Vec<Dims>, &'s Size> {
        let shape = |point: &Vec<i64>| -> Result<Dims, &'s Size> {
            let lookup = |name: &str| {
                let i = self.symbols.iter().position(|symbol| symbol.name == name)?;
                point.get(i).copied()
            };
            let value = |size: &'s Size| {
                let value = size.eval(&lookup);
                value.and_then(|n| usize::try_from(n).ok()).ok_or(size)
            };
            sizes.iter().map(value).collect()
        };
        self.points.iter().map(shape).collect()
    }

    /// The type of a value from what is known of it at each sample; the dimension that is not affine,
    /// if there is one.
    pub fn value_type(&self, known: &[Known]) -> Result<ValueType, usize> {
        let (dtype, rank) = match &known[0] {
            Known::Number(Number::Int(_)) => return Ok(ValueType::Int),
            Known::Number(Number::Float(_)) => return Ok(ValueType::Float),
            Known::Number(Number::Bool(_)) => return Ok(ValueType::Bool),
            Known::Tensor(dtype, layout) => (*dtype, layout.rank()),
        };
        let size = |dim: usize| {
            let at = |known: &Known| match known {
                Known::Tensor(_, layout) => Some(*layout.shape.get(dim)? as i64),
                Known::Number(_) => None,
            };
            let values: Option<Vec<i64>> = known.iter().map(at).collect();
            values.and_then(|values| self.fit(&values)).ok_or(dim)
        };
        let sizes = (0..rank).map(size).collect::<Result<_, _>>()?;
        Ok(ValueType::Tensor(TensorType { dtype, sizes }))
    }

    /// The affine function of the symbols that has these values at the samples.
    fn fit(&self, values: &[i64]) -> Option<Size> {
        let base = &self.points[0];
        let mut constant = values[0];
        let mut coefficients = Vec::with_capacity(self.symbols.len());
        for i in 0..self.symbols.len() {
            let (rise, run) = (values[1 + i] - values[0], self.points[1 + i][i] - base[i]);
            // A symbol of one value only is a constant.
            let coefficient = if run == 0 { 0 } else { rise / run };
            if coefficient * run != rise {
                return None;
            }
            constant -= coefficient * base[i];
            coefficients.push(coefficient);
        }
        for (point, value) in self.points.iter().zip(values) {
            let terms = coefficients.iter().zip(point).map(|(c, s)| c * s);
            if constant + terms.sum::<i64>() != *value {
                return None;
            }
        }
        let terms = coefficients.iter().zip(&self.symbols);
        let terms = terms.filter(|(coefficient, _)| **coefficient != 0);
        let terms = terms.map(|(&coefficient, symbol)| {
            let symbol = Size::Symbol(symbol.name.clone());
            match coefficient {
                1 => symbol,
                _ => Size::Op(SizeOp::Mul, vec![Size::Const(coefficient), symbol]),
            }
        });
        let mut terms: Vec<Size> = terms.collect();
        if constant != 0 || terms.is_empty() {
            terms.push(Size::Const(constant));
        }
        match <[Size; 1]>::try_from(terms) {
            Ok([only]) => Some(only),
            Err(terms) => Some(Size::Op(SizeOp::Add, terms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crosslatch_kernels::{DType, Layout};

    fn symbol(name: &str, min: i64, max: Option<i64>) -> Symbol {
        let name = name.to_owned();
        Symbol { name, min, max }
    }

    fn sizes(samples: &Samples, shape: impl Fn(&[i64]) -> Vec<usize>) -> Result<String, usize> {
        let shapes = samples.points.iter().map(|point| shape(point));
        let layouts = shapes.map(|shape| Layout::contiguous(&shape));
        let known: Vec<Known> = layouts.map(|l| Known::Tensor(DType::F32, l)).collect();
        let ValueType::Tensor(ty) = samples.value_type(&known)? else {
            unreachable!("tensors have tensor types");
        };
        let sizes: Vec<String> = ty.sizes.iter().map(Size::to_string).collect();
        Ok(sizes.join(", "))
    }

    #[test]
    fn affine_sizes_are_found_and_others_are_refused() {
        let samples = Samples::of(vec![symbol("a", 1, Some(80)), symbol("b", 0, None)]);
        let n = |x: i64| x as usize;
        let affine = |p: &[i64]| vec![7, n(p[0]), n(p[1] + 1), n(2 * p[0] + p[1])];
        assert_eq!(sizes(&samples, affine).unwrap(), "7, a, b + 1, 2*a + b");
        assert_eq!(sizes(&samples, |p| vec![n(p[0] * p[1])]), Err(0));
        assert_eq!(sizes(&samples, |p| vec![3, n(p[0] / 2)]), Err(1));
    }

    #[test]
    fn symbols_of_narrow_ranges_stay_in_them() {
        for (min, max) in [(1, 1), (0, 1), (1, 2), (4, 6), (9, 9)] {
            let samples = Samples::of(vec![symbol("a", min, Some(max))]);
            let inside = |p: &Vec<i64>| (min..=max).contains(&p[0]);
            assert!(samples.points.iter().all(inside), "{:?}", samples.points);
        }
    }
}
