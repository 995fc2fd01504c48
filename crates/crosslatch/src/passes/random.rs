//! Programs that draw random numbers, with the generator as their state.
//!
//! PyTorch's operators draw from a generator that no schema mentions. [`draw_from_state`] gives the program a slot
//! for it, and writes each such operator as a computation from the generator, followed by a change of the
//! generator (`ops/random.rs`). From there on, aliasing and order are what the other analyses know about. A
//! session has a generator of its own, and two sessions with the same seed draw the same numbers: those of
//! `torch.manual_seed` with that seed, if the program is run by PyTorch.
//!
//! Operators in branches and loops, which do not see the slot, are left as they are, and refused.

use crosslatch_kernels::DType;
use crosslatch_kernels::random::STATE;

use crate::ir::Size;
use crate::ir::graph::{Arg, Node, Program, Slot, SlotKind, TensorType, ValueId, ValueType};

use super::insertion::Insertion;

/// The name of the slot that holds the generator.
pub const GENERATOR: &str = "crosslatch.generator";

/// Lets a program draw from a slot of state, if it draws random numbers, and returns whether it does.
pub fn draw_from_state(program: &mut Program) -> bool {
    let graph = &mut program.graph;
    if !graph.nodes.iter().any(draws) {
        return false;
    }
    let ty = TensorType {
        dtype: DType::I64,
        sizes: vec![Size::Const(STATE as i64)],
    };
    let generator = graph.add_value("generator", ValueType::Tensor(ty));
    graph.inputs.push(generator);
    program.slots.push(Slot {
        name: GENERATOR.to_owned(),
        kind: SlotKind::State,
    });
    for node in std::mem::take(&mut graph.nodes) {
        let mut drawing = Drawing {
            at: Insertion {
                graph: &mut *graph,
                provenance: node.provenance.clone(),
            },
            generator,
        };
        let written = draws(&node).then(|| drawing.write(&node)).flatten();
        if written.is_none() {
            graph.nodes.push(node);
        }
    }
    true
}

/// What an operator draws, by its name.
fn drawn(node: &Node) -> Option<Drawn> {
    Some(match node.op.schema.name.as_str() {
        "aten::rand" | "aten::rand_like" => {
            Drawn::Numbers("uniform", &[Given::Float(0.0), Given::Float(1.0)])
        }
        "aten::uniform" | "aten::uniform_" => {
            Drawn::Numbers("uniform", &[Given::As("from"), Given::As("to")])
        }
        "aten::randn" | "aten::randn_like" => {
            Drawn::Numbers("normal", &[Given::Float(0.0), Given::Float(1.0)])
        }
        "aten::normal_functional" | "aten::normal_" => {
            Drawn::Numbers("normal", &[Given::As("mean"), Given::As("std")])
        }
        "aten::exponential" | "aten::exponential_" => {
            Drawn::Numbers("exponential", &[Given::As("lambd")])
        }
        "aten::bernoulli.p" | "aten::bernoulli_.float" => {
            Drawn::Numbers("bernoulli", &[Given::As("p")])
        }
        "aten::randint" | "aten::randint_like" => {
            Drawn::Numbers("integers", &[Given::Int(0), Given::As("high")])
        }
        "aten::randint.low" | "aten::randint_like.low_dtype" => {
            Drawn::Numbers("integers", &[Given::As("low"), Given::As("high")])
        }
        "aten::bernoulli" => Drawn::ForEach,
        "aten::randperm" => Drawn::Permutation,
        "aten::multinomial" => Drawn::Places,
        _ => return None,
    })
}

fn draws(node: &Node) -> bool {
    drawn(node).is_some()
}

/// What is drawn.
#[derive(Clone, Copy)]
enum Drawn {
    /// Numbers of this distribution, with these parameters.
    Numbers(&'static str, &'static [Given]),
    /// A zero or a one for each probability in a tensor.
    ForEach,
    /// The integers below a number in any order.
    Permutation,
    /// Places in the last dimension, with probabilities.
    Places,
}

/// A parameter of a distribution.
#[derive(Clone, Copy)]
enum Given {
    /// The argument with this name.
    As(&'static str),
    Int(i64),
    Float(f64),
}

/// Writes operators that draw.
struct Drawing<'g> {
    at: Insertion<'g>,
    generator: ValueId,
}

