//! Carrying: what one program leaves for another stays in the session and does not go through its
//! caller.
//!
//! Problem. An exporter without state writes a generating model as two programs: one reads the prompt
//! and returns the caches, the other takes them, does one step and returns them again. The caller
//! passes every cache from run to run, and cross-attention keys and values go in and come out
//! unchanged at each step.
//!
//! Idea. Caches are the leaves of a tree: `past_key_values.0`, `past_key_values.1`, … among the
//! outputs of both programs, `past_key_values_0`, … among the inputs of the second. If all three have
//! the same leaves, the second program's inputs become *carried* slots, which a session reads where
//! the first program left them, or where the second one did at its last run. A leaf that the second
//! program returns unchanged is no longer an output: it stays where the first program put it and is
//! never copied.
//!
//! Assumes that outputs are named by their position in what the model returned, as
//! [`pt2`](crate::pt2) names them, and that the second program has no state of its own.

use crate::effects::overwritten;
use crate::ir::graph::{Arg, Graph, Node, Output, Program, SlotKind, Value, ValueId, ValueType};

/// The second program with carried slots.
pub struct Carried {
    /// The program.
    pub program: Program,
    /// For each of its slots, the slot of the original program.
    pub slots: Vec<usize>,
    /// Its carried slots.
    pub links: Vec<Link>,
}

/// Where the contents of a carried slot come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Index of the slot.
    pub slot: usize,
    /// The output of the first program that is its first contents.
    pub first: String,
    /// The output of its own program that becomes its contents; `None` if it stays unchanged.
    pub next: Option<String>,
}

/// Lets `next` carry what it takes from `first` and from its own last run. `None` if the programs do
/// not fit together.
pub fn carry(first: &Program, next: &Program) -> Option<Carried> {
    if next.slots.iter().any(|slot| slot.kind == SlotKind::State) {
        return None;
    }
    let links: Vec<Link> = trees(first)
        .into_iter()
        .filter_map(|tree| links(first, next, &tree))
        .flatten()
        .collect();
    match links.is_empty() {
        true => None,
        false => Some(rewrite(next, links)),
    }
}

/// The distinct prefixes before the first point in the names of a program's outputs.
fn trees(program: &Program) -> Vec<String> {
    let mut trees: Vec<String> = Vec::new();
    for (name, _) in leaves(program) {
        if let Some((tree, _)) = name.split_once('.')
            && !trees.iter().any(|t| t == tree)
        {
            trees.push(tree.to_owned());
        }
    }
    trees
}

/// The outputs that are tensors, by name.
fn leaves(program: &Program) -> impl Iterator<Item = (&str, ValueId)> {
    let outputs = program.outputs.iter().zip(&program.graph.outputs);
    outputs.filter_map(|(output, value)| match (output, value) {
        (Output::User(name), Arg::Value(id)) => {
            let is_tensor = matches!(program.graph.value(*id).ty, ValueType::Tensor(_));
            is_tensor.then_some((name.as_str(), *id))
        }
        _ => None,
    })
}

/// The links of one tree, if inputs and both outputs have the same leaves.
fn links(first: &Program, next: &Program, tree: &str) -> Option<Vec<Link>> {
    let of_tree = |name: &str| name.strip_prefix(tree).is_some_and(|n| n.starts_with('.'));
    let given: Vec<_> = leaves(first).filter(|(name, _)| of_tree(name)).collect();
    let returned: Vec<_> = leaves(next).filter(|(name, _)| of_tree(name)).collect();
    let is_leaf = |name: &str| name.strip_prefix(tree).is_some_and(|n| n.starts_with('_'));
    let taken: Vec<_> = crate::inputs::input_slots(next)
        .filter(|(_, name)| is_leaf(name))
        .collect();
    if taken.len() != given.len() || taken.len() != returned.len() {
        return None;
    }
    let overwritten = overwritten(&next.graph);
    let leaves = taken.iter().zip(given).zip(returned);
    leaves
        .map(|(((slot, _), (from, left)), (to, becomes))| {
            let input = next.graph.inputs[*slot];
            let fits = alike(next.graph.value(input), first.graph.value(left))
                && alike(next.graph.value(input), next.graph.value(becomes));
            let stays = becomes == input && !overwritten[input.index()];
            fits.then(|| Link {
                slot: *slot,
                first: from.to_owned(),
                next: (!stays).then(|| to.to_owned()),
            })
        })
        .collect()
}

