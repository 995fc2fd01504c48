//! Sequences and step batching on the demo model.

use crosslatch::ir::SlotKind;
use crosslatch::passes::alignment::Heads;
use crosslatch::{DType, Input, Layout, Model, Options, TensorRef};

use super::decoder::ExportedDecoder;
use super::step_batching::StepBatcher;
use crate::search::Feed;

fn demo() -> Model {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/model.pt2");
    Model::open(std::path::Path::new(path)).unwrap()
}

fn decoder(model: &Model) -> ExportedDecoder {
    let options = Options {
        threads: 1,
        ..Options::default()
    };
    ExportedDecoder::new(model, options, "speech", Ok(Heads::LastHalf)).unwrap()
}

/// Encodes a window of its own for each seed.
fn encode(decoder: &mut ExportedDecoder, seed: usize) {
    let features: Vec<f32> = (0..80 * 600)
        .map(|i| (((i + seed) * 7919) % 101) as f32 / 50.0 - 1.0)
        .collect();
    let layout = Layout::contiguous(&[1, 80, 600]);
    let features = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(&features));
    let source = [("input_features", Input::from(features.unwrap()))];
    decoder.encode(&source).unwrap();
}

fn feed(sequence: usize, tokens: &[i64], position: usize) -> Feed<'_> {
    Feed {
        sequence,
        tokens,
        position,
    }
}

/// The scores after these pieces, by a model that nobody else disturbs. Fed in the same pieces,
/// because attention over more rows sums in another order.
fn alone(model: &Model, seed: usize, pieces: &[&[i64]]) -> Vec<f32> {
    let mut decoder = decoder(model);
    encode(&mut decoder, seed);
    let (mut position, mut scores) = (0, Vec::new());
    for tokens in pieces {
        scores = decoder.decode(feed(0, tokens, position)).unwrap().to_vec();
        position += tokens.len();
    }
    scores
}

#[test]
fn sequences_share_cross_attention_and_go_their_own_ways() {
    let model = demo();
    let mut decoder = decoder(&model);
    encode(&mut decoder, 0);
    decoder.decode(feed(0, &[1, 2, 3], 0)).unwrap();
    decoder.branch(0, 1).unwrap();
    decoder.branch(1, 2).unwrap();
    for (sequence, token) in [(0, 4), (1, 5), (2, 6), (0, 7)] {
        // The last one takes the first one's token back.
        let scores = decoder.decode(feed(sequence, &[token], 3)).unwrap();
        assert!(
            scores == alone(&model, 0, &[&[1, 2, 3], &[token]]),
            "sequence {sequence}"
        );
    }
    let feeds = [feed(2, &[8], 4), feed(0, &[9], 4), feed(1, &[3, 8], 4)];
    let pieces: [[&[i64]; 2]; 3] = [[&[6], &[8]], [&[7], &[9]], [&[5], &[3, 8]]];
    let mut wanted = pieces.iter();
    let mut take = |scores: &[f32]| {
        let [token, rest] = wanted.next().unwrap();
        assert!(
            scores == alone(&model, 0, &[&[1, 2, 3], token, rest]),
            "{token:?} {rest:?}"
        );
    };
    decoder.decode_all(&feeds, &mut take).unwrap();
    assert!(wanted.next().is_none());
    let method = &model.methods()[model.method_index("decoder").unwrap()];
    let slots = method.program.slots.iter().zip(&method.bindings);
    let state = slots.filter(|(slot, _)| slot.kind == SlotKind::State);
    let cross = state.filter(|(slot, _)| slot.name.contains("cross"));
    let cross: usize = cross
        .filter_map(|(_, binding)| binding.as_ref())
        .map(|weight| weight.layout.numel() * weight.dtype.size())
        .sum();
    assert!(cross > 0);
    for sequence in 0..3 {
        assert_eq!(decoder.shared_bytes(sequence), cross, "sequence {sequence}");
    }
}

