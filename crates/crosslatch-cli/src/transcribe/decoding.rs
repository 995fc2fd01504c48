//! The flags that say how a transcript is decoded.

use crosslatch_tasks::{Format, Task, TranscribeOptions, VoiceFilter};

/// How to decode.
#[derive(clap::Args)]
#[command(next_help_heading = "Decoding")]
pub struct Decoding {
    /// The language spoken, as a code or an English name, such as `de` or `German`; detected where
    /// the model can if left out, or with `auto`.
    #[arg(short, long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// `transcribe` in the language spoken, or `translate` to English.
    #[arg(long, value_name = "TASK", ignore_case = true,
          value_parser = ["transcribe", "translate"])]
    task: Option<String>,
    /// Ask the model for points in time: segments become phrases, and long files are followed by
    /// them. Long files and the formats srt, vtt and tsv ask for them anyway.
    #[arg(long, conflicts_with = "no_timestamps")]
    timestamps: bool,
    /// Do not ask for points in time: one segment a window, long files cut into windows.
    #[arg(long)]
    no_timestamps: bool,
    /// Give segments the times of their words, which --format json writes. Has the model write points
    /// in time as well, unless --no-timestamps forbids it.
    #[arg(long)]
    word_timestamps: bool,
    /// Leave out text that seems invented beside silence of more than so many seconds, by its words (which
    /// then have times as well), and go on behind the silence.
    #[arg(long, value_name = "SECONDS")]
    hallucination_silence_threshold: Option<f64>,
    /// Text that comes before: names and words to be expected.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Names and words to be expected, shown to every window.
    #[arg(long, value_name = "TEXT")]
    hotwords: Option<String>,
    /// Show each window of a long file the text before it; the prompt then moves out of sight.
    #[arg(long)]
    condition_on_previous: bool,
    /// Keep the prompt in front of every window, the text before it behind.
    #[arg(long, requires_all = ["prompt", "condition_on_previous"])]
    keep_prompt: bool,
    /// Follow so many texts at once and take the best; 1 takes the best token at each step.
    #[arg(long, value_name = "N")]
    beam_size: Option<usize>,
    /// Above 0 beams favour longer texts, below 0 shorter ones.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    length_penalty: Option<f32>,
    /// Let beams stop as soon as so many times as many texts have ended as there are beams, as
    /// openai-whisper does; left out, when no better text is to be expected, as in transformers.
    #[arg(long, value_name = "X")]
    patience: Option<f32>,
    /// Write no run of so many tokens twice in a window; 0 allows any.
    #[arg(long, value_name = "N")]
    no_repeat_ngram_size: Option<usize>,
    /// At most so many tokens a window.
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<usize>,
    /// Decode a window again, less and less strictly, while its text repeats itself or is doubted;
    /// leave doubted windows out that the model takes for silent. Short for `--temperature 0,0.2,0.4,0.6,0.8,1
    /// --compression-ratio-threshold 1.35 --logprob-threshold=-1 --no-speech-threshold 0.6`.
    #[arg(long)]
    fallback: bool,
    /// Temperatures to try in turn until a text is good enough. 0 takes the best token, more draws
    /// by chance.
    #[arg(long, value_name = "T", value_delimiter = ',')]
    temperature: Option<Vec<f32>>,
    /// A text whose tokens can be compressed by more than this repeats itself.
    #[arg(long, value_name = "X")]
    compression_ratio_threshold: Option<f32>,
    /// A text whose mean log-probability is below this is doubted.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    logprob_threshold: Option<f32>,
    /// A window is silent if "no speech" is more probable than this; with --logprob-threshold, only
    /// if its text is doubted as well.
    #[arg(long, value_name = "P")]
    no_speech_threshold: Option<f32>,
    /// Draw so many texts at temperatures above 0, and take the most probable.
    #[arg(long, value_name = "N")]
    best_of: Option<usize>,
    /// Where chance begins: the same seed, the same text.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Tokens never to take, by their numbers, in place of those that the model's file names; -1
    /// stands for those.
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    suppress_tokens: Option<Vec<i64>>,
    /// Decode only what a small network hears as speech: noise, music and silence give no text and take
    /// no time. Times stay those of the recording.
    #[arg(long)]
    vad: bool,
    /// Probability of speech, between 0 and 1, from which sound is decoded.
    #[arg(long, value_name = "P", default_value_t = 0.5, requires = "vad")]
    vad_threshold: f32,
    /// Leave out pauses that last at least so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, requires = "vad")]
    vad_min_silence: f64,
    /// Leave out sounds of speech that last less than so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.1, requires = "vad")]
    vad_min_speech: f64,
    /// Decode so many seconds before and after speech as well.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.4, requires = "vad")]
    vad_padding: f64,
}

