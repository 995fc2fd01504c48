// The server's interface, as the page uses it.

const KEY = "key";
const KEY_IS_WRONG = 401;
const SOCKET_IS_NEEDED = 426;
// Bytes of sound that may wait to be sent: a minute.
const MOST_UNSENT = 2 << 20;

// What the server refuses, or cannot be asked at all (status 0).
export class Refusal extends Error {
  constructor(status, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

function headers() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: "Bearer " + key } : {};
}

function refusal(status, body, retryAfter) {
  let message;
  try {
    message = JSON.parse(body).error.message;
  } catch {
    message = status ? `the server answered with status ${status}` : "the server cannot be reached";
  }
  return new Refusal(status, message, Number(retryAfter) || null);
}

// Asks something of the server. While it refuses the key, `ask` is called for another one; it
// resolves to null if there is none.
export async function withKey(ask, request) {
  for (;;) {
    try {
      return await request();
    } catch (error) {
      if (error.status !== KEY_IS_WRONG) throw error;
      const key = await ask(sessionStorage.getItem(KEY) ? error.message : "");
      if (key === null) throw error;
      sessionStorage.setItem(KEY, key);
    }
  }
}

// The model: its names, and what it can do.
export async function model() {
  const response = await fetch("v1/models", { headers: headers() }).catch(() => { throw refusal(0); });
  const body = await response.text();
  if (!response.ok) throw refusal(response.status, body);
  return JSON.parse(body).data[0];
}

// The data of the server-sent events in a text, and how much of the text they are.
function events(text, from) {
  const found = [];
  for (let end; (end = text.indexOf("\n\n", from)) >= 0; from = end + 2)
    for (const line of text.slice(from, end).split("\n"))
      if (line.startsWith("data:")) found.push(JSON.parse(line.slice(5)));
  return [found, from];
}

// A key as the name of a protocol, since a page cannot give a socket headers.
function protocols() {
  const key = sessionStorage.getItem(KEY);
  if (!key) return ["crosslatch"];
  const digits = [...new TextEncoder().encode(key)].map(byte => byte.toString(16).padStart(2, "0"));
  return ["crosslatch", "crosslatch-key-" + digits.join("")];
}

// Why a socket did not open, which browsers do not tell: the same question without a socket does.
async function unopened(path) {
  const response = await fetch(path, { headers: headers() }).catch(() => null);
  if (!response || response.ok || response.status === SOCKET_IS_NEEDED)
    return new Refusal(0, "the server cannot be reached by a WebSocket");
  return refusal(response.status, await response.text(), response.headers.get("retry-after"));
}

// A sound that is sent while it comes. `heard` is told of each message of the server's.
export class Stream {
  #socket;
  #ended;

  // Opens it; `start` is the first message.
  static async open(start, heard) {
    const stream = new Stream();
    const path = "v1/audio/stream";
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = stream.#socket = new WebSocket(url, protocols());
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => unopened(path).then(reject);
    });
    stream.#ended = new Promise((resolve, reject) => {
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === "error") reject(new Refusal(200, message.error.message));
        else heard(message);
        if (message.type === "transcript") resolve();
      };
      socket.onerror = socket.onclose = () => reject(new Refusal(200, "the server broke off"));
    });
    // Whoever waits for the end is told.
    stream.#ended.catch(() => {});
    socket.send(JSON.stringify({ type: "start", ...start }));
    return stream;
  }

  // Sends samples; `false` if the connection is too slow for them.
  send(samples) {
    const socket = this.#socket;
    if (socket.readyState !== WebSocket.OPEN) return true;
    if (socket.bufferedAmount > MOST_UNSENT) return false;
    socket.send(samples);
    return true;
  }

  // Says that the sound has ended.
  end() {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type: "end" }));
  }

  // Gives it up.
  close() {
    this.#socket.close();
  }

  // Resolves when all text has come.
  get ended() {
    return this.#ended;
  }
}

// Has a file transcribed. `watch.sent` is told the part of it that has been sent, `watch.begun` that
// the server has begun, and `watch.event` each event of the transcript.
export function transcribe(file, task, fields, watch, signal) {
  signal.throwIfAborted();
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("stream", "true");
  form.append("response_format", "verbose_json");
  form.append("file", file);
  // Unlike `fetch`, this tells how much of a request has been sent.
  const request = new XMLHttpRequest();
  request.open("POST", "v1/audio/" + task);
  for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
  request.upload.onprogress = ({ loaded, total }) => watch.sent(total ? loaded / total : 1);
  return new Promise((resolve, reject) => {
    let [seen, begun, done] = [0, false, false];
    const read = () => {
      if (request.status !== 200) return;
      if (!begun) watch.begun();
      begun = true;
      let found;
      [found, seen] = events(request.responseText, seen);
      for (const event of found) {
        if (event.error) return reject(new Refusal(200, event.error.message));
        watch.event(event);
        done ||= event.type === "transcript.text.done";
      }
    };
    request.onprogress = read;
    request.onload = () => {
      if (request.status !== 200)
        return reject(refusal(request.status, request.responseText, request.getResponseHeader("retry-after")));
      read();
      done ? resolve() : reject(new Refusal(200, "the server broke off"));
    };
    request.onerror = () => reject(refusal(0));
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
