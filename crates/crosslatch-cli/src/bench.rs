//! `crosslatch bench`: how long a model takes, beside what memory allows.
//!
//! A decoder step reads all of its weights once, so its floor is the bytes that it reads over the
//! speed of memory; that speed is measured between the passes, because it moves. Several
//! precisions are measured in turns, so that rows of one table are comparable.

use std::io::Write;
use std::time::Instant;

use crosslatch::BandwidthProbe;
use crosslatch::inputs::{fed_slots, types_for};
use crosslatch::ir::graph::{SlotKind, Symbol};
use crosslatch::{DType, Input, Model, Options, Precision, Session, Tensor, Threads};
use crosslatch_tasks::exported::ExportedSpeechModel;
use crosslatch_tasks::{Decoder, Feed, SpeechModel};
use serde_json::{Value, json};

use crate::CommandError;
use crate::limits::LimitArgs;
use crate::model::ModelArgs;

/// Measures how long a model takes.
///
/// A speech model (methods `encoder` and `decoder`): one window of noise and 64 forced tokens, in
/// several passes. Any other model: each method, for the smallest inputs that it takes.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  crosslatch bench whisper.pt2 --precision f32,bf16,int8\n\n\
    Times are medians, with quartiles behind a step's. The floor of a step is the bytes that it \
    reads over the bandwidth of memory as measured between the passes. Peak memory is that of the \
    process: compare precisions in runs of their own."
)]
pub struct Args {
    #[command(flatten)]
    of: ModelArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// How weights are stored: f32, bf16, int8, or several, measured in turns.
    #[arg(long, value_name = "P", default_value = "f32", value_delimiter = ',')]
    precision: Vec<Precision>,
    /// Threads to use; all cores if left out.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// How often to go over a speech model.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    passes: u32,
    /// Decoders of a speech model that take a step side by side, each weight read once for all.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    together: u32,
}

/// Tokens of the prompt, and those that are forced after it.
const PROMPT: usize = 4;
const STEPS: usize = 64;
/// Steps of several lanes side by side.
const STEPS_TOGETHER: usize = 9;

/// Several times what caches hold.
const PROBE_BYTES: usize = 256 << 20;

/// How long to repeat a method that is not a speech model's.
const SECONDS: f64 = 1.0;

/// Runs the command.
pub fn bench(args: &Args) -> Result<(), CommandError> {
    let start = Instant::now();
    let model = args.of.open()?;
    let open = milliseconds(start);
    let defaults = Options::default();
    let threads = args.threads.unwrap_or(defaults.threads);
    let options = |precision| Options {
        threads,
        precision,
        memory_limit: args.limits.memory(),
        ..defaults
    };
    let is_speech = ["encoder", "decoder"].map(|m| model.method_index(m).is_ok()) == [true; 2];
    let rows: Vec<Value> = match is_speech {
        true => speech(&model, args, &options)?,
        false => methods(&model, &args.precision, &options)?,
    };
    let report = json!({
        "file": args.of.model.display().to_string(),
        "threads": threads,
        "open_ms": open,
        "peak_memory_bytes": peak_memory(),
        "rows": rows,
    });
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else if is_speech {
        print_speech(&mut out, &report)?;
    } else {
        print_methods(&mut out, &report)?;
    }
    Ok(())
}

/// A speech model in one precision, and its times.
struct Run {
    precision: Precision,
    speech: ExportedSpeechModel,
    bytes: Option<u64>,
    convert: f64,
    encoder: Vec<f64>,
    first: Vec<f64>,
    later: Vec<f64>,
    window: Vec<f64>,
    /// How many lanes take a step together, and how long that takes.
    lanes: usize,
    together: Vec<f64>,
}

