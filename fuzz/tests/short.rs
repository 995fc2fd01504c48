//! A short run of every target; `cargo xtask fuzz` runs longer.

use std::path::Path;
use std::time::Duration;

use crosslatch_fuzz::TARGETS;
use crosslatch_fuzz::driver::parent;

/// Seconds for each target.
const SECONDS: u64 = 3;

/// Even a busy machine runs a hundred inputs in seconds; fewer mean that a target does not run at all.
const FEWEST: u64 = 100;

#[test]
fn no_target_breaks_within_a_few_seconds() {
    let mut failures = Vec::new();
    for target in TARGETS {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("fuzz")
            .join(target.name);
        // Inputs that an earlier run kept would change this one.
        let _ = std::fs::remove_dir_all(&folder);
        let run = parent::Run {
            program: env!("CARGO_BIN_EXE_crosslatch-fuzz").into(),
            inputs: u64::MAX,
            time: Duration::from_secs(SECONDS),
            seed: 1,
            folder,
        };
        let report = parent::run(target, &run).unwrap();
        println!("{}: {:?}", target.name, report.progress);
        if report.progress.inputs < FEWEST {
            failures.push(format!("{}: only {:?}", target.name, report.progress));
        }
        let new = report.findings.iter().filter(|f| f.known.is_none());
        failures.extend(new.map(|f| format!("{}: {}, {}", target.name, f.text, f.path.display())));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// A driver that finds nothing must be able to find every kind of finding.
#[test]
fn panics_aborts_loops_and_large_requests_are_findings() {
    for (name, wanted) in [
        ("panics", "panic at "),
        ("overflows-its-stack", "abort: thread"),
        ("takes-memory", "memory: 80 MiB"),
        ("takes-more-than-there-is", "abort: memory allocation of"),
        ("never-ends", "time: no answer"),
        ("is-slow", "time: 1 s"),
    ] {
        let target = crosslatch_fuzz::target(name).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("fuzz")
            .join(name);
        let run = parent::Run {
            program: env!("CARGO_BIN_EXE_crosslatch-fuzz").into(),
            inputs: 1,
            time: Duration::from_secs(60),
            seed: 1,
            folder,
        };
        let report = parent::run(target, &run).unwrap();
        let texts: Vec<_> = report.findings.iter().map(|f| f.text.as_str()).collect();
        assert!(
            matches!(texts[..], [text] if text.starts_with(wanted)),
            "{name}: {texts:?}, {:?}",
            report.progress
        );
    }
}
