// Segments as files: plain text, SubRip and WebVTT, byte for byte as the server writes them. They
// are written here so that nothing has to be decoded again for a second format.

function time(seconds, alwaysHours, mark) {
  const all = Math.round(1000 * Math.max(0, seconds));
  const two = number => String(number).padStart(2, "0");
  const whole = Math.floor(all / 1000);
  const rest = `${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}${mark}${String(all % 1000).padStart(3, "0")}`;
  const hours = Math.floor(whole / 3600);
  return alwaysHours || hours ? `${two(hours)}:${rest}` : rest;
}

// The segments that have words, each with its text in one line.
function lines(segments) {
  return segments
    .map(({ start, end, text }) => ({ start, end, line: text.split(/\s+/u).filter(Boolean).join(" ") }))
    .filter(({ line }) => line);
}

const escaped = line => line.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const WRITERS = {
  txt: segments => lines(segments).map(({ line }) => line + "\n").join(""),
  srt: segments => lines(segments).map(({ start, end, line }, i) =>
    `${i + 1}\n${time(start, true, ",")} --> ${time(end, true, ",")}\n${line.replaceAll("-->", "->")}\n\n`).join(""),
  vtt: segments => "WEBVTT\n\n" + lines(segments).map(({ start, end, line }) =>
    `${time(start, false, ".")} --> ${time(end, false, ".")}\n${escaped(line)}\n\n`).join(""),
};

export const FORMATS = Object.keys(WRITERS);

export const written = (format, segments) => WRITERS[format](segments);

// A point in time for people: 1:02:03, or 2:03.
export function clock(seconds) {
  const whole = Math.floor(Math.max(0, seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = number => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
