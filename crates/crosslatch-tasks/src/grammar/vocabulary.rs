//! The tokens of a model, arranged by the bytes with which they begin.
//!
//! Whether a token may come next depends on its bytes, and most tokens share their first bytes with others.
//! So all are tried in one walk through a tree, in which a byte that cannot follow rules out everything that
//! begins with it. The tree is a list in the order of the walk, where each node knows how long its part is.

use std::sync::Arc;

use super::machine::{DEAD, Machine};
use super::program::Program;

/// The bytes of each token, by its number; `None` if it is not text.
pub(super) type Texts = Arc<Vec<Option<Vec<u8>>>>;

struct Node {
    byte: u8,
    /// Number of bytes before it.
    depth: u32,
    /// The node behind all that begin as this one does.
    end: u32,
    /// The tokens that end here, as a range of `tokens`.
    tokens: (u32, u32),
}

pub(super) struct Vocabulary {
    pub texts: Texts,
    nodes: Vec<Node>,
    /// The tokens that are text, in the order of their bytes.
    tokens: Vec<u32>,
}

impl Vocabulary {
    pub fn new(texts: Texts) -> Self {
        let text = |token: u32| texts[token as usize].as_deref().unwrap_or_default();
        // A token without bytes would go nowhere.
        let mut tokens: Vec<u32> = (0..texts.len() as u32)
            .filter(|&t| !text(t).is_empty())
            .collect();
        tokens.sort_by(|&a, &b| text(a).cmp(text(b)).then(a.cmp(&b)));
        let mut nodes: Vec<Node> = Vec::new();
        // The nodes from the root to the current one.
        let mut path: Vec<usize> = Vec::new();
        let mut before: &[u8] = &[];
        for (i, &token) in tokens.iter().enumerate() {
            let bytes = text(token);
            let common = bytes.iter().zip(before).take_while(|(a, b)| a == b).count();
            for node in path.drain(common..) {
                nodes[node].end = nodes.len() as u32;
            }
            for (depth, &byte) in bytes.iter().enumerate().skip(common) {
                path.push(nodes.len());
                nodes.push(Node {
                    byte,
                    depth: depth as u32,
                    end: 0,
                    tokens: (i as u32, i as u32),
                });
            }
            if let Some(&node) = path.last() {
                nodes[node].tokens.1 = i as u32 + 1;
            }
            before = bytes;
        }
        for node in path {
            nodes[node].end = nodes.len() as u32;
        }
        Vocabulary {
            nodes,
            tokens,
            texts: Arc::clone(&texts),
        }
    }

    /// Calls `allow` with each token that may come next in a state.
    pub fn allowed(
        &self,
        machine: &mut Machine,
        program: &Program,
        state: u32,
        mut allow: impl FnMut(u32),
    ) {
        let mut states = vec![state];
        let mut at = 0;
        while let Some(node) = self.nodes.get(at) {
            let depth = node.depth as usize;
            states.truncate(depth + 1);
            let next = machine.step(program, states[depth], node.byte);
            if next == DEAD {
                at = node.end as usize;
                continue;
            }
            let (first, end) = node.tokens;
            self.tokens[first as usize..end as usize]
                .iter()
                .for_each(|&token| allow(token));
            states.push(next);
            at += 1;
        }
    }
}
