//! Which elements of a tensor share a scale.

use crosslatch_kernels::{Dims, Layout};

use crate::ir::{Call, OpError, TensorArg};

/// A tensor cut into blocks of equal size.
pub(super) struct Blocks {
    /// For each dimension of the tensor, its number of blocks and their length.
    dims: Vec<(usize, usize)>,
}

impl Blocks {
    /// Blocks of this shape.
    ///
    /// # Errors
    /// If they do not divide the tensor.
    pub fn new(shape: &[usize], block: &[usize]) -> Result<Blocks, OpError> {
        let fits = |(size, length): (&usize, &usize)| *length > 0 && size.is_multiple_of(*length);
        if shape.len() != block.len() || !shape.iter().zip(block).all(fits) {
            return Err(OpError::new(format!(
                "blocks of shape {block:?} do not divide a tensor of shape {shape:?}"
            )));
        }
        let dims = shape.iter().zip(block);
        let dims = dims.map(|(size, length)| (size / length, *length));
        Ok(Blocks {
            dims: dims.collect(),
        })
    }

    /// One block.
    pub fn whole(shape: &[usize]) -> Result<Blocks, OpError> {
        let block: Vec<usize> = shape.iter().map(|size| (*size).max(1)).collect();
        Blocks::new(shape, &block)
    }

    /// A block for each entry along a dimension.
    pub fn channels(x: &TensorArg, axis: i64) -> Result<Blocks, OpError> {
        let axis = x.dim(axis)?;
        let block = x.shape().iter().enumerate();
        let block = block.map(|(d, size)| if d == axis { 1 } else { (*size).max(1) });
        Blocks::new(x.shape(), &block.collect::<Vec<_>>())
    }

    /// A block for each row.
    pub fn rows(shape: &[usize]) -> Result<Blocks, OpError> {
        Blocks::groups(shape, shape.last().copied().unwrap_or(1))
    }

    /// Blocks of so many neighbours in a row.
    pub fn groups(shape: &[usize], length: usize) -> Result<Blocks, OpError> {
        let mut block = vec![1; shape.len()];
        if let Some(last) = block.last_mut() {
            *last = length;
        }
        Blocks::new(shape, &block)
    }

    /// The blocks that an argument `block_size` asks for.
    pub fn given(call: &Call<'_>, shape: &[usize]) -> Result<Blocks, OpError> {
        let block = call.sizes("block_size")?;
        Blocks::new(shape, &block)
    }

    /// Number of blocks.
    pub fn count(&self) -> usize {
        self.dims.iter().map(|(count, _)| count).product()
    }

    /// The shape of the tensor with two dimensions for each: blocks, and elements in a block.
    pub fn split(&self) -> Dims {
        let dims = self.dims.iter();
        dims.flat_map(|(count, length)| [*count, *length]).collect()
    }

    /// The shape of what there is one of for each block, in the dimensions of [`split`](Blocks::split).
    pub fn of_blocks(&self) -> Dims {
        let dims = self.dims.iter();
        dims.flat_map(|(count, _)| [*count, 1]).collect()
    }

    /// The shape of what there is one of for each block, as torchao returns it: without the dimensions
    /// that are one block, or with 1 for them.
    pub fn reduced(&self, keeps: bool) -> Dims {
        let dims = self.dims.iter();
        dims.flat_map(|&(count, length)| match (count, length) {
            (count, 1) => [Some(count), None],
            (1, _) => [keeps.then_some(1), None],
            (count, _) => [Some(count), keeps.then_some(1)],
        })
        .flatten()
        .collect()
    }

    /// The first elements of each block, and one block, of a tensor with this layout.
    pub fn layouts(&self, whole: &Layout) -> Option<[Layout; 2]> {
        let split = whole.reshape(&self.split())?;
        let every = |first: usize| {
            let pick =
                |dims: &Dims| -> Dims { dims.iter().skip(first).step_by(2).copied().collect() };
            let strides = split.strides.iter().skip(first).step_by(2).copied();
            Layout {
                shape: pick(&split.shape),
                strides: strides.collect(),
                offset: 0,
            }
        };
        let first = Layout {
            offset: split.offset,
            ..every(0)
        };
        Some([first, every(1)])
    }
}
