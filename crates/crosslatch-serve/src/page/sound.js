// Sound that the browser has to make itself: recordings, and files that the server cannot read.
//
// Recorders of browsers write formats that few programs read, so the microphone's samples are taken
// as they are, at the rate that speech models use. Both kinds of sound become WAV files.

const RATE = 16_000;
const HEAD = 44;

// The sound of a file that the browser can play, as a WAV file.
export async function decoded(file) {
  const context = new OfflineAudioContext(1, 1, RATE);
  const sound = await context.decodeAudioData(await file.arrayBuffer());
  const mono = new Float32Array(sound.length);
  for (let c = 0; c < sound.numberOfChannels; c++)
    sound.getChannelData(c).forEach((x, i) => { mono[i] += x / sound.numberOfChannels; });
  return wav([mono], sound.sampleRate, file.name + ".wav");
}

// One channel of 16-bit samples.
function wav(chunks, rate, name) {
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const view = new DataView(new ArrayBuffer(HEAD));
  const text = (at, s) => [...s].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, HEAD - 8 + 2 * length, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * length, true);
  return new File([view, ...chunks.map(integers)], name, { type: "audio/wav" });
}

// Samples as integers of 16 bits, in little-endian order.
export function integers(samples) {
  const view = new DataView(new ArrayBuffer(2 * samples.length));
  samples.forEach((x, i) => view.setInt16(2 * i, Math.round(32767 * Math.max(-1, Math.min(1, x))), true));
  return view;
}

// The microphone, connected at a speech model's rate, or at its own where a browser insists.
function connected(stream) {
  for (const options of [{ sampleRate: RATE }, {}]) {
    const context = new AudioContext(options);
    try {
      return { context, source: context.createMediaStreamSource(stream) };
    } catch {
      context.close();
    }
  }
  throw new Error("the browser gives no samples of the microphone");
}

// What a microphone hears, from `Recording.begin` to `end`.
export class Recording {
  #chunks = [];
  #length = 0;

  // `heard` is told the seconds and the bytes so far, and the samples that have come.
  static async begin(heard) {
    if (!navigator.mediaDevices)
      throw new Error("browsers give the microphone to pages from localhost or over https only");
    const recording = new Recording();
    recording.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    const { context, source } = connected(recording.stream);
    recording.context = context;
    await context.audioWorklet.addModule(new URL("tap.js", import.meta.url));
    recording.tap = new AudioWorkletNode(context, "tap");
    recording.tap.port.onmessage = ({ data }) => {
      recording.#chunks.push(data);
      recording.#length += data.length;
      heard(recording.#length / context.sampleRate, HEAD + 2 * recording.#length, data);
    };
    source.connect(recording.tap);
    return recording;
  }

  // Samples of a second.
  get rate() {
    return this.context.sampleRate;
  }

  // The file; null if nothing was heard.
  async end() {
    this.tap.port.onmessage = null;
    this.stream.getTracks().forEach(track => track.stop());
    const rate = this.context.sampleRate;
    await this.context.close();
    const name = `Recording at ${new Date().toLocaleTimeString()}.wav`;
    return this.#length ? wav(this.#chunks, rate, name) : null;
  }
}
