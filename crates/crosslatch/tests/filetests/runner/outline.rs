//! The lines of a file and the statements that they hold.
//!
//! The IR's parser does not record lines. But in a test each statement is on a line of its own, so
//! the lines, classified by their first word, match the statements of the parsed program in order.

use crosslatch::ir::graph::{Graph, Node};
use crosslatch::ir::{Control, Program};

/// The statements of a program, each with its line.
pub struct Outline {
    program: usize,
    returns: usize,
    slots: Vec<SlotLine>,
    nodes: Vec<NodeLine>,
}

struct SlotLine {
    line: usize,
    slot: String,
    value: String,
}

struct NodeLine {
    line: usize,
    /// The name of the first result and the operator, as plans and errors write them.
    label: String,
    /// The paths of the results: `p` in the first branch of the cond `k` is `k/then/p`.
    values: Vec<String>,
}

const SLOTS: [&str; 5] = ["input", "latched", "carried", "weight", "state"];

impl Outline {
    /// The outline of a file; `lines` are all its lines.
    pub fn of<'l>(
        program: &Program,
        lines: impl Iterator<Item = &'l str>,
    ) -> Result<Outline, String> {
        let (mut slots, mut nodes, mut heads, mut returns) = (vec![], vec![], vec![], vec![]);
        for (i, line) in lines.enumerate() {
            match line.trim_start() {
                "" => {}
                line if line.starts_with(['#', '}']) => {}
                line => match line.split(' ').next().unwrap_or("") {
                    "program" => heads.push(i),
                    "return" => returns.push(i),
                    "symbol" => {}
                    word if SLOTS.contains(&word) => slots.push(i),
                    _ => nodes.push(i),
                },
            }
        }
        let mut inner = Vec::new();
        walk(&program.graph, "", &mut inner);
        let ([head], Some(returns)) = (&heads[..], returns.last()) else {
            return Err("a program begins with `program` and ends with `return`".into());
        };
        if (slots.len(), nodes.len()) != (program.slots.len(), inner.len()) {
            return Err("each statement has to be on a line of its own".into());
        }
        let named = program.slots.iter().zip(&program.graph.inputs);
        let slots = slots.into_iter().zip(named);
        let slots = slots.map(|(line, (slot, id))| SlotLine {
            line,
            slot: slot.name.clone(),
            value: program.graph.value(*id).name.clone(),
        });
        let nodes = nodes.into_iter().zip(inner);
        Ok(Outline {
            program: *head,
            returns: *returns,
            slots: slots.collect(),
            nodes: nodes
                .map(|(line, node)| NodeLine { line, ..node })
                .collect(),
        })
    }

    /// The line of `program`.
    pub fn program(&self) -> usize {
        self.program
    }

    /// The line on which the program returns.
    pub fn returns(&self) -> usize {
        self.returns
    }

    /// The line of a slot.
    pub fn slot(&self, name: &str) -> Result<usize, String> {
        let slot = self.slots.iter().find(|s| s.slot == name);
        Ok(slot.ok_or(format!("no line is the slot `{name}`"))?.line)
    }

    /// The line of a node, given its label in plans and errors.
    pub fn node(&self, label: &str) -> Result<usize, String> {
        let mut nodes = self.nodes.iter().filter(|n| n.label == label);
        match (nodes.next(), nodes.next()) {
            (Some(node), None) => Ok(node.line),
            (None, _) => Err(format!("no line is the node {label}")),
            (Some(_), Some(_)) => Err(format!(
                "something is decided about the node {label}, and several lines could be it: give \
                 their results different names"
            )),
        }
    }

    /// The line that makes the value with this path.
    pub fn value(&self, path: &str) -> Result<usize, String> {
        let slots = self
            .slots
            .iter()
            .filter(|s| s.value == path)
            .map(|s| s.line);
        let nodes = self.nodes.iter();
        let nodes = nodes.filter(|n| n.values.iter().any(|v| v == path));
        let mut lines = slots.chain(nodes.map(|n| n.line));
        lines.next().ok_or(format!("no line makes `%{path}`"))
    }

    /// The path of the value with this name that a line makes.
    pub fn path(&self, line: usize, name: &str) -> Option<&str> {
        let slots = self.slots.iter().filter(|s| s.line == line);
        let nodes = self.nodes.iter().filter(|n| n.line == line);
        let values = slots.map(|s| &s.value);
        let mut values = values.chain(nodes.flat_map(|n| &n.values));
        let path = values.find(|path| path.rsplit('/').next() == Some(name));
        path.map(String::as_str)
    }
}

/// Collects the nodes of a graph and of its regions, in the order in which they are written.
fn walk(graph: &Graph, before: &str, nodes: &mut Vec<NodeLine>) {
    for node in &graph.nodes {
        let names = node.results.iter().map(|id| &graph.value(*id).name);
        let values: Vec<String> = names.map(|name| format!("{before}{name}")).collect();
        let first = first_result(graph, node);
        nodes.push(NodeLine {
            line: 0,
            label: format!("`{first}` ({})", node.op.schema.name),
            values,
        });
        let keywords = node.control().map_or(&[][..], Control::keywords);
        for (region, which) in node.regions.iter().zip(keywords) {
            walk(region, &format!("{before}{first}/{which}/"), nodes);
        }
    }
}

fn first_result<'g>(graph: &'g Graph, node: &Node) -> &'g str {
    let first = node.results.first();
    first.map_or("", |id| graph.value(*id).name.as_str())
}
