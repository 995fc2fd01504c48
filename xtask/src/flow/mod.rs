//! `cargo xtask flow`: whether the code stands as `xtask/flow.txt` draws it.
//!
//! Data flows one way through the crates and through the modules of each, and a reader who knows the
//! direction finds things by their place. This chore holds the direction. It reads the imports of
//! every source file and reports
//!
//! - a crate that depends on one above it,
//! - a module that uses one above it in its crate's declared order,
//! - a circle among the modules of one folder,
//! - a file of more than 500 lines and a folder of more than 15 source files, unless the list names
//!   the reason.
//!
//! Tests are free to use what they like. A module and the modules inside it count as one: a folder's
//! `mod.rs` holds what its files share, and calls them.

mod declared;
mod imports;
mod modules;
pub mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::declared::Declared;
use self::modules::{Arrow, Modules};
use crate::Failure;

const LINES: usize = 500;
const FILES: usize = 15;
const LIST: &str = "xtask/flow.txt";

/// A finding: what the list of known ones calls it, and the first place where it shows.
type Findings = BTreeMap<String, String>;

/// Prints every finding that is not known, and fails if there are any.
pub fn flow(root: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(root.join(LIST)).map_err(|e| format!("{LIST}: {e}"))?;
    let declared = declared::read(&text)?;
    let mut findings = Findings::new();
    crates(root, &declared, &mut findings)?;
    sizes(root, &declared, &mut findings)?;
    let mut lines: Vec<String> = findings
        .iter()
        .filter(|(name, _)| !declared.known.contains(*name))
        .map(|(name, place)| format!("{name}\n    {place}"))
        .collect();
    for name in &declared.known {
        if !findings.contains_key(name) {
            lines.push(format!("{name}\n    is mended: remove it from {LIST}"));
        }
    }
    match lines.is_empty() {
        true => Ok(()),
        false => Err(format!("against the flow ({LIST}):\n{}", lines.join("\n"))),
    }
}

/// Looks at the crates' dependencies, and at the modules of each.
fn crates(root: &Path, declared: &Declared, findings: &mut Findings) -> Result<(), Failure> {
    let none = declared::Order::default();
    let order = declared.orders.get("crates").unwrap_or(&none);
    for name in order.names() {
        let manifest = format!("crates/{name}/Cargo.toml");
        let text = std::fs::read_to_string(root.join(&manifest));
        let text = text.map_err(|e| format!("{manifest}: {e}"))?;
        for (line, dependency) in dependencies(&text, order) {
            if !order.allows(name, dependency) {
                let place = format!("{manifest}:{line}");
                findings.insert(format!("crates: {name} → {dependency}"), place);
            }
        }
        let modules = Modules::of(root, Path::new(&format!("crates/{name}/src")))?;
        let own = declared.orders.get(name).unwrap_or(&none);
        of_modules(name, &modules, own, findings);
    }
    for entry in std::fs::read_dir(root.join("crates")).map_err(|e| e.to_string())? {
        let name = entry.map_err(|e| e.to_string())?.file_name();
        let name = name.to_string_lossy();
        if !order.contains(&name) {
            let place = format!("crates/{name}: name it under [crates]");
            findings.insert(format!("crates: {name} has no place"), place);
        }
    }
    Ok(())
}

/// The crates of the order that a manifest lists under `[dependencies]`, with their lines.
fn dependencies<'a>(manifest: &'a str, order: &declared::Order) -> Vec<(usize, &'a str)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (at, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("dev-");
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or("");
        if inside && order.contains(name) {
            found.push((at + 1, name));
        }
    }
    found
}

