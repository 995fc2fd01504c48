//! The links of every Markdown file lead somewhere, and every page is in the index.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Where the repository is hosted; a link there is a link into this folder.
const HOST: &str = "https://github.com/crosslatch/crosslatch/";
const FOREIGN: [&str; 3] = ["target", ".git", ".venv"];

fn root() -> PathBuf {
    normal(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = normal.pop(),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        if FOREIGN.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|e| e == "md") {
            found.push(path);
        }
    }
}

/// The lines of a page that are prose.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The targets of the links of a page, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in prose(text) {
        // A link may follow its text on the next line; its target is never broken.
        for (start, _) in line.match_indices("](") {
            let target: String = line[start + 2..]
                .chars()
                .take_while(|c| *c != ')')
                .collect();
            found.push((at + 1, target));
        }
    }
    found
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    let anchor = |(_, line): (usize, &str)| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        title
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    headings.map(anchor).collect()
}

/// The file that a link leads to, and the anchor in it; none if it leaves the repository.
fn target(page: &Path, link: &str) -> Option<(PathBuf, Option<String>)> {
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (link, None),
    };
    if path.is_empty() {
        return Some((page.to_owned(), anchor));
    }
    if let Some(hosted) = path.strip_prefix(HOST) {
        let file = hosted.strip_prefix("blob/main/");
        let file = file.or_else(|| hosted.strip_prefix("tree/main/"))?;
        return Some((root().join(file), anchor));
    }
    match path.contains("://") || path.starts_with("mailto:") {
        true => None,
        false => Some((normal(&page.parent()?.join(path)), anchor)),
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut all = Vec::new();
    pages(&root(), &mut all);
    assert!(all.len() > 15);
    let mut broken = Vec::new();
    for page in all {
        let text = std::fs::read_to_string(&page).unwrap();
        for (line, link) in links(&text) {
            let Some((file, anchor)) = target(&page, &link) else {
                continue;
            };
            let has_anchor = anchor.is_none_or(|anchor| {
                let text = std::fs::read_to_string(&file);
                text.is_ok_and(|text| anchors(&text).contains(&anchor))
            });
            if !file.exists() || !has_anchor {
                broken.push(format!("{}:{line}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn the_index_names_every_page() {
    let docs = root().join("docs");
    let index = docs.join("README.md");
    let text = std::fs::read_to_string(&index).unwrap();
    let named: BTreeSet<PathBuf> = links(&text)
        .iter()
        .filter_map(|(_, link)| Some(target(&index, link)?.0))
        .collect();
    let mut all = Vec::new();
    pages(&docs, &mut all);
    all.retain(|page| *page != index && !named.contains(page));
    assert!(all.is_empty(), "docs/README.md does not name {all:?}");
}

/// A page of a package is read without the repository around it.
#[test]
fn the_pages_of_packages_have_absolute_links() {
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let page = entry.unwrap().path().join("README.md");
        let text = std::fs::read_to_string(&page).unwrap_or_default();
        for (line, link) in links(&text) {
            assert!(
                link.starts_with("https://"),
                "{}:{line}: {link}",
                page.display()
            );
        }
    }
}

/// The paths in a walk through the code are those of today.
#[test]
fn the_walk_through_the_code_names_files_that_exist() {
    let mut all = Vec::new();
    let is_source = |name: &str| name.ends_with(".rs") || name.ends_with(".py");
    sources(&root(), &mut all);
    for page in [
        "ARCHITECTURE.md",
        "docs/internals/effects.md",
        "docs/guide/latching.md",
    ] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        for (line, prose) in prose(&text) {
            for span in prose.split('`').skip(1).step_by(2) {
                let exists = || {
                    let wanted = format!("/{}", span.trim_end_matches('/'));
                    all.iter().any(|path| path.ends_with(&wanted))
                };
                let is_path = is_source(span) || span.ends_with('/');
                assert!(!is_path || exists(), "{page}:{}: `{span}`", line + 1);
            }
        }
    }
}

/// Files and folders of the repository, as text.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if FOREIGN.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        found.push(entry.path().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            sources(&entry.path(), found);
        }
    }
}
