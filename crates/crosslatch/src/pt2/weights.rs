//! Weights: names tied to payloads in the archive, without copying them.
//!
//! Two small JSON entries map the name of a parameter, buffer or constant to an entry with its bytes
//! and to a description of the tensor. Names that share an entry share memory (tied embeddings). A
//! payload that does not start at a multiple of its element size cannot be used in place and is
//! copied once; PyTorch writes no such payload.
//!
//! The initial contents of state are mostly zeros. An empty payload stands for them, as it does for
//! PyTorch; no memory is taken for them before a session has state, which counts against its limit.

use std::collections::HashMap;
use std::ops::Range;

use crosslatch_kernels::tensor::OutOfMemory;
use crosslatch_kernels::{DType, Layout, Storage, TensorMut, TensorRef, Threads, movement};

use super::archive::Archive;
use super::arguments::dtype_of;
use super::schema::{PayloadConfig, PayloadMeta, STRIDED, SymInt, TensorMeta};
use crate::error::ArchiveError;
use crate::ir::StoredAs;
use crate::ir::graph::{SlotKind, ValueType};
use crate::tensor::Tensor;

/// Where the bytes of a weight are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// In the memory of one of the model's files.
    File(usize, Range<usize>),
    /// In the copies of misaligned payloads.
    Copied(Range<usize>),
    /// Nowhere: they are zeros, and the contents of state.
    Zeros,
}

impl Source {
    /// A part of the bytes.
    pub(crate) fn part(&self, part: Range<usize>) -> Source {
        let move_by = |start: usize| start + part.start..start + part.end;
        match self {
            Source::File(file, range) => Source::File(*file, move_by(range.start)),
            Source::Copied(range) => Source::Copied(move_by(range.start)),
            Source::Zeros => Source::Zeros,
        }
    }

    /// Tells the system that the bytes are not needed soon, so that those of a file take no memory.
    pub(crate) fn release(&self, files: &[Archive]) {
        if let Source::File(file, range) = self {
            files[*file].contents().release(range.clone());
        }
    }
}

/// A weight, or the initial contents of a state slot.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Its element type.
    pub dtype: DType,
    /// The type of the elements in memory: the same, or f16 or bf16 for `f32`.
    pub stored: DType,
    /// Their type in the file: that in memory, unless they were widened.
    pub in_file: DType,
    /// Its layout in the payload.
    pub layout: Layout,
    /// Its bytes.
    pub source: Source,
    /// Whether all its elements are known to be zero; this is only checked for state.
    pub is_zero: bool,
}

impl Weight {
    /// Zeros, as the initial contents of state.
    pub(crate) fn zeros(dtype: DType, shape: &[usize]) -> Weight {
        Weight {
            dtype,
            stored: dtype,
            in_file: dtype,
            layout: Layout::contiguous(shape),
            source: Source::Zeros,
            is_zero: true,
        }
    }

    /// Takes the type that a program gives it, if that is `f32` and the payload is in 16 bits.
    pub(crate) fn read_as(&mut self, ty: &ValueType) {
        if let ValueType::Tensor(ty) = ty
            && ty.dtype == DType::F32
            && matches!(self.stored, DType::F16 | DType::BF16)
        {
            self.dtype = DType::F32;
        }
    }

    /// How it lies in memory, if not in its type.
    pub fn halves(&self) -> Option<StoredAs> {
        (self.stored != self.dtype).then_some(StoredAs::Halves(self.stored))
    }

    /// Turns a payload of zeros into zeros of another type and shape, which take fewer bytes.
    pub(crate) fn store_zeros_as(&mut self, dtype: DType, shape: &[usize]) {
        let layout = Layout::contiguous(shape);
        let bytes = layout.numel() * dtype.size();
        let shorten = |range: &mut Range<usize>| range.end = range.end.min(range.start + bytes);
        match &mut self.source {
            Source::File(_, range) | Source::Copied(range) => shorten(range),
            Source::Zeros => {}
        }
        (self.dtype, self.stored) = (dtype, dtype);
        self.layout = layout;
    }
}

/// All weights of a model; programs of one archive share payloads.
#[derive(Debug)]
pub struct Weights {
    copies: Copies,
    copied: HashMap<(usize, Range<usize>), Range<usize>>,
    /// The copies of payloads in another type.
    widened: HashMap<(Source, DType), Range<usize>>,
}

/// The weights of one program by name, as the configuration entries list them.
pub struct WeightTable {
    entries: [(String, PayloadConfig); 2],
}

