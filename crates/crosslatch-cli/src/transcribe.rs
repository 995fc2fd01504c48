//! `crosslatch transcribe`: what is said in audio files.

mod decoding;
mod destination;
mod foreign;
mod interrupt;
mod output;
mod screen;
mod work;

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crosslatch::{Access, Options, Precision};
use crosslatch_tasks::{
    AudioError, Event, ExportedSpeechModel, SpeechPipeline, StepBatcher, TranscribeOptions,
    Transcript, audio, speech::transcribe_channels, speech_pipeline,
};

use crate::CommandError;
use crate::limits::{GrammarArgs, LimitArgs};
use crate::model::{FileArgs, open_model, speech_model};
use crate::terminal::{message, printable};
pub use decoding::Decoding;
use decoding::Parts;
pub use foreign::foreign_flag;
use interrupt::on_interrupt;
use output::OutputArgs;
use screen::{Screen, Stopwatch, minutes};
use work::Work;

/// Writes down what is said in audio files: WAV, FLAC, MP3, M4A (AAC, ALAC), Ogg and WebM (Opus,
/// Vorbis), AIFF, CAF; others with the help of ffmpeg.
///
/// Text appears as it is decoded: on standard output, or with --output-dir in a file for each input.
/// A file that cannot be read is reported and the others are still done; the exit status is then 1.
/// Ctrl-C keeps what was decoded so far; the exit status is then 130.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  crosslatch transcribe talk.mp3\n  \
    crosslatch transcribe -o subtitles -f srt,vtt,json *.m4a\n  \
    crosslatch transcribe -m small -l German --format srt talk.wav > talk.srt\n  \
    crosslatch transcribe --fallback --condition-on-previous --prompt 'Ada, Charles' interview.mp3\n  \
    crosslatch transcribe --task translate --beam-size 5 -f vtt --max-line-width 42 rede.flac\n  \
    crosslatch transcribe --batch 4 --vad lecture.mp3")]
pub struct Args {
    /// The audio files; - is standard input. Files of other formats are given to the program
    /// `ffmpeg`, if there is one in PATH; the variable CROSSLATCH_FFMPEG names another, or none.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The model: a file or folder of Whisper, or a name on the hub, such as tiny.en, small, turbo or
    /// openai/whisper-base, which is downloaded once. If left out, the one that the variable
    /// CROSSLATCH_MODEL names, or the small bundled one, which knows voice commands only.
    #[arg(short, long, value_name = "MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    /// How weights are stored: f32, bf16, int8 or int4.
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
    /// Transcribe each channel by itself (at most 8), and put what is spoken in order of time, with the
    /// channel's name in front. Text appears when all channels are done.
    #[arg(long)]
    channels: bool,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    decoding: Decoding,
    #[command(flatten)]
    parts: Parts,
    #[command(flatten)]
    grammar: GrammarArgs,
}

