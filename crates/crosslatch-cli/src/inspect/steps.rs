//! The steps of a plan, each with the node of the program that it comes from.

use std::collections::HashMap;

use crosslatch::ir::Control;
use crosslatch::ir::graph::{Graph, Node, Program, SlotKind, ValueId};
use crosslatch::ir::verify::label;
use crosslatch::plan::{Operand, Plan, Repeat, RunStep, Step, Work, work};
use serde_json::{Value, json};

use super::layers;

/// All steps, in the order of [`Plan::pieces`]: a `cond` or a loop before the steps of its regions.
pub fn describe(plan: &Plan, program: &Program) -> Vec<Value> {
    let mut walk = Walk {
        plan,
        steps: Vec::new(),
    };
    let slots = program.graph.inputs.iter().zip(&program.slots);
    let weights = slots.filter(|(_, slot)| slot.kind == SlotKind::Weight);
    let weights = weights.map(|(value, slot)| (*value, slot.name.as_str()));
    let graph = Known {
        graph: &program.graph,
        weights: weights.collect(),
    };
    walk.steps(&plan.steps, Some(graph), "", true);
    let modules: Vec<Option<&str>> = walk.steps.iter().map(|step| step.module).collect();
    let layers = layers::complete(&modules);
    let steps = walk.steps.into_iter().zip(layers);
    let described = steps.map(|(mut step, layer)| {
        step.fact["layer"] = layer.into();
        step.fact
    });
    described.collect()
}

struct Walk<'p> {
    plan: &'p Plan,
    steps: Vec<Described<'p>>,
}

/// A graph and the names of those of its values that are weights.
struct Known<'p> {
    graph: &'p Graph,
    weights: HashMap<ValueId, &'p str>,
}

impl<'p> Known<'p> {
    /// The module that a node comes from. For a node in a branch the file tells only that it
    /// belongs to the program, but the name of a weight that it uses tells more.
    fn module(&self, node: &'p Node) -> Option<&'p str> {
        let recorded = node.provenance.module.as_deref();
        let mut weights = node.operands().filter_map(|id| self.weights.get(&id));
        match (recorded, weights.next()) {
            (None | Some(""), Some(weight)) if node.control().is_none() => {
                weight.rsplit_once('.').map(|(module, _)| module)
            }
            _ => recorded,
        }
    }

    /// A region of a node of this graph.
    fn region(&self, node: &'p Node, index: usize) -> Option<Known<'p>> {
        let (graph, captured) = node.captured().nth(index)?;
        let captured = captured.into_iter();
        let weights =
            captured.filter_map(|(inner, outer)| Some((inner, *self.weights.get(&outer)?)));
        Some(Known {
            graph,
            weights: weights.collect(),
        })
    }
}

struct Described<'p> {
    fact: Value,
    module: Option<&'p str>,
}

impl<'p> Walk<'p> {
    /// Describes the steps of a graph. If a pass made the graph, not all of its nodes are known.
    /// `path` names the branch; `always` says whether every run takes these steps.
    fn steps(&mut self, steps: &'p [Step], known: Option<Known<'p>>, path: &str, always: bool) {
        let graph = known.as_ref().map(|known| known.graph);
        let nodes: HashMap<String, &Node> = graph
            .into_iter()
            .flat_map(|graph| graph.nodes.iter().map(|node| (label(graph, node), node)))
            .collect();
        for step in steps {
            let (name, cost, results, copy) = match step {
                Step::Run(run) => (&run.node, cost_of(run), types(&run.outputs), run.copy),
                Step::Cond { node, .. } | Step::Loop { node, .. } => {
                    (node, Work::default(), Vec::new(), None)
                }
            };
            let node = nodes.get(&**name).copied();
            let operator = match (copy, step) {
                (Some(_), _) => Some("copy"),
                (None, Step::Cond { .. }) => Some("cond"),
                (None, Step::Loop { .. }) => Some("loop"),
                (None, Step::Run(_)) => node.map(|node| node.op.schema.name.as_str()),
            };
            let line = node.and_then(|node| node.provenance.line.as_deref());
            let module = |node| known.as_ref().and_then(|known| known.module(node));
            self.steps.push(Described {
                fact: json!({
                    "value": short(name),
                    "operator": operator,
                    "branch": path,
                    "once_per_input": !always,
                    "flops": cost.flops,
                    "bytes": cost.bytes,
                    "results": results,
                    "line": line,
                    "why": copy.map(|i| self.plan.copies[i].reason.as_str()),
                }),
                module: node.and_then(module),
            });
            let dearer = match step {
                Step::Cond { branches, .. } => dearer(branches),
                Step::Run(_) | Step::Loop { .. } => None,
            };
            for (i, steps) in regions(step).into_iter().enumerate() {
                let inside = known.as_ref().zip(node);
                let inside = inside.and_then(|(known, node)| known.region(node, i));
                let keywords = node
                    .and_then(Node::control)
                    .map_or(&[][..], Control::keywords);
                let path = format!("{path}{}/{}", short(name), keywords.get(i).unwrap_or(&""));
                self.steps(steps, inside, &path, always && dearer != Some(i));
            }
        }
    }
}

/// The steps in a step, one list for each region of its node.
fn regions(step: &Step) -> Vec<&[Step]> {
    match step {
        Step::Run(_) => Vec::new(),
        Step::Cond { branches, .. } => branches.iter().map(Vec::as_slice).collect(),
        Step::Loop { repeat, body, .. } => match repeat {
            Repeat::While(head, _) => vec![head, body],
            Repeat::Times(_) => vec![body],
        },
    }
}

/// The branch that costs more, which is the one taken once for each input.
fn dearer(branches: &[Vec<Step>; 2]) -> Option<usize> {
    let [a, b] = branches.each_ref().map(|branch| {
        let [always, more] = work(branch);
        let all = always + more;
        (all.flops, all.bytes)
    });
    match a.cmp(&b) {
        std::cmp::Ordering::Less => Some(1),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(0),
    }
}

fn cost_of(step: &RunStep) -> Work {
    Work {
        flops: step.flops,
        bytes: step.bytes,
    }
}

fn types(operands: &[Operand]) -> Vec<String> {
    let text = |o: &Operand| format!("{}{:?}", o.dtype, o.layout.shape);
    operands.iter().map(text).collect()
}

/// The name in a label, without its operator.
fn short(label: &str) -> &str {
    label.split('`').nth(1).unwrap_or(label)
}
