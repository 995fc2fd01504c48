//! From one frame of sound to the logarithms of its mel bands.

use realfft::num_complex::Complex;

use super::{FeatureError, LogMel};

/// The least value of which the logarithm is taken.
const FLOOR: f64 = 1e-10;

/// Computes one frame after the other in the same memory.
pub(super) struct Bands<'a> {
    extractor: &'a LogMel,
    input: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
    power: Vec<f64>,
}

impl<'a> Bands<'a> {
    pub fn new(extractor: &'a LogMel) -> Self {
        let spectrum = extractor.fft.make_output_vec();
        Self {
            extractor,
            input: extractor.fft.make_input_vec(),
            scratch: extractor.fft.make_scratch_vec(),
            power: vec![0.0; spectrum.len()],
            spectrum,
        }
    }

    /// Calls `put` with each band of a frame of `n_fft` samples and the band's logarithm.
    pub fn compute(
        &mut self,
        frame: &[f32],
        mut put: impl FnMut(usize, f64),
    ) -> Result<(), FeatureError> {
        if frame.iter().all(|&x| x == 0.0) {
            self.power.fill(0.0);
        } else {
            let window = &self.extractor.window;
            for ((x, &sample), &weight) in self.input.iter_mut().zip(frame).zip(window) {
                *x = f64::from(sample) * weight;
            }
            self.extractor
                .fft
                .process_with_scratch(&mut self.input, &mut self.spectrum, &mut self.scratch)
                .map_err(FeatureError::Fft)?;
            for (p, c) in self.power.iter_mut().zip(&self.spectrum) {
                *p = c.norm_sqr();
            }
        }
        for (mel, filter) in self.extractor.filters.iter().enumerate() {
            put(mel, filter.apply(&self.power).max(FLOOR).log10());
        }
        Ok(())
    }
}
