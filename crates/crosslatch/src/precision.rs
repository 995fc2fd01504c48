//! The precision that weights are stored in, and that products are computed in.

use crosslatch_kernels::tensor::WeightFormat;

use crate::ir::KernelSet;

/// How the weights of linear layers and the caches of cross-attention are stored, and how precisely
/// products are computed. Sums, and everything else in memory, have the types that the program gives
/// them. In a precision other than
/// `f32`, where the machine has instructions for it, the operands of products with many rows are
/// rounded: to bf16 in attention and with bf16 weights, to 8 or 16 bits with int8 and int4 weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As in the file.
    #[default]
    F32,
    /// Half the bytes; about three digits of each weight.
    Bf16,
    /// A quarter of the bytes; each weight is a whole number up to 127 times a scale of its output
    /// channel.
    Int8,
    /// Of what every step reads, about a seventh of the bytes: each weight is one of sixteen values of
    /// its group of 32 along the input. Tables of tokens, and programs that run once for an input, such
    /// as encoders, are int8.
    Int4,
}

/// The name of no precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision `{0}`; expected f32, bf16, int8 or int4")]
pub struct UnknownPrecision(String);

impl Precision {
    /// All precisions, the widest first.
    pub const ALL: [Precision; 4] = [
        Precision::F32,
        Precision::Bf16,
        Precision::Int8,
        Precision::Int4,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        self.format().map_or("f32", WeightFormat::name)
    }

    /// The kernels for this precision, given those that the caller asks for.
    pub(crate) fn kernels(self, asked: KernelSet) -> KernelSet {
        match (self, asked) {
            (Precision::F32, _) | (_, KernelSet::Plain) => asked,
            _ => KernelSet::LowPrecision,
        }
    }

    /// The format of quantized weights, or of most of them; `None` for `f32`.
    pub fn format(self) -> Option<WeightFormat> {
        match self {
            Precision::F32 => None,
            Precision::Bf16 => Some(WeightFormat::Bf16),
            Precision::Int8 => Some(WeightFormat::Int8),
            Precision::Int4 => Some(WeightFormat::Int4),
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Precision, UnknownPrecision> {
        let mut all = Precision::ALL.into_iter();
        all.find(|p| p.name() == name)
            .ok_or_else(|| UnknownPrecision(name.to_owned()))
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
