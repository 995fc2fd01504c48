//! `einsum`: products and sums written as an equation.
//!
//! Each label of the equation becomes a dimension that all operands have: first those of the result,
//! then those that are summed. An operand that lacks a label is broadcast along it; a label that an
//! operand has twice selects its diagonal. An equation of a batched matrix product is computed as
//! one, any other by plain loops; which of the two depends on the equation alone.

use crosslatch_kernels::matmul::{Product, contract, matmul};
use crosslatch_kernels::{DType, Dims, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::{view, view_mut};
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[op(
    "aten::einsum(str equation, Tensor[] tensors, *, int[]? path=None) -> Tensor",
    einsum,
)];

/// A label of a dimension: a letter, or one of those that `...` stands for, counted from the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Letter(u8),
    Ellipsis(usize),
}

/// An equation, applied to operands of known ranks.
struct Equation {
    operands: Vec<Vec<Label>>,
    result: Vec<Label>,
    /// Labels that are not in the result.
    summed: Vec<Label>,
}

impl Equation {
    fn parse(text: &str, ranks: &[usize]) -> Result<Equation, OpError> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (&text[..], None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != ranks.len() {
            return Err(OpError::new(format!(
                "`{text}` has {} operands, but {} are given",
                terms.len(),
                ranks.len()
            )));
        }
        let mut operands = Vec::new();
        let mut dots = 0;
        for (term, &rank) in terms.iter().zip(ranks) {
            let letters = term.replacen("...", "", 1).len();
            let hidden = rank.checked_sub(letters).ok_or_else(|| {
                OpError::new(format!(
                    "`{term}` has more labels than its operand has dimensions"
                ))
            })?;
            let labels = labels(term, hidden)?;
            if labels.len() != rank {
                return Err(OpError::new(format!(
                    "`{term}` does not label all {rank} dimensions of its operand"
                )));
            }
            dots = dots.max(labels.len() - letters);
            operands.push(labels);
        }
        let result = match right {
            Some(right) => labels(right, dots)?,
            None => implied(&operands, dots),
        };
        let mut summed = Vec::new();
        for label in operands.iter().flatten() {
            if !result.contains(label) && !summed.contains(label) {
                summed.push(*label);
            }
        }
        let twice = |i: usize| result[i + 1..].contains(&result[i]);
        let unknown = |label: &Label| !operands.iter().flatten().any(|l| l == label);
        if (0..result.len()).any(twice) || result.iter().any(unknown) {
            return Err(OpError::new(format!(
                "the result of `{text}` has a label twice, or a label that no operand has"
            )));
        }
        Ok(Equation {
            operands,
            result,
            summed,
        })
    }

    /// The labels as those of a batched product `[…, m, k]` times `[…, k, n]`, if it is one: at most
    /// one label is in the left operand only, one in the right only, and one is summed.
    fn as_product(&self) -> Option<ProductLabels> {
        let [left, right] = &self.operands[..] else {
            return None;
        };
        let only = |labels: Vec<Label>| match labels[..] {
            [] => Some(None),
            [label] => Some(Some(label)),
            _ => None,
        };
        let result = |wanted: [bool; 2]| -> Vec<Label> {
            let found = |l: &Label| [left.contains(l), right.contains(l)] == wanted;
            self.result.iter().copied().filter(found).collect()
        };
        let both = |l: &Label| left.contains(l) && right.contains(l);
        Some(ProductLabels {
            batch: result([true, true]),
            rows: only(result([true, false]))?,
            columns: only(result([false, true]))?,
            depth: only(self.summed.clone()).filter(|d| d.iter().all(both))?,
        })
    }
}

struct ProductLabels {
    batch: Vec<Label>,
    rows: Option<Label>,
    columns: Option<Label>,
    depth: Option<Label>,
}