/// Which parts to decode of a sound that is there as a whole.
#[derive(clap::Args)]
#[command(next_help_heading = "Decoding")]
pub struct Parts {
    /// Decode parts of the sound only, from second to second, as in 0,30,90,120; without a last end,
    /// to the end of the sound.
    #[arg(long, value_name = "START,END", value_delimiter = ',')]
    clip_timestamps: Vec<f64>,
    /// Do not decode a second or more in which the sound stays below this level, in decibels of
    /// full scale.
    #[arg(long, value_name = "DB", num_args = 0..=1, require_equals = true,
          default_missing_value = "-45", allow_negative_numbers = true)]
    skip_silence: Option<f32>,
}

impl Parts {
    /// The options with these parts.
    pub fn of(&self, options: TranscribeOptions) -> TranscribeOptions {
        TranscribeOptions {
            clip_timestamps: self.clip_timestamps.clone(),
            skip_silence: self.skip_silence,
            ..options
        }
    }
}

impl Decoding {
    /// The options for a transcript that will be written in this format, of all of its sound.
    pub fn options(&self, format: Format) -> TranscribeOptions {
        let timestamps = match (self.timestamps, self.no_timestamps) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        let defaults = match self.fallback {
            true => TranscribeOptions::default().with_fallback(),
            false => TranscribeOptions::default(),
        };
        let named = |language: &&String| !language.eq_ignore_ascii_case("auto");
        let language = self.language.as_ref().filter(named);
        TranscribeOptions {
            language: language.cloned(),
            task: self
                .task
                .as_deref()
                .map(|task| match task.eq_ignore_ascii_case("translate") {
                    true => Task::Translate,
                    false => Task::Transcribe,
                }),
            format,
            timestamps,
            word_timestamps: self.word_timestamps,
            hallucination_silence_threshold: self.hallucination_silence_threshold,
            hotwords: self.hotwords.clone(),
            prompt: self.prompt.clone(),
            prompt_always: self.keep_prompt,
            condition_on_previous: self.condition_on_previous.then_some(true),
            max_new_tokens: self.max_new_tokens,
            beam_size: self.beam_size,
            length_penalty: self.length_penalty,
            patience: self.patience,
            no_repeat_ngram_size: self.no_repeat_ngram_size,
            temperatures: self.temperature.clone().unwrap_or(defaults.temperatures),
            compression_ratio_threshold: self
                .compression_ratio_threshold
                .or(defaults.compression_ratio_threshold),
            logprob_threshold: self.logprob_threshold.or(defaults.logprob_threshold),
            no_speech_threshold: self.no_speech_threshold.or(defaults.no_speech_threshold),
            best_of: self.best_of,
            seed: self.seed,
            suppress_tokens: self.suppress_tokens.clone(),
            grammar: None,
            clip_timestamps: Vec::new(),
            skip_silence: None,
            voice: self.vad.then_some(VoiceFilter {
                threshold: self.vad_threshold,
                min_speech: self.vad_min_speech,
                min_silence: self.vad_min_silence,
                padding: self.vad_padding,
            }),
        }
    }
}
