//! `crosslatch serve`: transcripts over HTTP.

use std::path::{Path, PathBuf};

use crosslatch::{Access, Options, Precision};
use crosslatch_serve::{Config, Hosts, Limits, Origin, Patience, Server};
use crosslatch_tasks::{TranscribeOptions, VoiceFilter};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::CommandError;
use crate::limits::LimitArgs;
use crate::model::{FileArgs, open_model, speech_model};

/// Environment variable for the key, because other users can read the command line.
const KEY: &str = "CROSSLATCH_API_KEY";

/// The names of OpenAI's models for speech, one of which its clients ask for.
const ALIASES: [&str; 4] = [
    "whisper-1",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-transcribe",
];

/// How the names of model files end.
const EXTENSIONS: [&str; 2] = [".pt2", ".bin"];

/// Answers HTTP requests for transcripts, by OpenAI's interface.
///
/// POST /v1/audio/transcriptions and /v1/audio/translations, a WebSocket for sound that still comes at
/// /v1/audio/stream, GET /v1/models, /health, /metrics and /openapi.json; a page for people at /. At SIGTERM or an interrupt it finishes what it has accepted.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  crosslatch serve --model turbo\n  \
    curl http://127.0.0.1:8000/v1/audio/transcriptions -F file=@talk.mp3\n  \
    RUST_LOG=debug crosslatch serve --model whisper.pt2 --workers 2 --queue 32\n\n\
    RUST_LOG says what is logged to standard error: a level, or target=level,…")]
pub struct Args {
    /// The model: a file or folder of Whisper, or a name on the hub, such as tiny.en, small, turbo or
    /// openai/whisper-base, which is downloaded once. If left out, the one that the variable
    /// CROSSLATCH_MODEL names, or the small bundled one, which knows voice commands only.
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// The name that clients call it by; the file's if left out.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Further names that clients may call it by, which replace those that OpenAI's clients use.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values = ALIASES)]
    alias: Vec<String>,
    /// How weights are stored: f32, bf16, int8 or int4.
    #[arg(long, value_name = "P", default_value_t)]
    precision: Precision,
    #[command(flatten)]
    limits: LimitArgs,
    /// The address to listen at; 0.0.0.0 is every one of this machine.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,
    /// A name that this server is asked by, beside this machine's own. On loopback no other is
    /// answered; elsewhere any is, until one is named here. May be given several times.
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    allow_host: Vec<String>,
    /// The origin of a page of another host that may use this server from a browser, such as
    /// https://voice.example, or * for any page. May be given several times.
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<Origin>,
    /// The port to listen at; 0 takes a free one.
    #[arg(long, value_name = "N", default_value_t = 8000)]
    port: u16,
    /// Requests decoded at a time; as many as there are cores if left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    /// Threads for each of them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Requests that may wait beside those; more are answered 429.
    #[arg(long, value_name = "N", default_value_t = 64)]
    queue: u16,
    /// Sounds that are listened to at a time while they still come; 0 takes none.
    #[arg(long, value_name = "N", default_value_t = 16)]
    streams: u16,
    /// The largest request, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 25 << 20)]
    max_body: usize,
    /// The longest sound, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    max_seconds: u32,
    /// The key that clients have to send; CROSSLATCH_API_KEY says the same, and not to everybody
    /// who lists processes.
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    #[command(flatten)]
    defaults: Defaults,
    #[command(flatten)]
    file: FileArgs,
    /// Log nothing.
    #[arg(long)]
    quiet: bool,
}

/// How to decode where a request does not say.
#[derive(clap::Args)]
#[command(next_help_heading = "Decoding, where a request does not say")]
struct Defaults {
    /// The language spoken, such as `en`; detected where the model can if left out.
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// Follow so many texts at once and take the best; 1 takes the best token at each step.
    #[arg(long, value_name = "N")]
    beam_size: Option<usize>,
    /// Decode a window again, less and less strictly, while its text repeats itself or is doubted;
    /// leave doubted windows out that the model takes for silent.
    #[arg(long)]
    fallback: bool,
    /// Do not decode a second or more in which the sound stays below this level, in decibels of
    /// full scale.
    #[arg(long, value_name = "DB", num_args = 0..=1, require_equals = true,
          default_missing_value = "-45", allow_negative_numbers = true)]
    skip_silence: Option<f32>,
    /// Decode only what a small network hears as speech.
    #[arg(long)]
    vad: bool,
}

impl Defaults {
    fn options(&self) -> TranscribeOptions {
        let options = TranscribeOptions {
            language: self.language.clone(),
            beam_size: self.beam_size,
            skip_silence: self.skip_silence,
            voice: self.vad.then(VoiceFilter::default),
            ..TranscribeOptions::default()
        };
        match self.fallback {
            true => options.with_fallback(),
            false => options,
        }
    }
}

/// Runs the command.
pub fn serve(args: &Args) -> Result<(), CommandError> {
    if !args.quiet {
        log()?;
    }
    let path = speech_model(args.model.as_deref(), args.quiet)?;
    let at_model = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    // The server runs for long, so it maps only a file that nobody else may change.
    let model = open_model(&path, &args.file, Access::MapOwn)?;
    let config = Config {
        name: args.name.clone().unwrap_or_else(|| name_of(&path)),
        aliases: args.alias.clone(),
        defaults: args.defaults.options(),
        workers: match args.workers {
            Some(workers) => workers.into(),
            None => std::thread::available_parallelism().map_or(1, |n| n.get()),
        },
        queue: args.queue.into(),
        streams: args.streams.into(),
        limits: Limits {
            body: args.max_body,
            seconds: args.max_seconds.into(),
        },
        api_key: key(args)?,
        hosts: match &args.allow_host[..] {
            [] => Hosts::ByAddress,
            names => Hosts::Named(names.to_vec()),
        },
        origins: args.allow_origin.clone(),
        patience: Patience::default(),
    };
    let options = Options {
        threads: args.threads.into(),
        precision: args.precision,
        memory_limit: args.limits.memory(),
        ..Options::default()
    };
    let server =
        Server::bind(&model, options, config, &args.host, args.port).map_err(
            |error| match error {
                crosslatch_serve::ServeError::Model(error) => at_model(&error),
                other => other.to_string(),
            },
        )?;
    if !args.quiet || args.port == 0 {
        eprintln!("listening at http://{}", server.address()?);
    }
    Ok(server.run()?)
}

/// The name of a model by its file or folder: `whisper` of `whisper.pt2`, `whisper-tiny.en` of a
/// folder that is called so.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let bare = EXTENSIONS.iter().find_map(|end| name.strip_suffix(end));
    match bare.unwrap_or(&name) {
        "" => "model".to_owned(),
        name => name.to_owned(),
    }
}

/// The key that clients have to send, if any.
fn key(args: &Args) -> Result<Option<String>, CommandError> {
    let key = args.api_key.clone().or_else(|| std::env::var(KEY).ok());
    match key {
        Some(key) if key.is_empty() => {
            Err("the API key is empty; leave it out, or give one".into())
        }
        key => Ok(key),
    }
}

/// Logs to standard error what `RUST_LOG` says, by default messages of level `info`.
fn log() -> Result<(), CommandError> {
    let wanted = match std::env::var("RUST_LOG") {
        Ok(wanted) => wanted.parse().map_err(|e| format!("RUST_LOG: {e}"))?,
        Err(_) => Targets::new().with_default(tracing_subscriber::filter::LevelFilter::INFO),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(lines)
        .with(wanted)
        .init();
    Ok(())
}
