//! Runs the targets: `crosslatch-fuzz [TARGET…] [--seconds N] [--inputs N]`, or `cargo xtask fuzz`.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use crosslatch_fuzz::driver::{child, parent};
use crosslatch_fuzz::{TARGETS, Target, attacks, target};

/// Counts the memory of every input.
#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// Runs hostile inputs against every reader of foreign data.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The targets; by default all of them.
    targets: Vec<String>,
    #[command(flatten)]
    length: Length,
}

#[derive(Args)]
struct Length {
    /// Inputs for each target, at most.
    #[arg(long, default_value_t = u64::MAX)]
    inputs: u64,
    /// Seconds for each target, at most; without --inputs, 10.
    #[arg(long)]
    seconds: Option<f64>,
    /// The seed of the random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where findings and inputs with new answers go, in a folder for each target.
    #[arg(long, default_value = "target/fuzz")]
    folder: PathBuf,
}

impl Length {
    fn time(&self) -> Duration {
        let seconds = match (self.seconds, self.inputs) {
            (Some(seconds), _) => seconds,
            (None, u64::MAX) => 10.0,
            // A day: the number of inputs ends the run.
            (None, _) => 86_400.0,
        };
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }
}

#[derive(Subcommand)]
enum Command {
    /// Runs files as inputs, in this process, and prints the answers.
    Replay { target: String, files: Vec<PathBuf> },
    /// Writes the seeds of a target into a folder, for libFuzzer.
    Seeds { target: String, folder: PathBuf },
    /// Writes the files of `attacks/` into a folder.
    Attacks { folder: PathBuf },
    /// Prints the result of a file of `attacks/`.
    Answer { file: PathBuf },
    #[command(hide = true)]
    Child {
        target: String,
        #[command(flatten)]
        length: Length,
    },
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Command::Replay { target, files }) => replay(&target, &files).map(|()| true),
        Some(Command::Seeds { target, folder }) => seeds(&target, &folder).map(|()| true),
        Some(Command::Attacks { folder }) => write_attacks(&folder).map(|()| true),
        Some(Command::Answer { file }) => answer(&file).map(|()| true),
        Some(Command::Child { target, length }) => named(&target).and_then(|target| {
            let order = child::Order {
                seed: length.seed,
                inputs: length.inputs,
                time: length.time(),
                folder: length.folder,
            };
            Ok(child::run(target, order).map(|()| true)?)
        }),
        None => run(&cli.targets, &cli.length),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn named(name: &str) -> Result<&'static Target, Failure> {
    target(name).ok_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        format!("there is no target `{name}`; there is {}", names.join(", ")).into()
    })
}

/// Runs targets and prints a line for each; returns whether there were no new findings.
fn run(names: &[String], length: &Length) -> Result<bool, Failure> {
    let chosen: Vec<&'static Target> = match names {
        [] => TARGETS.iter().collect(),
        names => names
            .iter()
            .map(|name| named(name))
            .collect::<Result<_, _>>()?,
    };
    println!(
        "target         inputs   seconds   slowest ms   most KiB   answers   findings (known)"
    );
    let mut is_clean = true;
    for target in chosen {
        let run = parent::Run {
            program: std::env::current_exe()?,
            inputs: length.inputs,
            time: length.time(),
            seed: length.seed,
            folder: length.folder.join(target.name),
        };
        let report = parent::run(target, &run)?;
        let known = report.findings.iter().filter(|f| f.known.is_some()).count();
        let progress = report.progress;
        println!(
            "{:<10} {:>10} {:>9.1} {:>12.1} {:>10} {:>9} {:>10} ({known})",
            target.name,
            progress.inputs,
            report.time.as_secs_f64(),
            progress.slowest as f64 / 1e6,
            progress.largest >> 10,
            progress.answers,
            report.findings.len() - known,
        );
        for finding in &report.findings {
            match finding.known {
                Some(reason) => println!("  known: {}\n    {reason}", finding.text),
                None => println!("  FOUND: {}\n    {}", finding.text, finding.path.display()),
            }
        }
        is_clean &= known == report.findings.len();
    }
    Ok(is_clean)
}

fn replay(name: &str, files: &[PathBuf]) -> Result<(), Failure> {
    let target = named(name)?;
    for file in files {
        let answer = (target.run)(&std::fs::read(file)?);
        println!("{}: {answer}", file.display());
    }
    Ok(())
}

fn seeds(name: &str, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    for (i, seed) in (named(name)?.seeds)().iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{i:04}")), seed)?;
    }
    Ok(())
}

fn write_attacks(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    for attack in attacks::attacks() {
        std::fs::write(folder.join(attack.file), (attack.make)())?;
    }
    Ok(())
}

fn answer(file: &Path) -> Result<(), Failure> {
    println!("{}", attacks::answer(file)?);
    Ok(())
}
