//! Tensors in NumPy's `.npz` files, read and written.
//!
//! The element types that both sides have; big-endian and Fortran-ordered arrays are refused with
//! what to do about it. NumPy has no bfloat16: such outputs are written as float32, which holds
//! every one of its values.

mod header;

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use crosslatch::{DType, Tensor, TensorRef};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::CommandError;
use header::Header;

/// All arrays of a file, by name.
pub fn read(path: &Path) -> Result<Vec<(String, Tensor)>, CommandError> {
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let file = File::open(path).map_err(|e| at(&e))?;
    let size = file.metadata().map_err(|e| at(&e))?.len();
    arrays(BufReader::new(file), size).map_err(|e| at(&e).into())
}

/// All arrays of an archive of `size` bytes, by name.
pub fn arrays(file: impl Read + Seek, size: u64) -> Result<Vec<(String, Tensor)>, String> {
    let mut archive = ZipArchive::new(file).map_err(|e| format!("not an .npz file: {e}"))?;
    let mut tensors = Vec::new();
    for i in 0..archive.len() {
        let entry = (archive.by_index(i)).map_err(|e| format!("entry {i}: {e}"))?;
        let Some(name) = entry.name().strip_suffix(".npy").map(str::to_owned) else {
            continue;
        };
        let tensor = tensor(entry, size).map_err(|e| format!("array `{name}`: {e}"))?;
        tensors.push((name, tensor));
    }
    Ok(tensors)
}

/// Compression makes arrays larger than their file; beyond this factor it is an attack.
const MAX_EXPANSION: u64 = 1100;

fn tensor(mut array: impl Read, file_size: u64) -> Result<Tensor, String> {
    let Header { dtype, shape } = Header::read(&mut array)?;
    let bytes = shape
        .iter()
        .try_fold(dtype.size(), |n, &d| n.checked_mul(d))
        .ok_or("its shape overflows")?;
    if bytes as u64 / MAX_EXPANSION > file_size {
        return Err("is larger than its file can hold".into());
    }
    let mut elements = vec![0; bytes];
    array
        .read_exact(&mut elements)
        .map_err(|e| format!("is cut short: {e}"))?;
    if dtype == DType::Bool && elements.iter().any(|&b| b > 1) {
        return Err("has truth values other than 0 and 1".into());
    }
    Tensor::from_bytes(dtype, &shape, &elements).ok_or_else(|| "is cut short".into())
}

/// Arrays from this size on need the archive's wider numbers, a header included.
const LARGE: usize = u32::MAX as usize - (1 << 20);

/// Writes named tensors. The file appears under its name when it is complete.
pub struct Writer {
    archive: ZipWriter<BufWriter<File>>,
    partial: std::path::PathBuf,
    path: std::path::PathBuf,
}

impl Writer {
    /// Starts a file.
    pub fn create(path: &Path) -> Result<Writer, CommandError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let partial = path.with_file_name(name);
        let file = File::create(&partial).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Writer {
            archive: ZipWriter::new(BufWriter::new(file)),
            partial,
            path: path.to_owned(),
        })
    }

    /// Adds an array.
    pub fn add(&mut self, name: &str, tensor: &TensorRef<'_>) -> Result<(), CommandError> {
        let result = match tensor.dtype() {
            DType::BF16 => {
                let wide = tensor.to_vec::<half::bf16>();
                let wide: Vec<f32> = wide.into_iter().map(half::bf16::to_f32).collect();
                self.write(
                    name,
                    DType::F32,
                    tensor.shape(),
                    bytemuck::cast_slice(&wide),
                )
            }
            dtype => {
                let elements = elements(tensor);
                self.write(name, dtype, tensor.shape(), &elements)
            }
        };
        result.map_err(|e| format!("{}: array `{name}`: {e}", self.path.display()).into())
    }

    fn write(
        &mut self,
        name: &str,
        dtype: DType,
        shape: &[usize],
        elements: &[u8],
    ) -> std::io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(elements.len() >= LARGE);
        self.archive.start_file(format!("{name}.npy"), options)?;
        let shape = shape.to_vec();
        Header { dtype, shape }.write(&mut self.archive)?;
        self.archive.write_all(elements)
    }

    /// Completes the file.
    pub fn finish(self) -> Result<(), CommandError> {
        let at = |e: std::io::Error| format!("{}: {e}", self.path.display());
        let mut file = self.archive.finish().map_err(|e| at(e.into()))?;
        file.flush().map_err(at)?;
        drop(file);
        std::fs::rename(&self.partial, &self.path).map_err(at)?;
        Ok(())
    }
}

/// The elements of a tensor one after the other.
fn elements(tensor: &TensorRef<'_>) -> Vec<u8> {
    let (size, bytes) = (tensor.dtype().size(), tensor.bytes());
    let positions = tensor.layout().positions();
    positions
        .flat_map(|p| &bytes[p * size..(p + 1) * size])
        .copied()
        .collect()
}
