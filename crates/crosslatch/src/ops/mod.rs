//! The operators that the engine is built with: for each its schema and its lowering, side by side.
//!
//! A file holds a family of operators and begins with their table, `OPERATORS`, one row each
//! ([`ir::catalogue`](crate::ir::catalogue)). The schema gives names, defaults and effects in
//! PyTorch's own notation ([`ir::schema`](crate::ir::schema)); the lowering gives shapes and kernel
//! ([`ir::lowering`](crate::ir::lowering)). To add an operator, write one row and, where no lowering
//! fits, one function; docs/internals/adding-an-operator.md walks through an example.
//!
//! The folders mirror those of the kernels: an operator is declared where its kernel lies. `views`
//! and `control` have no counterpart, because they need no kernel, nor has `quantization`, whose operators
//! are elementwise functions over blocks; `operands` declares nothing and helps all others. A folder imports only
//! from those before it in this order, which a test checks: `operands`, `control`, `views`, `elements`,
//! `movement`, `reduce`, `quantization`, `rows`, `matmul`, `attention`, `convolution`, `pooling`, `random`,
//! `recurrent`, `fourier`, `resampling`.

mod attention;
mod control;
mod convolution;
mod elements;
mod fourier;
mod matmul;
mod movement;
mod operands;
mod pooling;
mod quantization;
mod random;
mod recurrent;
mod reduce;
mod resampling;
mod rows;
mod views;

use std::sync::OnceLock;

use crate::ir::catalogue::Table;

pub use crate::ir::catalogue::Catalogue;

/// The tables of each folder.
const TABLES: &[&[Table]] = &[
    control::TABLES,
    views::TABLES,
    elements::TABLES,
    movement::TABLES,
    reduce::TABLES,
    quantization::TABLES,
    rows::TABLES,
    matmul::TABLES,
    &[
        attention::OPERATORS,
        convolution::OPERATORS,
        pooling::OPERATORS,
        random::OPERATORS,
        recurrent::OPERATORS,
    ],
    fourier::TABLES,
    resampling::TABLES,
];

impl Catalogue {
    /// The operators that the engine is built with.
    pub fn builtin() -> &'static Catalogue {
        static BUILTIN: OnceLock<Catalogue> = OnceLock::new();
        BUILTIN.get_or_init(|| Catalogue::new(TABLES.iter().copied().flatten().copied()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn every_schema_is_well_formed_and_declared_once() {
        assert!(!Catalogue::builtin().names().is_empty());
    }

    /// Folders and files of this module, each of which may import from those before it.
    const ORDER: [&str; 16] = [
        "operands",
        "control",
        "views",
        "elements",
        "movement",
        "reduce",
        "quantization",
        "rows",
        "matmul",
        "attention",
        "convolution",
        "pooling",
        "random",
        "recurrent",
        "fourier",
        "resampling",
    ];

    fn sources(path: &Path) -> Vec<PathBuf> {
        if path.is_file() {
            return vec![path.to_owned()];
        }
        let entries = std::fs::read_dir(path).unwrap();
        entries.flat_map(|e| sources(&e.unwrap().path())).collect()
    }

    #[test]
    fn a_folder_imports_only_from_those_before_it() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops");
        for (i, folder) in ORDER.iter().enumerate() {
            let path = root.join(folder);
            let path = match path.is_dir() {
                true => path,
                false => path.with_extension("rs"),
            };
            for file in sources(&path) {
                let text = std::fs::read_to_string(&file).unwrap();
                for later in &ORDER[i + 1..] {
                    let import = format!("crate::ops::{later}::");
                    let at = file.display();
                    assert!(!text.contains(&import), "{at} imports from `{later}`");
                }
            }
        }
    }
}
