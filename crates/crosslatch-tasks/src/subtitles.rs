//! A transcript as text, JSON, SubRip, WebVTT or tab-separated values.
//!
//! The five formats are written the way openai-whisper and faster-whisper write them, so that a
//! file from one tool can replace a file from another. Plain text has one line for each segment;
//! JSON has the text, the language and the numbered segments; SRT and VTT have one cue for each
//! segment, TSV one row. A segment without words makes no cue. Whatever a model writes stays text:
//! line breaks become spaces (an empty line would end a cue), and what a player would read as
//! markup or as an arrow is escaped or replaced.

use std::fmt::Write as _;
use std::str::FromStr;

use serde::Serialize;

use crate::transcript::{Segment, Transcript};

/// A format for a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One line for each segment.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
    /// Tab-separated values.
    Tsv,
}

/// A name other than `text`, `json`, `srt`, `vtt` and `tsv`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {0:?}; expected text, json, srt, vtt or tsv")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name.to_ascii_lowercase().as_str() {
            "text" | "txt" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            "srt" => Ok(Format::Srt),
            "vtt" => Ok(Format::Vtt),
            "tsv" => Ok(Format::Tsv),
            _ => Err(UnknownFormat(name.to_owned())),
        }
    }
}

impl Format {
    /// The transcript as the contents of a file, which ends in a line break unless it is empty.
    pub fn write(self, transcript: &Transcript) -> String {
        match self {
            Format::Text => text(transcript),
            Format::Json => json(transcript),
            Format::Srt => srt(transcript),
            Format::Vtt => vtt(transcript),
            Format::Tsv => tsv(transcript),
        }
    }

    /// Whether each entry says when it is spoken, so that the model should write timestamps.
    pub fn needs_timestamps(self) -> bool {
        matches!(self, Format::Srt | Format::Vtt | Format::Tsv)
    }
}

/// The cues of a transcript: start, end, and the text in one line.
fn lines(transcript: &Transcript) -> impl Iterator<Item = (f64, f64, String)> + '_ {
    transcript.segments.iter().filter_map(|segment| {
        let words: Vec<&str> = segment.text.split_whitespace().collect();
        (!words.is_empty()).then(|| (segment.start, segment.end, words.join(" ")))
    })
}

/// One line for each segment.
fn text(transcript: &Transcript) -> String {
    lines(transcript).fold(String::new(), |mut out, (_, _, line)| {
        out.push_str(&line);
        out.push('\n');
        out
    })
}

/// One JSON object: `text`, `language`, `duration`, and `segments` with `id`, `seek`, `start`,
/// `end`, `text`, `tokens`, `avg_logprob`, `compression_ratio`, `no_speech_prob`, `temperature` and
/// `complete`. Times are in seconds.
fn json(transcript: &Transcript) -> String {
    #[derive(Serialize)]
    struct Numbered<'a> {
        id: usize,
        #[serde(flatten)]
        segment: &'a Segment,
    }
    #[derive(Serialize)]
    struct Document<'a> {
        text: &'a str,
        language: Option<&'a str>,
        duration: f64,
        segments: Vec<Numbered<'a>>,
    }
    let segments = transcript.segments.iter().enumerate();
    let document = Document {
        text: &transcript.text,
        language: transcript.language.as_deref(),
        duration: transcript.duration,
        segments: segments
            .map(|(id, segment)| Numbered { id, segment })
            .collect(),
    };
    // The document consists of strings, numbers and lists, all of which JSON can hold.
    let mut out = serde_json::to_string_pretty(&document).unwrap_or_default();
    out.push('\n');
    out
}

/// SubRip: numbered cues, with hours always written and a comma before the milliseconds.
fn srt(transcript: &Transcript) -> String {
    let mut out = String::new();
    for (index, (start, end, line)) in lines(transcript).enumerate() {
        let (start, end) = (timestamp(start, true, ','), timestamp(end, true, ','));
        let line = line.replace("-->", "->");
        // Writing to a `String` does not fail.
        let _ = write!(out, "{}\n{start} --> {end}\n{line}\n\n", index + 1);
    }
    out
}

/// WebVTT: hours are written only where there are any, a point stands before the milliseconds, and
/// `&`, `<` and `>` are escaped.
fn vtt(transcript: &Transcript) -> String {
    let mut out = String::from("WEBVTT\n\n");
    for (start, end, line) in lines(transcript) {
        let (start, end) = (timestamp(start, false, '.'), timestamp(end, false, '.'));
        let line = line
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let _ = write!(out, "{start} --> {end}\n{line}\n\n");
    }
    out
}

