// The place of one transcript on the page: its player, its text as it arrives, and what can be done
// with it. Text is only ever added, so that what somebody has selected stays selected.

import { languageName } from "./options.js";
import { FORMATS, clock, written } from "./subtitles.js";

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const button = (text, action, properties = {}) =>
  make("button", { type: "button", textContent: text, onclick: action, ...properties });

export class Transcript {
  #segments = [];
  #cancelling;
  #progress = { seconds: 0, duration: 0 };

  // `work` makes the transcript: it is given this object and a signal that says when to stop.
  constructor(name, work, announce) {
    this.name = name;
    this.work = work;
    this.announce = announce;
    this.silent = true;
    this.player = make("audio", { controls: true, preload: "metadata", hidden: true });
    this.player.setAttribute("aria-label", "Play " + name);
    this.player.onerror = () => this.#cannotPlay();
    this.player.ontimeupdate = () => this.#mark();
    this.text = make("ol", { className: "text" });
    this.text.setAttribute("aria-live", "polite");
    this.bar = make("progress");
    this.bar.setAttribute("aria-label", "Progress of " + name);
    // What is certain and not final, and what may change.
    this.certain = make("span");
    this.tentative = make("span", { className: "tentative" });
    this.current = make("p", { className: "current", hidden: true }, this.certain, this.tentative);
    this.note = make("span", { className: "quiet note" });
    this.cancel = button("Cancel", () => this.#cancelling.abort(), { className: "cancel" });
    this.again = button("Try again", () => this.run(), { hidden: true });
    this.copy = button("Copy", () => this.#copy());
    const saves = FORMATS.map(format => {
      const save = button(format, () => this.#save(format));
      save.setAttribute("aria-label", `Save as ${format}`);
      return save;
    });
    this.actions = make("div", { className: "row", hidden: true }, this.copy, ...saves);
    const title = make("h2", { textContent: name });
    this.element = make("article", {}, make("header", {}, title, this.actions), this.player, this.text,
      this.current, make("div", { className: "row" }, this.bar, this.note, this.cancel, this.again));
    this.element.setAttribute("aria-label", name);
  }

  // Gives it a sound to play.
  hasSound(file) {
    this.player.src = URL.createObjectURL(file);
    this.silent = this.player.hidden = false;
    for (const time of this.text.querySelectorAll(".time")) time.disabled = false;
  }

  // Makes the transcript, from the beginning.
  async run() {
    this.#segments = [];
    this.text.replaceChildren();
    this.#cancelling = new AbortController();
    this.#busy(true);
    this.waits("Waiting…");
    try {
      await this.work(this, this.#cancelling.signal);
      this.announce(`${this.name} is transcribed.`);
    } catch (error) {
      if (this.#cancelling.signal.aborted) this.#tell("Cancelled.");
      else this.#tell(error.message, true);
      this.#show();
      this.again.hidden = false;
      this.announce(`${this.name}: ${this.note.textContent}`);
    }
    this.#busy(false);
  }

  // Says what is being waited for, with the part that is done if that is known.
  waits(text, part = null) {
    this.#tell(part === null ? text : `${text} ${Math.floor(100 * part)} %`);
    if (part === null) this.bar.removeAttribute("value");
    else this.bar.value = part;
  }

  // The server has begun: from here on, speed is measured.
  begins() {
    this.begun = performance.now();
    this.waits("Listening…");
  }

  // An event of the server's stream.
  takes(event) {
    if (event.type === "transcript.progress") this.#proceed(event);
    if (event.type === "transcript.text.segment") this.#add(event);
    if (event.type === "transcript.text.done") this.#finish(event);
  }

  // A message about a sound that still comes.
  hears(message) {
    if (message.type === "started") this.begun = performance.now();
    if (message.type === "text") this.#show(message);
    if (message.type === "segment" && message.text) this.#add(message);
    if (message.type === "transcript") this.#finish(message);
  }

  // Shows what is not final yet.
  #show({ open = "", tentative = "" } = {}) {
    this.certain.textContent = open.trimStart();
    this.tentative.textContent = open ? tentative : tentative.trimStart();
    this.current.hidden = !open && !tentative;
  }

  #proceed({ seconds, duration }) {
    const took = (performance.now() - this.begun) / 1000;
    this.bar.value = duration ? seconds / duration : 0;
    const percent = Math.floor(100 * this.bar.value);
    const speed = seconds / took;
    const left = (duration - seconds) / speed;
    const rest = seconds && took > 1 ? ` · ${speed.toFixed(1)} × real time · ${clock(left)} left` : "";
    this.#tell(`${percent} % of ${clock(duration)}${rest}`);
  }

  #add({ start, end, text }) {
    this.#segments.push({ start, end, text });
    const time = button(clock(start), () => this.#seek(start), { className: "time", disabled: this.silent });
    time.setAttribute("aria-label", `Play from ${clock(start)}`);
    this.text.append(make("li", {}, time, make("span", { textContent: text })));
    this.actions.hidden = false;
  }

  #finish({ text, duration, language }) {
    this.#show();
    const took = (performance.now() - this.begun) / 1000;
    const spoken = language ? ` · ${languageName(language)}` : "";
    this.#tell(text ? `${duration.toFixed(1)} s of sound in ${took.toFixed(1)} s${spoken}` : "Nothing is spoken in it.");
  }

  #tell(text, isFailure = false) {
    this.note.textContent = text;
    this.note.classList.toggle("failed", isFailure);
  }

  #busy(isBusy) {
    this.element.setAttribute("aria-busy", String(isBusy));
    this.bar.hidden = this.cancel.hidden = !isBusy;
    if (isBusy) this.again.hidden = this.actions.hidden = true;
  }

  #cannotPlay() {
    this.silent = true;
    this.player.hidden = true;
    for (const time of this.text.querySelectorAll(".time")) time.disabled = true;
  }

  #seek(seconds) {
    this.player.currentTime = seconds;
    // A sound that cannot be played has told so already.
    this.player.play().catch(() => {});
  }

  // Marks the segment that is being played.
  #mark() {
    const now = this.player.currentTime;
    this.#segments.forEach(({ start, end }, i) => {
      const line = this.text.children[i];
      if (start <= now && now < end) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
    });
  }

  async #copy() {
    // Pages that are not from this machine and not over https have no clipboard; selecting works
    // everywhere.
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(written("txt", this.#segments));
    } else {
      getSelection().selectAllChildren(this.text);
      document.execCommand("copy");
    }
    this.copy.textContent = "Copied";
    setTimeout(() => { this.copy.textContent = "Copy"; }, 2000);
  }

  #save(format) {
    const url = URL.createObjectURL(new Blob([written(format, this.#segments)], { type: "text/plain" }));
    const name = this.name.replace(/\.[^.]*$/, "") || this.name;
    make("a", { href: url, download: `${name}.${format}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
}
