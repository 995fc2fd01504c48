//! Building programs in Rust.
//!
//! A [`ProgramBuilder`] collects slots and outputs, a [`GraphBuilder`] the calls; a branch of
//! `cond` is a closure over a graph builder of its own. Types are not written down: each call is
//! lowered as it is added, which gives the shapes of its results and finds mistakes where they are
//! made. All sizes are therefore constants.
//!
//! ```
//! use crosslatch::ir::build::ProgramBuilder;
//! use crosslatch::DType;
//!
//! let mut program = ProgramBuilder::new("twice");
//! let x = program.input("x", DType::F32, &[2, 3]);
//! let y = program.graph.call("aten::add.Tensor", &[("self", x.into()), ("other", x.into())])?;
//! program.output("y", y);
//! assert_eq!(program.finish()?.to_string(), "\
//! program twice
//! input %x: f32[2, 3] = \"x\"
//! %v0: f32[2, 3] = aten::add.Tensor(self=%x, other=%x)
//! return \"y\"=%v0
//! ");
//! # Ok::<(), crosslatch::ir::build::BuildError>(())
//! ```

use crosslatch_kernels::{DType, Layout};

use super::call::Known;
use super::graph::{
    Arg, Graph, Node, Output, Program, Provenance, Slot, SlotKind, TensorType, ValueId, ValueType,
};
use super::infer::infer;
use super::operator::Number;
use super::verify::{VerifyError, verify};
use super::{Size, TooDeep};
use crate::ops::{COND, Catalogue};

/// Why a program cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BuildError(pub String);

impl From<VerifyError> for BuildError {
    fn from(error: VerifyError) -> BuildError {
        BuildError(error.to_string())
    }
}

/// A program in the making.
pub struct ProgramBuilder {
    /// The calls.
    pub graph: GraphBuilder,
    name: String,
    slots: Vec<Slot>,
    outputs: Vec<Output>,
}

