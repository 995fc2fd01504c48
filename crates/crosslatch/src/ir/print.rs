//! Writing the text form.
//!
//! ```text
//! program decoder
//! symbol s0 in 1..80
//! input %ids: i64[1, s0]
//! weight %w: f32[8, 4] = "embed.weight"
//! state %cache: f32[1, 2, 5, 4] = "cache"
//! %h: f32[1, s0, 4] = aten::embedding(weight=%w, indices=%ids)
//! return "logits"=%h, @cache=%h
//! ```
//!
//! Arguments that have the schema's default are left out. [`mod@super::parse`] reads it back.

use std::fmt;

use super::arg::Arg;
use super::control::Control;
use super::graph::{Graph, Node, Output, Program, SlotKind, TensorType, ValueType};

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program {}", self.name)?;
        for symbol in &self.symbols {
            match symbol.max {
                Some(max) => writeln!(f, "symbol {} in {}..{max}", symbol.name, symbol.min)?,
                None => writeln!(f, "symbol {} in {}..", symbol.name, symbol.min)?,
            }
        }
        for (slot, input) in self.slots.iter().zip(&self.graph.inputs) {
            let value = self.graph.value(*input);
            let kind = match slot.kind {
                SlotKind::Input => "input",
                SlotKind::Latched => "latched",
                SlotKind::Segment => "segment",
                SlotKind::Carried => "carried",
                SlotKind::Weight => "weight",
                SlotKind::State => "state",
            };
            writeln!(f, "{kind} %{}: {} = {:?}", value.name, value.ty, slot.name)?;
        }
        write_nodes(f, &self.graph, 0)?;
        f.write_str("return ")?;
        for (i, (output, value)) in self.outputs.iter().zip(&self.graph.outputs).enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            match output {
                Output::User(name) => write!(f, "{name:?}=")?,
                Output::Mutation { slot } => {
                    let target = self.graph.inputs[*slot];
                    write!(f, "@{}=", self.graph.value(target).name)?
                }
            }
            write_arg(f, &self.graph, value)?;
        }
        writeln!(f)
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueType::Tensor(ty) => write!(f, "{ty}"),
            ValueType::Int => f.write_str("int"),
            ValueType::Float => f.write_str("float"),
            ValueType::Bool => f.write_str("truth"),
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, size) in self.sizes.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{size}")?;
        }
        f.write_str("]")
    }
}

fn write_nodes(f: &mut fmt::Formatter<'_>, graph: &Graph, depth: usize) -> fmt::Result {
    for node in &graph.nodes {
        write_node(f, graph, node, depth)?;
    }
    Ok(())
}

fn write_node(f: &mut fmt::Formatter<'_>, graph: &Graph, node: &Node, depth: usize) -> fmt::Result {
    let indent = "  ".repeat(depth);
    f.write_str(&indent)?;
    for (i, id) in node.results.iter().enumerate() {
        let value = graph.value(*id);
        let sep = if i > 0 { ", " } else { "" };
        write!(f, "{sep}%{}: {}", value.name, value.ty)?;
    }
    if !node.results.is_empty() {
        f.write_str(" = ")?;
    }
    write!(f, "{}(", node.op.schema.name)?;
    let mut first = true;
    for (arg, param) in node.args.iter().zip(&node.op.schema.params) {
        let is_default = param.default.as_ref() == Some(arg)
            || (param.default.is_none() && param.optional && *arg == Arg::None);
        if is_default {
            continue;
        }
        if !first {
            f.write_str(", ")?;
        }
        first = false;
        write!(f, "{}=", param.name)?;
        write_arg(f, graph, arg)?;
    }
    f.write_str(")")?;
    let keywords = node.control().map_or(&[][..], Control::keywords);
    for (name, region) in keywords.iter().zip(&node.regions) {
        write!(f, " {name}(")?;
        for (i, input) in region.inputs.iter().enumerate() {
            let value = region.value(*input);
            let sep = if i > 0 { ", " } else { "" };
            write!(f, "{sep}%{}: {}", value.name, value.ty)?;
        }
        writeln!(f, ") {{")?;
        write_nodes(f, region, depth + 1)?;
        write!(f, "{indent}  return ")?;
        for (i, output) in region.outputs.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write_arg(f, region, output)?;
        }
        write!(f, "\n{indent}}}")?;
    }
    writeln!(f)
}

fn write_arg(f: &mut fmt::Formatter<'_>, graph: &Graph, arg: &Arg) -> fmt::Result {
    match arg {
        Arg::None => f.write_str("none"),
        Arg::Value(id) => write!(f, "%{}", graph.value(*id).name),
        Arg::Values(list) => {
            f.write_str("{")?;
            for (i, id) in list.iter().enumerate() {
                let sep = if i > 0 { ", " } else { "" };
                match id {
                    Some(id) => write!(f, "{sep}%{}", graph.value(*id).name)?,
                    None => write!(f, "{sep}none")?,
                }
            }
            f.write_str("}")
        }
        Arg::Int(i) => write!(f, "{i}"),
        Arg::List(list) => {
            f.write_str("[")?;
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    f.write_str(", ")?;
                }
                write_arg(f, graph, item)?;
            }
            f.write_str("]")
        }
        // Debug formatting keeps a point or an exponent, which distinguishes floats from integers.
        Arg::Float(x) => write!(f, "{x:?}"),
        Arg::Bool(b) => write!(f, "{b}"),
        Arg::Str(s) => write!(f, "{s:?}"),
        Arg::DType(d) => write!(f, "{d}"),
    }
}