/// The labels of a term in which `...` stands for `hidden` dimensions.
fn labels(term: &str, hidden: usize) -> Result<Vec<Label>, OpError> {
    let mut labels = Vec::new();
    let (before, after) = match term.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (term, None),
    };
    let letters = |part: &str, labels: &mut Vec<Label>| {
        for letter in part.bytes() {
            if !letter.is_ascii_alphabetic() {
                return Err(OpError::new(format!(
                    "`{term}` contains something other than labels"
                )));
            }
            labels.push(Label::Letter(letter));
        }
        Ok(())
    };
    letters(before, &mut labels)?;
    if let Some(after) = after {
        labels.extend((0..hidden).rev().map(Label::Ellipsis));
        letters(after, &mut labels)?;
    }
    Ok(labels)
}

/// The result where the equation does not say: what `...` stands for, then the letters that occur
/// once, in alphabetical order.
fn implied(operands: &[Vec<Label>], dots: usize) -> Vec<Label> {
    let count = |letter: u8| {
        let all = operands.iter().flatten();
        all.filter(|l| **l == Label::Letter(letter)).count()
    };
    let letters = (b'A'..=b'z').filter(|&letter| count(letter) == 1);
    let dots = (0..dots).rev().map(Label::Ellipsis);
    dots.chain(letters.map(Label::Letter)).collect()
}

fn einsum(call: &Call<'_>) -> Result<Lowering, OpError> {
    let tensors = call.tensors("tensors")?;
    let text = call
        .optional_str("equation")?
        .ok_or_else(|| OpError::new("argument `equation` is not given"))?;
    let ranks: Vec<usize> = tensors.iter().map(|t| t.rank()).collect();
    let equation = Equation::parse(text, &ranks)?;
    let Some(first) = tensors.first() else {
        return Err(OpError::new("there are no operands"));
    };
    if tensors.iter().any(|t| t.dtype != first.dtype) {
        return Err(OpError::new("the operands have different element types"));
    }
    let operands = || tensors.iter().copied().zip(&equation.operands);
    let size = |label: Label| size_of(label, operands());
    let sizes =
        |labels: &[Label]| -> Result<Dims, OpError> { labels.iter().map(|l| size(*l)).collect() };
    let shape = checked_shape(sizes(&equation.result)?)?;
    // A label that only one operand has is summed by itself, and sums of integers are `i64`.
    let is_alone = |label: &Label| {
        equation
            .operands
            .iter()
            .filter(|o| o.contains(label))
            .count()
            == 1
    };
    let dtype = match equation.summed.iter().any(is_alone) && !first.dtype.is_float() {
        true => DType::I64,
        false => first.dtype,
    };
    let indices: Vec<usize> = tensors.iter().map(|t| t.index).collect();
    let plain = call.plain();
    if let Some(product) = equation.as_product() {
        let with = |tail: [Option<Label>; 2]| {
            let batch = product.batch.iter().copied().map(Some);
            batch.chain(tail).collect::<Vec<_>>()
        };
        let wanted = [
            with([product.rows, product.depth]),
            with([product.depth, product.columns]),
        ];
        let mut layouts = Vec::new();
        for ((tensor, own), wanted) in operands().zip(&wanted) {
            layouts.push(arrange_operand(tensor, own, wanted, &size)?);
        }
        // The result of the program, with its dimensions in the order of the kernel's.
        let result = Layout::contiguous(&shape);
        let out = arrange_result(
            &result,
            &equation.result,
            &with([product.rows, product.columns]),
        );
        return Ok(Lowering::compute(
            dtype,
            &shape,
            move |o: &mut Operands<'_, '_>| {
                let product = Product {
                    a: view(&o.inputs[indices[0]], &layouts[0])?,
                    b: view(&o.inputs[indices[1]], &layouts[1])?,
                    bias: None,
                    alpha: 1.0,
                    epilogue: None,
                    beta: 0.0,
                };
                let mut product_out = view_mut(&mut o.outputs[0], &out)?;
                matmul(&mut product_out, &product, plain, o.threads);
                Ok(())
            },
        ));
    }
    let all: Vec<Option<Label>> = equation
        .result
        .iter()
        .chain(&equation.summed)
        .copied()
        .map(Some)
        .collect();
    let layouts = operands()
        .map(|(tensor, own)| arrange_operand(tensor, own, &all, &size))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Lowering::compute(
        dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let views = indices.iter().zip(&layouts);
            let views = views
                .map(|(i, layout)| view(&o.inputs[*i], layout))
                .collect::<Result<Vec<_>, _>>()?;
            contract(&mut o.outputs[0], &views);
            Ok(())
        },
    ))
}

