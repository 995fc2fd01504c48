//! Flags of other programs that transcribe, and what they are called here.
//!
//! People come from `whisper`, `whisper-ctranslate2`, `faster-whisper-xxl` or `whisper-cli`, and type
//! what they know. A flag that is similar to none of ours would be refused with no more than that; and
//! some flags of `whisper-cli`, which has one dash before several letters, would be read as a short
//! flag of ours with its value: `-osrt` as a folder `srt`. So the words of the command line are
//! compared with this table before they are read. No flag of ours may stand in it.

use std::ffi::{OsStr, OsString};

use clap::error::ErrorKind;
use clap::{Command, Error};

/// The subcommand whose flags these are.
const COMMAND: &str = "transcribe";

/// Flags of others, and what to do instead.
const FLAGS: &[(&[&str], &str)] = &[
    // What is written, and where.
    (
        &["--output_format"],
        "use --format, as in `--format srt,vtt`",
    ),
    (
        &["--output_dir", "-of", "--output-file"],
        "use --output-dir; files are called like the inputs",
    ),
    (
        &["-otxt", "--output-txt"],
        "use `--format text --output-dir DIR`",
    ),
    (
        &["-osrt", "--output-srt"],
        "use `--format srt --output-dir DIR`",
    ),
    (
        &["-ovtt", "--output-vtt"],
        "use `--format vtt --output-dir DIR`",
    ),
    (
        &["-oj", "-ojf", "--output-json", "--output-json-full"],
        "use `--format json --output-dir DIR`",
    ),
    (
        &[
            "-ocsv",
            "--output-csv",
            "-olrc",
            "--output-lrc",
            "-owts",
            "--output-words",
        ],
        "that format is not written; use `--format tsv` for a table",
    ),
    (
        &["--max_line_width", "-ml", "--max-len"],
        "use --max-line-width, with `--format srt` or vtt",
    ),
    (
        &["--max_line_count"],
        "use --max-line-count, together with --max-line-width",
    ),
    (
        &["--standard", "--standard_asia", "--sentence"],
        "use `--max-line-width 42 --max-line-count 2`",
    ),
    (&["--verbose_json"], "use `--format json`"),
    (
        &[
            "-pp",
            "--print-progress",
            "--print_progress",
            "-ps",
            "-pc",
            "--print-colors",
        ],
        "progress is shown on a terminal; --quiet hides it, --verbose says more",
    ),
    (&["-np", "--no-prints"], "use --quiet"),
    // The model and the machine.
    (
        &[
            "--model_dir",
            "--model_directory",
            "--model_path",
            "--model-path",
            "--model_cache_dir",
        ],
        "name the model's folder or file with --model",
    ),
    (
        &[
            "--device",
            "--device_index",
            "-ng",
            "--no-gpu",
            "-fa",
            "--flash-attn",
            "--backend",
        ],
        "leave it out: the processor computes",
    ),
    (
        &["--fp16", "--compute_type", "--quantization"],
        "use `--precision f32`, bf16, int8 or int4",
    ),
    (&["-t", "--cpu_threads"], "use --threads"),
    (
        &[
            "-p",
            "--processors",
            "--batched",
            "--batch_size",
            "--num_workers",
        ],
        "use --batch, which decodes several pieces of a long file at a time",
    ),
    (
        &["--file", "--input", "-i"],
        "name the files without a flag, as in `crosslatch transcribe talk.mp3`",
    ),
    // The language and the task.
    (&["--lang"], "use --language"),
    (&["-tr", "--translate"], "use `--task translate`"),
    (
        &["-dl", "--detect-language", "--detect_language"],
        "leave --language out: it is detected, and `--format json` names it",
    ),
    (
        &["--initial_prompt", "--initial-prompt"],
        "use --prompt, with names and words to be expected",
    ),
    (
        &["--carry_initial_prompt", "--carry-initial-prompt"],
        "use --keep-prompt, together with --prompt and --condition-on-previous",
    ),
    // Decoding.
    (&["--beam_size", "-bs"], "use --beam-size"),
    (
        &["--best_of", "-bo"],
        "use --best-of, together with --temperature",
    ),
    (&["--suppress_tokens"], "use --suppress-tokens"),
    (
        &["--clip_timestamps", "-ot", "--offset-t", "-d", "--duration"],
        "use --clip-timestamps, in seconds, as in `--clip-timestamps 30,90`",
    ),
    (
        &["--condition_on_previous_text", "-mc", "--max-context"],
        "use --condition-on-previous; without it no window sees the text before it",
    ),
    (
        &[
            "--temperature_increment_on_fallback",
            "-tpi",
            "--temperature-inc",
        ],
        "use --fallback, or list temperatures, as in `--temperature 0,0.2,0.4`",
    ),
    (
        &["-nf", "--no-fallback"],
        "leave it out: a window is decoded once unless --fallback is given",
    ),
    (
        &["--compression_ratio_threshold", "-et", "--entropy-thold"],
        "use --compression-ratio-threshold; it is measured on tokens: 1.35 is usual",
    ),
    (
        &[
            "--logprob_threshold",
            "--log_prob_threshold",
            "--logprob-thold",
        ],
        "use --logprob-threshold, together with --temperature",
    ),
    (
        &["--no_speech_threshold", "-nth", "--no-speech-thold"],
        "use --no-speech-threshold, together with --logprob-threshold",
    ),
    (&["--max_new_tokens"], "use --max-new-tokens"),
    (&["--without_timestamps", "-nt"], "use --no-timestamps"),
    (
        &["--vad_filter", "--vad_method", "--vad-model", "-vm"],
        "use --vad; the network that it needs is built in",
    ),
    (&["--word_timestamps"], "use --word-timestamps"),
    (
        &["--hallucination_silence_threshold"],
        "use --hallucination-silence-threshold",
    ),
    (
        &["--vad_threshold", "-vt"],
        "use --vad-threshold, together with --vad",
    ),
    (
        &[
            "--vad_min_silence_duration_ms",
            "--vad-min-silence-duration-ms",
            "-vsd",
        ],
        "use --vad-min-silence, in seconds, together with --vad",
    ),
    (
        &[
            "--vad_min_speech_duration_ms",
            "--vad-min-speech-duration-ms",
            "-vspd",
        ],
        "use --vad-min-speech, in seconds, together with --vad",
    ),
    (
        &["--vad_speech_pad_ms", "--vad-speech-pad-ms", "-vp"],
        "use --vad-padding, in seconds, together with --vad",
    ),
    (&["--length_penalty"], "use --length-penalty"),
    (&["--no_repeat_ngram_size"], "use --no-repeat-ngram-size"),
    (
        &["--highlight_words"],
        "use --highlight-words, with `--format srt` or vtt",
    ),
    (
        &["--max_words_per_line", "-sow", "--split-on-word"],
        "use --max-words-per-line, with `--format srt` or vtt",
    ),
    (
        &["-di", "--diarize", "-tdrz", "--tinydiarize"],
        "use --channels if each speaker has a channel; otherwise speakers are not told apart",
    ),
];

