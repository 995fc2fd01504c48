//! Each kernel at the sizes of whisper-base, and what part of its floor it reaches.
//!
//! `cargo bench -p crosslatch-kernels`; a name behind `--` picks. The floor of a kernel is the
//! longer of two times: its multiply-adds at the rate of arithmetic in registers on the numbers
//! that it multiplies (where the machine has no instruction for these, on `f32`), and its bytes at
//! the rate at which memory is read. Both are measured in the same run, before the kernels and
//! after them. A kernel whose operands stay in the cache can be faster than its floor.

use std::path::Path;
use std::time::Duration;

use criterion::Criterion;
use crosslatch_kernels::attention::{Attention, AttentionTensors, attention};
use crosslatch_kernels::matmul::{
    Product, QuantizedLinear, matmul, microkernels, quantized_linear,
};
use crosslatch_kernels::movement::{Unquantized, copy, quantize};
use crosslatch_kernels::probes::BandwidthProbe;
use crosslatch_kernels::probes::{Numbers, multiply_adds_per_second};
use crosslatch_kernels::rows::{Norm, norm};
use crosslatch_kernels::rows::{Softmax, softmax};
use crosslatch_kernels::tensor::WeightFormat;
use crosslatch_kernels::{DType, Layout, QuantizedMatrix, Storage, TensorMut, TensorRef, Threads};

const POSITIONS: usize = 1500;
const WIDTH: usize = 512;
const INNER: usize = 2048;
const HEADS: usize = 8;
const VOCABULARY: usize = 51865;

/// What a kernel has to do at least.
#[derive(Clone, Copy)]
struct Work {
    multiply_adds: usize,
    numbers: Numbers,
    bytes: usize,
}

struct Bench {
    criterion: Criterion,
    threads: Threads,
    probe: BandwidthProbe,
    /// Bytes, and multiply-adds of each kind of numbers, in a second, as measured so far.
    rates: Vec<[f64; 4]>,
    done: Vec<(String, Work)>,
}

fn main() {
    let criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    let mut bench = Bench {
        criterion,
        threads: Threads::new(std::thread::available_parallelism().map_or(1, |n| n.get())),
        probe: BandwidthProbe::new(256 << 20),
        rates: Vec::new(),
        done: Vec::new(),
    };
    bench.probe_rates();
    bench.run("nothing, by all threads", Work::of(0, 0), |threads| {
        threads.run(threads.count(), &|i| {
            std::hint::black_box(i);
        });
    });
    for (rows, depth, columns) in [
        (POSITIONS, WIDTH, WIDTH),
        (POSITIONS, WIDTH, INNER),
        (POSITIONS, INNER, WIDTH),
        (1, WIDTH, INNER),
        (8, WIDTH, INNER),
        (1, WIDTH, VOCABULARY),
        (8, WIDTH, VOCABULARY),
    ] {
        bench.linear(rows, depth, columns);
    }
    bench.attention("encoder", POSITIONS, POSITIONS);
    bench.attention("cross", 1, POSITIONS);
    bench.attention("self", 1, 64);
    bench.rows("layer norm");
    bench.rows("softmax");
    bench.copies();
    bench.probe_rates();
    bench.report();
}

impl Work {
    fn of(multiply_adds: usize, bytes: usize) -> Work {
        Work {
            multiply_adds,
            numbers: Numbers::F32,
            bytes,
        }
    }

    /// The same work on other numbers.
    fn on(self, numbers: Numbers) -> Work {
        Work { numbers, ..self }
    }
}

impl Bench {
    fn run(&mut self, name: &str, work: Work, mut kernel: impl FnMut(&Threads)) {
        let threads = &self.threads;
        self.criterion
            .bench_function(name, |b| b.iter(|| kernel(threads)));
        self.done.push((name.to_owned(), work));
    }

