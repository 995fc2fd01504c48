//! Nodes that are added to a graph in front of the one at hand.

use std::sync::Arc;

use crate::ir::graph::{Arg, Graph, Node, Provenance, ValueId, ValueType};
use crate::ops::Catalogue;

/// A place in a graph whose nodes up to there have been written.
pub(super) struct Insertion<'g> {
    /// The graph, with the nodes before the place.
    pub graph: &'g mut Graph,
    /// Where in the model the node at hand comes from.
    pub provenance: Provenance,
}

impl Insertion<'_> {
    /// A new value.
    pub fn single(&mut self, what: &str, ty: ValueType) -> ValueId {
        let name = format!("{what}_{}", self.graph.values.len());
        self.graph.add_value(name, ty)
    }

    /// A call of an operator; `None` if the engine does not have it.
    pub fn call(&self, name: &str, args: Vec<Arg>, results: Vec<ValueId>) -> Option<Node> {
        Some(Node {
            op: Arc::clone(Catalogue::builtin().get(name)?),
            args,
            regions: Vec::new(),
            results,
            provenance: self.provenance.clone(),
        })
    }

    /// Adds a call of an operator with a new result.
    pub fn push(
        &mut self,
        name: &str,
        args: Vec<Arg>,
        what: &str,
        ty: ValueType,
    ) -> Option<ValueId> {
        let result = self.single(what, ty);
        let node = self.call(name, args, vec![result])?;
        self.graph.nodes.push(node);
        Some(result)
    }
}