fn speech(
    model: &Model,
    args: &Args,
    options: &dyn Fn(Precision) -> Options,
) -> Result<Vec<Value>, CommandError> {
    let (mels, frames) = window(model)?;
    let features = noise(mels * frames);
    let mut runs = Vec::new();
    for &precision in &args.precision {
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
            lanes: args.together as usize,
            together: Vec::new(),
        });
    }
    let probe = BandwidthProbe::new(PROBE_BYTES);
    let threads = Threads::new(options(Precision::F32).threads);
    let mut bandwidth = Vec::new();
    // The first pass makes the plans and brings the file in; it is not counted.
    for pass in 0..=args.passes {
        for run in &mut runs {
            run.pass(&features, mels, frames, pass > 0)?;
            bandwidth.push(probe.measure(&threads));
        }
    }
    let bandwidth = quartiles(&mut bandwidth);
    Ok(runs.iter_mut().map(|run| run.report(bandwidth)).collect())
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
        let together = self.together(vocabulary)?;
        if counts {
            self.window.push(window);
            self.together.extend(together);
            self.encoder.push(encoder);
            self.first.push(first);
            self.later.extend(later);
        }
        Ok(())
    }

    /// Steps of all lanes side by side, behind those of the first.
    fn together(&mut self, vocabulary: usize) -> Result<Vec<f64>, CommandError> {
        for lane in 1..self.lanes {
            self.speech.branch(0, lane)?;
        }
        let mut times = Vec::with_capacity(STEPS_TOGETHER);
        for i in 0..STEPS_TOGETHER {
            let tokens = (0..self.lanes).map(|lane| ((i * 7919 + lane * 31) % vocabulary) as i64);
            let tokens: Vec<i64> = tokens.collect();
            let feeds = tokens.chunks(1).enumerate().map(|(lane, tokens)| Feed {
                lane,
                tokens,
                position: PROMPT + STEPS + i,
            });
            let feeds: Vec<Feed<'_>> = feeds.collect();
            let begin = Instant::now();
            self.speech.decode_all(&feeds, &mut |_| ())?;
            times.push(milliseconds(begin));
        }
        // In the first, the lanes get caches of their own.
        times.remove(0);
        Ok(times)
    }

    fn report(&mut self, bandwidth: [f64; 3]) -> Value {
        let [low, step, high] = quartiles(&mut self.later);
        let [together_low, together, together_high] = quartiles(&mut self.together);
        let floor = self.bytes.map(|bytes| bytes as f64 / bandwidth[1] * 1e3);
        json!({
            "precision": self.precision.name(),
            "prepare_ms": self.convert,
            "encoder_ms": quartiles(&mut self.encoder)[1],
            "first_step_ms": quartiles(&mut self.first)[1],
            "later_step_ms": step,
            "later_step_quartiles_ms": [low, high],
            "later_step_best_ms": self.later.first(),
            "window_ms": quartiles(&mut self.window)[1],
            "step_bytes": self.bytes,
            "bandwidth_bytes_per_s": bandwidth[1],
            "bandwidth_quartiles": [bandwidth[0], bandwidth[2]],
            "floor_ms": floor,
            "times_floor": floor.map(|floor| step / floor),
            "lanes_together": self.lanes,
            "step_together_ms": together,
            "step_together_quartiles_ms": [together_low, together_high],
            "steps_together_over_alone": self.lanes as f64 * step / together,
        })
    }
}

/// Mel bands and frames that the encoder takes.
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

fn smallest(symbol: &Symbol) -> i64 {
    symbol.min.max(1)
}

/// Bytes that a step with one token reads and writes.
fn step_bytes(model: &Model, options: Options) -> Option<u64> {
    let program = &model.methods()[model.method_index("decoder").ok()?].program;
    let types = types_for(program, |symbol| symbol.min.max(1))?;
    let mut session = Session::new(model, options).ok()?;
    let [always, _] = session.plan("decoder", &types).ok()?.work();
    Some(always.bytes)
}

fn methods(
    model: &Model,
    precisions: &[Precision],
    options: &dyn Fn(Precision) -> Options,
) -> Result<Vec<Value>, CommandError> {
    let mut rows = Vec::new();
    for method in model.methods() {
        let program = &method.program;
        let name = program.name.as_str();
        let types = types_for(program, smallest).ok_or_else(|| {
            format!(
                "method `{name}` has sizes that cannot be chosen for it; \
                 measure it with `crosslatch run`"
            )
        })?;
        let tensors: Vec<(&str, Tensor)> = fed_slots(program)
            .zip(&types)
            .filter(|((i, _), _)| program.slots[*i].kind == SlotKind::Input)
            .filter_map(|((_, slot), (dtype, layout))| Some((slot, input(*dtype, &layout.shape)?)))
            .collect();
        for &precision in precisions {
            let mut session = Session::new(model, options(precision))?;
            let [always, _] = session.plan(name, &types)?.work();
            let mut times = Vec::new();
            let begin = Instant::now();
            while times.len() < 4 || begin.elapsed().as_secs_f64() < SECONDS {
                // A latched method is measured with its latched values at hand: what computes them
                // has a row of its own.
                if method.latch.is_none() {
                    session.reset();
                }
                let inputs: Vec<(&str, Input<'_>)> =
                    tensors.iter().map(|(n, t)| (*n, t.view().into())).collect();
                let start = Instant::now();
                session.run(name, &inputs).map_err(|e| {
                    format!("{e}\nno measurement: the method does not run on made-up inputs")
                })?;
                times.push(milliseconds(start));
            }
            // The first brings the weights in.
            let [low, median, high] = quartiles(&mut times[1..]);
            rows.push(json!({
                "method": name,
                "precision": precision.name(),
                "input_shapes": types.iter().map(|(_, l)| l.shape.to_vec()).collect::<Vec<_>>(),
                "ms": median,
                "quartiles_ms": [low, high],
                "flops": always.flops,
                "bytes": always.bytes,
            }));
        }
    }
    Ok(rows)
}

/// Noise for floats, zeros for all else: an index that is always valid.
fn input(dtype: DType, shape: &[usize]) -> Option<Tensor> {
    match dtype {
        DType::F32 => Tensor::from_slice(shape, &noise(shape.iter().product())).ok(),
        _ => Tensor::zeros(dtype, shape).ok(),
    }
}

/// Numbers between -1 and 1 without a pattern that a kernel could like.
fn noise(len: usize) -> Vec<f32> {
    let hash = |i: u32| i.wrapping_add(1).wrapping_mul(2_654_435_761) >> 8;
    let unit = (1u32 << 23) as f32;
    (0..len as u32)
        .map(|i| hash(i) as f32 / unit - 1.0)
        .collect()
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Lower quartile, median and upper quartile; NaN for nothing.
fn quartiles(times: &mut [f64]) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let position = part * (times.len().max(1) - 1) as f64;
        let [low, high] = [position.floor(), position.ceil()].map(|p| times.get(p as usize));
        let [low, high] = [low, high].map(|t| t.copied().unwrap_or(f64::NAN));
        low + (high - low) * position.fract()
    };
    [0.25, 0.5, 0.75].map(at)
}

