//! The discrete Fourier transform over some dimensions of a tensor.
//!
//! A transform over several dimensions is one over each of them in turn: the lines along the
//! dimension are gathered, transformed by `rustfft` or `realfft`, and scattered. Of real numbers
//! half of the transform is enough, and it is the last dimension that is halved; so that one comes
//! first where numbers are real before, and last where they are real behind.
//!
//! The tables of a transform are made when it first runs: what a program claims about sizes is true
//! by then. Tasks take their lines from a pool and put them back, so that later runs allocate
//! nothing.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection, FftNum, FftPlanner};

use crate::runtime::shared_output::SharedOutput;
use crate::{DType, Dims, Element, Layout, TensorMut, TensorRef, Threads};

/// Elements that a task transforms, about.
const GRAIN: usize = 1 << 13;

/// What is transformed into what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Complex numbers into complex numbers.
    Complex,
    /// Real numbers into the first half of the last dimension, the middle included.
    FromReal,
    /// This half into real numbers.
    ToReal,
}

/// A transform.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// What is transformed into what.
    pub form: Form,
    /// The dimensions, at least one; the last one is halved.
    pub dims: Dims,
    /// Whether exponents are negative.
    pub forward: bool,
    /// Factor of the result.
    pub scale: f64,
    /// Whether lines are transformed by plain sums.
    pub plain: bool,
}

/// A transform with its tables, in single or double precision.
pub struct Fourier {
    transform: Transform,
    lines: Lines,
}

enum Lines {
    F32(LinesOf<f32>),
    F64(LinesOf<f64>),
}

impl Fourier {
    /// A transform of complex numbers with parts of this type.
    ///
    /// # Panics
    /// If no dimension is transformed.
    pub fn new(transform: Transform, parts: DType) -> Fourier {
        assert!(!transform.dims.is_empty());
        let lines = match parts {
            DType::F64 => Lines::F64(LinesOf::default()),
            _ => Lines::F32(LinesOf::default()),
        };
        Fourier { transform, lines }
    }

    /// Bytes of working memory for an input with so many elements.
    pub fn scratch_bytes(&self, elements: usize) -> usize {
        let size = match self.lines {
            Lines::F32(_) => DType::C64.size(),
            Lines::F64(_) => DType::C128.size(),
        };
        match self.transform.form == Form::ToReal && self.transform.dims.len() > 1 {
            true => elements.saturating_mul(size),
            false => 0,
        }
    }

    /// Transforms `x` into `out`, which is contiguous, both of the form of the transform.
    ///
    /// # Panics
    /// If shapes and types do not fit the form, or there are no elements.
    pub fn run(
        &self,
        out: &mut TensorMut<'_>,
        x: &TensorRef<'_>,
        scratch: &mut [u8],
        threads: &Threads,
    ) {
        match &self.lines {
            Lines::F32(lines) => self.transform.run(lines, out, x, scratch, threads),
            Lines::F64(lines) => self.transform.run(lines, out, x, scratch, threads),
        }
    }
}

/// Transforms of lines along each dimension, made at the first run, and memory for them.
struct LinesOf<T: FftNum> {
    ready: OnceLock<Vec<Line<T>>>,
    pool: Mutex<Vec<Memory<T>>>,
}

impl<T: FftNum> Default for LinesOf<T> {
    fn default() -> Self {
        LinesOf {
            ready: OnceLock::new(),
            pool: Mutex::default(),
        }
    }
}

/// A way to transform lines of one length.
enum Line<T> {
    Complex(Arc<dyn Fft<T>>),
    FromReal(Arc<dyn RealToComplex<T>>),
    ToReal(Arc<dyn ComplexToReal<T>>),
}

/// The memory of a task.
struct Memory<T> {
    complex: Vec<Complex<T>>,
    real: Vec<T>,
    scratch: Vec<Complex<T>>,
}

/// Where lines are read.
#[derive(Clone, Copy)]
enum From<'a, T> {
    Real(&'a [T], &'a Layout),
    Complex(&'a [[T; 2]], &'a Layout),
    /// In the memory that they are written to.
    Place,
}

/// Where they are written.
enum To<'a, T> {
    Real(&'a mut [T], &'a Layout),
    Complex(&'a mut [[T; 2]], &'a Layout),
}

