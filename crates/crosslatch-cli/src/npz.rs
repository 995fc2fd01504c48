//! Tensors in NumPy's `.npz` files, read and written.
//!
//! The element types that both sides have; big-endian and Fortran-ordered arrays are refused with
//! what to do about it. NumPy has no bfloat16: such outputs are written as float32, which holds
//! every one of its values.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use crosslatch::{DType, Tensor, TensorRef};
use npyz::{DType as NpyType, NpyFile, TypeChar, WriterBuilder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::CommandError;

/// All arrays of a file, by name.
pub fn read(path: &Path) -> Result<Vec<(String, Tensor)>, CommandError> {
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let file = File::open(path).map_err(|e| at(&e))?;
    let size = file.metadata().map_err(|e| at(&e))?.len();
    let mut archive =
        ZipArchive::new(BufReader::new(file)).map_err(|e| at(&format!("not an .npz file: {e}")))?;
    let mut tensors = Vec::new();
    for i in 0..archive.len() {
        let entry = (archive.by_index(i)).map_err(|e| at(&format!("entry {i}: {e}")))?;
        let Some(name) = entry.name().strip_suffix(".npy").map(str::to_owned) else {
            continue;
        };
        let in_array = |e: &dyn std::fmt::Display| at(&format!("array `{name}`: {e}"));
        let array = NpyFile::new(entry).map_err(|e| in_array(&e))?;
        let tensor = tensor(array, size).map_err(|e| in_array(&e))?;
        tensors.push((name, tensor));
    }
    Ok(tensors)
}

/// Compression makes arrays larger than their file; beyond this factor it is an attack.
const MAX_EXPANSION: u64 = 1100;

fn tensor<R: Read>(array: NpyFile<R>, file_size: u64) -> Result<Tensor, String> {
    let shape: Vec<usize> = array
        .shape()
        .iter()
        .map(|&d| usize::try_from(d).map_err(|_| "its shape is too large".to_owned()))
        .collect::<Result<_, _>>()?;
    if array.order() != npyz::Order::C && shape.len() > 1 {
        return Err("is in Fortran order; save np.ascontiguousarray(x)".into());
    }
    let NpyType::Plain(ty) = array.dtype() else {
        return Err("is a structured array".into());
    };
    let numel = shape
        .iter()
        .try_fold(1u64, |n, &d| n.checked_mul(d as u64))
        .ok_or("its shape overflows")?;
    if numel / MAX_EXPANSION > file_size {
        return Err("is larger than its file can hold".into());
    }
    macro_rules! read {
        ($T:ty) => {{
            let data: Vec<$T> = array.into_vec().map_err(|e| e.to_string())?;
            Tensor::from_slice(&shape, &data).ok_or_else(|| "is cut short".to_owned())
        }};
    }
    match (ty.type_char(), ty.num_bytes()) {
        (TypeChar::Float, Some(2)) => read!(half::f16),
        (TypeChar::Float, Some(4)) => read!(f32),
        (TypeChar::Float, Some(8)) => read!(f64),
        (TypeChar::Int, Some(1)) => read!(i8),
        (TypeChar::Int, Some(2)) => read!(i16),
        (TypeChar::Int, Some(4)) => read!(i32),
        (TypeChar::Int, Some(8)) => read!(i64),
        (TypeChar::Uint, Some(1)) => read!(u8),
        (TypeChar::Bool, _) => {
            let data: Vec<bool> = array.into_vec().map_err(|e| e.to_string())?;
            let bytes: Vec<u8> = data.into_iter().map(u8::from).collect();
            Tensor::from_bytes(DType::Bool, &shape, &bytes).ok_or_else(|| "is cut short".into())
        }
        _ => Err(format!("has a type that is not supported: {}", ty)),
    }
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
        macro_rules! write {
            ($T:ty) => {
                write_array(
                    &mut self.archive,
                    name,
                    tensor.shape(),
                    tensor.to_vec::<$T>(),
                )
            };
        }
        match tensor.dtype() {
            DType::F16 => write!(half::f16),
            DType::F32 => write!(f32),
            DType::F64 => write!(f64),
            DType::I8 => write!(i8),
            DType::I16 => write!(i16),
            DType::I32 => write!(i32),
            DType::I64 => write!(i64),
            DType::U8 => write!(u8),
            DType::BF16 => {
                let wide = tensor.to_vec::<half::bf16>();
                let wide = wide.into_iter().map(half::bf16::to_f32).collect();
                write_array(&mut self.archive, name, tensor.shape(), wide)
            }
            DType::Bool => {
                let truth = tensor.to_vec::<crosslatch::Bool>();
                let truth = truth.into_iter().map(crosslatch::Bool::get).collect();
                write_array::<_, bool>(&mut self.archive, name, tensor.shape(), truth)
            }
        }
        .map_err(|e| format!("{}: array `{name}`: {e}", self.path.display()).into())
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

fn write_array<W: Write + Seek, T: npyz::AutoSerialize>(
    archive: &mut ZipWriter<W>,
    name: &str,
    shape: &[usize],
    data: Vec<T>,
) -> std::io::Result<()> {
    let shape: Vec<u64> = shape.iter().map(|&d| d as u64).collect();
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .large_file(size_of_val(&data[..]) >= LARGE);
    archive.start_file(format!("{name}.npy"), options)?;
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&shape)
        .writer(archive)
        .begin_nd()?;
    writer.extend(data)?;
    writer.finish()
}
