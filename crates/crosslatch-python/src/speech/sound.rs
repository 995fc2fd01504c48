//! What sound may be given as: a file, the contents of one, or samples.
//!
//! Samples come in the element types and layouts that Python's sound libraries have. Floats lie
//! between −1 and 1; whole numbers of 8, 16 or 32 bits use their whole range, as in WAV files. Of two
//! dimensions the small one is the channels, wherever it stands, and channels are averaged, as those
//! of a file are. What could be meant in two ways is refused.

use std::ffi::CString;
use std::path::PathBuf;

use crosslatch::{DType, Tensor, TensorRef};
use crosslatch_kernels::{Element, with_element};
use crosslatch_tasks::Audio;
use crosslatch_tasks::audio::{self, AudioLimits, ReadOptions, SAMPLE_RATES};
use pyo3::exceptions::{PyTypeError, PyUserWarning};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyMemoryView, PyString, PyTuple};

use crate::error::{self, failure};
use crate::inputs::{Given, Refusal, take};
use crate::outputs::array;

/// Greatest number of channels; a longer dimension is time.
const CHANNELS: usize = 8;

/// No sound of floats is this loud, but whole numbers that became floats are.
const LOUDEST: f32 = 64.0;

/// A sound that was given.
pub enum Sound {
    File(PathBuf),
    /// The contents of a file.
    Contents(Vec<u8>),
    Samples(Given),
}

impl Sound {
    /// Takes an object as sound.
    pub fn of(audio: &Bound<'_, PyAny>) -> PyResult<Sound> {
        if audio.is_instance_of::<PyString>() || audio.hasattr("__fspath__")? {
            return Ok(Sound::File(audio.extract()?));
        }
        if audio.is_instance_of::<PyBytes>() || audio.is_instance_of::<PyByteArray>() {
            return Ok(Sound::Contents(audio.extract()?));
        }
        if audio.is_instance_of::<PyMemoryView>() {
            return Ok(Sound::Contents(audio.call_method0("tobytes")?.extract()?));
        }
        if audio.hasattr("read")? {
            let contents = audio.call_method0("read")?;
            let contents = contents.cast::<PyBytes>().map_err(|_| {
                PyTypeError::new_err("the file gives text; open it with mode \"rb\"")
            })?;
            return Ok(Sound::Contents(contents.extract()?));
        }
        let is_list = audio.is_instance_of::<PyList>() || audio.is_instance_of::<PyTuple>();
        let samples = take(audio, is_list.then_some(DType::F64));
        samples
            .map(Sound::Samples)
            .map_err(|refusal| match refusal {
                Refusal::Reason(reason) => failure(format!(
                    "the sound {reason}, or a file's name, its contents, or an open file"
                )),
                Refusal::Raised(error) => error,
            })
    }

    /// The samples of each of its channels, as [`Sound::samples`] gives those of their mean.
    pub fn channels(
        self,
        py: Python<'_>,
        sample_rate: Option<u32>,
        rate: u32,
    ) -> PyResult<Vec<Vec<f32>>> {
        let options = ReadOptions {
            apart: true,
            ..ReadOptions::default()
        };
        let read = match (self, sample_rate) {
            (Sound::File(path), None) => py.detach(|| audio::read_file_with(&path, rate, &options)),
            (Sound::Contents(bytes), None) => {
                py.detach(|| audio::read_bytes_with("the sound", bytes, rate, &options))
            }
            (Sound::Samples(given), Some(sample_rate)) => {
                let samples = given.view();
                return py.detach(|| {
                    let channels = all_channels(&samples)?.into_iter();
                    channels.map(|c| resampled(c, sample_rate, rate)).collect()
                });
            }
            (_, sample_rate) => return Err(misplaced_rate(sample_rate)),
        };
        let audio = read.map_err(error::audio)?;
        warn(py, &audio)?;
        Ok(audio.channels)
    }

    /// Its samples, one channel at `rate` Hz. Samples that were given are at `sample_rate` Hz.
    pub fn samples(
        self,
        py: Python<'_>,
        sample_rate: Option<u32>,
        rate: u32,
    ) -> PyResult<Vec<f32>> {
        let read = match (self, sample_rate) {
            (Sound::File(path), None) => py.detach(|| audio::read_file(&path, rate)),
            (Sound::Contents(bytes), None) => {
                py.detach(|| audio::read_bytes("the sound", bytes, rate, AudioLimits::default()))
            }
            (Sound::Samples(given), Some(sample_rate)) => {
                let samples = given.view();
                return py.detach(|| resampled(one_channel(&samples)?, sample_rate, rate));
            }
            (_, sample_rate) => return Err(misplaced_rate(sample_rate)),
        };
        let audio = read.map_err(error::audio)?;
        warn(py, &audio)?;
        Ok(audio.samples)
    }
}

/// The refusal of a sample rate where none is to be given, or of none where one is.
fn misplaced_rate(sample_rate: Option<u32>) -> PyErr {
    PyTypeError::new_err(match sample_rate {
        None => "give the samples' rate as `sample_rate`",
        Some(_) => "a sound file says its sample rate itself",
    })
}

