//! Recurrent layers: LSTM, GRU and plain recurrence, over whole sequences or for a single step.
//!
//! What a step takes from its input does not depend on the steps before it. So a layer multiplies
//! its whole input by the input weights in one product, and only the product with the state is
//! computed step by step: few rows by a matrix, which stays in the cache where it fits. A step's
//! functions of numbers are computed row by row, in the type that kernels compute in.
//!
//! Sequences of several lengths are packed: the entries of a step lie one behind the other, and
//! fewer of them are left the later it is. A step therefore computes the first rows of the state,
//! and the others stay what they became at the end of their sequence; a layer that reads backwards
//! finds more rows from step to step.
//!
//! Weights have the layout of PyTorch, whose gates are stacked in the order in which [`Cell`] names
//! them.

mod cell;
#[cfg(test)]
mod tests;

pub use cell::Cell;

use std::ops::Range;

use half::{bf16, f16};

use self::cell::Real;

use crate::matmul::{Product, matmul};
use crate::movement::indexing::Integers;
use crate::movement::{convert, copy};
use crate::{DType, Element, KernelError, Layout, TensorMut, TensorRef, Threads};

/// Sizes and options of recurrent layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recurrence {
    /// What a step computes.
    pub cell: Cell,
    /// Layers, each of which takes the states of the one before it as its input.
    pub layers: usize,
    /// Whether each layer also reads from the end.
    pub bidirectional: bool,
    /// Whether there are biases.
    pub has_biases: bool,
    /// Number of steps.
    pub steps: usize,
    /// Entries of the batch.
    pub batch: usize,
    /// Rows of the input: the entries of all steps.
    pub rows: usize,
    /// Width of the input.
    pub input: usize,
    /// Width of a gate.
    pub width: usize,
    /// Width of the state: less than that of a gate, where the state is projected.
    pub state: usize,
    /// Whether the state is projected.
    pub is_projected: bool,
    /// Whether products are plain loops.
    pub plain: bool,
}

/// The tensors of recurrent layers.
pub struct Tensors<'t, 'm> {
    /// The input, `[steps, batch, input]` or, packed, `[rows, input]`.
    pub x: TensorRef<'m>,
    /// The numbers of entries of the steps, if packed.
    pub packed: Option<TensorRef<'m>>,
    /// The first states, `[layers * directions, batch, state]`.
    pub state: TensorRef<'m>,
    /// The first contents of LSTM cells, `[layers * directions, batch, width]`.
    pub contents: Option<TensorRef<'m>>,
    /// For each layer and direction the weights of the input and of the state, the biases of both,
    /// and the projection, as far as there are such.
    pub weights: &'t [TensorRef<'m>],
}

/// What recurrent layers compute.
pub struct Results<'m> {
    /// The states of the last layer, `[steps, batch, directions * state]` or `[rows, directions *
    /// state]`.
    pub states: Option<TensorMut<'m>>,
    /// The last states, as the first ones.
    pub last: TensorMut<'m>,
    /// The last contents, as the first ones.
    pub last_contents: Option<TensorMut<'m>>,
}

/// The weights of one direction of one layer.
struct Weights<'m> {
    input: TensorRef<'m>,
    state: TensorRef<'m>,
    biases: [Option<TensorRef<'m>>; 2],
    projection: Option<TensorRef<'m>>,
}

/// Working memory, except for the inputs of layers.
struct Memory<'s, T, A> {
    /// Products with the input, `[rows, gates * width]`.
    from_input: &'s mut [T],
    /// Products with the state, `[batch, gates * width]`.
    from_state: &'s mut [T],
    /// `[batch, state]`
    state: &'s mut [T],
    /// States before projection, or else empty, `[batch, width]`.
    unprojected: &'s mut [T],
    /// `[batch, width]`, of an LSTM.
    contents: &'s mut [T],
    /// The gates of one row, and one row more.
    row: &'s mut [A],
}

