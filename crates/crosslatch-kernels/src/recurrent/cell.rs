//! One step of one entry: from the products with input and state to the new state.

use std::ops::{Add, Mul, Sub};

use crate::Element;
use crate::simd::functions::Function;

/// What a step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Gates for the input, for forgetting, for the new contents and for the output; a second
    /// state, the contents of the cell.
    Lstm,
    /// Gates for resetting and for keeping the state, and the new state.
    Gru,
    /// The hyperbolic tangent of both products.
    Tanh,
    /// Their positive part.
    Relu,
}

/// Types that gates are computed in.
pub(crate) trait Real:
    bytemuck::Pod + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + PartialOrd
{
    fn map(function: Function, x: &mut [Self]);
}

impl Real for f32 {
    fn map(function: Function, x: &mut [f32]) {
        function.map(x);
    }
}

impl Real for f64 {
    fn map(function: Function, x: &mut [f64]) {
        x.iter_mut().for_each(|x| *x = function.exact(*x));
    }
}

impl Cell {
    /// Number of gates, by which the rows of weights are divided.
    pub fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Tanh | Cell::Relu => 1,
        }
    }

    /// One entry: from the products with input and state, and the state and contents before, to
    /// those behind. `row` is working memory for all gates and one more.
    pub(super) fn row<T: Element>(
        self,
        row: &mut [T::Accumulator],
        [inputs, states]: [&[T]; 2],
        state: &mut [T],
        contents: &mut [T],
    ) where
        T::Accumulator: Real,
    {
        let width = state.len();
        let (gates, more) = row.split_at_mut(inputs.len());
        // Every result is rounded to the type of the elements, as PyTorch's operators do it.
        let round = |x: T::Accumulator| T::from_accumulator(x).widen();
        let activate = |function, x: &mut [T::Accumulator]| {
            Real::map(function, x);
            x.iter_mut().for_each(|x| *x = round(*x));
        };
        let zero: T::Accumulator = bytemuck::Zeroable::zeroed();
        let summed = match self {
            Cell::Gru => 2 * width,
            _ => inputs.len(),
        };
        for i in 0..summed {
            gates[i] = round(inputs[i].widen() + states[i].widen());
        }
        match self {
            Cell::Lstm => {
                activate(Function::Sigmoid, &mut gates[..2 * width]);
                activate(Function::Tanh, &mut gates[2 * width..3 * width]);
                activate(Function::Sigmoid, &mut gates[3 * width..]);
                for j in 0..width {
                    let kept = round(gates[width + j] * contents[j].widen());
                    more[j] = round(kept + round(gates[j] * gates[2 * width + j]));
                    contents[j] = T::from_accumulator(more[j]);
                }
                activate(Function::Tanh, more);
                for j in 0..width {
                    state[j] = T::from_accumulator(gates[3 * width + j] * more[j]);
                }
            }
            Cell::Gru => {
                activate(Function::Sigmoid, &mut gates[..2 * width]);
                for j in 0..width {
                    let at = 2 * width + j;
                    more[j] = round(inputs[at].widen() + round(gates[j] * states[at].widen()));
                }
                activate(Function::Tanh, more);
                for j in 0..width {
                    let change = round(round(state[j].widen() - more[j]) * gates[width + j]);
                    state[j] = T::from_accumulator(change + more[j]);
                }
            }
            Cell::Tanh => {
                activate(Function::Tanh, gates);
                (0..width).for_each(|j| state[j] = T::from_accumulator(gates[j]));
            }
            // Not a number stays none.
            Cell::Relu => (0..width).for_each(|j| {
                let x = gates[j];
                state[j] = T::from_accumulator(if x < zero { zero } else { x });
            }),
        }
    }
}
