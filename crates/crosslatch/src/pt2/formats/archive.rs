//! Zip archives, recognised by the names of their entries.

use super::Remedy::{Do, ExportFolder, ExportOriginal};
use super::folder::{any, has};
use super::{Format, OfNames};

/// Formats of archives.
pub(super) const FORMATS: &[Format<OfNames>] = &[
    Format {
        what: "a program that torch.export.save wrote before torch 2.8",
        matches: |names| has(names, "serialized_exported_program.json"),
        remedy: Do("write it anew with a later torch: \
             torch.export.save(torch.export.load(\"OLD.pt2\"), \"NEW.pt2\")"),
    },
    Format {
        what: "a TorchScript archive",
        matches: |names| has(names, "constants.pkl") && any(names, |n| n.starts_with("code/")),
        remedy: ExportOriginal,
    },
    Format {
        what: "a checkpoint that torch.save wrote, which holds weights as a pickle",
        matches: |names| has(names, "data.pkl"),
        remedy: ExportFolder,
    },
    Format {
        what: "a package of AOTInductor, which holds machine code for PyTorch",
        matches: |names| any(names, |n| n.starts_with("data/aotinductor/")),
        remedy: ExportOriginal,
    },
    Format {
        what: "a Keras model",
        matches: |names| has(names, "model.weights.h5"),
        remedy: ExportOriginal,
    },
    Format {
        what: "a file of NumPy arrays",
        matches: |names| !names.is_empty() && names.iter().all(|n| n.ends_with(".npy")),
        remedy: Do("arrays are inputs: crosslatch run MODEL.pt2 --input IN.npz"),
    },
];