impl ProgramBuilder {
    /// An empty program.
    pub fn new(name: &str) -> ProgramBuilder {
        ProgramBuilder {
            graph: GraphBuilder::new(),
            name: name.to_owned(),
            slots: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// A tensor that is given at each run.
    pub fn input(&mut self, name: &str, dtype: DType, shape: &[usize]) -> ValueId {
        self.slot(name, SlotKind::Input, dtype, shape)
    }

    /// A tensor that all sessions read and none changes.
    pub fn weight(&mut self, name: &str, dtype: DType, shape: &[usize]) -> ValueId {
        self.slot(name, SlotKind::Weight, dtype, shape)
    }

    /// A tensor that belongs to a session and outlives its runs.
    pub fn state(&mut self, name: &str, dtype: DType, shape: &[usize]) -> ValueId {
        self.slot(name, SlotKind::State, dtype, shape)
    }

    fn slot(&mut self, name: &str, kind: SlotKind, dtype: DType, shape: &[usize]) -> ValueId {
        self.slots.push(Slot {
            name: name.to_owned(),
            kind,
        });
        let known = Known::Tensor(dtype, Layout::contiguous(shape));
        self.graph.input(name, known)
    }

    /// Returns a value under a name.
    pub fn output(&mut self, name: &str, value: ValueId) {
        self.outputs.push(Output::User(name.to_owned()));
        self.graph.graph.outputs.push(Arg::Value(value));
    }

    /// Lets a value become the contents of a state slot when the run ends.
    ///
    /// # Errors
    /// If `state` is no slot.
    pub fn store(&mut self, state: ValueId, value: ValueId) -> Result<(), BuildError> {
        let inputs = &self.graph.graph.inputs;
        let slot = inputs.iter().position(|input| *input == state);
        let slot = slot.ok_or_else(|| BuildError("only a slot can be stored to".into()))?;
        self.outputs.push(Output::Mutation { slot });
        self.graph.graph.outputs.push(Arg::Value(value));
        Ok(())
    }

    /// The program, verified. Weights that it turns out to write are state.
    ///
    /// # Errors
    /// If it breaks a rule of the IR.
    pub fn finish(self) -> Result<Program, BuildError> {
        let mut program = Program {
            name: self.name,
            symbols: Vec::new(),
            slots: self.slots,
            graph: self.graph.graph,
            outputs: self.outputs,
        };
        crate::effects::mark_state(&mut program);
        verify(&program)?;
        Ok(program)
    }
}

/// A graph in the making.
pub struct GraphBuilder {
    graph: Graph,
    /// For each value, what lowering knows of it.
    known: Vec<Known>,
    /// Branches around the graph.
    depth: usize,
}

impl GraphBuilder {
    fn new() -> GraphBuilder {
        GraphBuilder {
            graph: Graph::default(),
            known: Vec::new(),
            depth: 0,
        }
    }

    fn input(&mut self, name: &str, known: Known) -> ValueId {
        let id = self.define(name.to_owned(), known);
        self.graph.inputs.push(id);
        id
    }

    fn define(&mut self, name: String, known: Known) -> ValueId {
        let ty = match &known {
            Known::Tensor(dtype, layout) => ValueType::Tensor(TensorType {
                dtype: *dtype,
                sizes: layout
                    .shape
                    .iter()
                    .map(|&n| Size::Const(n as i64))
                    .collect(),
            }),
            Known::Number(Number::Int(_)) => ValueType::Int,
            Known::Number(Number::Float(_)) => ValueType::Float,
            Known::Number(Number::Bool(_)) => ValueType::Bool,
        };
        self.known.push(known);
        self.graph.add_value(name, ty)
    }

    /// Element type and layout of a value, if it is a tensor.
    pub fn tensor(&self, value: ValueId) -> Option<(DType, &Layout)> {
        match self.known.get(value.index())? {
            Known::Tensor(dtype, layout) => Some((*dtype, layout)),
            Known::Number(_) => None,
        }
    }

    /// Adds a call of an operator that has one result. Arguments go by the names in its schema;
    /// what is not given has its default.
    ///
    /// # Errors
    /// If there is no such operator, or the call makes no sense.
    pub fn call(&mut self, operator: &str, args: &[(&str, Arg)]) -> Result<ValueId, BuildError> {
        let results = self.call_all(operator, args)?;
        let first = results.first().copied();
        first.ok_or_else(|| BuildError(format!("`{operator}` has no result")))
    }

    /// As [`call`](GraphBuilder::call), with all results.
    ///
    /// # Errors
    /// As there.
    pub fn call_all(
        &mut self,
        operator: &str,
        args: &[(&str, Arg)],
    ) -> Result<Vec<ValueId>, BuildError> {
        let fail = |reason: String| BuildError(format!("`{operator}`: {reason}"));
        let op = Catalogue::builtin()
            .get(operator)
            .ok_or_else(|| fail("there is no such operator".into()))?;
        let schema = &op.schema;
        if let Some((name, _)) = args
            .iter()
            .find(|(name, _)| schema.position(name).is_none())
        {
            return Err(fail(format!("there is no argument `{name}`")));
        }
        let mut bound = Vec::with_capacity(schema.params.len());
        for param in &schema.params {
            let given = args.iter().find(|(name, _)| *name == param.name);
            let arg = given.map(|(_, arg)| arg.clone());
            let arg = arg.or_else(|| param.default.clone());
            let arg = arg.or_else(|| param.optional.then_some(Arg::None));
            bound.push(arg.ok_or_else(|| fail(format!("argument `{}` is missing", param.name)))?);
        }
        let mut node = Node {
            op: op.clone(),
            args: bound,
            branches: Vec::new(),
            results: Vec::new(),
            provenance: Provenance::default(),
        };
        let known = |id: ValueId| self.known.get(id.index()).cloned();
        let inferred = infer(&node, &known).map_err(|e| fail(e.to_string()))?;
        node.results = self.define_all(inferred.results);
        let ids = node.results.clone();
        self.graph.nodes.push(node);
        Ok(ids)
    }

    fn define_all(&mut self, known: Vec<Known>) -> Vec<ValueId> {
        let mut ids = Vec::with_capacity(known.len());
        for known in known {
            let name = format!("v{}", self.graph.values.len() - self.graph.inputs.len());
            ids.push(self.define(name, known));
        }
        ids
    }

    /// Adds a choice between two graphs. Each branch is given the operands under names of its own
    /// and says what it returns; both must return tensors of the same types, shapes and strides.
    ///
    /// # Errors
    /// If a branch cannot be built, or the two do not fit together.
    pub fn cond(
        &mut self,
        predicate: ValueId,
        operands: &[ValueId],
        then: impl FnOnce(&mut GraphBuilder, &[ValueId]) -> Result<Vec<ValueId>, BuildError>,
        otherwise: impl FnOnce(&mut GraphBuilder, &[ValueId]) -> Result<Vec<ValueId>, BuildError>,
    ) -> Result<Vec<ValueId>, BuildError> {
        let (then, results) = self.branch(operands, then)?;
        let (otherwise, others) = self.branch(operands, otherwise)?;
        let same = |(a, b): (&Known, &Known)| match (a, b) {
            (Known::Tensor(s, a), Known::Tensor(t, b)) => {
                s == t && a.shape == b.shape && a.strides == b.strides
            }
            _ => false,
        };
        if results.len() != others.len() || !results.iter().zip(&others).all(same) {
            let reason = "the branches of a `cond` return tensors of different types";
            return Err(BuildError(reason.into()));
        }
        let op = Catalogue::builtin().get(COND);
        let op = op
            .ok_or_else(|| BuildError("there is no `cond`".into()))?
            .clone();
        let ids = self.define_all(results);
        let operands = operands.iter().copied().map(Some).collect();
        self.graph.nodes.push(Node {
            op,
            args: vec![Arg::Value(predicate), Arg::Values(operands)],
            branches: vec![then, otherwise],
            results: ids.clone(),
            provenance: Provenance::default(),
        });
        Ok(ids)
    }

    fn branch(
        &self,
        operands: &[ValueId],
        build: impl FnOnce(&mut GraphBuilder, &[ValueId]) -> Result<Vec<ValueId>, BuildError>,
    ) -> Result<(Graph, Vec<Known>), BuildError> {
        let mut builder = GraphBuilder {
            depth: self.depth + 1,
            ..GraphBuilder::new()
        };
        TooDeep::check(builder.depth).map_err(|e| BuildError(format!("branches are {e}")))?;
        let mut inputs = Vec::with_capacity(operands.len());
        for (i, operand) in operands.iter().enumerate() {
            let known = self.known.get(operand.index()).cloned();
            let known = known.ok_or_else(|| BuildError("an operand is not defined".into()))?;
            inputs.push(builder.input(&format!("a{i}"), known));
        }
        let results = build(&mut builder, &inputs)?;
        let known = results
            .iter()
            .filter_map(|id| builder.known.get(id.index()).cloned());
        let known: Vec<Known> = known.collect();
        builder.graph.outputs = results.into_iter().map(Arg::Value).collect();
        Ok((builder.graph, known))
    }
}

impl From<ValueId> for Arg {
    fn from(value: ValueId) -> Arg {
        Arg::Value(value)
    }
}

impl From<i64> for Arg {
    fn from(value: i64) -> Arg {
        Arg::Int(value)
    }
}

impl From<f64> for Arg {
    fn from(value: f64) -> Arg {
        Arg::Float(value)
    }
}

impl From<bool> for Arg {
    fn from(value: bool) -> Arg {
        Arg::Bool(value)
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Arg {
        Arg::Str(value.to_owned())
    }
}

impl From<DType> for Arg {
    fn from(value: DType) -> Arg {
        Arg::DType(value)
    }
}

impl From<&[i64]> for Arg {
    fn from(values: &[i64]) -> Arg {
        Arg::Ints(values.iter().copied().map(Arg::Int).collect())
    }
}

impl From<&[ValueId]> for Arg {
    fn from(values: &[ValueId]) -> Arg {
        Arg::Values(values.iter().copied().map(Some).collect())
    }
}
