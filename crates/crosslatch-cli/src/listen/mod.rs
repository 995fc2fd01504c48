//! `crosslatch listen`: what is said while it is said.
//!
//! One thread reads what comes on standard input, and this one decodes; so a decoding that takes long
//! does not hold up a recorder before the channel between them is full. Text that is final goes to
//! standard output, in the format of `transcribe`. What is certain and what may change goes to the
//! terminal, or to standard output as JSON.

mod live;

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use crosslatch::{Access, Options, Precision};
use crosslatch_tasks::audio::{Encoding, PcmFormat, PcmStream};
use crosslatch_tasks::speech::{stream_events, transcript_event};
use crosslatch_tasks::{
    ExportedSpeechModel, Format, SpeechPipeline, SpeechStream, StreamUpdate, Style, Transcript,
    VoiceFilter, Writer, speech_pipeline,
};

use crate::CommandError;
use crate::limits::{GrammarArgs, LimitArgs};
use crate::model::{FileArgs, open_model, speech_model};
use crate::transcribe::Decoding;
use live::Live;

/// Writes down what is said while it is said: sound comes on standard input, from a microphone or
/// another program, as WAV or as raw samples.
///
/// On a terminal one line shows what is certain and, dimmed, what may still change. The text that is
/// final follows when a window of the model's is full, and when the sound ends: it is the text that
/// `crosslatch transcribe` makes of the same sound. With --format json, each line is an object, of the type
/// `text` (`certain` follows what was certain before, `tentative` follows that and may change), `segment`
/// or, at the end, `transcript`. Ctrl-C ends the sound.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  arecord -q -f S16_LE -r 16000 | crosslatch listen -m tiny.en\n  \
    ffmpeg -v error -i rtsp://camera/1 -ac 1 -ar 16000 -f s16le - | crosslatch listen -m small -f srt > live.srt\n  \
    sox -q -d -t f32 -r 48000 -c 2 - | crosslatch listen --encoding f32 --rate 48000 --channels 2 -f json"
)]
pub struct Args {
    /// Where the sound comes from: - is standard input, anything else a file or named pipe.
    #[arg(value_name = "SOURCE", default_value = "-")]
    source: PathBuf,
    /// The model, as for `transcribe`.
    #[arg(short, long, value_name = "MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    sound: SoundArgs,
    /// How to write the text: text, srt, vtt and tsv of what is final, json of all.
    #[arg(short, long, default_value = "text", ignore_case = true, value_parser = formats())]
    format: Format,
    /// Show no text on the terminal before it is final.
    #[arg(short, long)]
    quiet: bool,
    /// How weights are stored: f32, bf16, int8 or int4.
    #[arg(long, value_name = "P", default_value_t)]
    precision: Precision,
    #[command(flatten)]
    limits: LimitArgs,
    /// Threads to use; all cores if left out.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Decode everything. Left out, only speech is decoded, as `transcribe --vad` does, and nothing is
    /// computed while nobody speaks.
    #[arg(long, conflicts_with = "vad")]
    no_vad: bool,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    decoding: Decoding,
    #[command(flatten)]
    grammar: GrammarArgs,
}

/// What the bytes of the sound are, unless they are a WAV file.
#[derive(clap::Args)]
#[command(next_help_heading = "Sound without a header")]
struct SoundArgs {
    /// How a sample is stored, in little-endian order: u8, s16, s24, s32 or f32.
    #[arg(long, value_name = "E", default_value = "s16", ignore_case = true,
          value_parser = encodings())]
    encoding: Encoding,
    /// Samples of a channel per second.
    #[arg(long, value_name = "HZ", default_value_t = 16_000,
          value_parser = clap::value_parser!(u32).range(1_000..=768_000))]
    rate: u32,
    /// Number of channels, of which the mean is decoded.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=64))]
    channels: u8,
}

fn formats() -> impl TypedValueParser<Value = Format> {
    let names = ["json", "srt", "vtt", "tsv"].map(PossibleValue::new);
    let text = PossibleValue::new("text").alias("txt");
    PossibleValuesParser::new([text].into_iter().chain(names)).try_map(|name| name.parse())
}

fn encodings() -> impl TypedValueParser<Value = Encoding> {
    let names = Encoding::NAMES.map(|(name, other, _)| PossibleValue::new(name).alias(other));
    PossibleValuesParser::new(names).try_map(|name| Encoding::named(&name).ok_or("no encoding"))
}

/// Bytes read at a time, at most: a fifth of a second of what recorders write.
const PIECE: usize = 8 << 10;
/// Pieces that may wait for the decoder.
const PIECES: usize = 256;

/// What happens to the sound.
enum Input {
    Bytes(Vec<u8>),
    Failed(io::Error),
    /// Ctrl-C, or the end.
    End,
}

