//! A small network that says how probable speech is in each 32 ms of a sound.
//!
//! It is Silero's detector, version 6, for 16 kHz: the magnitudes of four short Fourier transforms,
//! four convolutions, a recurrent layer that remembers what was heard before, and one output. Its
//! weights lie beside this file, under the MIT licence that lies there too; `weights.py` says where
//! they come from. The rest is a few hundred thousand multiplications a frame, so plain loops over
//! blocks that stay in registers are fast enough, and no runtime for foreign formats is needed.

use std::sync::{Arc, LazyLock};

use half::f16;
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// Samples per second that the network was trained on.
pub const RATE: u32 = 16_000;
/// Samples of a frame.
pub const FRAME: usize = 512;

/// Samples of the frame before that a frame begins with.
const CONTEXT: usize = 64;
/// Samples that are reflected at the end of a frame.
const REFLECTED: usize = 64;
/// Samples of a Fourier transform.
const TRANSFORM: usize = 256;
/// Samples between the beginnings of two transforms.
const HOP: usize = 128;
/// Magnitudes of a transform.
const BINS: usize = TRANSFORM / 2 + 1;
/// Positions that a convolution looks at.
const TAPS: usize = 3;
/// Numbers that the recurrent layer remembers.
const MEMORY: usize = 128;

/// Inputs, outputs and stride of the convolutions.
const CONVOLUTIONS: [(usize, usize, usize); 4] =
    [(BINS, 128, 1), (128, 64, 2), (64, 64, 2), (64, MEMORY, 1)];

/// Outputs that are computed at a time.
const BLOCK: usize = 8;

static NETWORK: LazyLock<Network> = LazyLock::new(Network::new);

/// The network.
struct Network {
    /// What a transform's samples are multiplied by.
    window: Vec<f64>,
    /// In `f64` as for the features, because the transform for another type would be much code.
    fft: Arc<dyn RealToComplex<f64>>,
    convolutions: Vec<Layer>,
    /// From the features of a frame and the memory to the four gates.
    gates: Layer,
    output: Layer,
}

/// A matrix and a bias.
struct Layer {
    width: usize,
    /// `[inputs, width]`.
    matrix: Vec<f32>,
    bias: Vec<f32>,
}

impl Network {
    fn new() -> Self {
        let bytes = include_bytes!("weights.f16").as_chunks::<2>().0;
        let mut numbers = bytes.iter().map(|&b| f16::from_le_bytes(b).to_f32());
        let mut layer = |inputs: usize, width: usize| Layer {
            width,
            matrix: numbers.by_ref().take(inputs * width).collect(),
            bias: numbers.by_ref().take(width).collect(),
        };
        let convolutions = CONVOLUTIONS.map(|(inputs, width, _)| layer(TAPS * inputs, width));
        let step = std::f64::consts::TAU / TRANSFORM as f64;
        let hann = (0..TRANSFORM).map(|i| 0.5 - 0.5 * (step * i as f64).cos());
        Self {
            window: hann.collect(),
            fft: RealFftPlanner::new().plan_fft_forward(TRANSFORM),
            convolutions: convolutions.into(),
            gates: layer(2 * MEMORY, 4 * MEMORY),
            output: layer(MEMORY, 1),
        }
    }
}

impl Layer {
    /// Multiplies each row of inputs with the matrix and adds the bias.
    fn apply(&self, rows: &[f32], out: &mut Vec<f32>) {
        let depth = self.matrix.len() / self.width;
        out.clear();
        out.resize(rows.len() / depth * self.width, 0.0);
        let four = rows.chunks(4 * depth).zip(out.chunks_mut(4 * self.width));
        for (rows, out) in four {
            match rows.len() == 4 * depth {
                true => self.apply_to::<4>(rows, out),
                false => (rows.chunks(depth).zip(out.chunks_mut(self.width)))
                    .for_each(|(row, out)| self.apply_to::<1>(row, out)),
            }
        }
    }

    /// The same for a fixed number of rows.
    fn apply_to<const ROWS: usize>(&self, rows: &[f32], out: &mut [f32]) {
        let depth = rows.len() / ROWS;
        for block in (0..self.width).step_by(BLOCK) {
            let end = (block + BLOCK).min(self.width);
            let mut sums = [[0.0_f32; BLOCK]; ROWS];
            for sum in &mut sums {
                sum[..end - block].copy_from_slice(&self.bias[block..end]);
            }
            if end - block == BLOCK {
                for (i, weights) in self.matrix.chunks_exact(self.width).enumerate() {
                    let (weights, _) = weights[block..].as_chunks::<BLOCK>();
                    for (row, sum) in sums.iter_mut().enumerate() {
                        let x = rows[row * depth + i];
                        for (sum, w) in sum.iter_mut().zip(&weights[0]) {
                            *sum += x * w;
                        }
                    }
                }
            } else {
                for (i, weights) in self.matrix.chunks_exact(self.width).enumerate() {
                    for (row, sum) in sums.iter_mut().enumerate() {
                        let x = rows[row * depth + i];
                        let weights = weights[block..end].iter();
                        sum.iter_mut()
                            .zip(weights)
                            .for_each(|(sum, w)| *sum += x * w);
                    }
                }
            }
            for (row, sum) in sums.iter().enumerate() {
                let at = row * self.width;
                out[at + block..at + end].copy_from_slice(&sum[..end - block]);
            }
        }
    }
}

