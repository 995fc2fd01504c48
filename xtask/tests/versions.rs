//! One version number covers the crates and the Python package.

use std::path::Path;

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
}

/// What stands behind `version = ` in a line.
fn version(line: &str) -> Option<&str> {
    line.split_once("version = \"")?.1.split('"').next()
}

#[test]
fn every_manifest_has_the_same_version() {
    let own = env!("CARGO_PKG_VERSION");
    let manifest = read("Cargo.toml");
    let siblings = manifest
        .lines()
        .filter(|line| line.contains("path = \"crates/"));
    for line in siblings {
        assert_eq!(version(line), Some(own), "{line}");
    }
    let project = read("pyproject.toml");
    let line = project.lines().find(|line| line.starts_with("version = "));
    assert_eq!(line.and_then(version), Some(own), "pyproject.toml");
}