/// Bytes that slices of working memory are aligned to.
const ALIGNMENT: usize = 64;

impl Recurrence {
    /// Number of directions.
    pub fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// Number of tensors of weights for each direction of each layer.
    pub fn weights_each(&self) -> usize {
        2 + 2 * usize::from(self.has_biases) + usize::from(self.is_projected)
    }

    fn gates(&self) -> usize {
        self.cell.gates() * self.width
    }

    /// Elements of each slice of working memory: three of the inputs of layers, and those of
    /// [`Memory`].
    fn sizes(&self) -> [usize; 9] {
        let outputs = self.rows * self.directions() * self.state;
        [
            self.rows * self.input,
            outputs,
            if self.layers > 1 { outputs } else { 0 },
            self.rows * self.gates(),
            self.batch * self.gates(),
            self.batch * self.state,
            self.batch * self.width * usize::from(self.is_projected),
            self.batch * self.width * usize::from(self.cell == Cell::Lstm),
            self.gates() + self.width,
        ]
    }

    /// Bytes of working memory for elements of this type; `None` if they overflow.
    pub fn scratch_bytes(&self, dtype: DType) -> Option<usize> {
        let largest = self
            .rows
            .checked_mul(self.input.max(self.gates()).max(2 * self.state))?
            .checked_add(self.batch.checked_mul(self.gates().max(self.state))?)?;
        largest.checked_mul(9 * 8)?.checked_add(9 * ALIGNMENT)?;
        let mut sizes = self
            .sizes()
            .map(|n| (n * dtype.size()).next_multiple_of(ALIGNMENT));
        // The last one has elements of the type that is computed in.
        sizes[8] = (self.sizes()[8] * 8).next_multiple_of(ALIGNMENT);
        Some(sizes.iter().sum())
    }

    /// Computes the layers; `scratch` has the bytes that
    /// [`scratch_bytes`](Recurrence::scratch_bytes) says.
    ///
    /// # Errors
    /// If the entries of packed steps do not fit the input.
    ///
    /// # Panics
    /// If shapes and types do not fit together.
    pub fn run(
        &self,
        results: &mut Results<'_>,
        tensors: &Tensors<'_, '_>,
        scratch: &mut [u8],
        threads: &Threads,
    ) -> Result<(), KernelError> {
        let counts = self.counts(tensors)?;
        match tensors.x.dtype() {
            DType::F32 => self.of_type::<f32>(results, tensors, &counts, scratch, threads),
            DType::F64 => self.of_type::<f64>(results, tensors, &counts, scratch, threads),
            DType::F16 => self.of_type::<f16>(results, tensors, &counts, scratch, threads),
            DType::BF16 => self.of_type::<bf16>(results, tensors, &counts, scratch, threads),
            other => unreachable!("recurrent layers of {other}"),
        }
    }

    /// The entries of each step, which decrease and are those of the input together.
    fn counts<'m>(&self, tensors: &Tensors<'_, 'm>) -> Result<Counts<'m>, KernelError> {
        let counts = match tensors.packed {
            None => return Ok(Counts::Equal(self.batch)),
            Some(packed) => Counts::Packed(packed),
        };
        let (mut sum, mut before) = (0usize, self.batch);
        for step in 0..self.steps {
            let count = counts.of(step);
            if count > before || (step == 0 && count != self.batch) {
                return Err(misfit());
            }
            (sum, before) = (sum.saturating_add(count), count);
        }
        match sum == self.rows {
            true => Ok(counts),
            false => Err(misfit()),
        }
    }