/// The network at work on one sound.
pub struct Listener {
    network: &'static Network,
    /// The end of the frame before, the frame, and the reflection of its end.
    samples: [f32; CONTEXT + FRAME + REFLECTED],
    transformed: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    /// What a layer takes in, and what it gives.
    rows: Vec<f32>,
    values: Vec<f32>,
    /// What the recurrent layer gave last, and what it remembers.
    hidden: [f32; MEMORY],
    cell: [f32; MEMORY],
}

impl Default for Listener {
    fn default() -> Self {
        let network = &*NETWORK;
        Self {
            network,
            samples: [0.0; CONTEXT + FRAME + REFLECTED],
            transformed: network.fft.make_input_vec(),
            spectrum: network.fft.make_output_vec(),
            rows: Vec::new(),
            values: Vec::new(),
            hidden: [0.0; MEMORY],
            cell: [0.0; MEMORY],
        }
    }
}

impl Listener {
    /// How probable speech is in the next frame, which may be shorter than others.
    pub fn hear(&mut self, frame: &[f32]) -> f32 {
        let end = CONTEXT + FRAME;
        self.samples.copy_within(end - CONTEXT..end, 0);
        let own = &mut self.samples[CONTEXT..end];
        own.fill(0.0);
        for (own, x) in own.iter_mut().zip(frame) {
            // Louder than full scale is out of what it was trained on.
            *own = x.clamp(-1.0, 1.0);
        }
        for i in 0..REFLECTED {
            self.samples[end + i] = self.samples[end - 2 - i];
        }
        self.magnitudes();
        for (layer, (inputs, _, stride)) in self.network.convolutions.iter().zip(CONVOLUTIONS) {
            self.gather(inputs, stride);
            layer.apply(&self.rows, &mut self.values);
            self.values.iter_mut().for_each(|x| *x = x.max(0.0));
        }
        self.remember()
    }

    /// The magnitudes of all transforms of the frame, `[transforms, BINS]`.
    fn magnitudes(&mut self) {
        self.values.clear();
        let last = self.samples.len() - TRANSFORM;
        for start in (0..=last).step_by(HOP) {
            let samples = self.samples[start..start + TRANSFORM].iter();
            let windowed = samples
                .zip(&self.network.window)
                .map(|(x, w)| f64::from(*x) * w);
            self.transformed
                .iter_mut()
                .zip(windowed)
                .for_each(|(to, x)| *to = x);
            // The buffers are of the transform's own making, so it cannot refuse them.
            let _ = self
                .network
                .fft
                .process(&mut self.transformed, &mut self.spectrum);
            self.values
                .extend(self.spectrum.iter().map(|x| x.norm() as f32));
        }
    }

    /// Makes `rows` of what each position of a convolution looks at: the values of the positions
    /// around it, and zeros beyond the ends.
    fn gather(&mut self, inputs: usize, stride: usize) {
        let positions = self.values.len() / inputs;
        self.rows.clear();
        for center in (0..positions).step_by(stride) {
            for tap in 0..TAPS {
                let at = (center + tap).checked_sub(TAPS / 2);
                match at.filter(|&at| at < positions) {
                    Some(at) => {
                        let seen = &self.values[at * inputs..(at + 1) * inputs];
                        self.rows.extend_from_slice(seen);
                    }
                    None => self.rows.resize(self.rows.len() + inputs, 0.0),
                }
            }
        }
    }

    /// Takes the frame's features into the memory, and says how probable speech is.
    fn remember(&mut self) -> f32 {
        self.rows.clear();
        self.rows.extend_from_slice(&self.values);
        self.rows.extend_from_slice(&self.hidden);
        self.network.gates.apply(&self.rows, &mut self.values);
        for i in 0..MEMORY {
            let gate = |number: usize| self.values[number * MEMORY + i];
            let (enter, forget) = (sigmoid(gate(0)), sigmoid(gate(1)));
            self.cell[i] = forget * self.cell[i] + enter * gate(2).tanh();
            self.hidden[i] = sigmoid(gate(3)) * self.cell[i].tanh();
        }
        self.rows.clear();
        self.rows.extend(self.hidden.iter().map(|x| x.max(0.0)));
        self.network.output.apply(&self.rows, &mut self.values);
        sigmoid(self.values[0])
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// How probable speech is in each frame of a sound at [`RATE`]; the last frame may be shorter.
pub fn probabilities(samples: &[f32]) -> Vec<f32> {
    let mut listener = Listener::default();
    let frames = samples.chunks(FRAME);
    frames.map(|frame| listener.hear(frame)).collect()
}