/// Reads a sound file as samples: one channel of float32 between −1 and 1, at `sampling_rate` Hz.
/// Samples that are given, at `sample_rate` Hz, are brought into the same form.
#[pyfunction]
#[pyo3(signature = (audio, sampling_rate = 16_000, *, sample_rate = None))]
pub fn decode_audio<'py>(
    audio: &Bound<'py, PyAny>,
    sampling_rate: u32,
    sample_rate: Option<u32>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = audio.py();
    check_rate(sampling_rate)?;
    let samples = Sound::of(audio)?.samples(py, sample_rate, sampling_rate)?;
    let tensor = Tensor::from_slice(&[samples.len()], &samples);
    let tensor = tensor.map_err(|error| failure(error.to_string()))?;
    array(py, &tensor.view())
}

/// Warns of what a file lacks.
fn warn(py: Python<'_>, audio: &Audio) -> PyResult<()> {
    if audio.damage.is_none() {
        return Ok(());
    }
    let text = CString::new(format!("the sound: {}", audio.damage))?;
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, 1)
}

/// The samples of a tensor as floats, its channels averaged.
fn one_channel(tensor: &TensorRef<'_>) -> PyResult<Vec<f32>> {
    let channels = all_channels(tensor)?;
    if let [_] = channels.as_slice() {
        return Ok(channels.into_iter().flatten().collect());
    }
    let length = channels.first().map_or(0, Vec::len);
    let mean = |at: usize| {
        let all = channels.iter().map(|channel| channel[at]);
        all.sum::<f32>() / channels.len() as f32
    };
    Ok((0..length).map(mean).collect())
}

/// The samples of each channel of a tensor as floats.
fn all_channels(tensor: &TensorRef<'_>) -> PyResult<Vec<Vec<f32>>> {
    let (channels, are_first) = match *tensor.shape() {
        [_] => (1, true),
        [a, b] if (1..=CHANNELS).contains(&a) && b > CHANNELS => (a, true),
        [a, b] if a > CHANNELS && (1..=CHANNELS).contains(&b) => (b, false),
        _ => {
            return Err(failure(format!(
                "the sound is {}{:?}; give [samples], [channels, samples] or [samples, channels], \
                 with at most {CHANNELS} channels and more samples",
                tensor.dtype(),
                tensor.shape()
            )));
        }
    };
    let samples = floats(tensor)?;
    let length = samples.len() / channels;
    if channels == 1 {
        return Ok(vec![samples]);
    }
    let (start, step) = match are_first {
        true => (length, 1),
        false => (1, channels),
    };
    let channel = |number: usize| {
        let own = samples.iter().skip(number * start).step_by(step);
        own.take(length).copied().collect()
    };
    Ok((0..channels).map(channel).collect())
}

/// The elements of a tensor in row-major order, between −1 and 1.
fn floats(tensor: &TensorRef<'_>) -> PyResult<Vec<f32>> {
    let (offset, scale) = match tensor.dtype() {
        DType::F32 => return checked(tensor.to_vec::<f32>()),
        DType::F16 | DType::BF16 | DType::F64 => (0.0, 1.0),
        DType::U8 => (128.0, 128.0),
        DType::I8 => (0.0, 128.0),
        DType::I16 => (0.0, 32_768.0),
        DType::I32 => (0.0, 2_147_483_648.0),
        dtype @ (DType::I64 | DType::Bool | DType::C64 | DType::C128) => {
            return Err(failure(format!(
                "the sound is {dtype}{:?}; give floats between -1 and 1, or whole numbers of 8, 16 \
                 or 32 bits, such as int16",
                tensor.shape()
            )));
        }
    };
    fn wide<S: Element>(tensor: &TensorRef<'_>, offset: f64, scale: f64) -> Vec<f32> {
        let elements = tensor.to_vec::<S>().into_iter();
        elements
            .map(|x| ((x.to_f64() - offset) / scale) as f32)
            .collect()
    }
    checked(with_element!(tensor.dtype(), S => wide::<S>(tensor, offset, scale)))
}

/// Refuses samples that are not numbers, or out of all proportion.
fn checked(samples: Vec<f32>) -> PyResult<Vec<f32>> {
    let is_sound = |x: &f32| x.abs() < LOUDEST;
    match samples.iter().position(|x| !is_sound(x)) {
        None => Ok(samples),
        Some(at) if samples[at].is_finite() => Err(failure(format!(
            "sample {at} of the sound is {}, and floats lie between -1 and 1; give whole numbers as \
             int16, or divide them by 32768",
            samples[at]
        ))),
        Some(at) => Err(failure(format!(
            "sample {at} of the sound is not a finite number"
        ))),
    }
}

fn check_rate(rate: u32) -> PyResult<()> {
    match SAMPLE_RATES.contains(&rate) {
        true => Ok(()),
        false => Err(failure(format!(
            "the sample rate is {rate} Hz; it must be {} to {} Hz",
            SAMPLE_RATES.start(),
            SAMPLE_RATES.end()
        ))),
    }
}

fn resampled(samples: Vec<f32>, from: u32, to: u32) -> PyResult<Vec<f32>> {
    check_rate(from)?;
    match from == to {
        true => Ok(samples),
        false => audio::resample(&samples, from, to).map_err(error::audio),
    }
}
