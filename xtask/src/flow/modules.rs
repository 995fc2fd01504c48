//! The modules of a crate, and which of them a path leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::imports::{self, Import};
use super::sources;
use crate::Failure;

/// A module by its path from the crate's root, which is empty for the root itself.
pub type Module = Vec<String>;

/// One module uses another.
#[derive(Debug)]
pub struct Arrow {
    pub from: Module,
    pub to: Module,
    /// Relative to the repository.
    pub file: PathBuf,
    pub line: usize,
}

/// The modules of one crate, without those that only tests see.
#[derive(Default)]
pub struct Modules {
    imports: BTreeMap<Module, (PathBuf, Vec<Import>)>,
    /// Every module that exists, inline ones included.
    known: BTreeSet<Module>,
    /// What a name in a module stands for, where a `use` brought it there.
    names: BTreeMap<(Module, String), Vec<String>>,
}

impl Modules {
    /// Reads all sources of the crate whose `src` is given relative to the root.
    pub fn of(root: &Path, src: &Path) -> Result<Modules, Failure> {
        let mut files = Vec::new();
        for file in sources::below(root, src)? {
            let text = std::fs::read_to_string(root.join(&file))
                .map_err(|e| format!("{}: {e}", file.display()))?;
            let inside_src = file.strip_prefix(src).unwrap_or(&file).to_owned();
            files.push((module_of(&inside_src), file, text));
        }
        Ok(Modules::from_texts(files))
    }

    fn from_texts(files: Vec<(Module, PathBuf, String)>) -> Modules {
        let mut modules = Modules::default();
        let mut tests = Vec::new();
        for (module, file, text) in files {
            let source = imports::read(&text);
            tests.extend(source.test_modules.iter().map(|name| child(&module, name)));
            modules.known.insert(module.clone());
            for import in &source.imports {
                let inside = [&module[..], &import.inside].concat();
                if let Some(name) = &import.binds {
                    let key = (inside.clone(), name.clone());
                    modules.names.insert(key, import.path.clone());
                }
                modules.known.insert(inside);
            }
            // `main.rs` and `lib.rs` are both the root.
            let entry = modules.imports.entry(module);
            let (_, imports) = entry.or_insert_with(|| (file, Vec::new()));
            imports.extend(source.imports);
        }
        let is_test = |module: &Module| tests.iter().any(|test| module.starts_with(test));
        modules.imports.retain(|module, _| !is_test(module));
        modules.known.retain(|module| !is_test(module));
        modules
    }

    /// The modules right below this one.
    pub fn children(&self, of: &[String]) -> BTreeSet<&str> {
        self.known
            .iter()
            .filter(|module| module.len() > of.len() && module.starts_with(of))
            .map(|module| module[of.len()].as_str())
            .collect()
    }

    /// Every use of one module in another, but for those between a module and one inside it.
    pub fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (module, (file, imports)) in &self.imports {
            for import in imports {
                let from = [&module[..], &import.inside].concat();
                let Some(to) = self.resolve(&from, &import.path, 8) else {
                    continue;
                };
                if !from.starts_with(&to) && !to.starts_with(&from) {
                    let (file, line) = (file.clone(), import.line);
                    arrows.push(Arrow {
                        from,
                        to,
                        file,
                        line,
                    });
                }
            }
        }
        arrows
    }

    /// The module that defines what a path names; none if that is another crate's.
    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<Module> {
        let mut segments = path.iter();
        let first = segments.next()?;
        let mut module = match first.as_str() {
            "crate" => Module::new(),
            "self" => from.to_vec(),
            "super" => from[..from.len().checked_sub(1)?].to_vec(),
            name => Some(child(from, name)).filter(|module| self.known.contains(module))?,
        };
        for segment in segments {
            if segment == "super" {
                module.pop()?;
                continue;
            }
            let below = child(&module, segment);
            if self.known.contains(&below) {
                module = below;
                continue;
            }
            // A name that a `use` brought there belongs to where it came from.
            let name = (module.clone(), segment.clone());
            let origin = self.names.get(&name).filter(|_| depth > 0);
            match origin.and_then(|origin| self.resolve(&module, origin, depth - 1)) {
                Some(origin) => module = origin,
                None => break,
            }
        }
        Some(module)
    }
}

fn child(module: &[String], name: &str) -> Module {
    let mut child = module.to_vec();
    child.push(name.to_owned());
    child
}

/// The module of a file: `ops/rows/mod.rs` is `ops::rows`.
fn module_of(file: &Path) -> Module {
    let mut module: Module = file
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let last = module.last().map_or("", |name| name.as_str());
    let is_root = module.len() == 1 && matches!(last, "lib" | "main");
    if is_root || last == "mod" {
        module.pop();
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arrows of a crate with these files, as `from → to`.
    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(file, text)| {
            let module = module_of(Path::new(file));
            (module, file.into(), (*text).to_owned())
        });
        let arrows = Modules::from_texts(files.collect()).arrows();
        let shown = arrows
            .iter()
            .map(|arrow| format!("{} → {}", arrow.from.join("::"), arrow.to.join("::")));
        shown.collect()
    }

    #[test]
    fn a_path_leads_to_the_innermost_module_it_names() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod deep;"),
            ("a/deep.rs", ""),
            (
                "b.rs",
                "use crate::a::deep::f; use std::fmt; fn g() { super::a::h() }",
            ),
        ];
        assert_eq!(arrows(&files), ["b → a::deep", "b → a"]);
    }

    #[test]
    fn a_re_export_leads_to_where_the_name_comes_from() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::Name;"),
            ("a/mod.rs", "mod deep; pub use deep::Name;"),
            ("a/deep.rs", "pub struct Name;"),
            ("a/other.rs", "use super::Name;"),
            ("b.rs", "use crate::Name;"),
        ];
        assert_eq!(arrows(&files), ["a::other → a::deep", "b → a::deep"]);
    }

    #[test]
    fn a_module_and_those_inside_it_are_one() {
        let files = [
            ("lib.rs", "mod a; use a::f;"),
            ("a/mod.rs", "mod deep; use deep::g; pub fn f() {}"),
            ("a/deep.rs", "use super::f; use crate::Root;"),
        ];
        assert!(arrows(&files).is_empty());
    }

    #[test]
    fn modules_for_tests_are_left_out() {
        let files = [
            ("lib.rs", "mod a; mod b; #[cfg(test)] mod checks;"),
            ("a.rs", "#[cfg(test)] mod tests { use crate::b; }"),
            ("b.rs", ""),
            ("checks/deep.rs", "use crate::a;"),
        ];
        assert!(arrows(&files).is_empty());
    }
}
