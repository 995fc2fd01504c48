//! The process that starts children, watches them and keeps their findings.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::record::{Progress, read};
use super::{ADDRESS_SPACE, LONGEST_SILENCE, child, known};
use crate::Target;

/// The interval between looks at a child.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a target is run, and where its files go.
#[derive(Clone, Debug)]
pub struct Run {
    /// The program that acts as a child when it is told to.
    pub program: PathBuf,
    /// Inputs to run at most.
    pub inputs: u64,
    /// Time to run at most.
    pub time: Duration,
    /// The seed of the random numbers.
    pub seed: u64,
    /// A folder for this target alone.
    pub folder: PathBuf,
}

/// The outcome of a run.
#[derive(Debug)]
pub struct Report {
    /// The counts and maxima of all children.
    pub progress: Progress,
    /// How long it took.
    pub time: Duration,
    /// The findings, one of each kind.
    pub findings: Vec<Finding>,
}

/// An input that broke a target.
#[derive(Debug)]
pub struct Finding {
    /// What is wrong.
    pub text: String,
    /// The file with the input.
    pub path: PathBuf,
    /// Why it is known and not fixed.
    pub known: Option<&'static str>,
}

/// Runs a target.
///
/// # Errors
/// If the folder cannot be written or the program cannot be started.
pub fn run(target: &'static Target, run: &Run) -> io::Result<Report> {
    std::fs::create_dir_all(&run.folder)?;
    for old in ["found", "record", "stderr"] {
        for file in files(&run.folder, old) {
            std::fs::remove_file(file)?;
        }
    }
    let start = Instant::now();
    let mut total = Progress::default();
    let mut children = 0;
    while total.inputs < run.inputs && start.elapsed() < run.time {
        let left = Run {
            inputs: run.inputs - total.inputs,
            time: run.time - start.elapsed(),
            seed: run.seed.wrapping_add(children),
            ..run.clone()
        };
        children += 1;
        let (end, progress, input) = one_child(target, &left)?;
        total.inputs += progress.inputs;
        total.slowest = total.slowest.max(progress.slowest);
        total.largest = total.largest.max(progress.largest);
        total.answers = total.answers.max(progress.answers);
        match end {
            End::Done => {}
            End::Silent => {
                let text = format!("time: no answer within {} s", LONGEST_SILENCE.as_secs());
                child::write_finding(&run.folder, &text, &input)?;
            }
            End::Died(why) => {
                if progress.inputs == 0 {
                    return Err(io::Error::other(format!("a child cannot start: {why}")));
                }
                child::write_finding(&run.folder, &format!("abort: {why}"), &input)?;
            }
        }
    }
    let findings = files(&run.folder, "found").into_iter();
    let findings = findings.filter(|file| file.extension().is_some_and(|e| e == "txt"));
    let findings = findings.map(|file| {
        let text = std::fs::read_to_string(&file)?;
        Ok(Finding {
            known: known::reason(target.name, &text),
            text,
            path: file.with_extension(""),
        })
    });
    Ok(Report {
        progress: total,
        time: start.elapsed(),
        findings: findings.collect::<io::Result<_>>()?,
    })
}

enum End {
    Done,
    Silent,
    Died(String),
}

fn one_child(target: &Target, run: &Run) -> io::Result<(End, Progress, Vec<u8>)> {
    let record = run.folder.join("record");
    if record.exists() {
        std::fs::remove_file(&record)?;
    }
    let stderr = run.folder.join("stderr");
    let mut child = command(target, run)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&stderr)?)
        .spawn()?;
    let end = watch(&mut child, &record, run.time)?;
    let (progress, input) = read(&record).unwrap_or_default();
    let end = match end {
        None => End::Silent,
        Some(status) if status.success() => End::Done,
        Some(status) => End::Died(why(&stderr, status)),
    };
    Ok((end, progress, input))
}

/// Waits for a child; `None` if it was silent for too long.
fn watch(child: &mut Child, record: &Path, time: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut last = (Progress::default(), Instant::now());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let progress = read(record).map(|(progress, _)| progress);
        if let Some(progress) = progress.filter(|p| *p != last.0) {
            last = (progress, Instant::now());
        }
        let is_late = start.elapsed() > time + 2 * LONGEST_SILENCE;
        if last.1.elapsed() > LONGEST_SILENCE || is_late {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

fn command(target: &Target, run: &Run) -> Command {
    let mut command = if cfg!(unix) {
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(format!("ulimit -v {ADDRESS_SPACE} && exec \"$0\" \"$@\""));
        shell.arg(&run.program);
        shell
    } else {
        Command::new(&run.program)
    };
    command
        .arg("child")
        .arg(target.name)
        .args(["--inputs", &run.inputs.to_string()])
        .args(["--seconds", &run.time.as_secs_f64().to_string()])
        .args(["--seed", &run.seed.to_string()])
        .arg("--folder")
        .arg(&run.folder)
        // Per-thread heaps would reserve address space that nobody asked for.
        .env("MALLOC_ARENA_MAX", "1");
    command
}

/// The last words of a process, or its exit status.
fn why(stderr: &Path, status: ExitStatus) -> String {
    let mut said = String::new();
    if let Ok(file) = File::open(stderr) {
        let _ = file.take(4096).read_to_string(&mut said);
    }
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    format!("{} ({status})", lines.next().unwrap_or_default())
}

/// The files of a folder whose names have this prefix, in order.
pub fn files(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|e| e.file_name().to_string_lossy().starts_with(prefix));
    let mut files: Vec<PathBuf> = named.map(|entry| entry.path()).collect();
    files.sort();
    files
}