    fn linear(&mut self, rows: usize, depth: usize, columns: usize) {
        let (a, w, bias) = (
            numbers(rows * depth),
            numbers(columns * depth),
            numbers(columns),
        );
        let mut out = Storage::zeroed(4 * rows * columns);
        let left = Layout::contiguous(&[rows, depth]);
        let result = Layout::contiguous(&[rows, columns]);
        let weight = Layout::contiguous(&[columns, depth]).transpose(0, 1);
        let broadcast_bias = broadcast(&[columns], &[rows, columns]);
        let work = |bytes: usize| {
            let others = 4 * (rows * depth + rows * columns);
            Work::of(rows * depth * columns, bytes + others)
        };
        let name = |kind: &str| format!("linear {kind} {rows}x{depth}x{columns}");
        self.run(&name("f32"), work(4 * columns * depth), |threads| {
            let product = Product {
                a: view(&left, &a),
                b: view(&weight, &w),
                bias: Some(view(&broadcast_bias, &bias)),
                alpha: 1.0,
                epilogue: None,
                beta: 1.0,
            };
            matmul(&mut view_mut(&result, &mut out), &product, false, threads);
        });
        for format in [WeightFormat::Bf16, WeightFormat::Int8, WeightFormat::Int4] {
            let Ok(bytes) = format.bytes(columns, depth) else {
                continue;
            };
            let mut stored = Storage::zeroed(bytes);
            let from = bytemuck::cast_slice(w.bytes());
            quantize(
                format,
                Unquantized::F32(from),
                [columns, depth],
                stored.bytes_mut(),
                &self.threads,
                &|_| {},
            )
            .expect("made-up numbers are finite");
            let weight = QuantizedMatrix::new(format, columns, depth, stored.bytes())
                .expect("made for this size");
            // With few rows, weights are widened to `f32`.
            let numbers = match format {
                _ if rows < 32 => Numbers::F32,
                WeightFormat::Bf16 => Numbers::Bf16,
                WeightFormat::Int8 | WeightFormat::Int4 => Numbers::Bytes,
            };
            self.run(&name(format.name()), work(bytes).on(numbers), |threads| {
                let linear = QuantizedLinear {
                    a: view(&left, &a),
                    weight,
                    bias: Some(view(&broadcast_bias, &bias)),
                    epilogue: None,
                };
                quantized_linear(&mut view_mut(&result, &mut out), &linear, false, threads);
            });
        }
    }

    fn attention(&mut self, name: &str, queries: usize, keys: usize) {
        let size = WIDTH / HEADS;
        // Queries and results lie as a projection writes them, keys and values as caches do.
        let heads = |n: usize| Layout::contiguous(&[n, HEADS, size]).transpose(0, 1);
        let (lq, lk) = (heads(queries), Layout::contiguous(&[HEADS, keys, size]));
        let (q, k, v) = (
            numbers(queries * WIDTH),
            numbers(keys * WIDTH),
            numbers(keys * WIDTH),
        );
        let mut out = Storage::zeroed(4 * queries * WIDTH);
        let work = Work::of(2 * queries * keys * WIDTH, 8 * (queries + keys) * WIDTH);
        for allow_bf16 in [false, true] {
            let numbers = match allow_bf16 && queries > 4 {
                true => Numbers::Bf16,
                false => Numbers::F32,
            };
            let kind = if allow_bf16 { "bf16" } else { "f32" };
            let name = format!("attention {kind} {name} {queries}x{keys}");
            self.run(&name, work.on(numbers), |threads| {
                let mut tensors = AttentionTensors {
                    out: view_mut(&lq, &mut out),
                    logarithms: None,
                    q: view(&lq, &q),
                    k: view(&lk, &k),
                    v: view(&lk, &v),
                    mask: None,
                };
                attention(
                    std::slice::from_mut(&mut tensors),
                    Attention {
                        scale: 0.125,
                        causal: false,
                        plain: false,
                        allow_bf16,
                    },
                    threads,
                );
            });
        }
    }

    fn rows(&mut self, kernel: &str) {
        for (rows, width) in [(POSITIONS, WIDTH), (1, WIDTH), (HEADS, POSITIONS)] {
            let layout = Layout::contiguous(&[rows, width]);
            let broadcast_bias = broadcast(&[width], &[rows, width]);
            let (x, scale) = (numbers(rows * width), numbers(width));
            let mut out = Storage::zeroed(4 * rows * width);
            let name = format!("{kernel} {rows}x{width}");
            self.run(&name, Work::of(0, 8 * rows * width), |threads| {
                let out = &mut view_mut(&layout, &mut out);
                if kernel == "softmax" {
                    softmax(out, &view(&layout, &x), 1, Softmax::Usual, false, threads);
                    return;
                }
                let how = Norm {
                    weight: Some(view(&broadcast_bias, &scale)),
                    bias: Some(view(&broadcast_bias, &scale)),
                    epsilon: 1e-5,
                    centred: true,
                    plain: false,
                };
                norm(out, [None, None], &view(&layout, &x), &how, 1, threads);
            });
        }
    }

