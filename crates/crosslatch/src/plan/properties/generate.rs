//! Random programs over a few caches: views, in-place writes, functional updates, both custom
//! operators, nested `cond`s and loops (`control.rs`), and stores to state.
//!
//! The seed and the number of statements determine a program. Every statement takes its operands
//! from all values before it, so that aliases of aliases and writes through views of views are
//! common.

use crosslatch_kernels::{DType, Layout};

use crate::Tensor;
use crate::ir::build::{GraphBuilder, ProgramBuilder};
use crate::ir::{Arg, Catalogue, Program, Size, TensorType, ValueId};

/// Shape of the caches: batch, heads, positions, channels.
const CACHE: [usize; 4] = [1, 2, 3, 2];

/// A linear congruential generator with Knuth's constants.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d);
        random.below(2);
        random
    }

    /// A number from 0 to `n - 1`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        let (a, c) = (6_364_136_223_846_793_005, 1_442_695_040_888_963_407);
        self.0 = self.0.wrapping_mul(a).wrapping_add(c);
        (self.0 >> 33) as usize % n.max(1)
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len())).cloned()
    }

    /// A tensor of small whole numbers; integers are valid positions in a cache.
    pub fn tensor(&mut self, ty: &TensorType) -> Tensor {
        let size = |s: &Size| s.constant().unwrap() as usize;
        let shape: Vec<usize> = ty.sizes.iter().map(size).collect();
        let numel: usize = shape.iter().product();
        let mut numbers = |n: usize| -> Vec<usize> { (0..numel).map(|_| self.below(n)).collect() };
        let tensor = match ty.dtype {
            DType::Bool => {
                let bytes: Vec<u8> = numbers(2).into_iter().map(|n| n as u8).collect();
                Tensor::from_bytes(DType::Bool, &shape, &bytes)
            }
            DType::I64 => {
                let data: Vec<i64> = numbers(2).into_iter().map(|n| n as i64).collect();
                Tensor::from_slice(&shape, &data)
            }
            _ => {
                let data: Vec<f32> = numbers(64).into_iter().map(|n| n as f32 - 31.0).collect();
                Tensor::from_slice(&shape, &data)
            }
        };
        tensor.unwrap()
    }
}

/// The program with this seed and this number of statements.
pub fn program(seed: u64, size: usize) -> Program {
    let mut random = Random::new(seed);
    let mut builder = ProgramBuilder::new("random", Catalogue::builtin());
    let mut pool = Vec::new();
    for i in 0..1 + random.below(3) {
        pool.push(builder.state(&format!("state{i}"), DType::F32, &CACHE));
    }
    let states = pool.clone();
    pool.push(builder.weight("weight", DType::F32, &CACHE));
    pool.push(builder.input("x", DType::F32, &CACHE));
    let [mut short, mut flat] = [CACHE, CACHE];
    (short[2], flat[2]) = (2, 1);
    pool.push(builder.input("short", DType::F32, &short));
    pool.push(builder.input("one", DType::F32, &flat));
    pool.push(builder.input("at", DType::I64, &[2]));
    pool.push(builder.input("p", DType::Bool, &[1]));
    pool.push(builder.input("q", DType::Bool, &[]));
    let mut statements = Statements {
        random,
        graph: &mut builder.graph,
        pool,
        nesting: 0,
    };
    for _ in 0..size {
        statements.add();
    }
    let Statements {
        mut random, pool, ..
    } = statements;
    for i in 0..1 + random.below(3) {
        // Later values have more history behind them.
        let recent = &pool[pool.len() / 2..];
        let from = if random.chance(70) { recent } else { &pool[..] };
        let value = random.pick(from).unwrap();
        builder.output(&format!("out{i}"), value);
    }
    for &state in &states {
        let fits = |v: &ValueId| {
            let tensor = builder.graph.tensor(*v);
            tensor.is_some_and(|(d, l)| d == DType::F32 && l.shape[..] == CACHE)
        };
        let candidates: Vec<ValueId> = pool.iter().copied().filter(fits).collect();
        if random.chance(40)
            && let Some(value) = random.pick(&candidates)
        {
            builder.store(state, value).unwrap();
        }
    }
    builder.finish().unwrap()
}

pub(super) struct Statements<'g> {
    pub random: Random,
    pub graph: &'g mut GraphBuilder,
    pub pool: Vec<ValueId>,
    pub nesting: usize,
}

