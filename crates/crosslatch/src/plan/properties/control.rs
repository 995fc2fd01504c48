//! Random `cond`s and loops.

use std::cell::RefCell;

use crosslatch_kernels::{DType, Layout};

use super::generate::{Random, Statements};
use crate::ir::build::{BuildError, GraphBuilder};
use crate::ir::{Arg, ValueId};

/// The deepest nesting of `cond`s and loops.
const NESTING: usize = 2;

impl Statements<'_> {
    pub(super) fn cond(&mut self) -> Option<Vec<ValueId>> {
        if self.nesting == NESTING {
            return None;
        }
        let predicates = self.of_type(DType::Bool, |l| l.numel() == 1);
        let predicate = self.random.pick(&predicates)?;
        let mut operands = predicates;
        operands.extend(self.of_type(DType::I64, |_| true));
        for _ in 0..2 + self.random.below(3) {
            operands.push(self.float()?);
        }
        let sizes = [1 + self.random.below(4), 1 + self.random.below(4)];
        let seeds = [self.random.below(1 << 30), self.random.below(1 << 30)];
        let (wanted, nesting) = (1 + self.random.below(2), self.nesting + 1);
        let shapes = RefCell::new(Vec::new());
        let results = self.graph.cond(
            predicate,
            &operands,
            |graph, inputs| {
                let (mut random, pool) = block(graph, inputs, seeds[0], sizes[0], nesting);
                let plain = plain_floats(graph, &pool);
                let mut chosen = Vec::new();
                for _ in 0..wanted {
                    if let Some((value, shape)) = random.pick(&plain) {
                        chosen.push(own(graph, &mut random, value)?);
                        shapes.borrow_mut().push(shape);
                    }
                }
                Ok(chosen)
            },
            |graph, inputs| {
                let (mut random, pool) = block(graph, inputs, seeds[1], sizes[1], nesting);
                let mut chosen = Vec::new();
                for shape in shapes.borrow().iter() {
                    let mut fitting = plain_floats(graph, &pool);
                    fitting.retain(|(_, s)| s == shape);
                    chosen.push(match random.pick(&fitting) {
                        Some((value, _)) => own(graph, &mut random, value)?,
                        None => constant(graph, shape)?,
                    });
                }
                Ok(chosen)
            },
        );
        results.ok()
    }

    /// A loop: a few turns that are counted by the program, or one for each row of a tensor.
    pub(super) fn repeat(&mut self) -> Option<Vec<ValueId>> {
        if self.nesting == NESTING {
            return None;
        }
        let mut carried = Vec::new();
        for _ in 0..1 + self.random.below(3) {
            carried.push(self.float()?);
        }
        let mut operands = self.of_type(DType::Bool, |l| l.numel() == 1);
        operands.extend(self.of_type(DType::I64, |_| true));
        for _ in 0..1 + self.random.below(3) {
            operands.push(self.float()?);
        }
        match self.random.chance(50) {
            true => self.counted(carried, &operands),
            false => self.by_rows(&carried, &operands),
        }
    }

    fn counted(&mut self, mut carried: Vec<ValueId>, operands: &[ValueId]) -> Option<Vec<ValueId>> {
        let args = [
            ("size", Arg::from(&[1][..])),
            ("fill_value", Arg::from(0)),
            ("dtype", DType::I64.into()),
        ];
        let counter = self.graph.call("aten::full", &args).ok()?;
        let count = carried.len();
        carried.push(counter);
        let [of_head, of_body] = [self.random.below(3), 1 + self.random.below(4)];
        let seeds = [self.random.below(1 << 30), self.random.below(1 << 30)];
        // The most turns; some loops end earlier, by what a tensor contains.
        let turns = self.random.below(4) as i64;
        let by_contents = self.random.chance(40);
        let nesting = self.nesting + 1;
        let results = self.graph.while_loop(
            &carried,
            operands,
            |graph, inputs| {
                let pool = self::inputs(graph, inputs, count, seeds[0])?;
                let (mut random, pool) = block(graph, &pool, seeds[0], of_head, nesting);
                let counts = [("self", inputs[count].into()), ("other", Arg::from(turns))];
                let counts = graph.call("aten::lt.Scalar", &counts)?;
                let of_one = |v: &ValueId| {
                    let tensor = graph.tensor(*v);
                    tensor.is_some_and(|(d, l)| d == DType::Bool && l.shape[..] == [1])
                };
                let predicates: Vec<ValueId> = pool.iter().copied().filter(of_one).collect();
                match random.pick(&predicates) {
                    Some(other) if by_contents => {
                        let args = [("self", counts.into()), ("other", Arg::from(other))];
                        graph.call("aten::logical_and", &args)
                    }
                    _ => Ok(counts),
                }
            },
            |graph, inputs| {
                let pool = self::inputs(graph, inputs, count, seeds[1])?;
                let (mut random, pool) = block(graph, &pool, seeds[1], of_body, nesting);
                let mut returned = Vec::new();
                for input in &inputs[..count] {
                    returned.push(of_shape(graph, &mut random, &pool, *input)?);
                }
                let args = [("self", inputs[count].into()), ("other", Arg::from(1))];
                returned.push(graph.call("aten::add.Scalar", &args)?);
                Ok(returned)
            },
        );
        results.ok()
    }

    fn by_rows(&mut self, carried: &[ValueId], operands: &[ValueId]) -> Option<Vec<ValueId>> {
        let short = |l: &Layout| l.rank() > 0 && (1..=4).contains(&l.shape[0]);
        let tensors = self.of_type(DType::F32, short);
        let first = self.random.pick(&tensors)?;
        let mut rows = vec![first];
        let length = self.graph.tensor(first)?.1.shape[0];
        let alike = self.of_type(DType::F32, |l| l.shape.first() == Some(&length));
        rows.extend(self.random.pick(&alike).filter(|_| self.random.chance(40)));
        let (count, by_rows) = (carried.len(), rows.len());
        let (size, seed) = (1 + self.random.below(4), self.random.below(1 << 30));
        let nesting = self.nesting + 1;
        let results = self.graph.scan(carried, &rows, operands, |graph, inputs| {
            let pool = self::inputs(graph, inputs, count + by_rows, seed)?;
            let (mut random, pool) = block(graph, &pool, seed, size, nesting);
            let mut returned = Vec::new();
            for input in &inputs[..count] {
                returned.push(of_shape(graph, &mut random, &pool, *input)?);
            }
            for _ in 0..random.below(3) {
                returned.extend(random.pick(&plain_floats(graph, &pool)).map(|(v, _)| v));
            }
            Ok(returned)
        });
        results.ok()
    }
}

