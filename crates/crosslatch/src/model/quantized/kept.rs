//! Converted weights that are kept in a file, and mapped the next time.
//!
//! Converting takes longer than everything else that opening a model does, and gives the same bytes
//! every time. So they can be kept in a folder: the memory that was filled, behind a header that says
//! what it was made of. A later process maps the file, and neither reads the model's weights nor takes
//! memory of its own for them.
//!
//! What it was made of is an [identity](identity_of): this version of the program, the precision, which
//! matrices of which files, and of each file its length, the time of its last change, and a checksum of
//! pieces spread over it and of both its ends, where formats have their lists of contents. The file is
//! named after a hash of that, and holds all of it, which has to be equal.
//!
//! The file is as foreign as the model. The header is checked against what the model asks for, and the
//! kernels take any bytes for weights; so a file that was tampered with can change results, as a model
//! can, and nothing else. One that does not fit, or that others may write, is not used and made anew.
//! It is written under another name and renamed, so nobody sees half of it.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;

use crosslatch_kernels::tensor::{MOST_WIDE, QuantizeError};
use crosslatch_kernels::{FileContents, QuantizedMatrix};

use super::allocation::{Found, Matrices};
use crate::error::Error;
use crate::model::contents::Contents;
use crate::precision::Precision;
use crate::pt2::archive::Archive;
use crate::pt2::file::{self, Access};

/// The first bytes of such a file. The last one is the version of its form.
const MAGIC: [u8; 16] = *b"crosslatch kept\x01";

/// Weights begin at a multiple of this.
const PAGE: usize = 4096;

/// Bytes of a matrix in the header: why it is unfit, and how many wide columns it has.
const RECORD: usize = 2;

/// Pieces of a file that its checksum covers, and their length.
const PIECES: usize = 64;
const PIECE: usize = 1 << 10;
const END: usize = 64 << 10;

/// Where converted weights are kept, and what they have to be made of.
pub(super) struct Kept {
    folder: PathBuf,
    path: PathBuf,
    identity: String,
}

impl Kept {
    /// Those of these matrices, in a folder.
    pub fn new(
        folder: &Path,
        contents: &Contents,
        matrices: &Matrices,
        precision: Precision,
    ) -> Kept {
        let identity = identity_of(contents, matrices, precision);
        let mut hash = DefaultHasher::new();
        identity.hash(&mut hash);
        let model = contents.path.as_deref().and_then(Path::file_stem);
        let model = model.unwrap_or_default().to_string_lossy();
        let name = format!("{model}-{precision}-{:016x}.weights", hash.finish());
        Kept {
            folder: folder.to_owned(),
            path: folder.join(name),
            identity,
        }
    }

    /// The file, if there is one that fits: its bytes, where in them the weights lie, and what was
    /// found when they were made.
    pub fn open(&self, matrices: &Matrices) -> Option<(FileContents, Range<usize>, Vec<Found>)> {
        let (contents, writer) = file::contents(&self.path, Access::MapOwn).ok()?;
        if writer.is_some() {
            return None;
        }
        let bytes = contents.bytes();
        let (identity, rest) = bytes.strip_prefix(&MAGIC)?.split_at_checked(8)?;
        let length = usize::try_from(u64::from_le_bytes(identity.try_into().ok()?)).ok()?;
        let (identity, rest) = rest.split_at_checked(length)?;
        if identity != self.identity.as_bytes() {
            return None;
        }
        let records = rest.get(..RECORD.checked_mul(matrices.all.len())?)?;
        let records = records.as_chunks::<RECORD>().0.iter();
        let found: Vec<Found> = records.map(read_record).collect::<Option<_>>()?;
        let begin = self.begin(found.len());
        let (ranges, len) = matrices.lay_out(&found).ok()?;
        let weights = bytes.get(begin..).filter(|weights| weights.len() == len)?;
        let mut all = matrices.all.iter().zip(ranges).zip(&found);
        let fits = all.all(|((matrix, range), found)| {
            let (rows, columns) = (matrix.rows, matrix.columns);
            let view = QuantizedMatrix::new(matrix.format, rows, columns, &weights[range]);
            found.unfit.is_some() || view.is_ok()
        });
        fits.then_some((contents, begin..begin + len, found))
    }