/// Runs the command.
pub fn listen(args: &Args) -> Result<(), CommandError> {
    let path = speech_model(args.model.as_deref(), args.quiet)?;
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
    let mut wanted = args.decoding.options(args.format);
    wanted.grammar = args.grammar.read()?;
    if !args.no_vad {
        wanted.voice.get_or_insert(VoiceFilter::default());
    }
    let stream = pipeline.stream(&wanted).map_err(|e| at_model(&e))?;
    let speech = ExportedSpeechModel::new(&model, options).map_err(|e| at_model(&e))?;
    let name = match args.source.as_os_str() == "-" {
        true => "standard input".to_owned(),
        false => args.source.display().to_string(),
    };
    let raw = PcmFormat {
        encoding: args.sound.encoding,
        rate: args.sound.rate,
        channels: usize::from(args.sound.channels),
    };
    let sound = PcmStream::new(&name, raw, pipeline.sample_rate())?;
    let (sender, inputs) = sync_channel(PIECES);
    end_at_interrupt(sender.clone())?;
    read(args, &name, sender)?;
    let mut listener = Listener {
        pipeline,
        speech,
        stream,
        output: Output {
            is_json: args.format == Format::Json,
            writer: Writer::new(args.format, Style::default()),
            live: Live::new(args.quiet || args.format == Format::Json),
        },
    };
    listener.output.begin()?;
    listener.follow(sound, &inputs)?;
    listener.end()
}

/// Has Ctrl-C end the sound; a second one ends the process.
fn end_at_interrupt(sender: SyncSender<Input>) -> Result<(), CommandError> {
    let is_ending = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if is_ending.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        let sender = sender.clone();
        // There may be no room for it before the decoder is done with what it has.
        std::thread::spawn(move || sender.send(Input::End));
    })?;
    Ok(())
}

/// Starts the thread that reads the sound.
fn read(args: &Args, name: &str, sender: SyncSender<Input>) -> Result<(), CommandError> {
    let mut source: Box<dyn Read + Send> = match args.source.as_os_str() == "-" {
        true if io::stdin().is_terminal() => {
            return Err("standard input is a terminal; pipe a sound into it, as in \
                        `arecord -q -f S16_LE -r 16000 | crosslatch listen`"
                .into());
        }
        true => Box::new(io::stdin()),
        false => {
            let file = std::fs::File::open(&args.source);
            Box::new(file.map_err(|e| format!("{name}: cannot be read: {e}"))?)
        }
    };
    std::thread::Builder::new()
        .name("sound".to_owned())
        .spawn(move || {
            let mut piece = vec![0; PIECE];
            loop {
                let input = match source.read(&mut piece) {
                    Ok(0) => Input::End,
                    Ok(count) => Input::Bytes(piece[..count].to_vec()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Input::Failed(error),
                };
                let is_last = !matches!(input, Input::Bytes(_));
                if sender.send(input).is_err() || is_last {
                    return;
                }
            }
        })?;
    Ok(())
}

/// The decoder and where its text goes.
struct Listener {
    pipeline: SpeechPipeline,
    speech: ExportedSpeechModel,
    stream: SpeechStream,
    output: Output,
}

impl Listener {
    /// Decodes the sound until it ends.
    fn follow(
        &mut self,
        mut sound: PcmStream,
        inputs: &Receiver<Input>,
    ) -> Result<(), CommandError> {
        let mut samples = Vec::new();
        // Whatever has come meanwhile is decoded at once.
        while let Ok(first) = inputs.recv() {
            for input in std::iter::once(first).chain(inputs.try_iter()) {
                match input {
                    Input::Bytes(bytes) => sound.push(&bytes, &mut samples)?,
                    Input::Failed(error) => {
                        return Err(format!("the sound broke off: {error}").into());
                    }
                    Input::End => {
                        sound.finish(&mut samples)?;
                        self.stream.push(&samples)?;
                        return Ok(());
                    }
                }
            }
            self.stream.push(&samples)?;
            samples.clear();
            if self.stream.is_due() {
                let update = self.stream.update(&self.pipeline, &mut self.speech)?;
                self.output.update(&update, self.stream.duration())?;
            }
        }
        Ok(())
    }

    /// Writes what is final when the sound has ended.
    fn end(mut self) -> Result<(), CommandError> {
        let duration = self.stream.duration();
        let (update, transcript) = self.stream.finish(&self.pipeline, &mut self.speech)?;
        self.output.update(&update, duration)?;
        Ok(self.output.end(&transcript)?)
    }
}

/// Where text goes.
struct Output {
    is_json: bool,
    writer: Writer,
    live: Live,
}

impl Output {
    fn begin(&mut self) -> io::Result<()> {
        match self.is_json {
            true => Ok(()),
            false => self.write(self.writer.head()),
        }
    }

    /// Shows what is new after so many seconds of sound.
    fn update(&mut self, update: &StreamUpdate, seconds: f64) -> io::Result<()> {
        if !self.is_json {
            let texts = update.segments.iter().map(|s| self.writer.segment(s));
            let text: String = texts.collect();
            self.live.settle(update);
            return self.write(&text);
        }
        let lines = stream_events(update, seconds);
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.write(&lines)
    }

    fn end(&mut self, transcript: &Transcript) -> io::Result<()> {
        self.live.clear();
        match self.is_json {
            false => Ok(()),
            true => self.write(&format!("{}\n", transcript_event(transcript))),
        }
    }

    /// Writes to standard output at once.
    fn write(&self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.live.aside(|| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        })
    }
}
