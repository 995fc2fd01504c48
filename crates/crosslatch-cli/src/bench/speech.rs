//! The measurement of a speech model: one window, step by step, and steps of several sequences, which have
//! windows of their own or are beams of one.

use std::time::Instant;

use crosslatch::BandwidthProbe;
use crosslatch::inputs::types_for;
use crosslatch::{DType, Model, Options, Precision, Session, Threads};
use crosslatch_tasks::{Decoder, ExportedSpeechModel, Feed, SpeechModel, speech_pipeline};
use serde_json::{Value, json};

use super::measure::{milliseconds, noise, peak_memory, quartiles, smallest};
use super::together::Together;
use crate::CommandError;

/// Number of tokens of the prompt.
const PROMPT: usize = 4;
/// Number of tokens that are forced after the prompt.
const STEPS: usize = 64;
/// Number of steps that several sequences take side by side.
const STEPS_TOGETHER: usize = 9;

/// Size of the memory whose bandwidth is measured: several times what caches hold.
const PROBE_BYTES: usize = 256 << 20;

/// A speech model in one precision, and the times that were measured.
struct Run {
    precision: Precision,
    speech: ExportedSpeechModel,
    bytes: Option<u64>,
    convert: f64,
    encoder: Vec<f64>,
    first: Vec<f64>,
    later: Vec<f64>,
    window: Vec<f64>,
    several: Several,
    /// Times of the first steps of several windows, and of later ones.
    first_together: Vec<f64>,
    together: Vec<f64>,
    /// Times of steps of several beams.
    beams: Vec<f64>,
}

/// Numbers of sequences that take a step side by side.
#[derive(Clone, Copy)]
pub struct Several {
    /// Sequences with a window each: what is encoded is read for each of them.
    pub windows: usize,
    /// Sequences that continue one: what is encoded is theirs together.
    pub beams: usize,
}

/// Measures the model in each precision, in several passes. Returns a row for each, and the peak of
/// memory with one window.
pub fn measure(
    model: &Model,
    precisions: &[Precision],
    passes: u32,
    several: Several,
    options: &dyn Fn(Precision) -> Options,
) -> Result<(Vec<Value>, Option<u64>), CommandError> {
    let (mels, frames) = window(model)?;
    let features = noise(mels * frames);
    let mut runs = Vec::new();
    for &precision in precisions {
        let start = Instant::now();
        let speech = ExportedSpeechModel::new(model, options(precision))?;
        runs.push(Run {
            precision,
            speech,
            convert: milliseconds(start),
            bytes: step_bytes(model, options(precision)),
            encoder: Vec::new(),
            first: Vec::new(),
            later: Vec::new(),
            window: Vec::new(),
            several,
            first_together: Vec::new(),
            together: Vec::new(),
            beams: Vec::new(),
        });
    }
    let probe = BandwidthProbe::new(PROBE_BYTES);
    let threads = Threads::new(options(Precision::F32).threads);
    let mut bandwidth = Vec::new();
    // The first pass makes the plans and reads the file, so it is not counted.
    for pass in 0..=passes {
        for run in &mut runs {
            run.pass(&features, mels, frames, pass > 0)?;
            bandwidth.push(probe.measure(&threads));
        }
    }
    let peak = peak_memory();
    for run in &mut runs {
        run.windows(model, options(run.precision), passes, [mels, frames])?;
    }
    let bandwidth = quartiles(&mut bandwidth);
    // Programs alone, without the files that say how sound becomes features, do not tell.
    let pipeline = speech_pipeline(model).ok();
    let seconds = pipeline.map(|p| p.features.window_samples() as f64 / f64::from(p.sample_rate()));
    let rows = runs.iter_mut().map(|run| run.report(bandwidth, seconds));
    Ok((rows.collect(), peak))
}

impl Run {
    fn pass(
        &mut self,
        features: &[f32],
        mels: usize,
        frames: usize,
        counts: bool,
    ) -> Result<(), CommandError> {
        let start = Instant::now();
        self.speech.encode(features, mels, frames)?;
        let encoder = milliseconds(start);
        let begin = Instant::now();
        let vocabulary = self.speech.decode(0, &[0; PROMPT], 0)?.len();
        let first = milliseconds(begin);
        let mut later = Vec::with_capacity(STEPS);
        for i in 0..STEPS {
            let token = (i * 7919 + 11) % vocabulary;
            let begin = Instant::now();
            self.speech.decode(0, &[token as i64], PROMPT + i)?;
            later.push(milliseconds(begin));
        }
        let window = milliseconds(start);
        let beams = self.beams(vocabulary)?;
        if counts {
            self.window.push(window);
            self.beams.extend(beams);
            self.encoder.push(encoder);
            self.first.push(first);
            self.later.extend(later);
        }
        Ok(())
    }