    /// Where the weights begin.
    fn begin(&self, matrices: usize) -> usize {
        (MAGIC.len() + 8 + self.identity.len() + RECORD * matrices).next_multiple_of(PAGE)
    }

    /// Keeps these weights.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, found: &[Found], weights: &[u8]) -> Result<(), Error> {
        self.save_in_folder(found, weights)
            .map_err(|source| Error::NotKept {
                folder: self.folder.clone(),
                source,
            })
    }

    fn save_in_folder(&self, found: &[Found], weights: &[u8]) -> std::io::Result<()> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        std::fs::create_dir_all(&self.folder)?;
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        name.push(format!(".{}-{count}.tmp", std::process::id()));
        let unfinished = self.folder.join(name);
        let result = self.write(&unfinished, found, weights);
        let result = result.and_then(|()| std::fs::rename(&unfinished, &self.path));
        if result.is_err() {
            let _ = std::fs::remove_file(&unfinished);
        }
        result
    }

    fn write(&self, to: &Path, found: &[Found], weights: &[u8]) -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            // Whatever the process's mask is: a file that others may write is not used.
            options.mode(0o644);
        }
        let mut file = options.open(to)?;
        let mut header = Vec::from(MAGIC);
        header.extend((self.identity.len() as u64).to_le_bytes());
        header.extend(self.identity.as_bytes());
        for found in found {
            header.extend(record_of(found));
        }
        header.resize(self.begin(found.len()), 0);
        file.write_all(&header)?;
        file.write_all(weights)?;
        // Otherwise, a machine that stops could leave the name of a file and not its contents.
        file.sync_all()
    }
}

fn record_of(found: &Found) -> [u8; RECORD] {
    let unfit = match found.unfit {
        None => 0,
        Some(QuantizeError::TooLarge) => 1,
        Some(QuantizeError::NotFinite) => 2,
        Some(QuantizeError::Outliers) => 3,
    };
    // No matrix has more than `MOST_WIDE`.
    [unfit, found.wide as u8]
}

fn read_record(record: &[u8; RECORD]) -> Option<Found> {
    let unfit = match record[0] {
        0 => None,
        1 => Some(QuantizeError::TooLarge),
        2 => Some(QuantizeError::NotFinite),
        3 => Some(QuantizeError::Outliers),
        _ => return None,
    };
    let wide = usize::from(record[1]);
    (wide <= MOST_WIDE).then_some(Found { wide, unfit })
}

/// Everything that the converted weights depend on, as text.
fn identity_of(contents: &Contents, matrices: &Matrices, precision: Precision) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let order = if cfg!(target_endian = "big") {
        "big"
    } else {
        "little"
    };
    let mut identity = format!("crosslatch {version} {precision} {order}-endian\n");
    for archive in &contents.files {
        let _ = writeln!(identity, "{}", identity_of_file(archive));
    }
    // What had to be copied or widened has been read already.
    let copies = contents.weights.copies();
    let _ = writeln!(identity, "{} bytes {:016x}", copies.len(), checksum(copies));
    for matrix in &matrices.all {
        let _ = writeln!(identity, "{matrix:?}");
    }
    identity
}

fn identity_of_file(archive: &Archive) -> String {
    let bytes = archive.contents().bytes();
    let changed = std::fs::metadata(archive.path()).and_then(|meta| meta.modified());
    let changed = changed
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let changed = changed.map_or(0, |time| time.as_nanos());
    format!("{} bytes {changed} {:016x}", bytes.len(), checksum(bytes))
}

/// A checksum of both ends of a file and of pieces between them.
fn checksum(bytes: &[u8]) -> u64 {
    let mut hash = DefaultHasher::new();
    bytes[..bytes.len().min(END)].hash(&mut hash);
    bytes[bytes.len().saturating_sub(END)..].hash(&mut hash);
    for start in (0..bytes.len()).step_by((bytes.len() / PIECES).max(PIECE)) {
        bytes[start..bytes.len().min(start + PIECE)].hash(&mut hash);
    }
    hash.finish()
}