    fn of_type<T: Element>(
        &self,
        results: &mut Results<'_>,
        tensors: &Tensors<'_, '_>,
        counts: &Counts<'_>,
        mut scratch: &mut [u8],
        threads: &Threads,
    ) -> Result<(), KernelError>
    where
        T::Accumulator: Real,
    {
        let sizes = self.sizes();
        let mut take = |i: usize| take::<T>(&mut scratch, sizes[i]);
        let (mut input, mut output, spare) = (take(0), take(1), take(2));
        let mut memory = Memory {
            from_input: take(3),
            from_state: take(4),
            state: take(5),
            unprojected: take(6),
            contents: take(7),
            row: &mut [],
        };
        memory.row = self::take::<T::Accumulator>(&mut scratch, sizes[8]);
        let layout = Layout::contiguous(tensors.x.shape());
        copy(&mut of_slice(input, &layout)?, &tensors.x, threads);
        let (mut width, directions) = (self.input, self.directions());
        let mut spare = Some(spare);
        for layer in 0..self.layers {
            for direction in 0..directions {
                let number = layer * directions + direction;
                let all = tensors.weights;
                let weights = self.weights(&all[number * self.weights_each()..]);
                self.product(
                    memory.from_input,
                    [self.rows, width],
                    input,
                    &weights.input,
                    weights.biases[0],
                    threads,
                )?;
                load(memory.state, &tensors.state, number);
                if let Some(contents) = &tensors.contents {
                    load(memory.contents, contents, number);
                }
                self.steps_of(&weights, direction, counts, &mut memory, output, threads)?;
                store(&mut results.last, number, memory.state);
                if let Some(last) = &mut results.last_contents {
                    store(last, number, memory.contents);
                }
            }
            width = directions * self.state;
            if layer + 1 < self.layers {
                // What this layer computed is the input of the next one; the first input is needed
                // no more.
                let next = spare.take().unwrap_or(input);
                (input, output) = (output, next);
            }
        }
        let Some(states) = &mut results.states else {
            return Ok(());
        };
        let layout = Layout::contiguous(states.shape());
        let computed = TensorRef::new(T::DTYPE, &layout, bytemuck::cast_slice(output))?;
        copy(states, &computed, threads);
        Ok(())
    }

    fn weights<'m>(&self, tensors: &[TensorRef<'m>]) -> Weights<'m> {
        let biases = self.has_biases.then(|| [tensors[2], tensors[3]]);
        Weights {
            input: tensors[0],
            state: tensors[1],
            biases: biases.map_or([None, None], |b| b.map(Some)),
            projection: self.is_projected.then(|| tensors[self.weights_each() - 1]),
        }
    }

    /// `out = a * weight^T + bias`, where `a` has this shape; `out` may have more rows.
    fn product<T: Element>(
        &self,
        out: &mut [T],
        [m, k]: [usize; 2],
        a: &[T],
        weight: &TensorRef<'_>,
        bias: Option<TensorRef<'_>>,
        threads: &Threads,
    ) -> Result<(), KernelError> {
        let n = weight.shape()[0];
        let (la, lo) = (Layout::contiguous(&[m, k]), Layout::contiguous(&[m, n]));
        let lb = weight.layout().transpose(0, 1);
        let mut repeated = lo.clone();
        if let Some(bias) = &bias {
            repeated
                .strides
                .clone_from_slice(&[0, bias.layout().strides[0]]);
            repeated.offset = bias.layout().offset;
        }
        let product = Product {
            a: TensorRef::new(T::DTYPE, &la, bytemuck::cast_slice(a))?,
            b: weight.with_layout(&lb)?,
            bias: bias.map(|b| b.with_layout(&repeated)).transpose()?,
            beta: 1.0,
            alpha: 1.0,
            epilogue: None,
        };
        matmul(&mut of_slice(out, &lo)?, &product, self.plain, threads);
        Ok(())
    }

    /// All steps of one direction of a layer; writes its part of the layer's output.
    fn steps_of<T: Element>(
        &self,
        weights: &Weights<'_>,
        direction: usize,
        counts: &Counts<'_>,
        memory: &mut Memory<'_, T, T::Accumulator>,
        output: &mut [T],
        threads: &Threads,
    ) -> Result<(), KernelError>
    where
        T::Accumulator: Real,
    {
        let mut end = self.rows;
        let mut start = 0;
        for i in 0..self.steps {
            let step = if direction == 0 {
                i
            } else {
                self.steps - 1 - i
            };
            let count = counts.of(step);
            let rows = match direction {
                0 => start..start + count,
                _ => end - count..end,
            };
            (start, end) = (rows.end, rows.start);
            if count == 0 {
                continue;
            }
            self.step(weights, rows.clone(), memory, threads)?;
            let stride = self.directions() * self.state;
            for (row, state) in rows.zip(memory.state.chunks_exact(self.state)) {
                let at = row * stride + direction * self.state;
                output[at..at + self.state].copy_from_slice(state);
            }
        }
        Ok(())
    }

    /// One step of the first entries of the batch, whose products with the input are in these rows.
    fn step<T: Element>(
        &self,
        weights: &Weights<'_>,
        rows: Range<usize>,
        memory: &mut Memory<'_, T, T::Accumulator>,
        threads: &Threads,
    ) -> Result<(), KernelError>
    where
        T::Accumulator: Real,
    {
        let Memory {
            from_input,
            from_state,
            state,
            unprojected,
            contents,
            row,
        } = memory;
        let (count, gates, width) = (rows.len(), self.gates(), self.width);
        let a = &state[..count * self.state];
        self.product(
            from_state,
            [count, self.state],
            a,
            &weights.state,
            weights.biases[1],
            threads,
        )?;
        let new = if self.is_projected {
            &mut **unprojected
        } else {
            &mut **state
        };
        for i in 0..count {
            let inputs = &from_input[(rows.start + i) * gates..][..gates];
            let states = &from_state[i * gates..][..gates];
            let new = &mut new[i * width..][..width];
            let contents = contents.chunks_exact_mut(width).nth(i).unwrap_or(&mut []);
            self.cell.row(row, [inputs, states], new, contents);
        }
        if let Some(projection) = &weights.projection {
            let a = &unprojected[..count * width];
            self.product(state, [count, width], a, projection, None, threads)?;
        }
        Ok(())
    }
}

