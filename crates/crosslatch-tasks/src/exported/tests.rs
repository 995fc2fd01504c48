//! Lanes and circles on the demo model.

use crosslatch::ir::SlotKind;
use crosslatch::{DType, Input, Layout, Model, Options, TensorRef};

use super::circle::Circle;
use super::lanes::Lanes;
use crate::search::Feed;

fn demo() -> Model {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/model.pt2");
    Model::open(std::path::Path::new(path)).unwrap()
}

fn lanes(model: &Model) -> Lanes {
    let options = Options {
        threads: 1,
        ..Options::default()
    };
    Lanes::new(model, options, "speech").unwrap()
}

/// Encodes a window of its own for each seed.
fn encode(lanes: &mut Lanes, seed: usize) {
    let features: Vec<f32> = (0..80 * 600)
        .map(|i| (((i + seed) * 7919) % 101) as f32 / 50.0 - 1.0)
        .collect();
    let layout = Layout::contiguous(&[1, 80, 600]);
    let features = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(&features));
    let source = [("input_features", Input::from(features.unwrap()))];
    lanes.encode(&source).unwrap();
}

fn feed(lane: usize, tokens: &[i64], position: usize) -> Feed<'_> {
    Feed {
        lane,
        tokens,
        position,
    }
}

/// The scores after these pieces, by a model that nobody else disturbs. Fed in the same pieces,
/// because attention over more rows sums in another order.
fn alone(model: &Model, seed: usize, pieces: &[&[i64]]) -> Vec<f32> {
    let mut lanes = lanes(model);
    encode(&mut lanes, seed);
    let (mut position, mut scores) = (0, Vec::new());
    for tokens in pieces {
        scores = lanes
            .decode(feed(0, tokens, position), None)
            .unwrap()
            .to_vec();
        position += tokens.len();
    }
    scores
}

#[test]
fn lanes_share_cross_attention_and_go_their_own_ways() {
    let model = demo();
    let mut lanes = lanes(&model);
    encode(&mut lanes, 0);
    lanes.decode(feed(0, &[1, 2, 3], 0), None).unwrap();
    lanes.branch(0, 1).unwrap();
    lanes.branch(1, 2).unwrap();
    for (lane, token) in [(0, 4), (1, 5), (2, 6), (0, 7)] {
        // The last one takes the first one's token back.
        let scores = lanes.decode(feed(lane, &[token], 3), None).unwrap();
        assert!(
            scores == alone(&model, 0, &[&[1, 2, 3], &[token]]),
            "lane {lane}"
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

#[test]
fn models_in_a_circle_come_and_go_and_compute_what_each_computes_alone() {
    let model = demo();
    let circle = Circle::new(2);
    let window = |lanes: &mut Lanes, seed: usize| {
        encode(lanes, seed);
        let mut pieces: Vec<Vec<i64>> = vec![vec![1, 2, 3]];
        // Of different lengths, with two lanes for a while where the seed is odd.
        let steps = 3 + seed * 5 % 7;
        pieces.extend((0..steps).map(|i| vec![(seed * 31 + i * 17) as i64 % 90]));
        let mut position = 0;
        for (i, piece) in pieces.iter().enumerate() {
            let mut both = Vec::new();
            let mut take = |scores: &[f32]| both.push(scores.to_vec());
            let feeds = [feed(0, piece, position), feed(1, piece, position)];
            let count = 1 + usize::from(seed % 2 == 1 && i > 0);
            lanes.decode_all(&feeds[..count], None, &mut take).unwrap();
            if i == 0 {
                lanes.branch(0, 1).unwrap();
            }
            position += piece.len();
            let fed: Vec<&[i64]> = pieces[..=i].iter().map(Vec::as_slice).collect();
            if i + 1 == pieces.len() {
                let wanted = alone(&model, seed, &fed);
                assert!(both.iter().all(|scores| *scores == wanted), "seed {seed}");
            }
        }
        lanes.rest();
    };
    std::thread::scope(|scope| {
        for member in 0..4 {
            let mut lanes = lanes(&model).in_circle(&circle);
            let window = &window;
            scope.spawn(move || {
                for turn in 0..3 {
                    window(&mut lanes, member * 3 + turn);
                }
            });
        }
    });
}

#[test]
fn a_step_that_fails_fails_for_all_in_it_and_the_next_window_is_right_again() {
    let model = demo();
    let circle = Circle::new(2);
    let both = [5, 1 << 40].map(|token| {
        let mut lanes = lanes(&model).in_circle(&circle);
        encode(&mut lanes, 1);
        lanes.decode(feed(0, &[1, 2], 0), None).unwrap();
        (token, lanes)
    });
    let both = both.map(|(token, mut lanes)| {
        lanes.member.as_mut().unwrap().enter();
        (token, lanes)
    });
    std::thread::scope(|scope| {
        for (token, mut lanes) in both {
            let model = &model;
            scope.spawn(move || {
                lanes.decode(feed(0, &[3], 2), None).unwrap();
                let failed = lanes.decode(feed(0, &[token], 3), None);
                let text = failed.map(|_| token).unwrap_err().to_string();
                assert!(text.contains("together with other windows"), "{text}");
                let failed = lanes.decode(feed(0, &[4], 3), None);
                let text = failed.map(|_| token).unwrap_err().to_string();
                assert!(text.contains("is lost"), "{text}");
                encode(&mut lanes, 2);
                lanes.decode(feed(0, &[1], 0), None).unwrap();
                let scores = lanes.decode(feed(0, &[7], 1), None).unwrap();
                assert!(scores == alone(model, 2, &[&[1], &[7]]));
            });
        }
    });
}

#[test]
fn a_model_that_goes_is_not_waited_for() {
    let model = demo();
    let ways: [fn(&mut Option<Lanes>); 4] = [
        |goes| drop(goes.take()),
        |goes| goes.as_mut().unwrap().rest(),
        |goes| encode(goes.as_mut().unwrap(), 4),
        |goes| drop(goes.as_mut().unwrap().decode(feed(0, &[5, 6], 2), None)),
    ];
    for go in ways {
        let circle = Circle::new(2);
        let [mut stays, mut goes] = [0, 1].map(|_| lanes(&model).in_circle(&circle));
        for lanes in [&mut stays, &mut goes] {
            encode(lanes, 3);
            lanes.decode(feed(0, &[1], 0), None).unwrap();
        }
        goes.decode(feed(0, &[2], 1), None).unwrap();
        let mut goes = Some(goes);
        go(&mut goes);
        // Would wait for ever.
        stays.decode(feed(0, &[3], 1), None).unwrap();
    }
}
