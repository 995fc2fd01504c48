// The options of a transcript: only those that the server's model has.

const $ = id => document.getElementById(id);
const field = id => $(id).parentElement;

let defaults = {};

function nameOf(code) {
  try {
    return new Intl.DisplayNames("en", { type: "language" }).of(code);
  } catch {
    return code;
  }
}

// The name of a language for people.
export const languageName = code => nameOf(code);

// Shows what this model can be asked for.
export function show(model) {
  defaults = model.defaults;
  const { languages } = model;
  // To translate English into English is no choice.
  field("task").hidden = !model.tasks.includes("translate") || String(languages) === "en";
  field("language").hidden = languages.length < 2;
  field("prompt").hidden = !model.prompts;
  const sorted = languages.map(code => [nameOf(code), code]).sort(([a], [b]) => a.localeCompare(b, "en"));
  $("language").replaceChildren($("language").options[0], ...sorted.map(([name, code]) => new Option(name, code)));
  const usual = sorted.find(pair => pair.some(word => word.toLowerCase() === defaults.language?.toLowerCase()));
  $("language").value = usual ? usual[1] : "auto";
  $("skip_silence").checked = defaults.skip_silence !== null;
  $("vad_filter").checked = defaults.vad_filter;
  $("fallback").checked = defaults.fallback;
}

// What the person chose: the last part of the path, and the fields of the form.
export function chosen() {
  const fields = {};
  if (!field("language").hidden) fields.language = $("language").value;
  if (!field("prompt").hidden && $("prompt").value.trim()) fields.prompt = $("prompt").value.trim();
  // The server's own level of silence holds unless the person decides otherwise.
  const choose = (name, usual) => { if ($(name).checked !== usual) fields[name] = String($(name).checked); };
  choose("skip_silence", defaults.skip_silence !== null);
  choose("vad_filter", defaults.vad_filter);
  choose("fallback", defaults.fallback);
  return { task: field("task").hidden ? "transcriptions" : $("task").value, fields };
}

// What the person chose, for a sound that still comes.
export function spoken() {
  const { task, fields: { skip_silence, ...fields } } = chosen();
  return { task: task === "translations" ? "translate" : "transcribe", ...fields };
}