impl WeightTable {
    /// Reads both configuration entries of the program `name`.
    pub fn read(archive: &Archive, name: &str) -> Result<WeightTable, ArchiveError> {
        let read = |folder: &str, kind: &str| {
            let entry = format!("data/{folder}/{name}_{kind}_config.json");
            // A program without constants may lack the entry that lists them.
            let config = match archive.bytes(&entry) {
                Ok(bytes) => serde_json::from_slice(bytes)
                    .map_err(|e| ArchiveError::entry(&entry, e.to_string()))?,
                Err(_) => PayloadConfig {
                    config: Default::default(),
                },
            };
            Ok((folder.to_owned(), config))
        };
        Ok(WeightTable {
            entries: [read("weights", "weights")?, read("constants", "constants")?],
        })
    }

    fn find(&self, name: &str) -> Option<(String, &PayloadMeta)> {
        self.entries.iter().find_map(|(folder, config)| {
            let meta = config.config.get(name)?;
            Some((format!("data/{folder}/{}", meta.path_name), meta))
        })
    }
}

impl Default for Weights {
    fn default() -> Self {
        Weights {
            copies: Copies::new(),
            copied: HashMap::new(),
            widened: HashMap::new(),
        }
    }
}

/// Payloads, one after another.
#[derive(Debug)]
struct Copies {
    /// Larger than `len`, so that adding a payload rarely moves the others.
    storage: Storage,
    len: usize,
}

impl Copies {
    fn new() -> Copies {
        Copies {
            storage: Storage::zeroed(0),
            len: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.storage.bytes()[..self.len]
    }

    /// Appends a payload, aligned.
    fn append(&mut self, payload: &[u8]) -> Result<Range<usize>, OutOfMemory> {
        let start = self.len.next_multiple_of(64);
        let end = start + payload.len();
        if end > self.storage.len() {
            let mut grown = Storage::try_zeroed(end + end / 2)?;
            grown.bytes_mut()[..self.len].copy_from_slice(self.bytes());
            self.storage = grown;
        }
        self.storage.bytes_mut()[start..end].copy_from_slice(payload);
        self.len = end;
        Ok(start..end)
    }
}

impl Weights {
    /// Payloads that had to be copied.
    pub fn copies(&self) -> &[u8] {
        self.copies.bytes()
    }

    /// Adds a tensor that does not come from a file.
    ///
    /// # Errors
    /// If the system has no memory for a copy of it.
    pub fn add(&mut self, tensor: &Tensor) -> Result<Weight, OutOfMemory> {
        Ok(Weight {
            dtype: tensor.dtype(),
            stored: tensor.dtype(),
            in_file: tensor.dtype(),
            layout: Layout::contiguous(tensor.shape()),
            source: Source::Copied(self.copies.append(tensor.bytes())?),
            is_zero: false,
        })
    }

    /// Adds a weight of this layout whose bytes lie in a file; `None` if the range is not in the file
    /// or is not as long as the tensor.
    ///
    /// # Errors
    /// If the bytes have to be copied and the system has no memory for that.
    pub fn in_file(
        &mut self,
        files: &[Archive],
        (file, range): (usize, Range<usize>),
        dtype: DType,
        layout: Layout,
    ) -> Result<Option<Weight>, OutOfMemory> {
        let file_bytes = files.get(file).map(|file| file.contents().bytes());
        let bytes = file_bytes.and_then(|bytes| bytes.get(range.clone()));
        let needed = layout.numel().checked_mul(dtype.size());
        let Some(bytes) = bytes.filter(|bytes| Some(bytes.len()) == needed) else {
            return Ok(None);
        };
        Ok(Some(Weight {
            dtype,
            stored: dtype,
            in_file: dtype,
            layout,
            source: self.source(file, range, bytes, dtype)?,
            is_zero: false,
        }))
    }

    /// Bytes of a file, or a copy of them if they are not aligned to their elements.
    fn source(
        &mut self,
        file: usize,
        range: Range<usize>,
        bytes: &[u8],
        dtype: DType,
    ) -> Result<Source, OutOfMemory> {
        if (bytes.as_ptr() as usize).is_multiple_of(dtype.size()) {
            return Ok(Source::File(file, range));
        }
        let key = (file, range);
        if let Some(copied) = self.copied.get(&key) {
            return Ok(Source::Copied(copied.clone()));
        }
        let copied = self.copies.append(bytes)?;
        self.copied.insert(key, copied.clone());
        Ok(Source::Copied(copied))
    }

    /// The bytes of a payload of a model of these files; `None` if they are zeros that lie nowhere.
    pub fn bytes<'a>(&'a self, files: &'a [Archive], source: &Source) -> Option<&'a [u8]> {
        match source {
            Source::File(file, range) => Some(&files[*file].contents().bytes()[range.clone()]),
            Source::Copied(range) => Some(&self.copies.bytes()[range.clone()]),
            Source::Zeros => None,
        }
    }

