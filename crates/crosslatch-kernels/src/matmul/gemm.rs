//! Products of large `f32` matrices.
//!
//! Both sides are packed ([`crate::matmul::packing`]), each once. The right one comes first, a chunk
//! of it at a time, by all threads, into memory that they share. Then the result is cut into
//! pieces, blocks of rows, and each thread takes the next one when it is done with one: a thread
//! that is slowed by others on its core does fewer. A piece packs its rows of the left matrix, a
//! slice of the depth at a time; they and the results stay in the second-level cache while the
//! strips of the right matrix pass by.
//!
//! With few rows, packed columns are used once only. There the result is cut into bands of columns,
//! each task packs its own, and rows are read where they lie; only those that are not in one piece
//! are copied.
//!
//! The depth is always cut at the same places, so that a result does not depend on strides, on the
//! number of threads or on the pieces; a planned run and the reference agree in every bit.

use std::ops::Range;

use crate::Threads;
use crate::matmul::epilogue::add_scaled;
use crate::matmul::microkernel::f32::{F32Microkernel, LARGEST};
use crate::matmul::packing::{Pack, Packing, copy_rows, pack_rows};
use crate::matmul::result::{ResultLayout, ResultMatrix};
use crate::runtime::prefetch::fetch_all;
use crate::runtime::shared_output::SharedOutput;
use crate::runtime::threads::TASK_MEMORY;
use crate::simd::functions::Function;
use crate::tensor::matrix::{Matrices, Strided};

/// Steps along the depth that are packed at a time: a strip of them fits the first-level cache.
const DEPTH: usize = 256;

/// Left rows that pass by one strip before the next strip's turn, and most rows of a product in
/// bands. A packed slice of them takes a fifth of a second-level cache of 512 KiB.
const ROW_BLOCK: usize = 96;

/// Columns of a band; a packed slice of it fits the second-level cache.
const BAND: usize = 128;

/// Elements of a chunk of the right matrix: 1 MiB, which all pieces read from the second-level
/// cache where that is large.
const CHUNK: usize = 1 << 18;

/// Most steps along the depth of a chunk: whole slices. A deeper one would have few columns, and
/// the left rows would be packed for each few.
const CHUNK_DEPTH: usize = 2 * DEPTH;

/// Most columns of a piece: its results stay in the second-level cache from slice to slice.
const PIECE_COLUMNS: usize = 1024;

/// Pieces of a chunk for each thread, if there are columns enough for them: when the last one is
/// being computed, the other threads wait.
const PIECES: usize = 16;

/// Strips whose results are finished together.
const GROUP: usize = 8;

/// Distance between the left rows when they are copied: no power of two, because rows at such a
/// distance compete for the same places in the caches.
const ROW_LENGTH: usize = DEPTH + 16;

const _: () = assert!(BAND * DEPTH + ROW_BLOCK * ROW_LENGTH <= TASK_MEMORY);

/// Multiply-adds below which another thread is not worth waking.
const GRAIN: usize = 1 << 16;

/// `out = epilogue(alpha * left * right + beta * bias)`, for each batch.
pub(crate) struct Gemm<'a, R> {
    /// `[…, rows, depth]`
    pub left: Matrices<'a>,
    /// `[…, depth, columns]`
    pub right: &'a R,
    /// `[…, rows, columns]`
    pub bias: Option<Matrices<'a>>,
    pub alpha: f32,
    pub beta: f32,
    /// The function of each element of the result.
    pub epilogue: Option<Function>,
}

/// The sizes of a product, and what computes it.
#[derive(Clone, Copy)]
struct Problem<'t> {
    rows: usize,
    columns: usize,
    depth: usize,
    batches: usize,
    kernel: F32Microkernel,
    threads: &'t Threads,
}

impl Problem<'_> {
    /// Runs tasks on all threads, or on the caller's if it is too little to wake anybody.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize, &mut [f32]) + Sync)) {
        if self.rows * self.columns * self.depth * self.batches < 2 * GRAIN {
            // The working memory is the team's.
            self.threads.run_with_memory(1, &|_, memory| {
                (0..tasks).for_each(|i| task(i, memory));
            });
        } else {
            self.threads.run_with_memory(tasks, task);
        }
    }
}

