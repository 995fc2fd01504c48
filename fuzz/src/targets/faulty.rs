//! Targets that break on purpose: the driver has to notice each way of breaking.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::Target;
use crate::mutation::bytes;

/// All of them; none is run unless it is named.
pub const TARGETS: &[Target] = &[
    faulty("panics", |_| panic!("as the test wants it")),
    faulty("overflows-its-stack", |bytes| {
        descend(bytes.len()).to_string()
    }),
    faulty("takes-memory", |_| {
        black_box(vec![1_u8; 80 << 20]);
        String::new()
    }),
    faulty("takes-more-than-there-is", |_| {
        black_box(vec![1_u8; 1 << 40]);
        String::new()
    }),
    faulty("never-ends", |_| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }),
    faulty("is-slow", |_| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1100) {
            std::hint::spin_loop();
        }
        String::new()
    }),
];

const fn faulty(name: &'static str, run: fn(&[u8]) -> String) -> Target {
    Target {
        name,
        run,
        seeds: || vec![vec![0]],
        mutate: bytes::mutate,
        longest: 1,
    }
}

fn descend(depth: usize) -> usize {
    let frame = black_box([depth; 64]);
    match black_box(true) {
        true => descend(depth + 1) + frame[depth % 64],
        false => 0,
    }
}