impl Transform {
    fn run<T: FftNum + Element>(
        &self,
        lines: &LinesOf<T>,
        out: &mut TensorMut<'_>,
        x: &TensorRef<'_>,
        scratch: &mut [u8],
        threads: &Threads,
    ) {
        let (from, to) = (x.layout().clone(), out.layout().clone());
        let last = self.dims[self.dims.len() - 1];
        let lengths = if self.form == Form::ToReal {
            &to
        } else {
            &from
        };
        let ready = lines.ready.get_or_init(|| self.make(&lengths.shape));
        let others = self.dims.len() - 1;
        match self.form {
            Form::Complex | Form::FromReal => {
                let data: &mut [[T; 2]] = bytemuck::cast_slice_mut(out.bytes_mut());
                let source = match x.dtype().is_complex() {
                    false => From::Real(x.data(), &from),
                    true => From::Complex(whole(x.bytes()), &from),
                };
                let factor = |is_last: bool| if is_last { self.scale } else { 1.0 };
                let n = lengths.shape[last];
                self.pass(
                    lines,
                    &ready[others],
                    [last, n],
                    source,
                    To::Complex(data, &to),
                    factor(others == 0),
                    threads,
                );
                for (i, line) in ready[..others].iter().enumerate() {
                    let dim = self.dims[i];
                    let place = To::Complex(data, &to);
                    self.pass(
                        lines,
                        line,
                        [dim, lengths.shape[dim]],
                        From::Place,
                        place,
                        factor(i + 1 == others),
                        threads,
                    );
                }
            }
            Form::ToReal => {
                let mut source = From::Complex(whole(x.bytes()), &from);
                let between = Layout::contiguous(&from.shape);
                // A memory of no bytes need not be aligned.
                let data: &mut [[T; 2]] = match others {
                    0 => &mut [],
                    _ => bytemuck::cast_slice_mut(scratch),
                };
                for (i, line) in ready[..others].iter().enumerate() {
                    let dim = self.dims[i];
                    let source = if i == 0 { source } else { From::Place };
                    let place = To::Complex(data, &between);
                    self.pass(
                        lines,
                        line,
                        [dim, lengths.shape[dim]],
                        source,
                        place,
                        1.0,
                        threads,
                    );
                }
                if others > 0 {
                    source = From::Complex(data, &between);
                }
                let n = lengths.shape[last];
                let target = To::Real(out.data(), &to);
                self.pass(
                    lines,
                    &ready[others],
                    [last, n],
                    source,
                    target,
                    self.scale,
                    threads,
                );
            }
        }
    }

    /// The transforms of lines along each dimension.
    fn make<T: FftNum>(&self, shape: &[usize]) -> Vec<Line<T>> {
        let direction = match self.forward {
            true => FftDirection::Forward,
            false => FftDirection::Inverse,
        };
        let (mut complex, mut real) = (FftPlanner::new(), RealFftPlanner::new());
        let last = self.dims.len() - 1;
        let line = |(i, dim): (usize, &usize)| match self.form {
            Form::FromReal if i == last => Line::FromReal(real.plan_fft_forward(shape[*dim])),
            Form::ToReal if i == last => Line::ToReal(real.plan_fft_inverse(shape[*dim])),
            _ => Line::Complex(complex.plan_fft(shape[*dim], direction)),
        };
        self.dims.iter().enumerate().map(line).collect()
    }

    /// Transforms all lines along a dimension, in which they have `n` elements.
    #[allow(clippy::too_many_arguments)]
    fn pass<T: FftNum + Element>(
        &self,
        memories: &LinesOf<T>,
        line: &Line<T>,
        [dim, n]: [usize; 2],
        from: From<'_, T>,
        to: To<'_, T>,
        scale: f64,
        threads: &Threads,
    ) {
        let scale = <T as Element>::from_f64(scale);
        let layout = match &to {
            To::Real(_, layout) | To::Complex(_, layout) => (*layout).clone(),
        };
        let lines = layout.numel() / layout.shape[dim].max(1);
        let half = n / 2 + 1;
        let (reads, writes) = match line {
            Line::Complex(_) => (n, n),
            Line::FromReal(_) => (n, half),
            Line::ToReal(_) => (half, n),
        };
        let (real, complex) = match to {
            To::Real(data, _) => (Some(SharedOutput::new(data)), None),
            To::Complex(data, _) => (None, Some(SharedOutput::new(data))),
        };
        let each = (GRAIN / n.max(1)).max(1);
        threads.run(lines.div_ceil(each), &|task| {
            let mut memory = memories.take(n);
            for number in task * each..lines.min((task + 1) * each) {
                let (start, step) = (line_start(&layout, dim, number), layout.strides[dim]);
                match (from, &complex) {
                    (From::Real(data, layout), _) => {
                        let (start, step) = (line_start(layout, dim, number), layout.strides[dim]);
                        for i in 0..reads {
                            let re = data[start + i * step];
                            memory.real[i] = re;
                            memory.complex[i] = Complex { re, im: T::zero() };
                        }
                    }
                    (From::Complex(data, layout), _) => {
                        let (start, step) = (line_start(layout, dim, number), layout.strides[dim]);
                        for (i, x) in memory.complex[..reads].iter_mut().enumerate() {
                            let [re, im] = data[start + i * step];
                            *x = Complex { re, im };
                        }
                    }
                    (From::Place, Some(place)) => {
                        for (i, x) in memory.complex[..reads].iter_mut().enumerate() {
                            // SAFETY: a line is read and written by one task, and lines have no
                            // element in common.
                            let [re, im] = unsafe { place.slice(start + i * step, 1) }[0];
                            *x = Complex { re, im };
                        }
                    }
                    (From::Place, None) => {
                        unreachable!("real numbers are not transformed in place")
                    }
                }
                match self.plain {
                    true => memory.transform_plainly(line, n, self.forward),
                    false => memory.transform(line, n, self.forward),
                }
                for i in 0..writes {
                    // SAFETY: as above.
                    unsafe {
                        if let Some(out) = &complex {
                            let x = memory.complex[i];
                            out.slice(start + i * step, 1)[0] = [x.re * scale, x.im * scale];
                        }
                        if let Some(out) = &real {
                            out.slice(start + i * step, 1)[0] = memory.real[i] * scale;
                        }
                    }
                }
            }
            memories.put_back(memory);
        });
    }
}

