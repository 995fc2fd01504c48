//! Conversion from one sample rate to another, as a stream.
//!
//! The idea is a band-limited conversion by overlapping FFT blocks (rubato's synchronous resampler):
//! multiply the spectrum with a windowed sinc, cut or extend it, and transform it back. Three things
//! make it exact for a whole clip. A block holds an even number of the smallest blocks that the two
//! rates allow, so that the filter's delay is a whole number of samples on both sides and can be cut
//! off without shifting the sound by a fraction of a sample. The output has `round(n * to / from)`
//! samples. Zeros are pushed at the end until the last of these samples has come out.
//!
//! A block is at least 4,096 input or output samples long, which puts the cutoff within 1 % of the
//! lower of the two Nyquist frequencies.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use super::{AudioError, SAMPLE_RATES};

/// Least number of samples of an FFT block, on the side with the higher rate.
const BLOCK: usize = 4_096;

/// Greatest number of samples of a block. Rates up to half of this convert into any other; higher rates
/// need a divisor in common with the other rate, as all that are in use have with 16 kHz. A block costs
/// about a hundred bytes for each of its samples.
const LONGEST_BLOCK: usize = 1 << 17;

/// Converts a stream of mono samples from one rate to another; see the module for the method.
pub struct Resampler {
    from: u32,
    to: u32,
    consumed: u64,
    stage: Option<Stage>,
}

/// The converter itself; absent where the two rates are equal.
struct Stage {
    /// In `f64` like the features, because the transform for another type would be a large piece of code.
    fft: Fft<f64>,
    pending: Vec<f64>,
    block_out: Vec<f64>,
    /// Number of output samples still to be dropped because of the filter's delay.
    skip: usize,
    produced: u64,
}

impl Resampler {
    /// A converter from `from` Hz to `to` Hz.
    ///
    /// # Errors
    /// [`AudioError::Resample`] if a rate is outside [`SAMPLE_RATES`], or one is above
    /// 65,536 Hz and has next to no divisor in common with the other.
    pub fn new(from: u32, to: u32) -> Result<Self, AudioError> {
        let error = |cause: String| AudioError::Resample { from, to, cause };
        for rate in [from, to] {
            if !SAMPLE_RATES.contains(&rate) {
                return Err(error(format!(
                    "{rate} Hz is outside {} to {} Hz",
                    SAMPLE_RATES.start(),
                    SAMPLE_RATES.end()
                )));
            }
        }
        if from == to {
            return Ok(Self {
                from,
                to,
                consumed: 0,
                stage: None,
            });
        }
        let divisor = gcd(from, to);
        let (unit_in, unit_out) = ((from / divisor) as usize, (to / divisor) as usize);
        let units = BLOCK
            .div_ceil(unit_in.max(unit_out))
            .max(1)
            .next_multiple_of(2);
        if unit_in.max(unit_out) * units > LONGEST_BLOCK {
            let cause =
                "the rates have next to no divisor in common; convert the sound to 48000 Hz";
            return Err(error(cause.to_owned()));
        }
        let fft = Fft::<f64>::new_custom(
            from as usize,
            to as usize,
            unit_in * units,
            1,
            1,
            WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .map_err(|e| error(e.to_string()))?;
        let stage = Stage {
            pending: Vec::with_capacity(fft.input_frames_next()),
            block_out: vec![0.0; fft.output_frames_max()],
            skip: fft.output_delay(),
            produced: 0,
            fft,
        };
        Ok(Self {
            from,
            to,
            consumed: 0,
            stage: Some(stage),
        })
    }

    /// Samples per second that come out.
    pub fn output_rate(&self) -> u32 {
        self.to
    }

    /// Takes `input` and appends to `output` whatever is ready.
    ///
    /// # Errors
    /// [`AudioError::Resample`] if the converter fails, which finite input does not cause.
    pub fn push(&mut self, mut input: &[f32], output: &mut Vec<f32>) -> Result<(), AudioError> {
        self.consumed += input.len() as u64;
        let (from, to) = (self.from, self.to);
        let Some(stage) = &mut self.stage else {
            output.extend_from_slice(input);
            return Ok(());
        };
        let block = stage.fft.input_frames_next();
        while !input.is_empty() {
            let (now, later) = input.split_at(input.len().min(block - stage.pending.len()));
            stage.pending.extend(now.iter().copied().map(f64::from));
            input = later;
            if stage.pending.len() == block {
                stage
                    .convert(output)
                    .map_err(|cause| AudioError::Resample { from, to, cause })?;
            }
        }
        Ok(())
    }

    /// Ends the stream and appends the tail, so that all output together has
    /// `round(n * to / from)` samples for `n` input samples, and at least one if `n > 0`.
    ///
    /// # Errors
    /// [`AudioError::Resample`] if the converter fails, which finite input does not cause.
    pub fn finish(self, output: &mut Vec<f32>) -> Result<(), AudioError> {
        let (from, to) = (self.from, self.to);
        let Some(mut stage) = self.stage else {
            return Ok(());
        };
        let exact = u128::from(self.consumed) * u128::from(to) + u128::from(from / 2);
        let wanted = ((exact / u128::from(from)) as u64).max(u64::from(self.consumed > 0));
        while stage.produced < wanted {
            stage.pending.resize(stage.fft.input_frames_next(), 0.0);
            stage
                .convert(output)
                .map_err(|cause| AudioError::Resample { from, to, cause })?;
        }
        let surplus = (stage.produced - wanted) as usize;
        output.truncate(output.len().saturating_sub(surplus));
        Ok(())
    }
}

impl Stage {
    /// Converts the full block in `pending` and appends the result without the delay.
    fn convert(&mut self, output: &mut Vec<f32>) -> Result<(), String> {
        let (n_in, n_out) = (self.pending.len(), self.block_out.len());
        let input =
            SequentialSlice::new(self.pending.as_slice(), 1, n_in).map_err(|e| e.to_string())?;
        let mut block = SequentialSlice::new_mut(self.block_out.as_mut_slice(), 1, n_out)
            .map_err(|e| e.to_string())?;
        let (_, written) = self
            .fft
            .process_into_buffer(&input, &mut block, None)
            .map_err(|e| e.to_string())?;
        self.pending.clear();
        let fresh = &self.block_out[..written];
        let skipped = self.skip.min(fresh.len());
        self.skip -= skipped;
        output.extend(fresh[skipped..].iter().map(|x| *x as f32));
        self.produced += (written - skipped) as u64;
        Ok(())
    }
}

/// Converts a whole clip; see [`Resampler`].
///
/// # Errors
/// [`AudioError::Resample`] as for [`Resampler::new`].
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>, AudioError> {
    let mut resampler = Resampler::new(from, to)?;
    let mut output = Vec::new();
    resampler.push(samples, &mut output)?;
    resampler.finish(&mut output)?;
    Ok(output)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
