//! Layers against the formulas, and packed sequences against each sequence alone.

use super::*;
use crate::Storage;

/// Numbers between -1 and 1, always the same.
fn numbers(count: usize, seed: usize) -> Vec<f64> {
    (0..count)
        .map(|i| ((i * 7919 + seed * 104_729) % 2003) as f64 / 1001.5 - 1.0)
        .collect()
}

/// A layer's operands in memory.
struct Layers {
    recurrence: Recurrence,
    weights: Vec<(Vec<f64>, Layout)>,
}

impl Layers {
    fn new(cell: Cell, layers: usize, bidirectional: bool) -> Layers {
        let recurrence = Recurrence {
            cell,
            layers,
            bidirectional,
            has_biases: true,
            steps: 0,
            batch: 0,
            rows: 0,
            input: 3,
            width: 4,
            state: 4,
            is_projected: false,
            plain: false,
        };
        let gates = cell.gates() * 4;
        let mut weights = Vec::new();
        for layer in 0..layers {
            for _ in 0..recurrence.directions() {
                let input = if layer == 0 {
                    3
                } else {
                    recurrence.directions() * 4
                };
                for shape in [&[gates, input][..], &[gates, 4], &[gates], &[gates]] {
                    let layout = Layout::contiguous(shape);
                    weights.push((numbers(layout.numel(), weights.len()), layout));
                }
            }
        }
        Layers {
            recurrence,
            weights,
        }
    }

    /// All states and the last ones of this input, whose first states are these.
    fn run(
        &self,
        x: &[f64],
        shape: &[usize],
        packed: Option<&[i64]>,
        [state, contents]: [&[f64]; 2],
    ) -> Result<[Vec<f64>; 3], KernelError> {
        let total = self.recurrence.layers * self.recurrence.directions();
        let batch = state.len() / total / 4;
        let rows = x.len() / self.recurrence.input;
        let recurrence = Recurrence {
            steps: packed.map_or(shape[0], <[i64]>::len),
            batch,
            rows,
            ..self.recurrence
        };
        let mut out_shape = shape.to_vec();
        out_shape[shape.len() - 1] = recurrence.directions() * 4;
        let layouts = [
            shape,
            &[total, batch, 4],
            &out_shape,
            &[packed.map_or(0, <[i64]>::len)],
        ];
        let [from, states, to, counts] = layouts.map(Layout::contiguous);
        fn tensor<'a>(data: &'a [f64], layout: &'a Layout) -> TensorRef<'a> {
            TensorRef::new(DType::F64, layout, bytemuck::cast_slice(data)).unwrap()
        }
        let weights: Vec<_> = self
            .weights
            .iter()
            .map(|(data, l)| tensor(data, l))
            .collect();
        let is_lstm = recurrence.cell == Cell::Lstm;
        let tensors = Tensors {
            x: tensor(x, &from),
            packed: packed
                .map(|p| TensorRef::new(DType::I64, &counts, bytemuck::cast_slice(p)).unwrap()),
            state: tensor(state, &states),
            contents: is_lstm.then(|| tensor(contents, &states)),
            weights: &weights,
        };
        let mut results = [
            vec![0.0; to.numel()],
            vec![0.0; state.len()],
            vec![0.0; state.len()],
        ];
        let [all, last, last_contents] = &mut results;
        let target = |data, layout| {
            TensorMut::new(
                DType::F64,
                layout,
                bytemuck::cast_slice_mut::<f64, u8>(data),
            )
            .unwrap()
        };
        let mut scratch = Storage::zeroed(recurrence.scratch_bytes(DType::F64).unwrap());
        let mut targets = Results {
            states: Some(target(all, &to)),
            last: target(last, &states),
            last_contents: is_lstm.then(|| target(last_contents, &states)),
        };
        recurrence.run(
            &mut targets,
            &tensors,
            scratch.bytes_mut(),
            &Threads::new(2),
        )?;
        Ok(results)
    }
}

const CELLS: [Cell; 4] = [Cell::Lstm, Cell::Gru, Cell::Tanh, Cell::Relu];

#[test]
fn packed_sequences_give_what_each_sequence_gives_alone() {
    // Lengths 4, 3 and 1.
    let (counts, lengths) = ([3i64, 2, 2, 1], [4, 3, 1]);
    for (cell, bidirectional) in CELLS.into_iter().flat_map(|c| [(c, false), (c, true)]) {
        let layers = Layers::new(cell, 2, bidirectional);
        let total = 2 * layers.recurrence.directions();
        let x = numbers(8 * 3, 5);
        let (state, contents) = (numbers(total * 12, 6), numbers(total * 12, 7));
        let [all, last, last_contents] = layers
            .run(&x, &[8, 3], Some(&counts), [&state, &contents])
            .unwrap();
        let width = layers.recurrence.directions() * 4;
        for (entry, length) in lengths.into_iter().enumerate() {
            let starts = [0, 3, 5, 7];
            let row = |step: usize| starts[step] + entry;
            let own = |all: &[f64], n: usize| -> Vec<f64> {
                (0..length)
                    .flat_map(|t| all[row(t) * n..][..n].to_vec())
                    .collect()
            };
            let of_entry = |all: &[f64]| -> Vec<f64> {
                (0..total)
                    .flat_map(|l| all[(l * 3 + entry) * 4..][..4].to_vec())
                    .collect()
            };
            let first = [of_entry(&state), of_entry(&contents)];
            let alone = layers.run(&own(&x, 3), &[length, 1, 3], None, [&first[0], &first[1]]);
            let [alone, alone_last, alone_contents] = alone.unwrap();
            assert_near(&own(&all, width), &alone);
            assert_near(&of_entry(&last), &alone_last);
            assert_near(&of_entry(&last_contents), &alone_contents);
        }
    }
}

fn assert_near(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    assert!(
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12),
        "{a:?} {b:?}"
    );
}

#[test]
fn sizes_of_steps_that_do_not_fit_the_input_are_refused() {
    let layers = Layers::new(Cell::Gru, 1, false);
    let (x, state) = (numbers(8 * 3, 1), numbers(12, 2));
    for counts in [
        &[3i64, 2, 2, 2][..],
        &[3, 2, 3],
        &[2, 2, 2, 2],
        &[3, 5],
        &[3, -1, 6],
        &[4, 4],
        &[],
    ] {
        let result = layers.run(&x, &[8, 3], Some(counts), [&state, &state]);
        assert!(
            matches!(result, Err(KernelError::Assertion(_))),
            "{counts:?}"
        );
    }
}

#[test]
fn two_layers_are_one_behind_the_other() {
    for cell in CELLS {
        let both = Layers::new(cell, 2, false);
        let each = |i: usize| Layers {
            recurrence: Recurrence {
                layers: 1,
                input: [3, 4][i],
                ..both.recurrence
            },
            weights: both.weights[4 * i..][..4].to_vec(),
        };
        let x = numbers(5 * 2 * 3, 3);
        let (state, contents) = (numbers(16, 4), numbers(16, 9));
        let [all, ..] = both.run(&x, &[5, 2, 3], None, [&state, &contents]).unwrap();
        let [first, ..] = each(0)
            .run(&x, &[5, 2, 3], None, [&state[..8], &contents[..8]])
            .unwrap();
        let second = each(1);
        let [second, ..] = second
            .run(&first, &[5, 2, 4], None, [&state[8..], &contents[8..]])
            .unwrap();
        assert_near(&all, &second);
    }
}
