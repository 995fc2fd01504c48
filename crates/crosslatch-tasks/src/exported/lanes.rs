//! Lanes as sessions.
//!
//! A decoder program takes one sequence at a time and keeps one self-attention cache, so each lane
//! is a session of its own. A lane comes into being as a fork of another one: it reads the encoder's
//! output and the cross-attention keys and values where the first lane has them, and copies what it
//! writes, which is its self-attention cache.

use crosslatch::{DType, Input, Layout, Model, Options, Session, TensorRef};

use super::ExportedError;
use crate::search::Feed;

/// The sessions of one source.
pub(super) struct Lanes {
    kind: &'static str,
    /// The first lane holds what the encoder returned; the others are forks of it, or of one another.
    sessions: Vec<Session>,
    encoder_output: String,
    decoder_output: String,
    positions: Vec<i64>,
}

impl Lanes {
    /// One lane on a model; `kind` is what messages call it.
    ///
    /// # Errors
    /// If the model lacks one of the two methods, or one of them has no output.
    pub fn new(model: &Model, options: Options, kind: &'static str) -> Result<Self, ExportedError> {
        let first_output = |method: &str| -> Result<String, ExportedError> {
            let program = &model.methods()[model.method_index(method)?].program;
            let mut names = program.outputs.iter().filter_map(|o| match o {
                crosslatch::ir::Output::User(name) => Some(name.clone()),
                crosslatch::ir::Output::Mutation { .. } => None,
            });
            names.next().ok_or_else(|| ExportedError::Layout {
                kind,
                cause: format!("`{method}` returns nothing"),
            })
        };
        Ok(Lanes {
            kind,
            encoder_output: first_output("encoder")?,
            decoder_output: first_output("decoder")?,
            sessions: vec![Session::new(model, options)],
            positions: Vec::new(),
        })
    }

