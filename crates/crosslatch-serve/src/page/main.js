// The page: takes files and recordings, and gives each a place in which its transcript appears.

import { Live } from "./live.js";
import * as options from "./options.js";
import * as server from "./server.js";
import { Recording, decoded } from "./sound.js";
import { Transcript } from "./transcript.js";

const $ = id => document.getElementById(id);
const say = text => { $("status").textContent = text; };

const UNREADABLE = 415;
const QUEUE_IS_FULL = 429;
// What a form has around its file, at most.
const AROUND = 128 << 10;

let model = null;
let asked = null;

// Asks the person for a key, once for all who wait for one.
function ask(note) {
  asked ??= new Promise(resolve => {
    const dialog = $("ask");
    $("ask-note").textContent = note;
    $("key").value = "";
    dialog.returnValue = "";
    dialog.onclose = () => {
      asked = null;
      resolve(dialog.returnValue || null);
    };
    dialog.showModal();
  });
  return asked;
}
$("ask").querySelector("form").onsubmit = event => {
  event.preventDefault();
  $("ask").close($("key").value);
};
$("ask-not").onclick = () => $("ask").close("");

// Gets to know the model, and shows what it can be asked for.
async function meet() {
  if (model) return;
  model = await server.withKey(ask, server.model);
  $("model").textContent = `Speech to text by ${model.id}, on this server.`;
  options.show(model);
  $("listen").hidden = !model.limits.streams;
}

// A pause that ends early, with an error, if the signal says so.
const pause = (seconds, signal) => new Promise((resolve, reject) => {
  setTimeout(resolve, 1000 * seconds);
  signal.addEventListener("abort", () => reject(signal.reason));
});

// The sound of a file as the browser hears it, for a server that cannot take the file as it is.
async function heard(file, why) {
  const sound = await decoded(file).catch(() => { throw new Error(why); });
  if (sound.size + AROUND > model.limits.bytes)
    throw new Error(`${why}; as WAV it is larger still. Cut it, or compress it (MP3, M4A)`);
  return sound;
}

// Has a file transcribed at `place`, as the person's choices say.
async function work(file, place, signal) {
  await meet();
  const { task, fields } = options.chosen();
  const megabytes = (model.limits.bytes / (1 << 20)).toFixed(0);
  const given = file;
  if (file.size + AROUND > model.limits.bytes)
    file = await heard(file, `the file is larger than the ${megabytes} MiB that this server takes`);
  const watch = {
    sent: part => part < 1 ? place.waits("Sending…", part) : place.waits("Waiting for the server…"),
    begun: () => place.begins(),
    event: event => place.takes(event),
  };
  for (;;) {
    try {
      return await server.withKey(ask, () => server.transcribe(file, task, fields, watch, signal));
    } catch (error) {
      if (error.status === QUEUE_IS_FULL) {
        place.waits(`The server is busy; asking again in ${error.retryAfter ?? 5} s`);
        await pause(error.retryAfter ?? 5, signal);
      } else if (error.status === UNREADABLE && file === given) {
        place.waits("Converting…");
        file = await heard(file, error.message);
      } else {
        throw error;
      }
    }
  }
}

// A place for a transcript, with what makes it.
function placed(name, work) {
  const place = new Transcript(name, work, say);
  $("transcripts").prepend(place.element);
  return place;
}

function transcribe(file) {
  const place = placed(file.name, (place, signal) => work(file, place, signal));
  place.hasSound(file);
  return place.run();
}

let recording = null;

// Names what the button does next.
function offer(isRecording) {
  $("record").setAttribute("aria-pressed", String(isRecording));
  $("record").textContent = isRecording ? "Stop and transcribe" : "Record";
}

async function begin() {
  await meet();
  recording = await Recording.begin((seconds, bytes) => {
    say(`Recording… ${Math.floor(seconds)} s`);
    const isFull = bytes + AROUND > model.limits.bytes || seconds >= model.limits.seconds - 1;
    if (isFull && recording) end();
  });
  offer(true);
}

async function end() {
  const ended = recording;
  recording = null;
  offer(false);
  const file = await ended.end();
  say(file ? "" : "Nothing was recorded.");
  if (file) transcribe(file);
}

$("record").onclick = async () => {
  $("record").disabled = true;
  try {
    await (recording ? end() : begin());
  } catch (error) {
    say("No recording: " + error.message);
  }
  $("record").disabled = false;
};

// Ends what is being listened to; null if nothing is.
let stop = null;

// Writes at `place` what is spoken, until the person has it stopped.
async function listen(place, signal) {
  await meet();
  const stopped = new Promise(resolve => { stop = resolve; });
  signal.addEventListener("abort", stop);
  $("listen").setAttribute("aria-pressed", "true");
  $("listen").textContent = "Stop";
  try {
    const live = await Live.begin(place, ask, model.limits, stop);
    await stopped;
    place.waits("Finishing…");
    if (signal.aborted) await live.cancel();
    signal.throwIfAborted();
    const file = await live.end();
    if (file) place.hasSound(file);
  } finally {
    stop = null;
    $("listen").setAttribute("aria-pressed", "false");
    $("listen").textContent = "Write while I speak";
  }
}

$("listen").onclick = () => {
  if (stop) stop();
  else placed(`Spoken at ${new Date().toLocaleTimeString()}`, listen).run();
};

$("file").onchange = () => { [...$("file").files].forEach(transcribe); $("file").value = ""; };
addEventListener("dragover", event => { event.preventDefault(); $("drop").classList.add("over"); });
addEventListener("dragleave", event => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
addEventListener("drop", event => {
  event.preventDefault();
  $("drop").classList.remove("over");
  [...event.dataTransfer.files].forEach(transcribe);
});

meet().catch(error => say(error.message));
