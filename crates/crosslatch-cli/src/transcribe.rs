//! `crosslatch transcribe`: what is said in audio files.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use crosslatch::{Model, Options, Precision};
use crosslatch_tasks::exported::{ExportedSpeechModel, pipeline};
use crosslatch_tasks::{Format, SpeechPipeline, TranscribeOptions, Transcript, audio};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::CommandError;

/// Writes down what is said in audio files: WAV, FLAC or MP3.
///
/// Prints one transcript a file, in the order given. A file that cannot be read is reported and
/// the others are still done; the exit status is then 1.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  crosslatch transcribe talk.mp3\n  \
    crosslatch transcribe --format srt talk.wav > talk.srt\n  \
    crosslatch transcribe --model whisper.pt2 --language en *.flac")]
pub struct Args {
    /// The audio files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The model; the small bundled one if left out.
    #[arg(long, value_name = "M.pt2")]
    model: Option<PathBuf>,
    /// How to write a transcript.
    #[arg(long, default_value = "text", value_parser = ["text", "json", "srt", "vtt"])]
    format: String,
    /// The language spoken, such as `en`; detected where the model can if left out.
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// How weights are stored: f32, bf16 or int8.
    #[arg(long, value_name = "P", default_value_t)]
    precision: Precision,
    /// Threads to use; all cores if left out.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Where the bundled model lies, seen from the folder of the program: beside an installed one, or
/// in the source tree above a built one.
const BUNDLED: [&str; 3] = [
    "model.pt2",
    "../share/crosslatch/model.pt2",
    "../../demo/model.pt2",
];

/// Runs the command.
pub fn transcribe(args: &Args) -> Result<(), CommandError> {
    let path = match &args.model {
        Some(path) => path.clone(),
        None => bundled_model()?,
    };
    let format: Format = args.format.parse()?;
    let model = Model::open(&path)?;
    let at_model = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let pipeline = pipeline(&model).map_err(|e| at_model(&e))?;
    let mut options = Options {
        precision: args.precision,
        ..Options::default()
    };
    if let Some(threads) = args.threads {
        options.threads = threads;
    }
    let mut speech = ExportedSpeechModel::new(&model, options).map_err(|e| at_model(&e))?;
    let generation = TranscribeOptions {
        language: args.language.clone(),
        ..TranscribeOptions::default()
    };
    let mut failed = 0;
    for file in &args.files {
        match one_file(file, &pipeline, &mut speech, &generation) {
            Ok(transcript) => {
                let mut out = std::io::stdout().lock();
                out.write_all(format.write(&transcript).as_bytes())?;
                out.flush()?;
            }
            Err(error) if args.files.len() == 1 => return Err(error),
            Err(error) => {
                eprintln!("error: {error}");
                failed += 1;
            }
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(format!(
            "{failed} of {} files could not be transcribed",
            args.files.len()
        )
        .into()),
    }
}

fn one_file(
    file: &Path,
    pipeline: &SpeechPipeline,
    speech: &mut ExportedSpeechModel,
    generation: &TranscribeOptions,
) -> Result<Transcript, CommandError> {
    // The reader's errors name the file already.
    let audio = audio::read_file(file, pipeline.features.sample_rate())?;
    if audio.damaged_packets > 0 {
        eprintln!(
            "warning: {}: {} damaged packets were left out",
            file.display(),
            audio.damaged_packets
        );
    }
    let bar = progress_bar(file, audio.duration());
    let transcript = pipeline
        .transcribe(speech, &audio.samples, generation, |done, _| {
            bar.set_position(milliseconds(done));
        })
        .map_err(|e| format!("{}: {e}", file.display()))?;
    bar.finish_and_clear();
    Ok(transcript)
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

/// A bar on standard error when that is a terminal, else nothing.
fn progress_bar(file: &Path, seconds: f64) -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(Some(milliseconds(seconds)), target);
    if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {percent}% {eta}") {
        bar.set_style(style);
    }
    bar.set_message(file.display().to_string());
    bar
}

fn bundled_model() -> Result<PathBuf, CommandError> {
    let program = std::env::current_exe()?;
    let folder = program.parent().unwrap_or(Path::new("."));
    BUNDLED
        .iter()
        .map(|relative| folder.join(relative))
        .find(|path| path.is_file())
        .ok_or_else(|| "the bundled model is not beside the program; name one with --model".into())
}