impl<R: Pack> Gemm<'_, R> {
    /// Computes the products into `out`, whose matrices lie as `layout` says. The depth must not be
    /// 0.
    pub fn run(&self, out: &mut [f32], layout: ResultLayout<'_>, threads: &Threads) {
        let [rows, columns] = layout.size();
        let problem = Problem {
            rows,
            columns,
            depth: self.left.layout.shape[self.left.layout.rank() - 1],
            batches: layout.batches(),
            kernel: F32Microkernel::best(),
            threads,
        };
        if problem.batches * rows * columns == 0 {
            return;
        }
        let out = SharedOutput::new(out);
        if rows <= ROW_BLOCK {
            self.in_bands(&problem, &out, layout);
        } else {
            self.in_chunks(&problem, &out, layout);
        }
    }

    /// A product of few rows.
    fn in_bands(&self, problem: &Problem<'_>, out: &SharedOutput<'_>, layout: ResultLayout<'_>) {
        let Problem { kernel, depth, .. } = *problem;
        let bands = problem.columns.div_ceil(BAND);
        problem.run(bands * problem.batches, &|i, memory| {
            let (band, batch) = (i % bands, i / bands);
            let columns = band * BAND..problem.columns.min((band + 1) * BAND);
            let left = self.left.at(batch);
            let strips = columns.len().div_ceil(kernel.columns);
            for k in (0..depth).step_by(DEPTH) {
                let k = k..depth.min(k + DEPTH);
                let (right, memory) = memory.split_at_mut(strips * kernel.columns * k.len());
                self.right.pack(
                    &Packing {
                        batch,
                        depth: k.clone(),
                        columns: columns.clone(),
                        width: kernel.columns,
                    },
                    right,
                );
                let left = left.from(0, k.start);
                let left = match left.column_stride {
                    1 => left,
                    _ => copy_rows(left, problem.rows, k.len(), ROW_LENGTH, memory),
                };
                let block = Block {
                    kernel,
                    rows: 0..problem.rows,
                    columns: columns.clone(),
                    depth: k.len(),
                    is_first: k.start == 0,
                    is_last: k.end == depth,
                    left: LeftRows::InPlace(left),
                    right,
                    result: layout.of_batch(batch),
                    bias: self.bias.map(|b| b.at(batch)),
                };
                self.multiply(&block, out);
            }
        });
    }

    /// A product of many rows.
    fn in_chunks(&self, problem: &Problem<'_>, out: &SharedOutput<'_>, layout: ResultLayout<'_>) {
        let width = problem.kernel.columns;
        let depth = problem.depth.min(CHUNK_DEPTH);
        let strips = problem.columns.div_ceil(width);
        // Chunks of about the same size, or several matrices as one.
        let chunks = strips.div_ceil((CHUNK / (depth * width)).max(1));
        let columns = strips.div_ceil(chunks) * width;
        let batches = (CHUNK / (depth * columns)).clamp(1, problem.batches);
        let len = batches * depth * columns;
        problem.threads.with_common_memory(len, &mut |memory| {
            for batch in (0..problem.batches).step_by(batches) {
                for column in (0..problem.columns).step_by(columns) {
                    for k in (0..problem.depth).step_by(depth) {
                        let chunk = Chunk {
                            batches: batch..problem.batches.min(batch + batches),
                            columns: column..problem.columns.min(column + columns),
                            depth: k..problem.depth.min(k + depth),
                            width,
                        };
                        self.pack_chunk(problem, &chunk, memory);
                        self.multiply_chunk(problem, &chunk, memory, out, layout);
                    }
                }
            }
        });
    }

    fn pack_chunk(&self, problem: &Problem<'_>, chunk: &Chunk, memory: &mut [f32]) {
        let strips = chunk.strips();
        let slices = chunk.depth.len().div_ceil(DEPTH);
        let memory = SharedOutput::new(memory);
        problem.run(chunk.batches.len() * slices * strips, &|i, _| {
            let (strip, slice, batch) = (i % strips, i / strips % slices, i / strips / slices);
            let k = chunk.slice(slice);
            let at = chunk.position(batch, &k, strip);
            let len = k.len() * chunk.width;
            let first = chunk.columns.start + strip * chunk.width;
            let piece = Packing {
                batch: chunk.batches.start + batch,
                depth: k,
                columns: first..chunk.columns.end.min(first + chunk.width),
                width: chunk.width,
            };
            // SAFETY: each strip of each slice has a place of its own.
            self.right.pack(&piece, unsafe { memory.slice(at, len) });
        });
    }

    fn multiply_chunk(
        &self,
        problem: &Problem<'_>,
        chunk: &Chunk,
        packed: &[f32],
        out: &SharedOutput<'_>,
        layout: ResultLayout<'_>,
    ) {
        let kernel = problem.kernel;
        let block_rows = ROW_BLOCK / kernel.panel_rows * kernel.panel_rows;
        let blocks = problem.rows.div_ceil(block_rows);
        // Columns are cut only as far as needed: each piece packs its rows anew.
        let wanted = (PIECES * problem.threads.count()).div_ceil(blocks * chunk.batches.len());
        let least = chunk.columns.len().div_ceil(PIECE_COLUMNS);
        let most = chunk.columns.len().div_ceil(BAND);
        let pieces = wanted.clamp(least, most);
        let piece_strips = chunk.strips().div_ceil(pieces);
        let pieces = chunk.strips().div_ceil(piece_strips);
        problem.run(chunk.batches.len() * pieces * blocks, &|i, memory| {
            let (block, piece, batch) = (i % blocks, i / blocks % pieces, i / blocks / pieces);
            let rows = block * block_rows..problem.rows.min((block + 1) * block_rows);
            let strips = piece * piece_strips..chunk.strips().min((piece + 1) * piece_strips);
            let columns = chunk.columns.start + strips.start * chunk.width
                ..chunk
                    .columns
                    .end
                    .min(chunk.columns.start + strips.end * chunk.width);
            let number = chunk.batches.start + batch;
            let (left, bias) = (self.left.at(number), self.bias.map(|b| b.at(number)));
            for slice in 0..chunk.depth.len().div_ceil(DEPTH) {
                let k = chunk.slice(slice);
                let panels = left.from(rows.start, k.start);
                pack_rows(panels, rows.len(), k.len(), kernel.panel_rows, memory);
                let at = chunk.position(batch, &k, strips.start);
                let block = Block {
                    kernel,
                    rows: rows.clone(),
                    columns: columns.clone(),
                    depth: k.len(),
                    is_first: k.start == 0,
                    is_last: k.end == problem.depth,
                    left: LeftRows::Packed(memory),
                    right: &packed[at..][..strips.len() * k.len() * chunk.width],
                    result: layout.of_batch(number),
                    bias,
                };
                self.multiply(&block, out);
            }
        });
    }

    /// Multiplies a block of rows with strips of columns, over a slice of the depth.
    fn multiply(&self, block: &Block<'_>, out: &SharedOutput<'_>) {
        let width = block.kernel.columns;
        let strip_len = width * block.depth;
        let mut sums = [0f32; LARGEST];
        let groups = block.right.chunks(GROUP * strip_len);
        let starts = block.columns.clone().step_by(GROUP * width);
        for (group, first) in groups.zip(starts) {
            let whole = group.len() / strip_len * width;
            let whole = whole.min((block.columns.end - first) / width * width);
            // Rows are finished in one piece, if they are one.
            let together = whole > 0 && block.result.is_contiguous(first, whole);
            for (s, strip) in group.chunks_exact(strip_len).enumerate() {
                let column = first + s * width;
                let filled = width.min(block.columns.end - column);
                let is_in_place =
                    filled == width && (together || block.result.is_contiguous(column, width));
                for tile in block.tiles(column, filled, strip) {
                    if is_in_place {
                        self.tile_in_place(block, &tile, out, block.is_last && !together);
                    } else {
                        self.tile_by_element(block, &tile, out, &mut sums);
                    }
                }
            }
            for i in block.rows.clone() {
                if !(together && block.is_last) {
                    break;
                }
                // SAFETY: tasks have different batches, rows or columns, the layout does not
                // overlap itself, and one row is borrowed at a time.
                let to = unsafe { out.slice(block.result.position(i, first), whole) };
                self.finish(to, block.bias.map(|b| b.from(i, first)));
            }
        }
    }

    /// Computes a tile whose rows lie in one piece in the result.
    #[inline(always)]
    fn tile_in_place(
        &self,
        block: &Block<'_>,
        tile: &Tile<'_>,
        out: &SharedOutput<'_>,
        finish: bool,
    ) {
        let (i, j, rows, width) = (tile.row, tile.column, tile.rows, tile.width);
        let result = block.result;
        // Positions of columns may take divisions.
        let first = result.position(i, j);
        let row = |r: usize| first + r * result.row;
        // Only to check the bounds, of the last row and so of all.
        // SAFETY: tasks have different batches, rows or columns, the layout does not overlap
        // itself, and one row of a tile is borrowed at a time.
        unsafe { out.slice(row(rows - 1), width) };
        for r in 0..rows {
            // The result comes from memory while the tile is computed.
            fetch_all(out.pointer(row(r)), width);
        }
        let to = out.pointer(first);
        // SAFETY: the last one of these rows has just been checked.
        unsafe {
            block.kernel.multiply_to(
                block.depth,
                tile.left,
                rows,
                tile.strip,
                to,
                result.row,
                !block.is_first,
            );
        }
        for r in 0..if finish { rows } else { 0 } {
            // SAFETY: as above.
            let to = unsafe { out.slice(row(r), width) };
            self.finish(to, block.bias.map(|b| b.from(i + r, j)));
        }
    }

    /// Computes a tile in `sums` and moves it to the result element by element: the last columns of
    /// a result, and results whose columns lie apart.
    #[inline(always)]
    fn tile_by_element(
        &self,
        block: &Block<'_>,
        tile: &Tile<'_>,
        out: &SharedOutput<'_>,
        sums: &mut [f32; LARGEST],
    ) {
        let (i, j, rows, kernel) = (tile.row, tile.column, tile.rows, block.kernel);
        kernel.multiply(block.depth, tile.left, rows, tile.strip, sums, false);
        for (r, sums) in sums.chunks_exact_mut(kernel.columns).enumerate().take(rows) {
            let sums = &mut sums[..tile.width];
            // SAFETY: tasks have different batches, rows or columns, the layout does not overlap
            // itself, and one element is borrowed at a time.
            let element = |c| unsafe { &mut out.slice(block.result.position(i + r, j + c), 1)[0] };
            if !block.is_first {
                for (c, sum) in sums.iter_mut().enumerate() {
                    *sum += *element(c);
                }
            }
            if block.is_last {
                self.finish(sums, block.bias.map(|b| b.from(i + r, j)));
            }
            for (c, sum) in sums.iter().enumerate() {
                *element(c) = *sum;
            }
        }
    }

    /// Applies scale, bias and epilogue to part of a row whose sums are complete.
    #[inline(always)]
    fn finish(&self, to: &mut [f32], bias: Option<Strided<'_>>) {
        if self.alpha != 1.0 {
            to.iter_mut().for_each(|y| *y *= self.alpha);
        }
        if let Some(bias) = bias {
            add_scaled(to, bias.data, bias.column_stride, self.beta);
        }
        if let Some(function) = self.epilogue {
            function.map(to);
        }
    }
}

