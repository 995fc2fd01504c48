//! How much memory a session may take.
//!
//! A file of a few hundred bytes can ask for any amount of memory: `full` of a shape, `repeat`,
//! `expand` and a reduction over it. What a program needs is known when its plan is made, so memory is
//! allocated in one place and compared with a limit first. Beyond the limit, or where the system
//! refuses, there is one error ([`MemoryError`]), and nothing has been changed.
//!
//! The limit holds for each session separately. It counts the session's state, the memory that its
//! methods work in, quantized weights, and the size of every tensor that a node reads or an output
//! returns, as if its elements were laid out one after the other. The last bounds views that repeat a
//! few elements endlessly: walking or copying one takes as long as for a real tensor.

use std::fmt;
use std::sync::OnceLock;

use crosslatch_kernels::Storage;
use crosslatch_kernels::tensor::OutOfMemory;

/// The most bytes of memory that a session may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit(usize);

/// Why memory was not allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The limit would be exceeded.
    #[error(
        "{} are needed{}, and the limit is {}; if that is meant, raise the limit \
         (`--memory-limit`, `memory_limit`)",
        Bytes(*needed),
        besides(*taken),
        Bytes(*limit)
    )]
    Limit {
        /// Bytes that were asked for.
        needed: usize,
        /// Bytes that are taken already.
        taken: usize,
        /// The limit.
        limit: usize,
    },
    /// The system has no memory left.
    #[error(transparent)]
    System(#[from] OutOfMemory),
}

impl MemoryLimit {
    /// A limit of this many bytes.
    pub const fn bytes(bytes: usize) -> MemoryLimit {
        MemoryLimit(bytes)
    }

    /// No limit but the system's.
    pub const NONE: MemoryLimit = MemoryLimit(usize::MAX);

    /// The memory of this machine, or of the process's control group if that has less; 16 GiB where
    /// neither is known.
    pub fn of_machine() -> MemoryLimit {
        static FOUND: OnceLock<usize> = OnceLock::new();
        MemoryLimit(*FOUND.get_or_init(|| {
            let found = sysinfo::System::new().ok().and_then(|mut system| {
                system.refresh_memory();
                let group = system.cgroup_limits().map(|limits| limits.total_memory);
                let all = [Some(system.total_memory()), group];
                all.into_iter().flatten().filter(|bytes| *bytes > 0).min()
            });
            found.map_or(16 << 30, |bytes| {
                usize::try_from(bytes).unwrap_or(usize::MAX)
            })
        }))
    }

    /// The limit in bytes.
    pub fn get(self) -> usize {
        self.0
    }

    /// Checks that `bytes` more may be taken when `taken` bytes are taken already.
    ///
    /// # Errors
    /// If the sum exceeds the limit.
    pub fn check(self, needed: usize, taken: usize) -> Result<(), MemoryError> {
        match needed.checked_add(taken) {
            Some(sum) if sum <= self.0 => Ok(()),
            _ => Err(MemoryError::Limit {
                needed,
                taken,
                limit: self.0,
            }),
        }
    }

    /// Allocates zeros when `taken` bytes are taken already.
    ///
    /// # Errors
    /// If the sum exceeds the limit, or the system has no memory left.
    pub fn allocate(self, bytes: usize, taken: usize) -> Result<Storage, MemoryError> {
        self.check(bytes, taken)?;
        Ok(Storage::try_zeroed(bytes)?)
    }
}

impl Default for MemoryLimit {
    fn default() -> Self {
        MemoryLimit::of_machine()
    }
}

/// A text that does not say an amount of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an amount of memory; expected bytes, or a number with K, M, G or T: 512M, 1.5GiB"
)]
pub struct NotAnAmount(String);

impl std::str::FromStr for MemoryLimit {
    type Err = NotAnAmount;

    /// Bytes, or a number with a unit. Units are powers of 1024, with or without `iB` or `B`.
    fn from_str(text: &str) -> Result<MemoryLimit, NotAnAmount> {
        let wrong = || NotAnAmount(text.to_owned());
        let lower = text.trim().to_ascii_lowercase();
        let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = lower.split_at(end.unwrap_or(lower.len()));
        let shift = match unit.trim() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let bytes = number * (1u64 << shift) as f64;
        // A cast from a number that is too large gives the largest integer.
        Ok(MemoryLimit(bytes as usize))
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bytes(self.0).fmt(f)
    }
}

fn besides(taken: usize) -> String {
    match taken {
        0 => String::new(),
        taken => format!(" beside {} that the session has", Bytes(taken)),
    }
}

/// A number of bytes, printed with a unit.
struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let mut size = self.0 as f64;
        let mut unit = "bytes";
        for next in UNITS {
            if size < 1024.0 {
                break;
            }
            (size, unit) = (size / 1024.0, next);
        }
        match unit {
            "bytes" => write!(f, "{} bytes", self.0),
            unit => write!(f, "{size:.1} {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written_in_units_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("512M", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("2 tb", 2 << 40),
            ("99999999999999T", usize::MAX),
        ] {
            assert_eq!(text.parse(), Ok(MemoryLimit::bytes(bytes)), "{text}");
        }
        for text in ["", "G", "-1", "1X", "1e9", "1.2.3"] {
            assert!(text.parse::<MemoryLimit>().is_err(), "{text}");
        }
        assert_eq!(MemoryLimit::bytes(3 << 29).to_string(), "1.5 GiB");
        assert_eq!(MemoryLimit::bytes(1023).to_string(), "1023 bytes");
    }

    #[test]
    fn what_passes_the_limit_or_overflows_is_refused() {
        let limit = MemoryLimit::bytes(1000);
        assert!(limit.check(600, 400).is_ok() && limit.allocate(1000, 0).is_ok());
        assert_eq!(
            limit.check(601, 400).unwrap_err().to_string(),
            "601 bytes are needed beside 400 bytes that the session has, and the limit is 1000 \
             bytes; if that is meant, raise the limit (`--memory-limit`, `memory_limit`)"
        );
        assert!(limit.check(usize::MAX, 1).is_err());
        let huge = MemoryLimit::NONE.allocate(isize::MAX as usize - 63, 0);
        assert!(matches!(huge, Err(MemoryError::System(_))));
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(MemoryLimit::of_machine().get() > 1 << 26);
    }
}