/// Compares the arrows of one crate with its order, and looks for circles inside its folders.
fn of_modules(name: &str, modules: &Modules, order: &declared::Order, findings: &mut Findings) {
    for module in modules.children(&[]) {
        if !order.contains(module) {
            let place = format!("name it under [{name}] in {LIST}");
            findings.insert(format!("{name}: {module} has no place"), place);
        }
    }
    // Of each folder: which of its modules use which, and where first.
    let mut folders: BTreeMap<&[String], BTreeMap<(&str, &str), &Arrow>> = BTreeMap::new();
    let arrows = modules.arrows();
    for arrow in &arrows {
        let pairs = arrow.from.iter().zip(&arrow.to);
        let depth = pairs.take_while(|(from, to)| from == to).count();
        let pair = (arrow.from[depth].as_str(), arrow.to[depth].as_str());
        let folder = folders.entry(&arrow.from[..depth]).or_default();
        folder.entry(pair).or_insert(arrow);
    }
    for (folder, pairs) in folders {
        let circles = circles(&pairs);
        for ((from, to), arrow) in &pairs {
            let of_a_circle = circles.contains(&(*from, *to));
            let wrong = match folder {
                [] => !order.allows(from, to),
                _ => of_a_circle,
            };
            if wrong {
                let at = [&[name.to_owned()], folder].concat().join("::");
                let place = format!("{}:{}", arrow.file.display(), arrow.line);
                findings.insert(format!("{at}: {from} → {to}"), place);
            }
        }
    }
}

/// The pairs whose second leads back to their first.
fn circles<'a>(pairs: &BTreeMap<(&'a str, &'a str), &Arrow>) -> BTreeSet<(&'a str, &'a str)> {
    let leads_back = |&(from, to): &(&'a str, &'a str)| {
        let (mut seen, mut open) = (BTreeSet::from([to]), vec![to]);
        while let Some(at) = open.pop() {
            let next = pairs.keys().filter(|(from, _)| *from == at);
            open.extend(next.map(|(_, to)| *to).filter(|to| seen.insert(to)));
        }
        seen.contains(from)
    };
    pairs.keys().copied().filter(leads_back).collect()
}

/// Looks for files and folders that have grown too large.
fn sizes(root: &Path, declared: &Declared, findings: &mut Findings) -> Result<(), Failure> {
    let mut folders: BTreeMap<String, usize> = BTreeMap::new();
    let mut large = BTreeSet::new();
    for file in sources::below(root, Path::new(""))? {
        let name = file.to_string_lossy().replace('\\', "/");
        let text = std::fs::read_to_string(root.join(&file)).map_err(|e| format!("{name}: {e}"))?;
        let lines = text.lines().count();
        if lines > LINES {
            large.insert((name.clone(), format!("{lines} lines, more than {LINES}")));
        }
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        *folders.entry(folder.to_owned()).or_default() += 1;
    }
    let full = folders.into_iter().filter(|(_, files)| *files > FILES);
    large.extend(full.map(|(name, files)| (name, format!("{files} files, more than {FILES}"))));
    for (name, size) in &large {
        if !declared.large.contains_key(name) {
            findings.insert(format!("large: {name}"), size.clone());
        }
    }
    for name in declared.large.keys() {
        if !large.iter().any(|(file, _)| file == name) {
            let place = format!("remove it from {LIST}");
            findings.insert(format!("large: {name} is not large"), place);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_runs_against_the_flow() {
        flow(&crate::root()).unwrap();
    }

    #[test]
    fn only_dependencies_of_the_library_count() {
        let order = declared::read("[crates]\nup\ndown\n").unwrap();
        let manifest = "[dependencies]\ndown.workspace = true\nserde = \"1\"\n\
                        [dev-dependencies]\nup = { path = \"../up\" }\n";
        assert_eq!(
            dependencies(manifest, &order.orders["crates"]),
            [(2, "down")]
        );
    }

    #[test]
    fn a_circle_is_found_however_long_it_is() {
        let arrow = Arrow {
            from: Vec::new(),
            to: Vec::new(),
            file: "a.rs".into(),
            line: 1,
        };
        let pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")];
        let pairs = pairs.into_iter().map(|pair| (pair, &arrow)).collect();
        let circles: Vec<_> = circles(&pairs).into_iter().collect();
        assert_eq!(circles, [("a", "b"), ("b", "c"), ("c", "a")]);
    }
}