    /// Times of steps that beams take side by side. They continue the sequence that has been decoded.
    fn beams(&mut self, vocabulary: usize) -> Result<Vec<f64>, CommandError> {
        for beam in 1..self.several.beams {
            self.speech.branch(0, beam)?;
        }
        let mut times = Vec::with_capacity(STEPS_TOGETHER);
        for i in 0..STEPS_TOGETHER {
            let tokens = (0..self.several.beams)
                .map(|sequence| ((i * 7919 + sequence * 31) % vocabulary) as i64);
            let tokens: Vec<i64> = tokens.collect();
            let feeds = tokens.chunks(1).enumerate().map(|(sequence, tokens)| Feed {
                sequence,
                tokens,
                position: PROMPT + STEPS + i,
            });
            let feeds: Vec<Feed<'_>> = feeds.collect();
            let begin = Instant::now();
            self.speech.decode_all(&feeds, &mut |_| ())?;
            times.push(milliseconds(begin));
        }
        // In the first of them the beams get caches of their own.
        times.remove(0);
        Ok(times)
    }

    /// Measures steps of windows, each of which has keys and values of its own.
    fn windows(
        &mut self,
        model: &Model,
        options: Options,
        passes: u32,
        features: [usize; 2],
    ) -> Result<(), CommandError> {
        let mut windows = Together::new(model, options, self.several.windows, features)?;
        let vocabulary = self.speech.decode(0, &[0], 0)?.len();
        for pass in 0..=passes {
            let (first, later) = windows.pass(PROMPT, STEPS_TOGETHER, vocabulary)?;
            if pass > 0 {
                self.first_together.push(first);
                // In the first of them memory is touched that later ones have.
                self.together.extend(&later[1..]);
            }
        }
        Ok(())
    }

    /// `seconds` is the length of a window, if it is known.
    fn report(&mut self, bandwidth: [f64; 3], seconds: Option<f64>) -> Value {
        let [low, step, high] = quartiles(&mut self.later);
        let [together_low, together, together_high] = quartiles(&mut self.together);
        let [beams_low, beams, beams_high] = quartiles(&mut self.beams);
        let window = quartiles(&mut self.window)[1];
        let floor = self.bytes.map(|bytes| bytes as f64 / bandwidth[1] * 1e3);
        json!({
            "precision": self.precision.name(),
            "prepare_ms": self.convert,
            "encoder_ms": quartiles(&mut self.encoder)[1],
            "first_step_ms": quartiles(&mut self.first)[1],
            "later_step_ms": step,
            "later_step_quartiles_ms": [low, high],
            "later_step_best_ms": self.later.first(),
            "window_ms": window,
            "window_tokens": STEPS,
            "window_seconds": seconds,
            "times_real_time": seconds.map(|seconds| seconds * 1e3 / window),
            "step_bytes": self.bytes,
            "bandwidth_bytes_per_s": bandwidth[1],
            "bandwidth_quartiles": [bandwidth[0], bandwidth[2]],
            "floor_ms": floor,
            "times_floor": floor.map(|floor| step / floor),
            "lanes_together": self.several.windows,
            "first_steps_together_ms": quartiles(&mut self.first_together)[1],
            "step_together_ms": together,
            "step_together_quartiles_ms": [together_low, together_high],
            "steps_together_over_alone": self.several.windows as f64 * step / together,
            "beams": self.several.beams,
            "step_beams_ms": beams,
            "step_beams_quartiles_ms": [beams_low, beams_high],
        })
    }
}

/// Numbers of mel bands and frames that the encoder takes.
fn window(model: &Model) -> Result<(usize, usize), CommandError> {
    let program = &model.methods()[model.method_index("encoder")?].program;
    let types = types_for(program, smallest).unwrap_or_default();
    match &types[..] {
        [(DType::F32, layout)] if layout.rank() == 3 && layout.shape[0] == 1 => {
            Ok((layout.shape[1], layout.shape[2]))
        }
        _ => Err(
            "method `encoder` does not take one f32 tensor [1, mels, frames]: \
                  the model cannot be measured as a speech model"
                .into(),
        ),
    }
}

/// Number of bytes that a step with one token reads and writes.
fn step_bytes(model: &Model, options: Options) -> Option<u64> {
    let program = &model.methods()[model.method_index("decoder").ok()?].program;
    let types = types_for(program, smallest)?;
    let mut session = Session::new(model, options).ok()?;
    let [always, _] = session.plan("decoder", &types).ok()?.work();
    Some(always.bytes)
}