    fn copies(&mut self) {
        let (plain, heads) = (
            Layout::contiguous(&[HEADS, POSITIONS, WIDTH / HEADS]),
            Layout::contiguous(&[POSITIONS, HEADS, WIDTH / HEADS]).transpose(0, 1),
        );
        let from = numbers(POSITIONS * WIDTH);
        let mut to = Storage::zeroed(from.len());
        for (name, layout) in [("as it lies", &plain), ("by heads", &heads)] {
            let name = format!("copy {POSITIONS}x{WIDTH} {name}");
            self.run(&name, Work::of(0, 8 * POSITIONS * WIDTH), |threads| {
                copy(
                    &mut view_mut(&plain, &mut to),
                    &view(layout, &from),
                    threads,
                );
            });
        }
    }

    fn probe_rates(&mut self) {
        for _ in 0..5 {
            let f32s = multiply_adds_per_second(Numbers::F32, &self.threads).unwrap_or(f64::NAN);
            let rate = |numbers| multiply_adds_per_second(numbers, &self.threads).unwrap_or(f32s);
            let [bf16, bytes] = [Numbers::Bf16, Numbers::Bytes].map(rate);
            let memory = self.probe.measure(&self.threads);
            self.rates.push([memory, f32s, bf16, bytes]);
        }
    }

    /// Medians beside floors.
    fn report(&mut self) {
        let [memory, f32s, bf16, int8] = [0, 1, 2, 3].map(|i| {
            let mut rates: Vec<f64> = self.rates.iter().map(|r| r[i]).collect();
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        });
        println!(
            "\n{} threads: {:.1} GB a second, and {:.1} billion multiply-adds in f32, {:.1} in bf16, {:.1} \
             of bytes\n",
            self.threads.count(),
            memory / 1e9,
            f32s / 1e9,
            bf16 / 1e9,
            int8 / 1e9
        );
        for (numbers, name) in microkernels() {
            println!("Tiles of {numbers}: {name}");
        }
        println!("\n| kernel | time | of the floor |\n|---|---|---|");
        for (name, work) in &self.done {
            let Some(seconds) = median(name) else {
                continue;
            };
            let rate = match work.numbers {
                Numbers::F32 => f32s,
                Numbers::Bf16 => bf16,
                Numbers::Bytes => int8,
            };
            let floor = (work.multiply_adds as f64 / rate).max(work.bytes as f64 / memory);
            let time = match seconds {
                s if s < 1e-4 => format!("{:.2} µs", s * 1e6),
                s => format!("{:.2} ms", s * 1e3),
            };
            println!("| {name} | {time} | {:.0} % |", 100.0 * floor / seconds);
        }
    }
}

/// What criterion measured, in seconds; nothing for what was not picked in this run.
fn median(name: &str) -> Option<f64> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?;
    let file = folder
        .join("criterion")
        .join(name)
        .join("new/estimates.json");
    let recent = |file: &Path| file.metadata().ok()?.modified().ok()?.elapsed().ok();
    if recent(&file)? > Duration::from_secs(600) {
        return None;
    }
    let text = std::fs::read_to_string(file).ok()?;
    let (_, rest) = text.split_once("\"median\":")?;
    let (_, rest) = rest.split_once("\"point_estimate\":")?;
    let nanoseconds: f64 = rest.split([',', '}']).next()?.trim().parse().ok()?;
    Some(nanoseconds / 1e9)
}

fn numbers(n: usize) -> Storage {
    let mut storage = Storage::zeroed(4 * n);
    let data: &mut [f32] = bytemuck::cast_slice_mut(storage.bytes_mut());
    for (i, x) in data.iter_mut().enumerate() {
        *x = ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 * 1.2e-7 - 1.0;
    }
    storage
}

fn broadcast(from: &[usize], to: &[usize]) -> Layout {
    Layout::contiguous(from)
        .expand(to)
        .expect("a row fits every row")
}

fn view<'a>(layout: &'a Layout, storage: &'a Storage) -> TensorRef<'a> {
    TensorRef::new(DType::F32, layout, storage.bytes()).expect("made for this size")
}

fn view_mut<'a>(layout: &'a Layout, storage: &'a mut Storage) -> TensorMut<'a> {
    TensorMut::new(DType::F32, layout, storage.bytes_mut()).expect("made for this size")
}