#[test]
fn batched_models_come_and_go_and_compute_what_each_computes_alone() {
    let model = demo();
    let batcher = StepBatcher::new(2);
    let window = |decoder: &mut ExportedDecoder, seed: usize| {
        encode(decoder, seed);
        let mut pieces: Vec<Vec<i64>> = vec![vec![1, 2, 3]];
        // Of different lengths, with two decoder for a while where the seed is odd.
        let steps = 3 + seed * 5 % 7;
        pieces.extend((0..steps).map(|i| vec![(seed * 31 + i * 17) as i64 % 90]));
        let mut position = 0;
        for (i, piece) in pieces.iter().enumerate() {
            let mut both = Vec::new();
            let mut take = |scores: &[f32]| both.push(scores.to_vec());
            let feeds = [feed(0, piece, position), feed(1, piece, position)];
            let count = 1 + usize::from(seed % 2 == 1 && i > 0);
            decoder.decode_all(&feeds[..count], &mut take).unwrap();
            if i == 0 {
                decoder.branch(0, 1).unwrap();
            }
            position += piece.len();
            let fed: Vec<&[i64]> = pieces[..=i].iter().map(Vec::as_slice).collect();
            if i + 1 == pieces.len() {
                let wanted = alone(&model, seed, &fed);
                assert!(both.iter().all(|scores| *scores == wanted), "seed {seed}");
            }
        }
        decoder.pause();
    };
    std::thread::scope(|scope| {
        for window_of in 0..4 {
            let mut decoder = decoder(&model).batched_by(&batcher);
            let window = &window;
            scope.spawn(move || {
                for turn in 0..3 {
                    window(&mut decoder, window_of * 3 + turn);
                }
            });
        }
    });
}

#[test]
fn a_batch_that_fails_fails_for_all_its_models_and_their_next_windows_are_right() {
    let model = demo();
    let batcher = StepBatcher::new(2);
    let both = [5, 1 << 40].map(|token| {
        let mut decoder = decoder(&model).batched_by(&batcher);
        encode(&mut decoder, 1);
        decoder.decode(feed(0, &[1, 2], 0)).unwrap();
        (token, decoder)
    });
    let both = both.map(|(token, mut decoder)| {
        decoder.participant.as_mut().unwrap().activate();
        (token, decoder)
    });
    std::thread::scope(|scope| {
        for (token, mut decoder) in both {
            let model = &model;
            scope.spawn(move || {
                decoder.decode(feed(0, &[3], 2)).unwrap();
                let failed = decoder.decode(feed(0, &[token], 3));
                let text = failed.map(|_| token).unwrap_err().to_string();
                assert!(text.contains("together with other windows"), "{text}");
                let failed = decoder.decode(feed(0, &[4], 3));
                let text = failed.map(|_| token).unwrap_err().to_string();
                assert!(text.contains("is lost"), "{text}");
                encode(&mut decoder, 2);
                decoder.decode(feed(0, &[1], 0)).unwrap();
                let scores = decoder.decode(feed(0, &[7], 1)).unwrap();
                assert!(scores == alone(model, 2, &[&[1], &[7]]));
            });
        }
    });
}

#[test]
fn nobody_waits_for_a_model_that_has_left_the_batch() {
    let model = demo();
    let ways: [fn(&mut Option<ExportedDecoder>); 4] = [
        |goes| drop(goes.take()),
        |goes| goes.as_mut().unwrap().pause(),
        |goes| encode(goes.as_mut().unwrap(), 4),
        |goes| drop(goes.as_mut().unwrap().decode(feed(0, &[5, 6], 2))),
    ];
    for go in ways {
        let batcher = StepBatcher::new(2);
        let [mut stays, mut goes] = [0, 1].map(|_| decoder(&model).batched_by(&batcher));
        for decoder in [&mut stays, &mut goes] {
            encode(decoder, 3);
            decoder.decode(feed(0, &[1], 0)).unwrap();
        }
        goes.decode(feed(0, &[2], 1)).unwrap();
        let mut goes = Some(goes);
        go(&mut goes);
        // Would wait for ever.
        stays.decode(feed(0, &[3], 1)).unwrap();
    }
}
