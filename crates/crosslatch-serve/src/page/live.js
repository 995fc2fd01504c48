// Text while somebody speaks: what the microphone hears goes to the server as it comes.

import * as options from "./options.js";
import * as server from "./server.js";
import { Recording, integers } from "./sound.js";

// Seconds of sound that are sent at a time.
const PIECE = 0.1;

// The microphone, and its text at a place on the page.
export class Live {
  #recording;
  #stream;
  #samples = [];
  #length = 0;

  // Begins to listen. `ask` asks for a key, and `full` is called when no more sound is to come.
  static async begin(place, ask, limits, full) {
    const live = new Live();
    live.#recording = await Recording.begin((seconds, bytes, samples) => {
      live.#take(samples);
      place.waits(`Listening… ${Math.floor(seconds)} s`);
      if (seconds >= limits.seconds - 1) full();
    });
    const start = { encoding: "s16", rate: live.#recording.rate, channels: 1, ...options.spoken() };
    try {
      live.#stream = await server.withKey(ask, () => server.Stream.open(start, message => place.hears(message)));
    } catch (error) {
      await live.#recording.end();
      throw error;
    }
    live.#stream.ended.catch(full);
    return live;
  }

  // What came before the socket was open waits for it.
  #take(samples) {
    this.#samples.push(samples);
    this.#length += samples.length;
    if (this.#stream && this.#length >= PIECE * this.#recording.rate) this.#send();
  }

  #send() {
    const all = new Float32Array(this.#length);
    let at = 0;
    for (const samples of this.#samples) {
      all.set(samples, at);
      at += samples.length;
    }
    [this.#samples, this.#length] = [[], 0];
    if (!this.#stream.send(integers(all))) this.#stream.close();
  }

  // Ends the sound, waits for the rest of its text, and resolves to what was heard, as a file.
  async end() {
    this.#send();
    const file = await this.#recording.end();
    this.#stream.end();
    await this.#stream.ended;
    return file;
  }

  // Gives the sound up: no more text comes.
  async cancel() {
    this.#stream.close();
    return this.#recording.end();
  }
}
