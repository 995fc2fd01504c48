//! Random modules through `torch.export`, saved, and run by the engine beside PyTorch.
//!
//! Every seed is a module, so the count and the first seed name a run. The modules are shared among as many
//! processes as the machine has cores. With another version of torch, files of that version are read.

use std::path::Path;
use std::process::{Child, Command};

use super::{Failure, python, target, testing, torch};

/// The packages that the modules and the Python package import besides torch.
const PACKAGES: [&str; 1] = ["numpy"];

/// What to draw.
#[derive(Debug, PartialEq)]
struct Wanted {
    torch: Option<String>,
    count: usize,
    first: usize,
}

impl Wanted {
    /// Reads `[--torch VERSION] [COUNT [FIRST]]`.
    fn of(args: &[String]) -> Result<Wanted, Failure> {
        let (torch, rest) = match args {
            [option, version, rest @ ..] if option == "--torch" => (Some(version.clone()), rest),
            _ => (None, args),
        };
        let number = |text: &String| {
            let error = |e| format!("{text:?} is not a number of programs: {e}");
            text.parse::<usize>().map_err(error)
        };
        match rest {
            [] => Ok((5000, 0)),
            [count] => Ok((number(count)?, 0)),
            [count, first] => Ok((number(count)?, number(first)?)),
            _ => Err("usage: cargo xtask exports [--torch VERSION] [COUNT [FIRST]]".to_owned()),
        }
        .map(|(count, first)| Wanted {
            torch,
            count,
            first,
        })
    }
}

/// Runs them; fails if a program is refused or gives other results than PyTorch.
pub fn exports(root: &Path, args: &[String]) -> Result<(), Failure> {
    let wanted = Wanted::of(args)?;
    let python = match &wanted.torch {
        Some(version) => torch::environment(root, version, &PACKAGES)?,
        None => python::environment(root)?,
    };
    testing::build(root)?;
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let share = wanted.count.div_ceil(cores).max(1);
    let mut children: Vec<Child> = Vec::new();
    for first in (0..wanted.count).step_by(share) {
        let count = share.min(wanted.count - first);
        let seeds = [count, wanted.first + first].map(|n| n.to_string());
        let mut command = Command::new(&python);
        command
            .args(["-W", "ignore", "-m", "exports.random_exports"])
            .args(seeds)
            .current_dir(root.join("python/tests"))
            .env("PYTHONPATH", root.join("python"))
            .env("TORCH_LOGS", "-all")
            .env("CROSSLATCH_TARGET", target(root).join("release"));
        children.push(command.spawn().map_err(|e| format!("{command:?}: {e}"))?);
    }
    let mut failed = 0;
    for mut child in children {
        let status = child
            .wait()
            .map_err(|e| format!("a process of random programs: {e}"))?;
        failed += usize::from(!status.success());
    }
    match failed {
        0 => Ok(()),
        _ => Err("some programs are refused or give other results; see above".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_version_count_and_first_seed() {
        let of =
            |args: &[&str]| Wanted::of(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
        let wanted = |torch: Option<&str>, count, first| {
            let torch = torch.map(str::to_owned);
            Ok(Wanted {
                torch,
                count,
                first,
            })
        };
        assert_eq!(of(&[]), wanted(None, 5000, 0));
        assert_eq!(
            of(&["--torch", "2.9", "10", "7"]),
            wanted(Some("2.9"), 10, 7)
        );
        assert!(of(&["many"]).is_err());
        assert!(of(&["1", "2", "3"]).is_err());
    }
}
