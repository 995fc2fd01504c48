//! Tensors in NumPy's `.npz` files, read and written.
//!
//! Supported are the element types that both sides have. Big-endian and Fortran-ordered arrays are
//! refused with a message that says what to do about it. NumPy has no bfloat16, so such outputs are
//! written as float32, which can hold each of their values.

mod header;

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use crosslatch::pt2::file;
use crosslatch::{DType, Tensor, TensorRef};
use flate2::read::DeflateDecoder;
use rawzip::{
    CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ReaderAt, ZipArchive,
    ZipArchiveEntryWayfinder, ZipArchiveWriter, ZipLocator,
};

use crate::CommandError;
use header::Header;

/// All arrays of a file, by name.
pub fn read(path: &Path) -> Result<Vec<(String, Tensor)>, CommandError> {
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let (file, meta) = file::open(path)?;
    arrays(FileReader::from(file), meta.len()).map_err(|e| at(&e).into())
}

/// All arrays of an archive of `size` bytes, by name.
pub fn arrays(file: impl ReaderAt, size: u64) -> Result<Vec<(String, Tensor)>, String> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipLocator::new()
        .locate_in_reader(file, &mut buffer, size)
        .map_err(|(_, e)| format!("not an .npz file: {e}"))?;
    let mut entries = archive.entries(&mut buffer);
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    while let Some(entry) = (entries.next_entry()).map_err(|e| format!("its list: {e}"))? {
        let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
        let Some(name) = name.strip_suffix(".npy") else {
            continue;
        };
        let in_array = |e: &dyn std::fmt::Display| format!("array `{name}`: {e}");
        if !names.insert(name.to_owned()) {
            return Err(in_array(&"occurs twice"));
        }
        if entry.flags().is_encrypted() {
            return Err(in_array(&"is encrypted"));
        }
        let (method, place) = (entry.compression_method(), entry.wayfinder());
        let tensor = array(&archive, method, place, size).map_err(|e| in_array(&e))?;
        tensors.push((name.to_owned(), tensor));
    }
    Ok(tensors)
}

/// Reads the array of an entry and compares its checksum.
fn array(
    archive: &ZipArchive<impl ReaderAt>,
    method: CompressionMethod,
    place: ZipArchiveEntryWayfinder,
    file_size: u64,
) -> Result<Tensor, String> {
    let entry = archive.get_entry(place).map_err(|e| e.to_string())?;
    let stored = entry.reader();
    match method {
        CompressionMethod::STORE => tensor(entry.verifying_reader(stored), file_size),
        CompressionMethod::DEFLATE => tensor(
            entry.verifying_reader(DeflateDecoder::new(stored)),
            file_size,
        ),
        other => Err(format!("is compressed by the method {other}; save it anew")),
    }
}

fn tensor(mut array: impl Read, file_size: u64) -> Result<Tensor, String> {
    let Header { dtype, shape } = Header::read(&mut array)?;
    let bytes = shape
        .iter()
        .try_fold(dtype.size(), |n, &d| n.checked_mul(d))
        .ok_or("its shape overflows")?;
    // The shape decides about memory only as far as there are bytes for it.
    let mut elements = Vec::new();
    let likely = bytes.min(usize::try_from(file_size).unwrap_or(usize::MAX));
    let no_memory = |_| format!("needs {likely} bytes, and there is not so much memory");
    elements.try_reserve_exact(likely).map_err(no_memory)?;
    (&mut array)
        .take(bytes as u64)
        .read_to_end(&mut elements)
        .map_err(|e| format!("cannot be read: {e}"))?;
    if elements.len() < bytes {
        let has = elements.len();
        return Err(format!("is cut short: it has {has} of {bytes} bytes"));
    }
    // The checksum is compared at the end.
    match array.read(&mut [0]) {
        Ok(0) => {}
        Ok(_) => return Err("has more bytes than its shape says".into()),
        Err(e) => return Err(format!("is damaged: {e}")),
    }
    if dtype == DType::Bool && elements.iter().any(|&b| b > 1) {
        return Err("has truth values other than 0 and 1".into());
    }
    Tensor::from_bytes(dtype, &shape, &elements).map_err(|e| e.to_string())
}