    /// Finds out whether all elements of a weight are zero.
    pub fn look_for_zeros(&self, files: &[Archive], weight: &mut Weight) {
        let bytes = self.bytes(files, &weight.source).unwrap_or_default();
        // A block without an early exit is vectorised.
        let mut blocks = bytes.chunks(1024);
        weight.is_zero = blocks.all(|block| block.iter().fold(0, |all, byte| all | byte) == 0);
        weight.source.release(files);
    }

    /// Finds a weight of the last of these files and checks that its payload is as large as its
    /// description says, or empty if it is state that starts as zeros. If an earlier file has the
    /// same payload, that one is used.
    pub fn resolve(
        &mut self,
        files: &[Archive],
        table: &WeightTable,
        name: &str,
        kind: SlotKind,
    ) -> Result<Weight, ArchiveError> {
        let Some((archive, earlier)) = files.split_last() else {
            return Err(ArchiveError::File("there is no file".into()));
        };
        let (entry, payload) = table.find(name).ok_or_else(|| {
            ArchiveError::File(format!("no payload for `{name}` is listed in the archive"))
        })?;
        let fail = |reason: String| ArchiveError::entry(&entry, format!("`{name}`: {reason}"));
        if payload.use_pickle {
            return Err(fail(
                "is stored as a pickle, which Crosslatch never opens; \
                 save plain dense tensors with torch.export.save"
                    .into(),
            ));
        }
        let meta = payload
            .tensor_meta
            .as_ref()
            .ok_or_else(|| fail("is not a tensor".into()))?;
        if meta.layout != STRIDED {
            return Err(fail("is not a dense tensor".into()));
        }
        let dtype = dtype_of(meta.dtype).map_err(&fail)?;
        let layout = concrete_layout(meta)
            .ok_or_else(|| fail("has sizes or strides that are not plain numbers".into()))?;
        let range = archive.range(&entry)?;
        let needed = layout
            .end()
            .filter(|_| crosslatch_kernels::tensor::is_addressable(&layout.shape))
            .and_then(|end| end.checked_mul(dtype.size()))
            .ok_or_else(|| fail(format!("its shape {:?} overflows", &layout.shape[..])))?;
        let is_plain = layout.is_contiguous() && layout.offset == 0;
        if kind == SlotKind::State && range.is_empty() && is_plain {
            return Ok(Weight::zeros(dtype, &layout.shape));
        }
        if layout.numel() > 0 && needed > range.len() {
            return Err(fail(format!(
                "shape {:?} of {dtype} needs {needed} bytes, the payload has {}",
                &layout.shape[..],
                range.len()
            )));
        }
        let mut places = earlier.iter().enumerate().filter_map(|(file, other)| {
            let same = other.same_as(archive, &entry)?;
            // The pages were needed for the comparison only.
            archive.contents().release(range.clone());
            Some((file, same))
        });
        let (file, range) = places.next().unwrap_or((earlier.len(), range.clone()));
        let bytes = &files[file].contents().bytes()[range.clone()];
        let source = self.source(file, range, bytes, dtype);
        let source = source.map_err(|e| fail(e.to_string()))?;
        Ok(Weight {
            dtype,
            stored: dtype,
            in_file: dtype,
            layout,
            source,
            is_zero: false,
        })
    }

    /// Replaces a weight in 16 bits by a copy in its own type. Weights that share a payload share the
    /// copy.
    ///
    /// # Errors
    /// If the system has no memory for it.
    pub fn widen(&mut self, files: &[Archive], weight: &mut Weight) -> Result<(), OutOfMemory> {
        let key = (weight.source.clone(), weight.stored);
        if !self.widened.contains_key(&key) {
            let payload = self.bytes(files, &weight.source).unwrap_or_default();
            let elements = Layout::contiguous(&[payload.len() / weight.stored.size()]);
            let mut copy = Storage::try_zeroed(elements.numel() * weight.dtype.size())?;
            let tensors = (
                TensorRef::new(weight.stored, &elements, payload),
                TensorMut::new(weight.dtype, &elements, copy.bytes_mut()),
            );
            if let (Ok(from), Ok(mut to)) = tensors {
                movement::copy(&mut to, &from, &Threads::new(1));
            }
            let range = self.copies.append(copy.bytes())?;
            self.widened.insert(key.clone(), range);
            weight.source.release(files);
        }
        weight.source = Source::Copied(self.widened[&key].clone());
        weight.stored = weight.dtype;
        Ok(())
    }
}

fn concrete_layout(meta: &TensorMeta) -> Option<Layout> {
    let number = |s: &SymInt| match s {
        SymInt::AsInt(i) => usize::try_from(*i).ok(),
        SymInt::AsExpr { .. } => None,
    };
    let layout = Layout {
        shape: meta.sizes.iter().map(number).collect::<Option<_>>()?,
        strides: meta.strides.iter().map(number).collect::<Option<_>>()?,
        offset: number(&meta.storage_offset)?,
    };
    (layout.shape.len() == layout.strides.len()).then_some(layout)
}
