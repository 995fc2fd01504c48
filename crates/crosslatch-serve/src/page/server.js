// The server's interface, as the page uses it.

const KEY = "key";
const KEY_IS_WRONG = 401;

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
