//! Opus for symphonia, which finds its packets in Ogg, WebM, MKV and MP4 but does not decode them.
//!
//! `ropus` decodes a packet; here stands what is around it: the identification header, which says how
//! many streams a packet holds and which channel each of them becomes (RFC 7845, section 5.1), and the
//! samples that the encoder put in front, which are dropped. Packets do not depend on what was dropped
//! before them, so a damaged one costs its own length only.

use ropus::OpusMSDecoder;
use symphonia::core::audio::{
    AsGenericAudioBufferRef, AudioBuffer, AudioMut as _, AudioSpec, Channels, GenericAudioBufferRef,
};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{
    AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult,
};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Result, decode_error, unsupported_error};
use symphonia::core::packet::PacketRef;

/// Samples per second of all Opus; headers name another rate only as a memory of the original.
pub(super) const RATE: u32 = 48_000;
/// Most samples of a channel in a packet: 120 ms.
const LONGEST: usize = 5_760;

/// What the identification header says about decoding.
struct Header {
    channels: usize,
    /// Samples to drop at the beginning.
    pre_skip: usize,
    streams: u8,
    /// How many of the streams hold two channels.
    coupled: u8,
    /// For each channel, which of the streams' channels it is.
    mapping: Vec<u8>,
    /// In steps of 1/256 dB.
    gain: i16,
}

/// Length of a header without a table of channels.
const SHORTEST: usize = 19;
/// Length of the same with the numbers of streams.
const WITH_STREAMS: usize = 21;

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < SHORTEST || !bytes.starts_with(b"OpusHead") || bytes[8] > 15 {
            return None;
        }
        let channels = usize::from(bytes[9]);
        let (streams, coupled, mapping) = match (bytes[18], channels) {
            (0, 1) => (1, 0, vec![0]),
            (0, 2) => (1, 1, vec![0, 1]),
            (0, _) | (_, 0) => return None,
            // Family 3 has a matrix where the others have the table.
            (3, _) => return None,
            _ => {
                let table = bytes.get(WITH_STREAMS..WITH_STREAMS + channels)?;
                (bytes[19], bytes[20], table.to_vec())
            }
        };
        Some(Self {
            channels,
            pre_skip: usize::from(u16::from_le_bytes([bytes[10], bytes[11]])),
            streams,
            coupled,
            mapping,
            gain: i16::from_le_bytes([bytes[16], bytes[17]]),
        })
    }
}

/// A decoder of one track.
pub(super) struct Opus {
    parameters: AudioCodecParameters,
    decoder: OpusMSDecoder,
    channels: usize,
    /// Samples of a channel that are still to be dropped.
    skip: usize,
    /// By which samples are multiplied.
    gain: f32,
    decoded: Vec<i16>,
    buffer: AudioBuffer<f32>,
}

const INFO: CodecInfo = CodecInfo {
    short_name: "opus",
    long_name: "Opus",
    profiles: &[],
};

impl Opus {
    fn new(parameters: &AudioCodecParameters) -> Result<Self> {
        let Some(header) = parameters.extra_data.as_deref().and_then(Header::parse) else {
            return unsupported_error(
                "opus: the track has no header that says what its channels are",
            );
        };
        let Header {
            channels,
            streams,
            coupled,
            ..
        } = header;
        let (streams, coupled) = (i32::from(streams), i32::from(coupled));
        let decoder = OpusMSDecoder::new(
            RATE as i32,
            channels as i32,
            streams,
            coupled,
            &header.mapping,
        );
        let Ok(decoder) = decoder else {
            return unsupported_error(
                "opus: the header assigns channels to streams that are not there",
            );
        };
        let mut parameters = parameters.clone();
        parameters.with_sample_rate(RATE);
        let spec = AudioSpec::new(RATE, Channels::Discrete(channels as u16));
        Ok(Self {
            parameters,
            decoder,
            channels,
            skip: header.pre_skip,
            gain: 10_f32.powf(f32::from(header.gain) / (20.0 * 256.0)) / 32_768.0,
            decoded: vec![0; LONGEST * channels],
            buffer: AudioBuffer::new(spec, LONGEST),
        })
    }
}

impl AudioDecoder for Opus {
    fn reset(&mut self) {
        self.buffer.clear();
    }

    fn codec_info(&self) -> &CodecInfo {
        &INFO
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.buffer.clear();
        let length = i32::try_from(packet.data.len()).unwrap_or(0);
        // An empty packet would have the decoder invent sound for one that was lost.
        if length == 0 {
            return decode_error("opus: a packet is empty");
        }
        let most = LONGEST as i32;
        let pcm = &mut self.decoded;
        let frames = self
            .decoder
            .decode(Some(packet.data), length, pcm, most, false);
        let Some(frames) = frames.ok().and_then(|frames| usize::try_from(frames).ok()) else {
            return decode_error("opus: a packet is damaged");
        };
        let frames = frames.min(LONGEST);
        self.buffer.render_uninit(Some(frames));
        for (channel, plane) in self.buffer.iter_planes_mut().enumerate() {
            let samples = self.decoded.iter().skip(channel).step_by(self.channels);
            for (out, sample) in plane.iter_mut().zip(samples) {
                *out = f32::from(*sample) * self.gain;
            }
        }
        let skipped = self.skip.min(frames);
        self.skip -= skipped;
        let end = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
        self.buffer.trim(skipped, end.min(frames - skipped));
        Ok(self.buffer.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}

impl RegisterableAudioDecoder for Opus {
    fn try_registry_new(
        parameters: &AudioCodecParameters,
        _: &AudioDecoderOptions,
    ) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(Opus::new(parameters)?))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        &[SupportedAudioCodec {
            id: CODEC_ID_OPUS,
            info: INFO,
        }]
    }
}
