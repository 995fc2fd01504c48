//! Sound that is not read here, converted by the program `ffmpeg`.
//!
//! FFmpeg reads everything, and is a large target: so it is only run where a caller asks for it, in a
//! process of its own, and gets as little as possible. The file is its standard input. It may open
//! nothing else, which a playlist or a file with references would otherwise have it do: no other file,
//! no address. The samples come back by a pipe and are counted; beyond what the caller allows, and
//! after so much time of the processor, the process is ended.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::decode::{self, Wanted};
use super::{Audio, AudioError, Damage};

/// The variable that names the program.
const VARIABLE: &str = "CROSSLATCH_FFMPEG";

/// The most time of the processor that it may take, in seconds.
const SECONDS: &str = "1800";
/// The most bytes that it may allocate at once.
const ALLOCATION: &str = "268435456";
/// The most bytes of a header of WAV.
const MOST_HEADER: u64 = 4 << 10;
/// The most bytes of its messages that are looked at.
const MESSAGES: u64 = 16 << 10;

/// How it is told to read its standard input, and nothing else. The first way lets it jump about in the
/// file; versions before 6 know the second only, where it does so in a copy of its own.
const INPUTS: [&[&str]; 2] = [
    &["-protocol_whitelist", "fd", "-fd", "0", "-i", "fd:"],
    &["-protocol_whitelist", "cache,pipe", "-i", "cache:pipe:0"],
];
/// What a version says that does not know a way.
const UNKNOWN_PROTOCOL: &str = "Unrecognized option 'fd'";

/// The program `ffmpeg`, which reads what this crate does not.
#[derive(Debug, Clone, PartialEq)]
pub struct Ffmpeg {
    program: OsString,
}

impl Ffmpeg {
    /// The program in this file.
    pub fn at(program: impl Into<PathBuf>) -> Self {
        let program = program.into().into_os_string();
        Self { program }
    }

    /// The program that the variable `CROSSLATCH_FFMPEG` names, none if it is empty; if it is not set,
    /// the one called `ffmpeg` in a folder of `PATH`. A relative folder of `PATH` does not count.
    pub fn found() -> Option<Self> {
        if let Some(program) = std::env::var_os(VARIABLE) {
            return (!program.is_empty()).then_some(Self { program });
        }
        let folders = std::env::var_os("PATH")?;
        let name = format!("ffmpeg{}", std::env::consts::EXE_SUFFIX);
        std::env::split_paths(&folders)
            .filter(|folder| folder.is_absolute())
            .map(|folder: PathBuf| folder.join(&name))
            .find(|path| path.is_file())
            .map(|path| Self {
                program: path.into(),
            })
    }

    /// Reads a sound file. `name` is used in messages, and `format`, which says what the file is. If its
    /// channels are wanted, it is converted to WAV, which is then read like any other.
    pub(super) fn read(
        &self,
        file: &File,
        name: &str,
        format: &Option<String>,
        wanted: Wanted,
    ) -> Result<Audio, AudioError> {
        let Wanted {
            rate,
            max_seconds,
            apart,
        } = wanted;
        let most = (max_seconds * f64::from(rate)) as u64;
        let mono = ["-ac", "1", "-f", "f32le"];
        let wav = ["-c:a", "pcm_f32le", "-f", "wav"];
        // All channels together may be as long as one; a header is shorter than this.
        let (form, bytes) = match apart {
            false => (mono, 4 * most),
            true => (wav, 4 * most + MOST_HEADER),
        };
        let error = |cause: String| AudioError::Ffmpeg {
            file: name.to_owned(),
            format: format.clone(),
            cause,
        };
        let run = |input| self.run(file, rate, form, bytes, input).map_err(error);
        let mut output = run(INPUTS[0])?;
        if output.is_failed && output.messages.contains(UNKNOWN_PROTOCOL) {
            output = run(INPUTS[1])?;
        }
        if output.samples.len() as u64 > bytes {
            return Err(AudioError::TooLong {
                file: name.to_owned(),
                seconds: max_seconds,
            });
        }
        if output.is_failed || output.samples.len() < 4 {
            let cause = output.last_message().unwrap_or("it gave no samples");
            return Err(error(cause.to_owned()));
        }
        // It goes on after an error; how often, it does not say.
        let packets = usize::from(output.last_message().is_some());
        if apart {
            let source = Box::new(Cursor::new(output.samples));
            let mut audio = decode::read(source, name, Some("wav"), wanted)?;
            audio.damage.packets += packets;
            return Ok(audio);
        }
        let mut damage = Damage {
            packets,
            ..Damage::default()
        };
        let samples = output.samples.chunks_exact(4).map(|b| {
            let sample = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            damage.silenced_samples += u64::from(!sample.is_finite());
            if sample.is_finite() { sample } else { 0.0 }
        });
        Ok(Audio {
            samples: samples.collect(),
            sample_rate: rate,
            source_rate: rate,
            source_channels: 1,
            channels: Vec::new(),
            damage,
        })
    }

    /// Runs the program, and reads at most one byte more than `most`.
    fn run(
        &self,
        file: &File,
        rate: u32,
        form: [&str; 4],
        most: u64,
        input: &[&str],
    ) -> Result<Output, String> {
        let mut file = file.try_clone().map_err(|e| e.to_string())?;
        file.rewind().map_err(|e| e.to_string())?;
        let mut command = Command::new(&self.program);
        command
            .args(["-nostdin", "-hide_banner", "-loglevel", "error"])
            .args(["-timelimit", SECONDS, "-max_alloc", ALLOCATION])
            .args(input)
            .args(["-map", "0:a:0", "-ar", &rate.to_string()])
            .args(form)
            .arg("pipe:1")
            .stdin(Stdio::from(file))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn();
        let mut child = child
            .map(Running)
            .map_err(|e| format!("it cannot be started: {e}"))?;
        let messages = child
            .0
            .stderr
            .take()
            .map(|pipe| std::thread::spawn(|| text(pipe)));
        let mut samples = Vec::new();
        if let Some(pipe) = &mut child.0.stdout {
            let limit = most.saturating_add(1);
            let read = pipe.take(limit).read_to_end(&mut samples);
            read.map_err(|e| format!("its output cannot be read: {e}"))?;
            if samples.len() as u64 >= limit {
                // It would go on; it is ended here.
                return Ok(Output {
                    samples,
                    messages: String::new(),
                    is_failed: false,
                });
            }
        }
        let status = child.0.wait().map_err(|e| e.to_string())?;
        let messages = messages.and_then(|thread| thread.join().ok());
        Ok(Output {
            samples,
            messages: messages.unwrap_or_default(),
            is_failed: !status.success(),
        })
    }
}

/// What the program wrote.
struct Output {
    /// Samples of four bytes each, or a WAV file of them.
    samples: Vec<u8>,
    messages: String,
    is_failed: bool,
}

impl Output {
    fn last_message(&self) -> Option<&str> {
        let mut lines = self.messages.lines().rev().map(str::trim);
        lines.find(|line| !line.is_empty())
    }
}

/// The beginning of what comes by a pipe; the rest is dropped, so that the writer does not wait.
fn text(pipe: impl Read) -> String {
    let mut text = Vec::new();
    let mut pipe = pipe.take(MESSAGES);
    // What cannot be read is not told.
    let _ = pipe.read_to_end(&mut text);
    let _ = std::io::copy(&mut pipe.into_inner(), &mut std::io::sink());
    String::from_utf8_lossy(&text).into_owned()
}

/// A process that ends when it is no longer needed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // If it has ended already, there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
