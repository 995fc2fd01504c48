//! The header of a NumPy array: its element type, its order and its shape.
//!
//! The format is `numpy.lib.format`, versions 1.0 to 3.0. After a magic number follows a Python
//! dictionary with three entries, of which NumPy writes only one spelling. It is read as three
//! entries in any order and not as Python, because crates that parse Python bring a parser
//! generator and a C compiler into the build.

use std::io::{self, Read, Write};

use crosslatch::DType;

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The length of a header is a multiple of this, so that the elements after it are aligned.
const ALIGNMENT: usize = 64;

/// NumPy's own headers of a few dimensions take 128 bytes; this is room for any number of them.
const LONGEST: u32 = 1 << 16;

/// What an array's header says.
#[derive(Debug, PartialEq)]
pub struct Header {
    /// Type of the elements.
    pub dtype: DType,
    /// Length of each dimension.
    pub shape: Vec<usize>,
}

impl Header {
    /// Reads a header, up to the first element.
    ///
    /// # Errors
    /// What is wrong with the header, or what is not supported and what to do about it.
    pub fn read(from: &mut impl Read) -> Result<Header, String> {
        let cut_short = |e: io::Error| format!("its header cannot be read: {e}");
        let mut start = [0; 8];
        from.read_exact(&mut start).map_err(cut_short)?;
        if !start.starts_with(MAGIC) {
            return Err("is not a NumPy array".into());
        }
        let len = match start[6] {
            1 => {
                let mut len = [0; 2];
                from.read_exact(&mut len).map_err(cut_short)?;
                u32::from(u16::from_le_bytes(len))
            }
            2 | 3 => {
                let mut len = [0; 4];
                from.read_exact(&mut len).map_err(cut_short)?;
                u32::from_le_bytes(len)
            }
            version => return Err(format!("its header is of unknown version {version}")),
        };
        if len > LONGEST {
            return Err(format!("its header has {len} bytes, more than {LONGEST}"));
        }
        let mut text = vec![0; len as usize];
        from.read_exact(&mut text).map_err(cut_short)?;
        let text = String::from_utf8(text).map_err(|_| "its header is not text")?;
        Header::parse(&text)
    }

    fn parse(text: &str) -> Result<Header, String> {
        let value = |key: &str| {
            let malformed = || format!("its header has no `{key}`: {}", text.trim_end());
            let (_, behind) = text.split_once(&format!("'{key}'")).ok_or_else(malformed)?;
            let behind = behind.trim_start().strip_prefix(':');
            behind.map(str::trim_start).ok_or_else(malformed)
        };
        let dtype = element_type(value("descr")?)?;
        let shape = dimensions(value("shape")?)?;
        let in_fortran_order = value("fortran_order")?.starts_with("True");
        if in_fortran_order && shape.len() > 1 {
            return Err("is in Fortran order; save np.ascontiguousarray(x)".into());
        }
        Ok(Header { dtype, shape })
    }

    /// Writes it as NumPy does, in version 1.0.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let descr = match self.dtype {
            DType::F16 => "<f2",
            DType::BF16 => return Err(io::Error::other("NumPy has no bfloat16")),
            DType::F32 => "<f4",
            DType::F64 => "<f8",
            DType::C64 => "<c8",
            DType::C128 => "<c16",
            DType::I8 => "|i1",
            DType::I16 => "<i2",
            DType::I32 => "<i4",
            DType::I64 => "<i8",
            DType::U8 => "|u1",
            DType::Bool => "|b1",
        };
        let dims: String = self.shape.iter().map(|d| format!("{d}, ")).collect();
        let dims = match &self.shape[..] {
            [_] => dims.trim_end(),
            _ => dims.trim_end_matches(", "),
        };
        let mut text =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
        // Magic number, version and length take ten bytes, the line break one.
        let padded = (text.len() + 11).next_multiple_of(ALIGNMENT) - 11;
        text.push_str(&" ".repeat(padded - text.len()));
        text.push('\n');
        let len = u16::try_from(text.len()).map_err(io::Error::other)?;
        to.write_all(MAGIC)?;
        to.write_all(&[1, 0])?;
        to.write_all(&len.to_le_bytes())?;
        to.write_all(text.as_bytes())
    }
}

fn element_type(descr: &str) -> Result<DType, String> {
    let name = descr.strip_prefix('\'').and_then(|s| s.split_once('\''));
    let Some((name, _)) = name else {
        return Err("is a structured array; save its fields one by one".into());
    };
    Ok(match name.trim_start_matches(['<', '|', '=']) {
        "f2" => DType::F16,
        "f4" => DType::F32,
        "f8" => DType::F64,
        "c8" => DType::C64,
        "c16" => DType::C128,
        "i1" => DType::I8,
        "i2" => DType::I16,
        "i4" => DType::I32,
        "i8" => DType::I64,
        "u1" => DType::U8,
        "b1" | "?" => DType::Bool,
        big if big.starts_with('>') => {
            return Err(format!(
                "has big-endian elements ({name}); save x.astype(x.dtype.newbyteorder('<'))"
            ));
        }
        _ => return Err(format!("has a type that is not supported: {name}")),
    })
}

/// The numbers between parentheses.
fn dimensions(shape: &str) -> Result<Vec<usize>, String> {
    let inside = shape.strip_prefix('(').and_then(|s| s.split_once(')'));
    let Some((inside, _)) = inside else {
        return Err("its shape is not a tuple".into());
    };
    let numbers = inside.split(',').map(str::trim).filter(|d| !d.is_empty());
    numbers
        .map(|d| {
            d.parse()
                .map_err(|_| format!("its shape has a dimension `{d}`"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn what_is_written_is_read_again_and_aligned() {
        for shape in [vec![], vec![3], vec![0, 4], vec![1, 80, 3000]] {
            for dtype in [DType::F16, DType::F32, DType::I64, DType::U8, DType::Bool] {
                let written = Header {
                    dtype,
                    shape: shape.clone(),
                };
                let mut bytes = Vec::new();
                written.write(&mut bytes).unwrap();
                assert_eq!(bytes.len() % ALIGNMENT, 0);
                assert_eq!(Header::read(&mut &bytes[..]).unwrap(), written);
            }
        }
    }

    #[test]
    fn entries_are_read_in_any_order() {
        let bytes = header("{'shape':(2,3),'fortran_order':False,'descr':'<f4'}");
        let expected = Header {
            dtype: DType::F32,
            shape: vec![2, 3],
        };
        assert_eq!(Header::read(&mut &bytes[..]).unwrap(), expected);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (text, complaint) in [
            (
                "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }",
                "big-endian",
            ),
            (
                "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }",
                "Fortran order",
            ),
            (
                "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
                "structured",
            ),
            (
                "{'descr': '<f16', 'fortran_order': False, 'shape': (2,), }",
                "not supported: <f16",
            ),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }",
                "dimension `-2`",
            ),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
                "dimension",
            ),
            ("{'descr': '<f4', 'fortran_order': False, }", "no `shape`"),
        ] {
            let error = Header::read(&mut &header(text)[..]).unwrap_err();
            assert!(error.contains(complaint), "{error}");
        }
        assert!(Header::read(&mut &b"PK\x03\x04    "[..]).is_err());
        assert!(Header::read(&mut &header("{'descr'")[..12]).is_err());
    }
}