/// The length of the dimensions with a label; an operand with length 1 is broadcast.
fn size_of<'a>(
    label: Label,
    operands: impl Iterator<Item = (&'a TensorArg, &'a Vec<Label>)>,
) -> Result<usize, OpError> {
    let mut size = 1;
    for (tensor, labels) in operands {
        for (d, _) in labels.iter().enumerate().filter(|(_, l)| **l == label) {
            match tensor.shape()[d] {
                1 => {}
                n if size == 1 || size == n => size = n,
                n => {
                    return Err(OpError::new(format!(
                        "dimensions with one label have lengths {size} and {n}"
                    )));
                }
            }
        }
    }
    Ok(size)
}

/// The layout of an operand with the wanted dimensions; `None` is one of length 1.
fn arrange_operand(
    tensor: &TensorArg,
    own: &[Label],
    wanted: &[Option<Label>],
    size: &impl Fn(Label) -> Result<usize, OpError>,
) -> Result<Layout, OpError> {
    let from = tensor.layout_from_start();
    let mut layout = Layout {
        shape: Dims::new(),
        strides: Dims::new(),
        offset: 0,
    };
    for label in wanted {
        let (mut length, mut stride) = (1, 0usize);
        if let Some(label) = label {
            length = size(*label)?;
            for (d, _) in own.iter().enumerate().filter(|(_, l)| *l == label) {
                if from.shape[d] != 1 {
                    stride = stride.saturating_add(from.strides[d]);
                }
            }
        }
        layout.shape.push(length);
        layout.strides.push(stride);
    }
    Ok(layout)
}

/// The layout of a result, whose dimensions have these labels, with the wanted dimensions.
fn arrange_result(layout: &Layout, labels: &[Label], wanted: &[Option<Label>]) -> Layout {
    let place = |label: &Option<Label>| labels.iter().position(|l| Some(*l) == *label);
    let dims = wanted.iter().map(|label| match place(label) {
        Some(d) => (layout.shape[d], layout.strides[d]),
        None => (1, 1),
    });
    let (shape, strides) = dims.unzip();
    Layout {
        shape,
        strides,
        offset: layout.offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(labels: &[Label]) -> String {
        let one = |l: &Label| match l {
            Label::Letter(c) => (*c as char).to_string(),
            Label::Ellipsis(i) => i.to_string(),
        };
        labels.iter().map(one).collect()
    }

    #[test]
    fn equations_say_what_is_kept_and_what_is_summed() {
        for (text, ranks, result, summed) in [
            ("ij,jk->ik", &[2, 2][..], "ik", "j"),
            ("ij, jk", &[2, 2], "ik", "j"),
            ("ba", &[2], "ab", ""),
            ("bA", &[2], "Ab", ""),
            ("ii", &[2], "", "i"),
            ("...ik,...j->ij", &[3, 1], "ij", "0k"),
            ("...ij,jk->...ik", &[4, 2], "10ik", "j"),
            ("a...,...b", &[3, 2], "10ab", ""),
        ] {
            let equation = Equation::parse(text, ranks).unwrap();
            assert_eq!(show(&equation.result), result, "{text}");
            assert_eq!(show(&equation.summed), summed, "{text}");
        }
    }

    #[test]
    fn malformed_equations_are_refused() {
        for (text, ranks) in [
            ("ij", &[1][..]),
            ("i", &[2]),
            ("i,j", &[1]),
            ("i->ii", &[1]),
            ("i->j", &[1]),
            ("i1->i", &[2]),
            ("......", &[2]),
        ] {
            assert!(Equation::parse(text, ranks).is_err(), "{text}");
        }
    }
}