/// Rows of start, end (both in whole milliseconds) and text, below a row of column names.
fn tsv(transcript: &Transcript) -> String {
    let mut out = String::from("start\tend\ttext\n");
    for (start, end, line) in lines(transcript) {
        let (start, end) = (milliseconds(start), milliseconds(end));
        let _ = writeln!(out, "{start}\t{end}\t{line}");
    }
    out
}

/// The nearest millisecond. Negative times and NaN become zero.
fn milliseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1_000.0).round() as u64
}

/// `[HH:]MM:SS` and, after `mark`, the milliseconds. Negative times and NaN are written as zero.
fn timestamp(seconds: f64, always_hours: bool, mark: char) -> String {
    let milliseconds = milliseconds(seconds);
    let (whole, milliseconds) = (milliseconds / 1_000, milliseconds % 1_000);
    let (hours, minutes, seconds) = (whole / 3_600, whole / 60 % 60, whole % 60);
    let rest = format!("{minutes:02}:{seconds:02}{mark}{milliseconds:03}");
    if always_hours || hours > 0 {
        format!("{hours:02}:{rest}")
    } else {
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript() -> Transcript {
        let segment = |start, end, text: &str| Segment {
            seek: 0,
            start,
            end,
            text: text.to_owned(),
            tokens: vec![7, 8],
            avg_logprob: -0.25,
            compression_ratio: 1.0,
            no_speech_prob: None,
            temperature: 0.0,
            complete: true,
        };
        Transcript {
            text: "Tom & <Jerry>\n\n1 --> 2 end".to_owned(),
            language: Some("en".to_owned()),
            duration: 3_661.5,
            segments: vec![
                segment(0.0, 30.0, "Tom & <Jerry>\n\n1 --> 2"),
                segment(30.0, 60.0, "  "),
                segment(3_600.0, 3_661.5, "end"),
            ],
        }
    }

    #[test]
    fn timestamps_round_to_the_nearest_millisecond_and_carry() {
        for (seconds, short, long) in [
            (0.0, "00:00.000", "00:00:00,000"),
            (0.0004, "00:00.000", "00:00:00,000"),
            (0.0006, "00:00.001", "00:00:00,001"),
            (59.9994, "00:59.999", "00:00:59,999"),
            (59.9996, "01:00.000", "00:01:00,000"),
            (3599.9999, "01:00:00.000", "01:00:00,000"),
            (3_600.0, "01:00:00.000", "01:00:00,000"),
            (86_399.5, "23:59:59.500", "23:59:59,500"),
            (360_000.25, "100:00:00.250", "100:00:00,250"),
            (-1.0, "00:00.000", "00:00:00,000"),
            (f64::NAN, "00:00.000", "00:00:00,000"),
        ] {
            assert_eq!(timestamp(seconds, false, '.'), short);
            assert_eq!(timestamp(seconds, true, ','), long);
        }
    }

    #[test]
    fn text_has_a_line_for_each_segment() {
        assert_eq!(
            Format::Text.write(&transcript()),
            "Tom & <Jerry> 1 --> 2\nend\n"
        );
    }

    #[test]
    fn srt_numbers_its_cues_and_replaces_arrows() {
        assert_eq!(
            Format::Srt.write(&transcript()),
            "1\n00:00:00,000 --> 00:00:30,000\nTom & <Jerry> 1 -> 2\n\n\
             2\n01:00:00,000 --> 01:01:01,500\nend\n\n"
        );
    }

    #[test]
    fn vtt_escapes_markup() {
        assert_eq!(
            Format::Vtt.write(&transcript()),
            "WEBVTT\n\n00:00.000 --> 00:30.000\nTom &amp; &lt;Jerry&gt; 1 --&gt; 2\n\n\
             01:00:00.000 --> 01:01:01.500\nend\n\n"
        );
    }

    #[test]
    fn tsv_has_milliseconds_and_one_row_for_each_segment() {
        assert_eq!(
            Format::Tsv.write(&transcript()),
            "start\tend\ttext\n0\t30000\tTom & <Jerry> 1 --> 2\n3600000\t3661500\tend\n"
        );
    }

    #[test]
    fn json_holds_everything() {
        let value: serde_json::Value =
            serde_json::from_str(&Format::Json.write(&transcript())).unwrap();
        assert_eq!(value["language"], "en");
        assert_eq!(value["segments"][2]["id"], 2);
        assert_eq!(value["segments"][2]["start"], 3_600.0);
        assert_eq!(value["segments"][0]["tokens"], serde_json::json!([7, 8]));
        assert_eq!(value["segments"][0]["avg_logprob"], -0.25);
    }

    #[test]
    fn formats_are_known_by_name() {
        assert_eq!("SRT".parse(), Ok(Format::Srt));
        assert!(
            "docx"
                .parse::<Format>()
                .unwrap_err()
                .to_string()
                .contains("vtt")
        );
    }
}