/// The pairs in a memory that may end with a part of one.
fn whole<T: Element>(bytes: &[u8]) -> &[[T; 2]] {
    let size = size_of::<[T; 2]>();
    bytemuck::cast_slice(&bytes[..bytes.len() / size * size])
}

/// Position of the first element of a line along a dimension.
fn line_start(layout: &Layout, dim: usize, mut number: usize) -> usize {
    let mut offset = layout.offset;
    for d in (0..layout.rank()).rev().filter(|d| *d != dim) {
        offset += number % layout.shape[d] * layout.strides[d];
        number /= layout.shape[d];
    }
    offset
}

impl<T: FftNum> LinesOf<T> {
    /// Memory for lines of `n` elements.
    fn take(&self, n: usize) -> Memory<T> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = pool.pop().unwrap_or_else(|| Memory {
            complex: Vec::new(),
            real: Vec::new(),
            scratch: Vec::new(),
        });
        drop(pool);
        let zero = Complex {
            re: T::zero(),
            im: T::zero(),
        };
        if memory.complex.len() < n {
            memory.complex.resize(n, zero);
            memory.real.resize(n, T::zero());
        }
        memory
    }

    fn put_back(&self, memory: Memory<T>) {
        self.pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(memory);
    }
}

impl<T: FftNum + Element> Memory<T> {
    /// Transforms the line of `n` elements in `real` or `complex` into the other or the same. The
    /// library transforms real numbers forward only, and into them backward only; the other
    /// direction is that of the conjugates.
    fn transform(&mut self, line: &Line<T>, n: usize, forward: bool) {
        let half = n / 2 + 1;
        let zero = Complex {
            re: T::zero(),
            im: T::zero(),
        };
        let needed = match line {
            Line::Complex(plan) => plan.get_inplace_scratch_len(),
            Line::FromReal(plan) => plan.get_scratch_len(),
            Line::ToReal(plan) => plan.get_scratch_len(),
        };
        if self.scratch.len() < needed {
            self.scratch.resize(needed, zero);
        }
        let scratch = &mut self.scratch[..needed];
        let result = match line {
            Line::Complex(plan) => {
                plan.process_with_scratch(&mut self.complex[..n], scratch);
                Ok(())
            }
            Line::FromReal(plan) => {
                let out = &mut self.complex[..half];
                let result = plan.process_with_scratch(&mut self.real[..n], out, scratch);
                if !forward {
                    out.iter_mut().for_each(|x| *x = x.conj());
                }
                result
            }
            Line::ToReal(plan) => {
                if forward {
                    self.complex[..half].iter_mut().for_each(|x| *x = x.conj());
                }
                // These would have to be real, and count as if they were.
                self.complex[0].im = T::zero();
                if n.is_multiple_of(2) {
                    self.complex[half - 1].im = T::zero();
                }
                plan.process_with_scratch(&mut self.complex[..half], &mut self.real[..n], scratch)
            }
        };
        debug_assert!(result.is_ok(), "{result:?}");
    }

    /// The same by its definition.
    fn transform_plainly(&mut self, line: &Line<T>, n: usize, forward: bool) {
        let pair = |x: &Complex<T>| [x.re.to_f64(), x.im.to_f64()];
        let mut all: Vec<[f64; 2]> = match line {
            Line::Complex(_) => self.complex[..n].iter().map(pair).collect(),
            Line::FromReal(_) => self.real[..n].iter().map(|x| [x.to_f64(), 0.0]).collect(),
            Line::ToReal(_) => self.complex[..n / 2 + 1].iter().map(pair).collect(),
        };
        for i in all.len()..n {
            let [re, im] = all[n - i];
            all.push([re, -im]);
        }
        let sign = if forward { -1.0 } else { 1.0 };
        let turn = |k: usize| (sign * std::f64::consts::TAU * k as f64 / n as f64).sin_cos();
        for k in 0..n {
            let (mut re, mut im) = (0.0, 0.0);
            for (j, [x, y]) in all.iter().enumerate() {
                let (sin, cos) = turn((j as u128 * k as u128 % n as u128) as usize);
                re += x * cos - y * sin;
                im += x * sin + y * cos;
            }
            self.real[k] = <T as Element>::from_f64(re);
            self.complex[k] = Complex {
                re: <T as Element>::from_f64(re),
                im: <T as Element>::from_f64(im),
            };
        }
    }
}