/// The inputs of a loop's region for its statements. The first, which are new at each turn, may not be
/// written: mostly clones stand for them.
fn inputs(
    graph: &mut GraphBuilder,
    inputs: &[ValueId],
    new: usize,
    seed: usize,
) -> Result<Vec<ValueId>, BuildError> {
    let mut pool = inputs.to_vec();
    if !seed.is_multiple_of(20) {
        for value in &mut pool[..new] {
            *value = graph.call("aten::clone", &[("self", (*value).into())])?;
        }
    }
    Ok(pool)
}

/// A value of the shape of another one, which is itself one of the candidates.
fn of_shape(
    graph: &GraphBuilder,
    random: &mut Random,
    pool: &[ValueId],
    like: ValueId,
) -> Result<ValueId, BuildError> {
    let shape = |v: ValueId| graph.tensor(v).map(|(d, l)| (d, l.shape.clone()));
    let candidates: Vec<ValueId> = pool
        .iter()
        .copied()
        .filter(|v| shape(*v) == shape(like))
        .collect();
    Ok(random.pick(&candidates).unwrap_or(like))
}

/// Adds the statements of a branch, and returns all values in it.
fn block(
    graph: &mut GraphBuilder,
    inputs: &[ValueId],
    seed: usize,
    size: usize,
    nesting: usize,
) -> (Random, Vec<ValueId>) {
    let mut statements = Statements {
        random: Random::new(seed as u64),
        graph,
        pool: inputs.to_vec(),
        nesting,
    };
    for _ in 0..size {
        statements.add();
    }
    (statements.random, statements.pool)
}

/// The contiguous float tensors and their shapes: both branches of a `cond` must return the same
/// strides.
fn plain_floats(graph: &GraphBuilder, pool: &[ValueId]) -> Vec<(ValueId, Vec<usize>)> {
    let plain = |v: &ValueId| match graph.tensor(*v)? {
        (DType::F32, l) if l.strides == Layout::contiguous(&l.shape).strides => {
            Some((*v, l.shape.to_vec()))
        }
        _ => None,
    };
    pool.iter().filter_map(plain).collect()
}

/// What a branch returns for a value: mostly a clone, because `torch.cond` asks for one and because
/// most programs whose branches return operands are refused.
fn own(
    graph: &mut GraphBuilder,
    random: &mut Random,
    value: ValueId,
) -> Result<ValueId, BuildError> {
    match random.chance(80) {
        true => graph.call("aten::clone", &[("self", value.into())]),
        false => Ok(value),
    }
}

fn constant(graph: &mut GraphBuilder, shape: &[usize]) -> Result<ValueId, BuildError> {
    let size: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    let args = [
        ("size", Arg::from(&size[..])),
        ("fill_value", 7.0.into()),
        ("dtype", DType::F32.into()),
    ];
    graph.call("aten::full", &args)
}
