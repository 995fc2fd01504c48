//! `crosslatch transcribe`: what is said in audio files.

mod decoding;

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crosslatch::{Access, Options, Precision};
use crosslatch_tasks::{
    Event, ExportedSpeechModel, Format, SpeechPipeline, StepBatcher, TranscribeOptions, Transcript,
    audio, speech_pipeline,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::CommandError;
use crate::limits::LimitArgs;
use crate::model::{FileArgs, open_model, speech_model};
use decoding::Decoding;

/// Writes down what is said in audio files: WAV, FLAC, MP3, M4A (AAC, ALAC), Ogg and WebM (Vorbis),
/// AIFF, CAF.
///
/// Prints one transcript a file, in the order given. A file that cannot be read is reported and
/// the others are still done; the exit status is then 1.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  crosslatch transcribe talk.mp3\n  \
    crosslatch transcribe --format srt talk.wav > talk.srt\n  \
    crosslatch transcribe --model small --language en *.flac\n  \
    crosslatch transcribe --fallback --condition-on-previous --prompt 'Ada, Charles' interview.mp3\n  \
    crosslatch transcribe --task translate --beam-size 5 --format vtt rede.flac\n  \
    crosslatch transcribe --batch 4 --skip-silence lecture.mp3")]
pub struct Args {
    /// The audio files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The model: a file or folder of Whisper, or a name on the hub, such as tiny.en, small, turbo or
    /// openai/whisper-base, which is downloaded once. If left out, the one that the variable
    /// CROSSLATCH_MODEL names, or the small bundled one, which knows voice commands only.
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// How to write a transcript.
    #[arg(long, default_value = "text", value_parser = ["text", "json", "srt", "vtt", "tsv"])]
    format: String,
    /// How weights are stored: f32, bf16 or int8.
    #[arg(long, value_name = "P", default_value_t)]
    precision: Precision,
    #[command(flatten)]
    limits: LimitArgs,
    /// Threads to use; all cores if left out.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Cut long files where it is quiet and decode so many pieces at a time, which share the
    /// threads. Left out, a long file is followed from one point in time to the next.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: Option<u16>,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    decoding: Decoding,
}

/// Runs the command.
pub fn transcribe(args: &Args) -> Result<(), CommandError> {
    let path = speech_model(args.model.as_deref())?;
    let format: Format = args.format.parse()?;
    let model = open_model(&path, args.file.access(Access::Map))?;
    let at_model = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let pipeline = speech_pipeline(&model).map_err(|e| at_model(&e))?;
    let mut options = Options {
        precision: args.precision,
        memory_limit: args.limits.memory(),
        ..Options::default()
    };
    if let Some(threads) = args.threads {
        options.threads = threads;
    }
    let wanted = args.decoding.options(format);
    pipeline.check(&wanted).map_err(|e| at_model(&e))?;
    let batcher = StepBatcher::new(options.threads);
    if let Some(batch) = args.batch {
        options.threads = (options.threads / usize::from(batch)).max(1);
    }
    let mut speech = Vec::new();
    for _ in 0..args.batch.unwrap_or(1) {
        let model = ExportedSpeechModel::new(&model, options).map_err(|e| at_model(&e))?;
        speech.push(model.batched_by(&batcher));
    }
    let mut transcriber = Transcriber {
        pipeline,
        speech,
        is_batch: args.batch.is_some(),
        options: wanted,
    };
    let mut failed = 0;
    for file in &args.files {
        match transcriber.file(file) {
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

/// What all files share.
struct Transcriber {
    pipeline: SpeechPipeline,
    /// One model for each piece that is decoded at a time.
    speech: Vec<ExportedSpeechModel>,
    is_batch: bool,
    options: TranscribeOptions,
}

impl Transcriber {
    fn file(&mut self, file: &Path) -> Result<Transcript, CommandError> {
        // The reader's errors already name the file.
        let audio = audio::read_file(file, self.pipeline.sample_rate())?;
        if !audio.damage.is_none() {
            eprintln!("warning: {}: {}", file.display(), audio.damage);
        }
        let bar = progress_bar(file, audio.duration());
        let observer = |event: Event<'_>| {
            if let Event::Progress { done, .. } = event {
                bar.set_position(milliseconds(done));
            }
            ControlFlow::Continue(())
        };
        let Transcriber {
            pipeline, options, ..
        } = self;
        let transcript = match self.speech.as_mut_slice() {
            [speech] if !self.is_batch => {
                pipeline.transcribe_with(speech, &audio.samples, options, observer)
            }
            speech => pipeline.transcribe_batch(speech, &audio.samples, options, observer),
        }
        .map_err(|e| format!("{}: {e}", file.display()))?;
        bar.finish_and_clear();
        Ok(transcript)
    }
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

/// A progress bar on standard error if that is a terminal, otherwise a hidden one.
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