/// Whether one value may replace the other, as far as it is known before sizes are.
fn alike(a: &Value, b: &Value) -> bool {
    match (&a.ty, &b.ty) {
        (ValueType::Tensor(a), ValueType::Tensor(b)) => {
            a.dtype == b.dtype && a.sizes.len() == b.sizes.len()
        }
        _ => false,
    }
}

/// The program with these slots carried, without outputs that are unchanged inputs, and without
/// inputs that nothing reads any more.
fn rewrite(program: &Program, links: Vec<Link>) -> Carried {
    let mut program = program.clone();
    for link in &links {
        program.slots[link.slot].kind = SlotKind::Carried;
    }
    let overwritten = overwritten(&program.graph);
    let untouched = |arg: &Arg| match arg {
        Arg::Value(id) => program.graph.inputs.contains(id) && !overwritten[id.index()],
        _ => false,
    };
    let (outputs, values) = std::mem::take(&mut program.outputs)
        .into_iter()
        .zip(&program.graph.outputs)
        .filter(|(output, value)| !(matches!(output, Output::User(_)) && untouched(value)))
        .map(|(output, value)| (output, value.clone()))
        .unzip();
    program.outputs = outputs;
    program.graph.outputs = values;

    let read = read(&program.graph);
    let slots: Vec<usize> = (0..program.slots.len())
        .filter(|i| {
            let is_input = matches!(program.slots[*i].kind, SlotKind::Input | SlotKind::Carried);
            let written = Output::Mutation { slot: *i };
            !is_input
                || read[program.graph.inputs[*i].index()]
                || program.outputs.contains(&written)
        })
        .collect();
    program.graph.inputs = slots.iter().map(|i| program.graph.inputs[*i]).collect();
    program.slots = slots.iter().map(|i| program.slots[*i].clone()).collect();
    let moved = |old: usize| slots.iter().position(|slot| *slot == old);
    for output in &mut program.outputs {
        if let Output::Mutation { slot } = output {
            // A slot that is written is kept.
            *slot = moved(*slot).unwrap_or(*slot);
        }
    }
    let links = links.into_iter().filter_map(|link| {
        Some(Link {
            slot: moved(link.slot)?,
            ..link
        })
    });
    let links = links.collect();
    Carried {
        program,
        slots,
        links,
    }
}