/// Entries of each step.
enum Counts<'m> {
    Equal(usize),
    Packed(TensorRef<'m>),
}

impl Counts<'_> {
    fn of(&self, step: usize) -> usize {
        match self {
            Counts::Equal(count) => *count,
            Counts::Packed(tensor) => {
                let at = tensor.layout().offset + step * tensor.layout().strides[0];
                usize::try_from(Integers::of(tensor).at(at)).unwrap_or(0)
            }
        }
    }
}

fn misfit() -> KernelError {
    KernelError::Assertion(
        "the sizes of packed steps do not decrease, or are not those of the input".into(),
    )
}

/// The next elements of working memory.
fn take<'s, T: bytemuck::Pod>(scratch: &mut &'s mut [u8], len: usize) -> &'s mut [T] {
    let bytes = len * size_of::<T>();
    let (front, rest) = std::mem::take(scratch).split_at_mut(bytes.next_multiple_of(ALIGNMENT));
    *scratch = rest;
    bytemuck::cast_slice_mut(&mut front[..bytes])
}

fn of_slice<'a, T: Element>(
    data: &'a mut [T],
    layout: &'a Layout,
) -> Result<TensorMut<'a>, KernelError> {
    Ok(TensorMut::new(
        T::DTYPE,
        layout,
        bytemuck::cast_slice_mut(data),
    )?)
}

/// Reads entry `number` of the first dimension.
fn load<T: Element>(to: &mut [T], from: &TensorRef<'_>, number: usize) {
    let data = from.data::<T>();
    let positions = from.layout().select(0, number);
    for (to, at) in to.iter_mut().zip(positions.positions()) {
        *to = data[at];
    }
}

/// Writes entry `number` of the first dimension.
fn store<T: Element>(to: &mut TensorMut<'_>, number: usize, from: &[T]) {
    let positions = to.layout().select(0, number);
    let data = to.data::<T>();
    for (from, at) in from.iter().zip(positions.positions()) {
        data[at] = convert(*from);
    }
}