/// Writes named tensors. The file appears under its name only when it is complete.
pub struct Writer {
    archive: ZipArchiveWriter<BufWriter<File>>,
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
            archive: ZipArchiveWriter::new(BufWriter::new(file)),
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
        let (mut entry, config) = self
            .archive
            .new_file(format!("{name}.npy"))
            .start()
            .map_err(std::io::Error::other)?;
        let mut array = config.wrap(&mut entry);
        let shape = shape.to_vec();
        Header { dtype, shape }.write(&mut array)?;
        array.write_all(elements)?;
        let (_, sums) = array.finish().map_err(std::io::Error::other)?;
        entry.finish(sums).map_err(std::io::Error::other)?;
        Ok(())
    }

    /// Completes the file.
    pub fn finish(self) -> Result<(), CommandError> {
        let at = |e: std::io::Error| format!("{}: {e}", self.path.display());
        let mut file = (self.archive.finish()).map_err(|e| at(std::io::Error::other(e)))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with these entries, which are deflated if `is_small`.
    fn file(entries: &[(&str, &[u8])], is_small: bool) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut archive = ZipArchiveWriter::new(&mut file);
        for (name, contents) in entries {
            let method = match is_small {
                true => CompressionMethod::DEFLATE,
                false => CompressionMethod::STORE,
            };
            let entry = archive.new_file(*name).compression_method(method);
            let (mut entry, config) = entry.start().unwrap();
            let sums = if is_small {
                let deflate = flate2::Compression::best();
                let encoder = flate2::write::DeflateEncoder::new(&mut entry, deflate);
                let mut array = config.wrap(encoder);
                array.write_all(contents).unwrap();
                let (encoder, sums) = array.finish().unwrap();
                encoder.finish().unwrap();
                sums
            } else {
                let mut array = config.wrap(&mut entry);
                array.write_all(contents).unwrap();
                array.finish().unwrap().1
            };
            entry.finish(sums).unwrap();
        }
        archive.finish().unwrap();
        file
    }

    fn npy(shape: &[usize], elements: &[u8]) -> Vec<u8> {
        let mut array = Vec::new();
        let (dtype, shape) = (DType::F32, shape.to_vec());
        Header { dtype, shape }.write(&mut array).unwrap();
        array.extend(elements);
        array
    }

    fn refused(file: &tempfile::NamedTempFile) -> String {
        read(file.path()).unwrap_err().to_string()
    }

    #[test]
    fn arrays_are_read_stored_and_deflated() {
        let zeros = npy(&[1000, 100], &[0; 400_000]);
        for is_small in [false, true] {
            let file = file(&[("a.npy", &zeros), ("b.txt", b"no array")], is_small);
            let arrays = read(file.path()).unwrap();
            let [(name, tensor)] = &arrays[..] else {
                panic!("{} arrays", arrays.len())
            };
            assert_eq!((name.as_str(), tensor.shape()), ("a", &[1000, 100][..]));
        }
    }

    #[test]
    fn a_shape_takes_no_memory_that_there_are_no_bytes_for() {
        let huge = npy(&[1 << 40], &[0; 4]);
        let error = refused(&file(&[("a.npy", &huge)], false));
        assert!(error.contains("array `a`: is cut short"), "{error}");
        let overflowing = npy(&[usize::MAX, 3], &[]);
        let error = refused(&file(&[("a.npy", &overflowing)], false));
        assert!(error.contains("its shape overflows"), "{error}");
    }

    #[test]
    fn what_is_twice_too_long_or_damaged_is_refused() {
        let one = npy(&[1], &[0; 4]);
        let error = refused(&file(&[("a.npy", &one), ("a.npy", &one)], false));
        assert!(error.contains("array `a`: occurs twice"), "{error}");
        let long = npy(&[1], &[0; 5]);
        let error = refused(&file(&[("a.npy", &long)], true));
        assert!(error.contains("more bytes than its shape"), "{error}");
        let damaged = file(&[("a.npy", &one)], false);
        let mut bytes = std::fs::read(damaged.path()).unwrap();
        let at = 30 + "a.npy".len() + one.len() - 1;
        bytes[at] ^= 1;
        std::fs::write(damaged.path(), bytes).unwrap();
        let error = refused(&damaged);
        assert!(error.contains("checksum"), "{error}");
    }
}
