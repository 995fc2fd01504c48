//! Control operators: nodes that carry graphs of their own, called *regions*.
//!
//! A region sees nothing but its inputs. What these are differs between the operators; [`Entry`] says
//! it for each input, so that a pass which follows a value into a region needs to know no operator. The
//! rows of these operators are in the catalogue for their names and schemas, and are never lowered:
//! what they read, write and return follows from their regions.
//!
//! A loop carries *values*: at the start of each turn, an input that is carried is a copy of what the
//! turn before returned, and of an operand at the first. So no turn can see memory of another one, and
//! a region that writes what it is carried, through an operator which hides that from `torch`, means
//! nothing and is refused.

use super::arg::{Arg, ValueId};
use super::graph::{Graph, Node};

/// The name of `cond`, which takes one of two graphs.
pub const COND: &str = "higher_order::cond";
/// The name of `while_loop`, which repeats a graph for as long as another one returns true.
pub const WHILE_LOOP: &str = "higher_order::while_loop";
/// The name of `scan`, which repeats a graph for each row of its operands.
pub const SCAN: &str = "higher_order::scan";

/// What a node does with its regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Runs one of two: the first if the predicate is true. Operands: the predicate, a list for both.
    Cond,
    /// Runs the second for as long as the first returns true. Operands: what is carried, what stays.
    While,
    /// Runs its one region for each row of some operands, and collects rows of results. Operands: what
    /// is carried, what is taken by rows, what stays.
    Scan,
}

/// How a value gets into a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It is this value of the graph around the region, whenever the region runs.
    Operand(ValueId),
    /// It is this value at the first turn of a loop, and what the turn before returned at others.
    Carried(ValueId),
    /// It is a row of this value, another one at each turn.
    Row(ValueId),
}

impl Entry {
    /// The value of the graph around the region.
    pub fn outer(self) -> ValueId {
        match self {
            Entry::Operand(id) | Entry::Carried(id) | Entry::Row(id) => id,
        }
    }
}

impl Control {
    /// The keywords of the regions in the text form.
    pub fn keywords(self) -> &'static [&'static str] {
        match self {
            Control::Cond => &["then", "else"],
            Control::While => &["while", "do"],
            Control::Scan => &["each"],
        }
    }
}

impl Node {
    /// What the node does with its regions; nothing where it has none.
    pub fn control(&self) -> Option<Control> {
        if self.regions.is_empty() {
            return None;
        }
        Some(match self.op.schema.name.as_str() {
            WHILE_LOOP => Control::While,
            SCAN => Control::Scan,
            _ => Control::Cond,
        })
    }

    /// Whether this is a `cond`.
    pub fn is_cond(&self) -> bool {
        self.control() == Some(Control::Cond)
    }

    /// What each input of a region is; the same for all regions of the node.
    pub fn entries(&self) -> Vec<Entry> {
        let list = |i: usize| match self.args.get(i) {
            Some(Arg::Values(list)) => list.iter().flatten().copied().collect(),
            _ => Vec::new(),
        };
        let all = |i: usize, entry: fn(ValueId) -> Entry| list(i).into_iter().map(entry);
        match self.control() {
            None => Vec::new(),
            Some(Control::Cond) => all(1, Entry::Operand).collect(),
            Some(Control::While) => all(0, Entry::Carried)
                .chain(all(1, Entry::Operand))
                .collect(),
            Some(Control::Scan) => all(0, Entry::Carried)
                .chain(all(1, Entry::Row))
                .chain(all(2, Entry::Operand))
                .collect(),
        }
    }

    /// Each region with its inputs that are one value of the graph around it whenever it runs: the
    /// input, and that value.
    pub fn captured(&self) -> impl Iterator<Item = (&Graph, Vec<(ValueId, ValueId)>)> {
        let entries = self.entries();
        self.regions.iter().map(move |region| {
            let inputs = region.inputs.iter().zip(&entries);
            let captured = inputs.filter_map(|(input, entry)| match entry {
                Entry::Operand(outer) => Some((*input, *outer)),
                Entry::Carried(_) | Entry::Row(_) => None,
            });
            (region, captured.collect())
        })
    }
}

/// How many turns a `scan` takes over operands of these lengths.
///
/// # Errors
/// The reason, if they have no common length, or no rows: then nothing tells what the results are.
pub fn turns(lengths: &[Option<usize>]) -> Result<usize, String> {
    match lengths.first().copied().flatten() {
        None => Err("a loop over rows has nothing to take rows of".to_owned()),
        Some(0) => Err("a loop over rows is given no rows".to_owned()),
        first if lengths.iter().any(|length| *length != first) => {
            Err("a loop over rows is given tensors of different lengths".to_owned())
        }
        Some(first) => Ok(first),
    }
}
