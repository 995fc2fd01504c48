//! The folder `attacks/`: each hostile file gives the result of its row, an error or a run, within a second
//! and two gigabytes of address space.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crosslatch_fuzz::attacks::{Attack, attacks};

/// The longest that a file may take, including the start of the process.
const LONGEST: Duration = Duration::from_secs(1);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../attacks")
}

/// Runs each file in a process of its own, which may abort; the system ends one that never returns.
fn answer(attack: &Attack) -> (Output, Duration) {
    let start = Instant::now();
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg("ulimit -t 5 && ulimit -v 2000000 && exec \"$0\" \"$@\"");
    shell.arg(env!("CARGO_BIN_EXE_crosslatch-fuzz"));
    let output = shell
        .arg("answer")
        .arg(folder().join(attack.file))
        .output()
        .unwrap();
    (output, start.elapsed())
}

/// How the result of a file differs from its row, if it does.
fn complaint(attack: &Attack) -> Option<String> {
    let file = attack.file;
    let mut fastest = LONGEST * 10;
    // A busy machine is not the file's fault.
    for _ in 0..3 {
        let (output, time) = answer(attack);
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || said.trim_end() != attack.gives {
            let error = String::from_utf8_lossy(&output.stderr);
            let error: Vec<&str> = error.lines().take(3).collect();
            return Some(format!("{file}: {} {said:?} {error:?}", output.status));
        }
        fastest = fastest.min(time);
        if fastest <= LONGEST {
            return None;
        }
    }
    Some(format!("{file}: takes {fastest:?}"))
}

#[test]
fn every_file_gives_what_its_row_says() {
    let complaints: Vec<String> = attacks().filter_map(complaint).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_folder_holds_the_files_of_the_rows_and_no_others() {
    let entries = std::fs::read_dir(folder()).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names.collect();
    let wanted: BTreeSet<String> = attacks().map(|a| a.file.to_owned()).collect();
    assert_eq!(
        names, wanted,
        "cargo run -p crosslatch-fuzz -- attacks attacks"
    );
    for attack in attacks() {
        let bytes = std::fs::read(folder().join(attack.file)).unwrap();
        assert!(
            bytes == (attack.make)(),
            "{} is another file now",
            attack.file
        );
        assert!(bytes.len() < 70_000, "{} is large", attack.file);
    }
}