/// The refusal of a command line that has a flag of another program, as wrong usage with a tip;
/// `None` if it has none.
pub fn foreign_flag(words: &[OsString], mut command: Command) -> Option<Error> {
    let mut words = words.iter().skip(1).map(OsString::as_os_str);
    if words.next() != Some(OsStr::new(COMMAND)) {
        return None;
    }
    // What follows two dashes is the name of a file.
    let mut flags = words.take_while(|word| *word != "--");
    let (flag, tip) = flags.find_map(|word| {
        let word = word.to_str()?;
        let flag = word.split_once('=').map_or(word, |(flag, _)| flag);
        Some((flag.to_owned(), tip(flag)?))
    })?;
    command.build();
    let command = command.find_subcommand_mut(COMMAND)?;
    let message = format!("`{flag}` is a flag of another program\n\n  tip: {tip}");
    Some(command.error(ErrorKind::UnknownArgument, message))
}

fn tip(flag: &str) -> Option<&'static str> {
    let row = FLAGS.iter().find(|(theirs, _)| theirs.contains(&flag));
    row.map(|&(_, tip)| tip)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::Cli;

    fn refusal(line: &str) -> Option<String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        foreign_flag(&words, Cli::command()).map(|e| e.to_string())
    }

    #[test]
    fn a_flag_of_another_program_gets_a_tip() {
        let said = refusal("crosslatch transcribe a.wav --output_format=srt").unwrap();
        assert!(said.contains("`--output_format`") && said.contains("tip: use --format"));
        assert!(refusal("crosslatch transcribe a.wav -osrt").is_some());
        assert!(refusal("crosslatch transcribe a.wav -- -osrt").is_none());
        assert!(refusal("crosslatch generate --beam_size 2").is_none());
    }

    #[test]
    fn tips_name_flags_that_exist_and_no_flag_of_ours_is_refused() {
        let mut cli = Cli::command();
        cli.build();
        let command = cli.find_subcommand(COMMAND).unwrap();
        let long: Vec<String> = command
            .get_arguments()
            .filter_map(|a| a.get_long().map(|name| format!("--{name}")))
            .collect();
        let short: Vec<String> = command
            .get_arguments()
            .filter_map(|a| a.get_short().map(|name| format!("-{name}")))
            .collect();
        for (theirs, tip) in FLAGS {
            let words = tip.split([' ', '`', ',', ';', ':']);
            for named in words.filter(|word| word.starts_with("--")) {
                assert!(long.contains(&named.to_owned()), "{named} in {tip:?}");
            }
            for flag in *theirs {
                assert!(!long.contains(&(*flag).to_owned()), "{flag} is ours");
                assert!(!short.contains(&(*flag).to_owned()), "{flag} is ours");
            }
        }
        let mut all: Vec<&str> = FLAGS
            .iter()
            .flat_map(|(flags, _)| *flags)
            .copied()
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a flag stands in two rows");
    }
}