    /// Encodes a new source; no lane holds anything of the last one.
    pub fn encode(&mut self, source: &[(&str, Input<'_>)]) -> Result<(), ExportedError> {
        self.sessions.truncate(1);
        self.sessions[0].reset();
        self.sessions[0].run("encoder", source)?;
        Ok(())
    }

    /// Makes lane `to` go on from where lane `from` is.
    pub fn branch(&mut self, from: usize, to: usize) {
        self.grow(from.max(to));
        self.sessions[to] = self.sessions[from].fork();
    }

    /// Makes lanes up to this one.
    fn grow(&mut self, lane: usize) {
        while self.sessions.len() <= lane {
            let fork = self.sessions[0].fork();
            self.sessions.push(fork);
        }
    }

    /// Bytes of the decoder's state that a lane reads where another one has it.
    #[cfg(test)]
    pub fn shared_bytes(&self, lane: usize) -> usize {
        self.sessions[lane]
            .shared_state_bytes("decoder")
            .unwrap_or(0)
    }

    /// Feeds tokens to a lane and returns the scores of the token after the last, `[vocab]`. `more`
    /// is what this decoder takes beside tokens, positions and the encoder's output.
    pub fn decode(
        &mut self,
        feed: Feed<'_>,
        more: Option<(&str, TensorRef<'_>)>,
    ) -> Result<&[f32], ExportedError> {
        self.grow(feed.lane);
        let wrong = self.wrong();
        let tokens = Tokens::new(feed, std::mem::take(&mut self.positions));
        let [ids, positions] = tokens.inputs().map_err(&wrong)?;
        let states = states(&self.encoder_output);
        let session = &mut self.sessions[feed.lane];
        match more {
            None => session.run("decoder", &[ids, positions, states])?,
            Some((name, more)) => {
                session.run("decoder", &[ids, positions, states, (name, more.into())])?
            }
        };
        self.positions = tokens.positions;
        self.scores(feed.lane)
    }

    /// The same for several lanes, no lane twice, side by side.
    pub fn decode_all(
        &mut self,
        feeds: &[Feed<'_>],
        more: Option<(&str, TensorRef<'_>)>,
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), ExportedError> {
        if let [feed] = feeds {
            take(self.decode(*feed, more)?);
            return Ok(());
        }
        feeds.iter().for_each(|feed| self.grow(feed.lane));
        let wrong = self.wrong();
        let tokens = feeds.iter().map(|feed| Tokens::new(*feed, Vec::new()));
        let tokens: Vec<Tokens<'_>> = tokens.collect();
        let more = more.map(|(name, tensor)| (name, Input::from(tensor)));
        let mut named = Vec::with_capacity(feeds.len());
        for tokens in &tokens {
            let mut inputs = Vec::from(tokens.inputs().map_err(&wrong)?);
            inputs.push(states(&self.encoder_output));
            inputs.extend(more);
            named.push(inputs);
        }
        let named: Vec<&[(&str, Input<'_>)]> = named.iter().map(Vec::as_slice).collect();
        let mut lanes: Vec<_> = self.sessions.iter_mut().map(Some).collect();
        let sessions = feeds.iter().map(|feed| lanes[feed.lane].take());
        let sessions: Option<Vec<&mut Session>> = sessions.collect();
        let mut sessions = sessions.ok_or_else(|| wrong("a lane is fed twice at once".into()))?;
        Session::run_together(&mut sessions, "decoder", &named)?;
        for feed in feeds {
            take(self.scores(feed.lane)?);
        }
        Ok(())
    }

    fn wrong(&self) -> impl Fn(String) -> ExportedError + use<> {
        let kind = self.kind;
        move |cause| ExportedError::Layout { kind, cause }
    }

    /// The scores that a lane's last run ended with.
    fn scores(&self, lane: usize) -> Result<&[f32], ExportedError> {
        let wrong = self.wrong();
        let outputs = self.sessions[lane].outputs("decoder")?;
        let logits = outputs
            .get(&self.decoder_output)
            .filter(|t| t.dtype() == DType::F32 && t.shape().len() == 3)
            .ok_or_else(|| wrong("`decoder` returns no f32 logits".into()))?;
        let vocabulary = logits.shape()[2];
        let all = logits
            .contiguous::<f32>()
            .filter(|all| all.len() >= vocabulary)
            .ok_or_else(|| wrong("`decoder` returns strided logits".into()))?;
        Ok(&all[all.len() - vocabulary..])
    }
}

/// What the encoder returned under this name, as an input of the decoder.
fn states(name: &str) -> (&'static str, Input<'_>) {
    let method = "encoder";
    ("encoder_hidden_states", Input::Output { method, name })
}

/// Tokens and their positions, as the decoder takes them.
struct Tokens<'a> {
    tokens: &'a [i64],
    positions: Vec<i64>,
    /// Layouts of both.
    layouts: [Layout; 2],
}

impl<'a> Tokens<'a> {
    /// `positions` is memory to be used again.
    fn new(feed: Feed<'a>, mut positions: Vec<i64>) -> Self {
        let (tokens, n) = (feed.tokens, feed.tokens.len());
        positions.clear();
        positions.extend((feed.position..feed.position + n).map(|p| p as i64));
        Tokens {
            tokens,
            positions,
            layouts: [Layout::contiguous(&[1, n]), Layout::contiguous(&[n])],
        }
    }

    fn inputs(&self) -> Result<[(&'static str, Input<'_>); 2], String> {
        let ids = integers(&self.layouts[0], self.tokens)?;
        let positions = integers(&self.layouts[1], &self.positions)?;
        Ok([
            ("input_ids", ids.into()),
            ("cache_position", positions.into()),
        ])
    }
}

/// Integers as a tensor.
pub(super) fn integers<'t>(layout: &'t Layout, values: &'t [i64]) -> Result<TensorRef<'t>, String> {
    TensorRef::new(DType::I64, layout, bytemuck::cast_slice(values)).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crosslatch::ir::SlotKind;

    fn feed(lane: usize, tokens: &[i64], position: usize) -> Feed<'_> {
        Feed {
            lane,
            tokens,
            position,
        }
    }

    #[test]
    fn lanes_share_cross_attention_and_go_their_own_ways() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/model.pt2");
        let model = Model::open(std::path::Path::new(path)).unwrap();
        let features: Vec<f32> = (0..80 * 600)
            .map(|i| ((i * 7919) % 101) as f32 / 50.0 - 1.0)
            .collect();
        let layout = Layout::contiguous(&[1, 80, 600]);
        let features = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(&features));
        let source = [("input_features", Input::from(features.unwrap()))];
        let fresh = || {
            let mut lanes = Lanes::new(&model, Options::default(), "speech").unwrap();
            lanes.encode(&source).unwrap();
            lanes
        };
        // Fed in the same pieces, because attention over more rows sums in another order.
        let alone = |pieces: &[&[i64]]| {
            let (mut lanes, mut position) = (fresh(), 0);
            for tokens in pieces {
                lanes.decode(feed(0, tokens, position), None).unwrap();
                position += tokens.len();
            }
            lanes.scores(0).unwrap().to_vec()
        };

        let mut lanes = fresh();
        lanes.decode(feed(0, &[1, 2, 3], 0), None).unwrap();
        lanes.branch(0, 1);
        lanes.branch(1, 2);
        for (lane, token) in [(0, 4), (1, 5), (2, 6), (0, 7)] {
            // The last one takes the first one's token back.
            let scores = lanes.decode(feed(lane, &[token], 3), None).unwrap();
            assert!(scores == alone(&[&[1, 2, 3], &[token]]), "lane {lane}");
        }
        let feeds = [feed(2, &[8], 4), feed(0, &[9], 4), feed(1, &[3, 8], 4)];
        let pieces: [[&[i64]; 2]; 3] = [[&[6], &[8]], [&[7], &[9]], [&[5], &[3, 8]]];
        let mut wanted = pieces.iter();
        let mut take = |scores: &[f32]| {
            let [token, rest] = wanted.next().unwrap();
            assert!(
                scores == alone(&[&[1, 2, 3], token, rest]),
                "{token:?} {rest:?}"
            );
        };
        lanes.decode_all(&feeds, None, &mut take).unwrap();
        assert!(wanted.next().is_none());
        let decoder = &model.methods()[model.method_index("decoder").unwrap()];
        let slots = decoder.program.slots.iter().zip(&decoder.bindings);
        let state = slots.filter(|(slot, _)| slot.kind == SlotKind::State);
        let cross = state.filter(|(slot, _)| slot.name.contains("cross"));
        let cross: usize = cross
            .filter_map(|(_, binding)| binding.as_ref())
            .map(|weight| weight.layout.numel() * weight.dtype.size())
            .sum();
        assert!(cross > 0);
        for lane in 0..3 {
            assert_eq!(lanes.shared_bytes(lane), cross, "lane {lane}");
        }
    }
}