/// The most memory that the process has had, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn print_speech(out: &mut impl Write, report: &Value) -> std::io::Result<()> {
    let number = |v: &Value| v.as_f64().unwrap_or(f64::NAN);
    writeln!(
        out,
        "{:<9} {:>8} {:>9} {:>11} {:>20} {:>9} {:>9} {:>8}",
        "precision", "prepare", "encoder", "first step", "later step", "window", "floor", "× floor"
    )?;
    for row in report["rows"].as_array().into_iter().flatten() {
        let step = format!(
            "{:.2} ({:.2}–{:.2})",
            number(&row["later_step_ms"]),
            number(&row["later_step_quartiles_ms"][0]),
            number(&row["later_step_quartiles_ms"][1])
        );
        writeln!(
            out,
            "{:<9} {:>8.1} {:>9.1} {:>11.2} {step:>20} {:>9.1} {:>9.2} {:>8.2}",
            row["precision"].as_str().unwrap_or_default(),
            number(&row["prepare_ms"]),
            number(&row["encoder_ms"]),
            number(&row["first_step_ms"]),
            number(&row["window_ms"]),
            number(&row["floor_ms"]),
            number(&row["times_floor"]),
        )?;
    }
    for row in report["rows"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "{} reads {:.1} MB a step; memory gives {:.1} GB/s ({:.1}–{:.1})",
            row["precision"].as_str().unwrap_or_default(),
            number(&row["step_bytes"]) / 1e6,
            number(&row["bandwidth_bytes_per_s"]) / 1e9,
            number(&row["bandwidth_quartiles"][0]) / 1e9,
            number(&row["bandwidth_quartiles"][1]) / 1e9,
        )?;
        writeln!(
            out,
            "{} with {} together: {:.2} ms a step ({:.2}–{:.2}), {:.2} × the steps per second",
            row["precision"].as_str().unwrap_or_default(),
            row["lanes_together"],
            number(&row["step_together_ms"]),
            number(&row["step_together_quartiles_ms"][0]),
            number(&row["step_together_quartiles_ms"][1]),
            number(&row["steps_together_over_alone"]),
        )?;
    }
    print_process(out, report)
}

fn print_methods(out: &mut impl Write, report: &Value) -> std::io::Result<()> {
    let number = |v: &Value| v.as_f64().unwrap_or(f64::NAN);
    for row in report["rows"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "{} {}, inputs {}: {:.3} ms ({:.3}–{:.3})",
            row["method"].as_str().unwrap_or_default(),
            row["precision"].as_str().unwrap_or_default(),
            row["input_shapes"],
            number(&row["ms"]),
            number(&row["quartiles_ms"][0]),
            number(&row["quartiles_ms"][1]),
        )?;
    }
    print_process(out, report)
}

fn print_process(out: &mut impl Write, report: &Value) -> std::io::Result<()> {
    write!(
        out,
        "times in ms, {} threads; opened in {:.1}",
        report["threads"],
        report["open_ms"].as_f64().unwrap_or(f64::NAN)
    )?;
    match report["peak_memory_bytes"].as_u64() {
        Some(bytes) => writeln!(out, "; peak memory {:.0} MiB", bytes as f64 / 1_048_576.0),
        None => writeln!(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_their_neighbours() {
        assert_eq!(quartiles(&mut [4.0, 1.0, 3.0, 2.0, 5.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(&mut [2.0, 1.0]), [1.25, 1.5, 1.75]);
        assert!(quartiles(&mut [])[1].is_nan());
    }
}
