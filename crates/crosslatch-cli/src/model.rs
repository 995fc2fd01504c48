//! The model that a command works on: which file, how it is read, and which inputs are latched.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crosslatch::{Access, Error, Model};
use crosslatch_hub::{Hub, Progress, own_cache};
use indicatif::{ProgressBar, ProgressStyle};

use crate::CommandError;

/// Where the bundled model lies, relative to the folder of the program: beside an installed
/// program, or in the source tree above a built one.
const BUNDLED: [&str; 3] = [
    "model.pt2",
    "../share/crosslatch/model.pt2",
    "../../demo/model.pt2",
];

/// A model and the inputs to latch.
#[derive(clap::Args)]
pub struct ModelArgs {
    /// The model: a .pt2 file, a folder that transformers' exporters wrote, a checkpoint, or a name
    /// on the hub.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Inputs that stay the same for many runs: what depends on them alone is computed again only
    /// when one of them changes.
    #[arg(long, value_name = "INPUT", value_delimiter = ',')]
    pub latch: Vec<String>,
    #[command(flatten)]
    pub file: FileArgs,
}

/// How a model's file is read.
#[derive(clap::Args)]
pub struct FileArgs {
    /// Read the model into memory instead of mapping its file, which must otherwise stay as it is
    /// while it is used.
    #[arg(long)]
    no_map: bool,
    /// Keep the weights that are converted for --precision in this folder, and map them the next
    /// time; without a folder, in crosslatch below the user's folder of caches.
    #[arg(
        long,
        value_name = "FOLDER",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    cache: Option<OsString>,
}

impl ModelArgs {
    /// Opens the model and latches these inputs.
    pub fn open(&self) -> Result<Model, CommandError> {
        open(&self.model, &self.latch, &self.file)
    }
}

impl FileArgs {
    /// How to read the file: as asked for on the command line, otherwise as is usual for the
    /// command.
    fn access(&self, usual: Access) -> Access {
        match self.no_map {
            true => Access::Copy,
            false => usual,
        }
    }

    /// The folder for converted weights, if they are to be kept.
    fn kept_in(&self) -> Result<Option<PathBuf>, CommandError> {
        match &self.cache {
            Some(folder) if folder.is_empty() => match own_cache() {
                Some(folder) => Ok(Some(folder)),
                None => Err(
                    "there is no folder of caches; name one, `--cache=FOLDER`, or set \
                             XDG_CACHE_HOME"
                        .into(),
                ),
            },
            given => Ok(given.as_ref().map(PathBuf::from)),
        }
    }
}

/// Opens a model and latches these inputs.
pub fn open(path: &Path, latch: &[String], file: &FileArgs) -> Result<Model, CommandError> {
    Ok(latched(open_model(path, file, Access::Map)?, latch)?)
}

/// Opens a model by its path or name, with its files read in the way that is usual for the command
/// unless something else is asked for. A download shows on standard error how far it is.
pub fn open_model(named: &Path, file: &FileArgs, usual: Access) -> Result<Model, CommandError> {
    let kept_in = file.kept_in()?;
    let mut bar = None;
    let mut show = |progress: Progress<'_>| {
        let bar = bar.get_or_insert_with(|| download_bar(named, progress.total));
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        ControlFlow::Continue(())
    };
    let path = Hub::from_environment().locate(named, &mut show)?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let model = crosslatch_checkpoints::open_model(path, file.access(usual))?;
    if let Some(folder) = kept_in {
        model.keep_weights_in(folder);
    }
    Ok(model)
}

/// A progress bar on standard error; if that is no terminal, one line that says what takes so long.
fn download_bar(named: &Path, bytes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        eprintln!("downloading {}", named.display());
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes);
    let line = "downloading {msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(line) {
        bar.set_style(style);
    }
    bar.set_message(named.display().to_string());
    bar
}

/// The model with these inputs latched.
pub fn latched(model: Model, latch: &[String]) -> Result<Model, Error> {
    match latch {
        [] => Ok(model),
        inputs => model.latch(&inputs.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}

/// Names the model to use where the command line names none.
pub const DEFAULT: &str = "CROSSLATCH_MODEL";

/// The model for speech: the one that is named on the command line or by `CROSSLATCH_MODEL`, or
/// else the bundled one, about which a note on standard error says what it is for, unless quiet is
/// asked for.
pub fn speech_model(named: Option<&Path>, quiet: bool) -> Result<PathBuf, CommandError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    if let Some(path) = default_model() {
        return Ok(path);
    }
    let path = bundled_model()?;
    if quiet {
        return Ok(path);
    }
    eprintln!(
        "note: the bundled model knows a few voice commands only; for real speech, add \
         `--model tiny.en` (or base, small, turbo …), which downloads OpenAI's Whisper of that size \
         once; {DEFAULT} names a default, and `crosslatch models` lists what there is"
    );
    Ok(path)
}

/// The model that `CROSSLATCH_MODEL` names.
pub fn default_model() -> Option<PathBuf> {
    let named = std::env::var_os(DEFAULT).filter(|path| !path.is_empty());
    named.map(PathBuf::from)
}

/// The file of the bundled model.
pub fn bundled_model() -> Result<PathBuf, CommandError> {
    let program = std::env::current_exe()?;
    let folder = program.parent().unwrap_or(Path::new("."));
    BUNDLED
        .iter()
        .map(|relative| folder.join(relative))
        .find(|path| path.is_file())
        .ok_or_else(|| "the bundled model is not beside the program; name one with --model".into())
}
