//! Decoding in the steady state allocates nothing: every allocation of the process is counted.
//!
//! A test binary of its own, because the counting allocator is the whole process's.

use std::path::Path;

use crosslatch::{Model, Options};
use crosslatch_tasks::{Decoder, ExportedSpeechModel, SpeechModel};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Steps that are counted, after as many that are not.
const STEPS: usize = 24;

#[test]
fn decoding_in_the_steady_state_allocates_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model.pt2");
    let model = Model::open(path).unwrap();
    let (mels, frames) = (80, 600);
    let features: Vec<f32> = (0..mels * frames)
        .map(|i| (i as f32 * 0.37).sin() * 0.5)
        .collect();
    for threads in [1, 2] {
        let options = Options {
            threads,
            ..Options::default()
        };
        let mut session = ExportedSpeechModel::new(&model, options).unwrap();
        for window in 0..2 {
            session.encode(&features, mels, frames).unwrap();
            session.decode(0, &[1, 2, 3, 4], 0).unwrap();
            let mut before = dhat::HeapStats::get();
            for step in 0..2 * STEPS {
                if step == STEPS {
                    before = dhat::HeapStats::get();
                }
                session.decode(0, &[5 + step as i64], 4 + step).unwrap();
            }
            let after = dhat::HeapStats::get();
            assert_eq!(
                after.total_blocks, before.total_blocks,
                "window {window}, {threads} threads"
            );
        }
        // The counter works: a plan for other sizes is memory.
        let before = dhat::HeapStats::get();
        session.decode(0, &[1, 2], 60).unwrap();
        assert!(dhat::HeapStats::get().total_blocks > before.total_blocks);
    }
}