/// Runs the command.
pub fn transcribe(args: &Args) -> Result<(), CommandError> {
    args.output.check();
    let started = Instant::now();
    let path = speech_model(args.model.as_deref(), args.output.quiet)?;
    let model = open_model(&path, &args.file, Access::Map)?;
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
    let wanted = args.decoding.options(args.output.deciding());
    let mut wanted = args.parts.of(wanted);
    wanted.word_timestamps |= args.output.needs_words();
    wanted.grammar = args.grammar.read()?;
    pipeline.check(&wanted).map_err(|e| at_model(&e))?;
    if wanted.needs_words()
        && let Some(why) = ExportedSpeechModel::without_words(&model)
    {
        eprintln!(
            "warning: {}: words have no times, only segments have: {why}",
            path.display()
        );
    }
    let batcher = StepBatcher::new(options.threads);
    if let Some(batch) = args.batch {
        options.threads = (options.threads / usize::from(batch)).max(1);
    }
    let mut speech = Vec::new();
    for _ in 0..args.batch.unwrap_or(1) {
        let model = ExportedSpeechModel::new(&model, options).map_err(|e| at_model(&e))?;
        speech.push(model.batched_by(&batcher));
    }
    let work = Arc::new(Mutex::new(Work::new(
        args.output.destination(&args.files)?,
        args.output.style(),
        args.files.clone(),
        Screen::new(args.output.quiet),
    )));
    let kept = Arc::clone(&work);
    on_interrupt(move || keep(&kept))?;
    if args.output.verbose {
        let opened = started.elapsed().as_secs_f64();
        eprintln!(
            "{}: opened in {opened:.1} s, {}",
            path.display(),
            args.precision
        );
    }
    let mut transcriber = Transcriber {
        pipeline,
        speech,
        is_batch: args.batch.is_some(),
        are_channels_apart: args.channels,
        is_verbose: args.output.verbose,
        options: wanted,
        ffmpeg: audio::Ffmpeg::found(),
        work,
    };
    let mut failed = 0;
    for (index, file) in args.files.iter().enumerate() {
        match transcriber.file(index, file) {
            Ok(()) => {}
            Err(error) if args.files.len() == 1 || crate::is_broken_pipe(&*error) => {
                return Err(error);
            }
            Err(error) => {
                eprintln!("error: {}", message(&error));
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

/// Who is told of what is decoded.
type Observer<'o> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'o;

/// What all files share.
struct Transcriber {
    pipeline: SpeechPipeline,
    /// One model for each piece that is decoded at a time.
    speech: Vec<ExportedSpeechModel>,
    is_batch: bool,
    are_channels_apart: bool,
    is_verbose: bool,
    options: TranscribeOptions,
    /// What reads sound that is not read here.
    ffmpeg: Option<audio::Ffmpeg>,
    work: Arc<Mutex<Work>>,
}

impl Transcriber {
    fn file(&mut self, index: usize, file: &Path) -> Result<(), CommandError> {
        let watch = Stopwatch::start();
        lock(&self.work).reading(index);
        let audio = self
            .read(file)
            .inspect_err(|_| lock(&self.work).screen.clear())?;
        if !audio.damage.is_none() {
            let place = printable(&file.display().to_string());
            let warn = || eprintln!("warning: {place}: {}", audio.damage);
            lock(&self.work).screen.aside(warn);
        }
        lock(&self.work).begin(index, audio.duration())?;
        match self.decode(&audio) {
            Ok(transcript) => {
                lock(&self.work).finish(&transcript)?;
                if self.is_verbose {
                    self.report(file, &audio, &transcript, &watch);
                }
                Ok(())
            }
            // Nobody is there to be told.
            Err(error) if crate::is_broken_pipe(&*error) => Err(error),
            Err(error) => {
                if let Some(place) = lock(&self.work).stop()? {
                    eprintln!("{place}");
                }
                match error.downcast::<io::Error>() {
                    Ok(error) => Err(error),
                    Err(error) => Err(format!("{}: {error}", file.display()).into()),
                }
            }
        }
    }

    /// Reads a sound. The errors name it.
    fn read(&self, file: &Path) -> Result<audio::Audio, CommandError> {
        let options = audio::ReadOptions {
            ffmpeg: self.ffmpeg.clone(),
            apart: self.are_channels_apart,
            ..audio::ReadOptions::default()
        };
        let rate = self.pipeline.sample_rate();
        let audio = if file == Path::new("-") {
            let input = io::stdin().lock();
            if input.is_terminal() {
                return Err("standard input is a terminal; pipe a sound into it".into());
            }
            audio::read_stream("standard input", input, rate, &options)
        } else {
            audio::read_file_with(file, rate, &options)
        };
        audio.map_err(|error| match &error {
            AudioError::Format { .. } | AudioError::NoAudio { .. } if self.ffmpeg.is_none() => {
                format!("{error}; if ffmpeg is installed, it is used for such files").into()
            }
            _ => error.into(),
        })
    }

    /// Decodes a sound. The error is an [`io::Error`] if the text cannot be written.
    fn decode(&mut self, audio: &audio::Audio) -> Result<Transcript, CommandError> {
        let mut failure = None;
        let work = &self.work;
        let observer = |event: Event<'_>| match lock(work).observe(event) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        };
        let (pipeline, options) = (&self.pipeline, &self.options);
        let (speech, is_batch) = (&mut self.speech, self.is_batch);
        let mut transcribe = |samples: &[f32], tell: &mut Observer<'_>| match speech.as_mut_slice()
        {
            [speech] if !is_batch => pipeline.transcribe_with(speech, samples, options, tell),
            speech => pipeline.transcribe_batch(speech, samples, options, tell),
        };
        let mut observer = observer;
        let transcript = match self.are_channels_apart {
            true => transcribe_channels(&audio.channels, observer, transcribe),
            false => transcribe(&audio.samples, &mut observer),
        };
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(transcript?),
        }
    }

    fn report(
        &self,
        file: &Path,
        audio: &audio::Audio,
        transcript: &Transcript,
        watch: &Stopwatch,
    ) {
        let (elapsed, speed) = watch.speed(audio.duration());
        eprintln!(
            "{}: {} of sound, {} Hz, channels: {}, language: {}; {elapsed:.1} s, {speed}",
            printable(&file.display().to_string()),
            minutes(audio.duration()),
            audio.source_rate,
            audio.source_channels,
            transcript.language.as_deref().unwrap_or("unknown"),
        );
    }
}

/// Writes what has been decoded when the process is interrupted, and says where that is.
fn keep(work: &Mutex<Work>) {
    let mut work = lock(work);
    match work.stop() {
        Ok(Some(place)) => eprintln!("{place}"),
        Ok(None) => eprintln!("stopped"),
        Err(error) => eprintln!("error: {}", message(&error)),
    }
    // Whoever else waits for the lock must not begin with the next sound.
    std::mem::forget(work);
}

/// The work, also after a panic of another thread: it is written as far as it got.
fn lock(work: &Mutex<Work>) -> MutexGuard<'_, Work> {
    work.lock().unwrap_or_else(PoisonError::into_inner)
}
