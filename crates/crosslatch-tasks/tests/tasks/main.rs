//! Tests of the crate against files, against transformers and against scripted models.

mod audio;
mod batch;
mod channels;
mod deltas;
mod features;

mod longform;
mod sound_sources;
mod speech;
mod stream;
mod text;
mod voice;
mod whisper;

use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}
