//! Building programs in Rust.
//!
//! A [`ProgramBuilder`] collects slots and outputs, a [`GraphBuilder`] the calls; a branch of
//! `cond` or the body of a loop is a closure over a graph builder of its own (`build/regions.rs`). Types are not written down: each call is
//! lowered as it is added, which gives the shapes of its results and reports a mistake where it is
//! made. Sizes may depend on symbols: a call is then lowered at several sample values of them, and
//! the sizes of its results are interpolated (`build/samples.rs`).
//!
//! ```
//! use crosslatch::DType;
//! use crosslatch::ir::Catalogue;
//! use crosslatch::ir::build::ProgramBuilder;
//!
//! let mut program = ProgramBuilder::new("twice", Catalogue::builtin());
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

mod regions;
mod samples;

use std::rc::Rc;

use crosslatch_kernels::{DType, Layout};

use super::arg::{Arg, ValueId};
use super::bind::Known;
use super::call::OpError;
use super::catalogue::Catalogue;
use super::graph::{
    Graph, Node, Output, Program, Provenance, Slot, SlotKind, Symbol, TensorType, ValueType,
};
use super::infer::infer;
use super::nesting::TooDeep;
use super::size::Size;
use super::verify::VerifyError;

use samples::Samples;

/// Why a program cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The catalogue has no operator with this name.
    #[error("there is no operator `{0}`")]
    UnknownOperator(String),
    /// The operator has no argument with this name.
    #[error("`{operator}` has no argument `{argument}`")]
    UnknownArgument {
        /// The operator.
        operator: String,
        /// The argument.
        argument: String,
    },
    /// An argument without a default is not given.
    #[error("`{operator}`: argument `{argument}` is missing")]
    MissingArgument {
        /// The operator.
        operator: String,
        /// The argument.
        argument: String,
    },
    /// A result is asked for and the operator returns none.
    #[error("`{0}` returns nothing")]
    NoResult(String),
    /// The operator does not take these arguments.
    #[error("`{operator}`: {source}")]
    Call {
        /// The operator.
        operator: String,
        /// What is wrong with the arguments.
        source: OpError,
    },
    /// A size of a result is no sum of multiples of the symbols.
    #[error("`{operator}`: dimension {dim} of a result is not an affine function of the symbols")]
    NotAffine {
        /// The operator.
        operator: String,
        /// The dimension.
        dim: usize,
    },
    /// A size of a slot cannot be computed, or is negative, for some values of the symbols.
    #[error("`{slot}`: the size {size} cannot be computed from the symbols")]
    SlotSize {
        /// The slot.
        slot: String,
        /// The size.
        size: String,
    },
    /// A value is stored to something that is not a slot.
    #[error("only a slot can be stored to")]
    NotASlot,
    /// An operand does not belong to the graph.
    #[error("an operand is not defined in this graph")]
    UndefinedOperand,
    /// The branches of a `cond` do not return the same types, shapes and strides.
    #[error("the branches of a `cond` return tensors of different types")]
    BranchResults,
    /// The body of a loop does not return what the loop carries, or a loop has nothing to take rows of.
    #[error("the body of a loop does not return tensors of the types that it is given")]
    LoopResults,
    /// Branches are nested too deep.
    #[error("branches are {0}")]
    TooDeep(#[from] TooDeep),
    /// The program breaks a rule of the IR.
    #[error(transparent)]
    Verify(#[from] VerifyError),
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
    /// An empty program of constant sizes, which may call the operators of this catalogue.
    pub fn new(name: &str, catalogue: &'static Catalogue) -> ProgramBuilder {
        ProgramBuilder::with_symbols(name, catalogue, Vec::new())
    }

    /// An empty program whose sizes may depend on these symbols.
    pub fn with_symbols(
        name: &str,
        catalogue: &'static Catalogue,
        symbols: Vec<Symbol>,
    ) -> ProgramBuilder {
        ProgramBuilder {
            graph: GraphBuilder::new(catalogue, Rc::new(Samples::of(symbols)), 0),
            name: name.to_owned(),
            slots: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Adds an input: a tensor that is given at each run.
    pub fn input(&mut self, name: &str, dtype: DType, shape: &[usize]) -> ValueId {
        self.slot(name, SlotKind::Input, dtype, shape)
    }

    /// Adds a weight: a tensor that all sessions read and none changes.
    pub fn weight(&mut self, name: &str, dtype: DType, shape: &[usize]) -> ValueId {
        self.slot(name, SlotKind::Weight, dtype, shape)
    }

    /// Adds state: a tensor that belongs to a session and outlives its runs.
    pub fn state(&mut self, name: &str, dtype: DType, shape: &[usize]) -> ValueId {
        self.slot(name, SlotKind::State, dtype, shape)
    }

    /// Adds an input whose sizes may depend on the symbols.
    ///
    /// # Errors
    /// If a size cannot be computed from the symbols, or is negative.
    pub fn input_of_sizes(
        &mut self,
        name: &str,
        dtype: DType,
        sizes: &[Size],
    ) -> Result<ValueId, BuildError> {
        let shapes = self.graph.samples.shapes(sizes);
        let shapes = shapes.map_err(|size| BuildError::SlotSize {
            slot: name.to_owned(),
            size: size.to_string(),
        })?;
        let known = shapes
            .iter()
            .map(|shape| Known::Tensor(dtype, Layout::contiguous(shape)));
        let known = known.collect();
        let ty = ValueType::Tensor(TensorType {
            dtype,
            sizes: sizes.to_vec(),
        });
        self.add_slot(name, SlotKind::Input);
        Ok(self.graph.input(name, ty, known))
    }

    fn slot(&mut self, name: &str, kind: SlotKind, dtype: DType, shape: &[usize]) -> ValueId {
        self.add_slot(name, kind);
        let known = Known::Tensor(dtype, Layout::contiguous(shape));
        let known = vec![known; self.graph.samples.count()];
        let sizes = shape.iter().map(|&n| Size::Const(n as i64)).collect();
        let ty = ValueType::Tensor(TensorType { dtype, sizes });
        self.graph.input(name, ty, known)
    }

    fn add_slot(&mut self, name: &str, kind: SlotKind) {
        self.slots.push(Slot {
            name: name.to_owned(),
            kind,
        });
    }

    /// Adds an output: a value that the program returns under this name.
    pub fn output(&mut self, name: &str, value: ValueId) {
        self.outputs.push(Output::User(name.to_owned()));
        self.graph.graph.outputs.push(Arg::Value(value));
    }

    /// Makes a value the contents of a state slot when the run ends.
    ///
    /// # Errors
    /// If `state` is not a slot.
    pub fn store(&mut self, state: ValueId, value: ValueId) -> Result<(), BuildError> {
        let inputs = &self.graph.graph.inputs;
        let slot = inputs.iter().position(|input| *input == state);
        let slot = slot.ok_or(BuildError::NotASlot)?;
        self.outputs.push(Output::Mutation { slot });
        self.graph.graph.outputs.push(Arg::Value(value));
        Ok(())
    }

    /// The program as it was built. `finish`, which the analysis of effects provides, marks state and
    /// verifies it.
    pub(crate) fn into_program(self) -> Program {
        Program {
            name: self.name,
            symbols: self.graph.samples.symbols().to_vec(),
            slots: self.slots,
            graph: self.graph.graph,
            outputs: self.outputs,
        }
    }
}

/// A graph in the making.
pub struct GraphBuilder {
    catalogue: &'static Catalogue,
    graph: Graph,
    /// The values of the symbols at which calls are lowered.
    samples: Rc<Samples>,
    /// What lowering knows of each value, at each sample.
    known: Vec<Vec<Known>>,
    /// Number of branches that the graph is nested in.
    depth: usize,
}

impl GraphBuilder {
    fn new(catalogue: &'static Catalogue, samples: Rc<Samples>, depth: usize) -> GraphBuilder {
        GraphBuilder {
            catalogue,
            graph: Graph::default(),
            samples,
            known: Vec::new(),
            depth,
        }
    }

    fn input(&mut self, name: &str, ty: ValueType, known: Vec<Known>) -> ValueId {
        let id = self.define(name.to_owned(), ty, known);
        self.graph.inputs.push(id);
        id
    }

    fn define(&mut self, name: String, ty: ValueType, known: Vec<Known>) -> ValueId {
        self.known.push(known);
        self.graph.add_value(name, ty)
    }

    /// Element type and layout of a value, if it is a tensor. Where sizes depend on symbols, the
    /// layout is that of one sample.
    pub fn tensor(&self, value: ValueId) -> Option<(DType, &Layout)> {
        match self.known.get(value.index())?.first()? {
            Known::Tensor(dtype, layout) => Some((*dtype, layout)),
            Known::Number(_) => None,
        }
    }

    /// Adds a call of an operator that has one result. Arguments go by the names in its schema;
    /// those that are not given take their defaults.
    ///
    /// # Errors
    /// If there is no such operator, or it does not take these arguments.
    pub fn call(&mut self, operator: &str, args: &[(&str, Arg)]) -> Result<ValueId, BuildError> {
        let results = self.call_all(operator, args)?;
        let first = results.first().copied();
        first.ok_or_else(|| BuildError::NoResult(operator.to_owned()))
    }

    /// Adds a call as [`call`](GraphBuilder::call) does, and returns all its results.
    ///
    /// # Errors
    /// If there is no such operator, or it does not take these arguments.
    pub fn call_all(
        &mut self,
        operator: &str,
        args: &[(&str, Arg)],
    ) -> Result<Vec<ValueId>, BuildError> {
        let name = || operator.to_owned();
        let op =
            (self.catalogue.get(operator)).ok_or_else(|| BuildError::UnknownOperator(name()))?;
        let schema = &op.schema;
        let mut given = args.iter().map(|(argument, _)| *argument);
        if let Some(argument) = given.find(|argument| schema.position(argument).is_none()) {
            return Err(BuildError::UnknownArgument {
                operator: name(),
                argument: argument.to_owned(),
            });
        }
        let mut bound = Vec::with_capacity(schema.params.len());
        for param in &schema.params {
            let given = args.iter().find(|(argument, _)| *argument == param.name);
            let arg = given.map(|(_, arg)| arg.clone());
            let arg = arg.or_else(|| param.default.clone());
            let arg = arg.or_else(|| param.optional.then_some(Arg::None));
            bound.push(arg.ok_or_else(|| BuildError::MissingArgument {
                operator: name(),
                argument: param.name.clone(),
            })?);
        }
        let mut node = Node {
            op: op.clone(),
            args: bound,
            regions: Vec::new(),
            results: Vec::new(),
            provenance: Provenance::default(),
        };
        let mut results = Vec::with_capacity(self.samples.count());
        for sample in 0..self.samples.count() {
            let known = |id: ValueId| self.known.get(id.index())?.get(sample).cloned();
            let inferred = infer(&node, &known).map_err(|source| BuildError::Call {
                operator: name(),
                source,
            })?;
            results.push(inferred.results);
        }
        node.results = self.define_all(operator, results)?;
        let ids = node.results.clone();
        self.graph.nodes.push(node);
        Ok(ids)
    }

    /// Defines the results of a call from what is known of them at each sample.
    fn define_all(
        &mut self,
        operator: &str,
        samples: Vec<Vec<Known>>,
    ) -> Result<Vec<ValueId>, BuildError> {
        let count = samples.first().map_or(0, Vec::len);
        let mut ids = Vec::with_capacity(count);
        for i in 0..count {
            let known: Vec<Known> = samples.iter().map(|results| results[i].clone()).collect();
            let ty = self.samples.value_type(&known);
            let ty = ty.map_err(|dim| BuildError::NotAffine {
                operator: operator.to_owned(),
                dim,
            })?;
            let name = format!("v{}", self.graph.values.len() - self.graph.inputs.len());
            ids.push(self.define(name, ty, known));
        }
        Ok(ids)
    }
}