impl Drawing<'_> {
    /// Adds nodes that compute what the node does; `None`, with nothing added that changes the generator, if it is
    /// one that is not supported.
    fn write(&mut self, node: &Node) -> Option<()> {
        match drawn(node)? {
            Drawn::Numbers(distribution, given) => self.numbers(node, distribution, given),
            Drawn::ForEach => self.for_each(node),
            Drawn::Permutation => self.permutation(node),
            Drawn::Places => self.places(node),
        }
    }

    fn numbers(&mut self, node: &Node, distribution: &str, given: &[Given]) -> Option<()> {
        let this = node.argument("self").and_then(Arg::value);
        let ty = self
            .at
            .graph
            .tensor(this.or(node.results.first().copied())?)?
            .clone();
        let dtype = match node.argument("dtype") {
            Some(Arg::DType(dtype)) => *dtype,
            _ => self.at.graph.tensor(*node.results.first()?)?.dtype,
        };
        let size = match node.argument("size") {
            Some(size) => size.clone(),
            None => self.sizes(this?)?,
        };
        let parameters = given.iter().map(|given| {
            Some(match given {
                Given::As(name) => as_float(node.argument(name)?, distribution),
                Given::Int(i) => Arg::Int(*i),
                Given::Float(x) => Arg::Float(*x),
            })
        });
        let parameters: Vec<Arg> = parameters.collect::<Option<_>>()?;
        let is_in_place = node.op.schema.written().next().is_some();
        if !is_in_place {
            return self.draw(
                distribution,
                size,
                parameters,
                dtype,
                *node.results.first()?,
            );
        }
        let numbers = self
            .at
            .single("drawn", ValueType::Tensor(TensorType { dtype, ..ty }));
        self.draw(distribution, size, parameters, dtype, numbers)?;
        let args = vec![Arg::Value(this?), Arg::Value(numbers), Arg::Bool(false)];
        self.push("aten::copy_", args, node.results.clone())
    }

    fn for_each(&mut self, node: &Node) -> Option<()> {
        let (p, drawn) = (node.argument("self")?.value()?, *node.results.first()?);
        let args = vec![Arg::Value(self.generator), Arg::Value(p)];
        self.push("crosslatch::bernoulli.Tensor", args, vec![drawn])?;
        self.skip("uniform", drawn, vec![Arg::Float(0.0), Arg::Float(1.0)])
    }

    fn permutation(&mut self, node: &Node) -> Option<()> {
        // Of another type it is drawn in another way.
        let dtype = self.at.graph.tensor(*node.results.first()?)?.dtype;
        let n = (dtype == DType::I64)
            .then(|| node.argument("n"))
            .flatten()?;
        let (args, drawn) = (
            vec![Arg::Value(self.generator), n.clone()],
            *node.results.first()?,
        );
        self.push("crosslatch::permutation", args, vec![drawn])?;
        self.skip("permutation", drawn, Vec::new())
    }

    /// Each place wins with its probability if the greatest of the probabilities, each over a number of the
    /// exponential distribution, does.
    fn places(&mut self, node: &Node) -> Option<()> {
        let p = node.argument("self")?.value()?;
        let Arg::Int(count) = *node.argument("num_samples")? else {
            return None;
        };
        if count != 1 && *node.argument("replacement")? != Arg::Bool(false) {
            return None;
        }
        let ty = self.at.graph.tensor(p)?.clone();
        let size = self.sizes(p)?;
        let times = self.at.single("times", ValueType::Tensor(ty.clone()));
        self.draw("exponential", size, vec![Arg::Float(1.0)], ty.dtype, times)?;
        let ratios = self.at.push(
            "aten::div.Tensor",
            vec![Arg::Value(p), Arg::Value(times)],
            "ratios",
            ValueType::Tensor(ty.clone()),
        )?;
        let (ratios, last, yes) = (Arg::Value(ratios), Arg::Int(-1), Arg::Bool(true));
        if count == 1 {
            return self.push(
                "aten::argmax",
                vec![ratios, last, yes],
                node.results.clone(),
            );
        }
        let mut of_best = ty;
        *of_best.sizes.last_mut()? = Size::Const(count);
        let best = self.at.single("best", ValueType::Tensor(of_best));
        let results = vec![best, *node.results.first()?];
        let args = vec![ratios, Arg::Int(count), last, yes.clone(), yes];
        self.push("aten::topk", args, results)
    }

    /// The sizes of a tensor, as arguments.
    fn sizes(&mut self, of: ValueId) -> Option<Arg> {
        let sizes = self.at.graph.tensor(of)?.sizes.clone();
        let sizes = sizes.iter().enumerate().map(|(dim, size)| match size {
            Size::Const(n) => Some(Arg::Int(*n)),
            _ => {
                let args = vec![Arg::Value(of), Arg::Int(dim as i64)];
                let size = self
                    .at
                    .push("aten::sym_size.int", args, "size", ValueType::Int);
                size.map(Arg::Value)
            }
        });
        sizes.collect::<Option<_>>().map(Arg::List)
    }

    /// Draws numbers of a distribution, and changes the generator.
    fn draw(
        &mut self,
        distribution: &str,
        size: Arg,
        parameters: Vec<Arg>,
        dtype: DType,
        drawn: ValueId,
    ) -> Option<()> {
        let mut args = vec![Arg::Value(self.generator), size];
        args.extend(parameters.iter().cloned());
        args.push(Arg::DType(dtype));
        self.push(&format!("crosslatch::{distribution}"), args, vec![drawn])?;
        self.skip(distribution, drawn, parameters)
    }

    /// Changes the generator as drawing this did.
    fn skip(&mut self, what: &str, drawn: ValueId, parameters: Vec<Arg>) -> Option<()> {
        let ty = ValueType::Tensor(self.at.graph.tensor(self.generator)?.clone());
        let mut args = vec![Arg::Value(self.generator), Arg::Value(drawn)];
        args.extend(parameters);
        let name = format!("crosslatch::skip_{what}");
        self.at.push(&name, args, "generator", ty)?;
        Some(())
    }

    fn push(&mut self, name: &str, args: Vec<Arg>, results: Vec<ValueId>) -> Option<()> {
        let node = self.at.call(name, args, results)?;
        self.at.graph.nodes.push(node);
        Some(())
    }
}

/// A parameter of a distribution of real numbers, which may be written as an integer.
fn as_float(arg: &Arg, distribution: &str) -> Arg {
    match arg {
        Arg::Int(i) if distribution != "integers" => Arg::Float(*i as f64),
        other => other.clone(),
    }
}