/// For each value, whether a node or an output reads it.
fn read(graph: &Graph) -> Vec<bool> {
    let mut read = vec![false; graph.values.len()];
    let nodes = graph.nodes.iter().flat_map(Node::operands);
    for id in nodes.chain(graph.outputs.iter().flat_map(Arg::values)) {
        read[id.index()] = true;
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::parse::parse;
    use crate::ops::Catalogue;

    const FIRST: &str = "program prefill\nsymbol s0 in 1..\ninput %x: f32[s0, 2]\n\
        %k: f32[s0, 2] = aten::neg(self=%x)\n%v: f32[s0, 2] = aten::exp(self=%x)\n\
        return \"logits\"=%x, \"past.0\"=%k, \"past.1\"=%v\n";

    fn program(text: &str) -> Program {
        parse(text, Catalogue::builtin()).unwrap()
    }

    fn carried(first: &str, next: &str) -> Option<(String, Vec<String>)> {
        let carried = carry(&program(first), &program(next))?;
        let slots = &carried.program.slots;
        let links = carried.links.iter().map(|link| {
            let next = link.next.as_deref().unwrap_or("itself");
            format!("{}: {}, then {next}", slots[link.slot].name, link.first)
        });
        let links = links.collect();
        Some((carried.program.to_string(), links))
    }

    #[test]
    fn what_grows_is_handed_on_and_what_stays_is_no_output_any_more() {
        let next = "program decode\nsymbol s0 in 1..\nsymbol s1 in 1..\ninput %x: f32[1, 2]\n\
            input %past_0: f32[s0, 2]\ninput %past_1: f32[s1, 2]\n\
            %k: f32[s0 + 1, 2] = aten::cat(tensors={%past_0, %x})\n\
            %y: f32[s1, 2] = aten::mul.Tensor(self=%past_1, other=%x)\n\
            return \"logits\"=%y, \"past.0\"=%k, \"past.1\"=%past_1\n";
        let (text, links) = carried(FIRST, next).unwrap();
        let expected = "program decode\nsymbol s0 in 1..\nsymbol s1 in 1..\n\
            input %x: f32[1, 2] = \"x\"\ncarried %past_0: f32[s0, 2] = \"past_0\"\n\
            carried %past_1: f32[s1, 2] = \"past_1\"\n\
            %k: f32[s0 + 1, 2] = aten::cat(tensors={%past_0, %x})\n\
            %y: f32[s1, 2] = aten::mul.Tensor(self=%past_1, other=%x)\n\
            return \"logits\"=%y, \"past.0\"=%k\n";
        assert_eq!(text, expected);
        assert_eq!(
            links,
            ["past_0: past.0, then past.0", "past_1: past.1, then itself"]
        );
    }

    #[test]
    fn a_leaf_that_is_changed_in_place_is_not_what_it_was() {
        let next = "program decode\nsymbol s0 in 1..\ninput %x: f32[1, 2]\n\
            input %past_0: f32[s0, 2]\ninput %past_1: f32[s0, 2]\n\
            %k: f32[s0, 2] = aten::add_.Tensor(self=%past_0, other=%x)\n\
            return \"past.0\"=%past_0, \"past.1\"=%past_1\n";
        let (text, links) = carried(FIRST, next).unwrap();
        // Nothing reads the other leaf, so that it need not be carried at all.
        assert_eq!(links, ["past_0: past.0, then past.0"]);
        assert!(
            text.ends_with("return \"past.0\"=%past_0\n") && !text.contains("past_1"),
            "{text}"
        );
    }

    #[test]
    fn an_input_that_is_only_returned_is_not_asked_for() {
        let next = "program decode\nsymbol s0 in 1..\ninput %states: f32[3, s0]\ninput %x: f32[1, 2]\n\
            input %past_0: f32[s0, 2]\ninput %past_1: f32[s0, 2]\n\
            %k: f32[s0 + 1, 2] = aten::cat(tensors={%past_0, %x})\n\
            return \"past.0\"=%k, \"past.1\"=%past_1, \"states\"=%states\n";
        let next = program(next);
        let carried = carry(&program(FIRST), &next).unwrap();
        assert_eq!(carried.slots, [1, 2]);
        let inputs: Vec<_> = crate::inputs::input_slots(&carried.program).collect();
        assert_eq!(inputs, [(0, "x")]);
    }

    #[test]
    fn programs_that_do_not_fit_are_left_alone() {
        let fits = "program decode\nsymbol s0 in 1..\ninput %past_0: f32[s0, 2]\n\
            input %past_1: f32[s0, 2]\n%y: f32[s0, 2] = aten::neg(self=%past_0)\n\
            return \"past.0\"=%y, \"past.1\"=%past_1\n";
        assert!(carried(FIRST, fits).is_some());
        let unfit = [
            (
                "a leaf is missing",
                fits.replace(", \"past.1\"=%past_1", ""),
            ),
            ("another tree", fits.replace("past_", "caches_")),
            (
                "another type",
                fits.replace("%past_1: f32[s0, 2]", "%past_1: i64[s0, 2]"),
            ),
            (
                "another rank",
                fits.replace("%past_1: f32[s0, 2]", "%past_1: f32[s0]"),
            ),
            (
                "state",
                fits.replace("input %past_0", "state %s: f32[2]\ninput %past_0"),
            ),
        ];
        for (why, text) in unfit {
            assert!(carried(FIRST, &text).is_none(), "{why}");
        }
    }
}