impl Statements<'_> {
    /// Adds a statement, or nothing if the one that was drawn is not valid.
    pub(super) fn add(&mut self) {
        let results = match self.random.below(21) {
            0 => self.unary(),
            1 | 2 => self.binary("aten::add.Tensor"),
            3..=5 => self.view(),
            6 => self.binary("aten::add_.Tensor"),
            7 => self.binary("aten::copy_"),
            8 => self.write(),
            9 => self.index_copy("aten::index_copy"),
            10 => self.index_copy("aten::index_copy_"),
            11 => self.scatter(),
            12 => self.clone(),
            13 | 14 => self.update(),
            15 => self.alias(),
            16 => self.predicate(),
            17 => self.repeat(),
            _ => self.cond(),
        };
        self.pool.extend(results.unwrap_or_default());
    }

    fn call(&mut self, operator: &str, args: &[(&str, Arg)]) -> Option<Vec<ValueId>> {
        self.graph.call_all(operator, args).ok()
    }

    pub(super) fn of_type(&self, dtype: DType, fits: impl Fn(&Layout) -> bool) -> Vec<ValueId> {
        let fits = |v: &ValueId| {
            self.graph
                .tensor(*v)
                .is_some_and(|(d, l)| d == dtype && fits(l))
        };
        self.pool.iter().copied().filter(fits).collect()
    }

    pub(super) fn float(&mut self) -> Option<ValueId> {
        let values = self.of_type(DType::F32, |_| true);
        self.random.pick(&values)
    }

    /// A tensor to write to. In most of them no two elements share memory; a program that writes to
    /// one of the others is refused.
    fn target(&mut self) -> Option<ValueId> {
        let any = self.random.chance(20);
        let values = self.of_type(DType::F32, |l| any || !l.overlaps_itself());
        self.random.pick(&values)
    }

    fn shape(&self, value: ValueId) -> Vec<usize> {
        let tensor = self.graph.tensor(value);
        tensor.map_or(Vec::new(), |(_, layout)| layout.shape.to_vec())
    }

    fn like(&mut self, value: ValueId) -> Option<ValueId> {
        let shape = self.shape(value);
        let values = self.of_type(DType::F32, |l| l.shape[..] == shape[..]);
        self.random.pick(&values)
    }

    fn unary(&mut self) -> Option<Vec<ValueId>> {
        let x = self.float()?;
        match self.random.below(3) {
            0 => self.call("aten::neg", &[("self", x.into())]),
            1 => self.call("aten::relu", &[("self", x.into())]),
            _ => self.call(
                "aten::mul.Scalar",
                &[("self", x.into()), ("other", 0.5.into())],
            ),
        }
    }

    fn binary(&mut self, operator: &str) -> Option<Vec<ValueId>> {
        let x = self.target()?;
        let y = self.like(x)?;
        let second = if operator == "aten::copy_" {
            "src"
        } else {
            "other"
        };
        self.call(operator, &[("self", x.into()), (second, y.into())])
    }

    fn write(&mut self) -> Option<Vec<ValueId>> {
        let x = self.target()?;
        match self.random.below(3) {
            0 => self.call(
                "aten::fill_.Scalar",
                &[("self", x.into()), ("value", 3.0.into())],
            ),
            1 => self.call(
                "aten::mul_.Scalar",
                &[("self", x.into()), ("other", 2.0.into())],
            ),
            _ => self.call("aten::relu_", &[("self", x.into())]),
        }
    }

    fn clone(&mut self) -> Option<Vec<ValueId>> {
        let x = self.float()?;
        self.call("aten::clone", &[("self", x.into())])
    }

    fn view(&mut self) -> Option<Vec<ValueId>> {
        let x = self.float()?;
        let shape = self.shape(x);
        let dim = self.random.below(shape.len());
        let other = self.random.below(shape.len());
        let size = shape.get(dim).copied().unwrap_or(1);
        let at = self.random.below(size) as i64;
        let (d, s) = (("dim", Arg::from(dim as i64)), ("self", Arg::from(x)));
        match self.random.below(9) {
            0 => self.call(
                "aten::transpose.int",
                &[
                    s,
                    ("dim0", (dim as i64).into()),
                    ("dim1", (other as i64).into()),
                ],
            ),
            1 => {
                let end = at + 1 + self.random.below(size - at as usize) as i64;
                self.call(
                    "aten::slice.Tensor",
                    &[s, d, ("start", at.into()), ("end", end.into())],
                )
            }
            2 => self.call("aten::select.int", &[s, d, ("index", at.into())]),
            3 if shape.len() < 5 => self.call("aten::unsqueeze", &[s, d]),
            4 => {
                let numel: usize = shape.iter().product();
                self.call("aten::view", &[s, ("size", Arg::from(&[numel as i64][..]))])
            }
            5 if shape.len() < 5 && size > 1 => {
                let window = 1 + self.random.below(size) as i64;
                let step = 1 + self.random.below(2) as i64;
                let of = ("dimension", Arg::from(dim as i64));
                let args = [s, of, ("size", window.into()), ("step", step.into())];
                self.call("aten::unfold", &args)
            }
            6 => self.windows(x),
            _ => {
                // A view of a size that no memory holds, which itself takes none; rarely.
                let huge = self.random.chance(6);
                let wanted: Vec<i64> = shape
                    .iter()
                    .map(|&n| match n {
                        1 if huge => 1 << (10 + self.random.below(30)),
                        1 if self.random.chance(50) => 2,
                        n => n as i64,
                    })
                    .collect();
                self.call("aten::expand", &[s, ("size", Arg::from(&wanted[..]))])
            }
        }
    }

    /// A view with arbitrary strides: its rows lie apart, touch or overlap. It may reach outside
    /// the tensor, which is refused when it is built.
    fn windows(&mut self, x: ValueId) -> Option<Vec<ValueId>> {
        let sizes = [1 + self.random.below(3), 1 + self.random.below(3)].map(|n| n as i64);
        let strides = [self.random.below(4), 1 + self.random.below(2)].map(|n| n as i64);
        let offset = self.random.below(4) as i64;
        let args = [
            ("self", Arg::from(x)),
            ("size", Arg::from(&sizes[..])),
            ("stride", Arg::from(&strides[..])),
            ("storage_offset", offset.into()),
        ];
        self.call("aten::as_strided", &args)
    }

    fn index_copy(&mut self, operator: &str) -> Option<Vec<ValueId>> {
        let target = self.target()?;
        let mut shape = self.shape(target);
        let dim = self.random.below(shape.len());
        // Indices are 0 or 1.
        if shape.get(dim).is_none_or(|n| *n < 2) {
            return None;
        }
        shape[dim] = 2;
        let sources = self.of_type(DType::F32, |l| l.shape[..] == shape[..]);
        let source = self.random.pick(&sources)?;
        let indices = self.of_type(DType::I64, |l| l.shape[..] == [2]);
        let at = self.random.pick(&indices)?;
        self.call(
            operator,
            &[
                ("self", target.into()),
                ("dim", (dim as i64).into()),
                ("index", at.into()),
                ("source", source.into()),
            ],
        )
    }

    fn scatter(&mut self) -> Option<Vec<ValueId>> {
        let target = self.float()?;
        let shape = self.shape(target);
        let dim = self.random.below(shape.len());
        let fits = |l: &Layout| {
            l.shape.len() == shape.len()
                && (0..shape.len()).all(|d| {
                    if d == dim {
                        l.shape[d] <= shape[d]
                    } else {
                        l.shape[d] == shape[d]
                    }
                })
        };
        let sources = self.of_type(DType::F32, fits);
        let source = self.random.pick(&sources)?;
        let len = self.shape(source).get(dim).copied()?;
        let start = self.random.below(shape[dim] - len + 1);
        self.call(
            "aten::slice_scatter",
            &[
                ("self", target.into()),
                ("src", source.into()),
                ("dim", (dim as i64).into()),
                ("start", (start as i64).into()),
                ("end", ((start + len) as i64).into()),
            ],
        )
    }

    fn update(&mut self) -> Option<Vec<ValueId>> {
        let four = |l: &Layout| l.rank() == 4 && !l.overlaps_itself();
        let caches = self.of_type(DType::F32, four);
        let cache = self.random.pick(&caches)?;
        let room = self.shape(cache);
        let fits = |l: &Layout| {
            l.rank() == 4
                && [0, 1, 3].iter().all(|&d| l.shape[d] == room[d])
                && l.shape[2] <= room[2]
        };
        let values = self.of_type(DType::F32, fits);
        let value = self.random.pick(&values)?;
        self.call(
            "executorch::update_cross_attn_cache",
            &[("value", value.into()), ("cache", cache.into())],
        )
    }

    fn alias(&mut self) -> Option<Vec<ValueId>> {
        let (x, y) = (self.float()?, self.float()?);
        self.call("executorch::alias", &[("x", x.into()), ("y", y.into())])
    }

    /// Whether any element of a tensor is not zero: the predicate of an exported cache.
    fn predicate(&mut self) -> Option<Vec<ValueId>> {
        let x = self.float()?;
        let nonzero = self.graph.call(
            "aten::gt.Scalar",
            &[("self", x.into()), ("other", 8.0.into())],
        );
        self.call("aten::any", &[("self", nonzero.ok()?.into())])
    }
}