/// A part of the right matrices that is packed at a time. In memory it is, for each batch, slice
/// after slice of the depth, and in each of them strip after strip.
struct Chunk {
    batches: Range<usize>,
    columns: Range<usize>,
    depth: Range<usize>,
    /// Columns of a strip.
    width: usize,
}

impl Chunk {
    fn strips(&self) -> usize {
        self.columns.len().div_ceil(self.width)
    }

    fn slice(&self, number: usize) -> Range<usize> {
        let start = self.depth.start + number * DEPTH;
        start..self.depth.end.min(start + DEPTH)
    }

    /// Where a strip of a slice begins, in the batch with this number of the chunk.
    fn position(&self, batch: usize, slice: &Range<usize>, strip: usize) -> usize {
        let columns = self.strips() * self.width;
        let before = batch * self.depth.len() + slice.start - self.depth.start;
        before * columns + strip * slice.len() * self.width
    }
}

/// Left rows of a block.
enum LeftRows<'a> {
    InPlace(Strided<'a>),
    /// In panels.
    Packed(&'a [f32]),
}

/// A part of the result, over a slice of the depth.
struct Block<'a> {
    kernel: F32Microkernel,
    rows: Range<usize>,
    columns: Range<usize>,
    depth: usize,
    /// Whether nothing has been added up before.
    is_first: bool,
    /// Whether nothing will be added up after.
    is_last: bool,
    left: LeftRows<'a>,
    /// The packed columns.
    right: &'a [f32],
    result: ResultMatrix,
    bias: Option<Strided<'a>>,
}

/// A tile of the result.
struct Tile<'t> {
    row: usize,
    column: usize,
    rows: usize,
    /// Columns that the result has there.
    width: usize,
    /// The rows of the left matrix.
    left: Strided<'t>,
    /// The packed columns of the right matrix.
    strip: &'t [f32],
}

impl<'a> Block<'a> {
    /// The tiles of one strip, from top to bottom.
    fn tiles(
        &self,
        column: usize,
        width: usize,
        strip: &'a [f32],
    ) -> impl Iterator<Item = Tile<'_>> {
        let height = match self.left {
            LeftRows::InPlace(_) => self.kernel.rows,
            LeftRows::Packed(_) => self.kernel.panel_rows,
        };
        self.rows.clone().step_by(height).map(move |row| Tile {
            row,
            column,
            rows: height.min(self.rows.end - row),
            width,
            left: match self.left {
                LeftRows::InPlace(rows) => rows.from(row - self.rows.start, 0),
                LeftRows::Packed(panels) => Strided {
                    data: &panels[(row - self.rows.start) * self.depth..],
                    row_stride: 1,
                    column_stride: height,
                },
            },
            strip,
        })
    }
}
