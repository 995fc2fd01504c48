"""The tables of a run, in Markdown, from what was written of it (`--json`)."""

import catalogue
import models
from real.words import rate
from spread import shown

#: The least cosine between scores and eager PyTorch's that rounding to a precision explains.
LEAST_COSINE = {"f32": 0.9999, "bf16": 0.98, "int8": 0.95, "int4": 0.8}


def document(run):
    """All tables of a run, with what it was measured on above them."""
    parts = [header(run)]
    for measured in run["models"]:
        size, rows = measured["size"], measured["rows"]
        low, speed, high = measured["memory_gbs"]
        family = models.family(size)
        parts += [f"## {family.title(size)}: {family.WHAT}, {models.STEPS + 1} forced tokens",
                  windows(rows), f"Memory copied at {speed:.0f} ({low:.0f} to {high:.0f}) GB/s."]
        for mode, title in ((catalogue.BATCH, "{} windows at once, decoder part"),
                            (catalogue.BEAMS, "A step with {} beams of one sequence")):
            if lanes := next((row["lanes"] for row in rows if row["mode"] == mode and "lanes" in row), None):
                parts += [f"### {title.format(lanes)}", several(rows, mode)]
        if any("busy" in row for row in rows):
            parts += ["### With a busy neighbour on one core, and the loss", neighbours(rows)]
    if run.get("recording"):
        parts.append(recording(run["recording"]))
    parts.append(footer(run))
    return "\n\n".join(parts)


def header(run):
    on = run["machine"]
    held = f", runtimes held to {run['instructions'].upper()} where they can be" if run["instructions"] else ""
    return (f"{on['processor']}, {on['cores']} cores, {on['memory_gib']} GiB, "
            f"{', '.join(on['instructions'])}; {run['threads']} threads, {run['turns']} turns{held}; "
            f"{run['date']}, commit {run['commit']}.")


def footer(run):
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    unheld = [name for name, is_held in run["held"].items() if not is_held]
    more = f" Nothing holds these to {run['instructions'].upper()}: {', '.join(unheld)}." if unheld else ""
    return f"Median (quartiles). {versions}.{more}"


def table(head, lines):
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|",
                      *(f"| {' | '.join(line)} |" for line in lines)])


def named(row):
    return row["name"] + (", not held" if row.get("not_held") else "") + verdict(row)


def failed(row, width):
    return [row["name"], f"failed: {row['failure'][:120]}".replace("|", "/"), *[""] * (width - 2)]


def verdict(row):
    """Words behind a name: whether the scores are those of the model, as far as the precision lets them."""
    if "cosine" not in row and "same_token" not in row:
        return " (scores not seen)"
    return "" if is_right(row) else " (**wrong scores**)"


def is_right(row):
    if "same_token" in row:
        return row["same_token"] or row["kind"] != "f32"
    return row["cosine"] > LEAST_COSINE[row["kind"]]


def ours(rows, mode):
    """{kind: Crosslatch's row}, of those that ran."""
    return {row["kind"]: row for row in rows
            if row["runtime"] == "engine" and row["mode"] == mode and "failure" not in row}


def windows(rows):
    head = ["runtime", "encoder ms", "first step", "later step", "whole window", "× Crosslatch",
            "to first token", "peak MiB"]
    own, lines = ours(rows, catalogue.ALONE), []
    for row in rows:
        if row["mode"] != catalogue.ALONE:
            continue
        if "failure" in row:
            lines.append(failed(row, len(head)))
            continue
        same = own.get(row["kind"])
        encoder = shown(row["encoder"], 0) if row["encoder"][1] else "in the first step"
        lines.append([
            named(row), encoder, shown(row["first"], 1), shown(row["later"], 2), shown(row["window"], 0),
            f"{row['window'][1] / same['window'][1]:.2f}" if same else "",
            f"{row['to_first_token'][1]:.0f}", f"{row['peak_mib']:.0f}"])
    return table(head, lines)


def several(rows, mode):
    """Of several sequences beside one: decoder parts a second of windows, a later step of beams."""
    is_batch = mode == catalogue.BATCH
    alone = {row["name"]: row for row in rows if row["mode"] == catalogue.ALONE}
    head = ["runtime", *(("windows a second, one", "at once") if is_batch else ("a step with one", "with all")),
            "×", "× Crosslatch"]
    part, digits = ("decoder_per_second", 2) if is_batch else ("later", 2)
    own, lines = ours(rows, mode), []
    for row in rows:
        if row["mode"] != mode:
            continue
        one = alone[row["name"]]
        if failure := row.get("failure") or one.get("failure"):
            lines.append(failed({**row, "failure": failure}, len(head)))
            continue
        same = own.get(row["kind"])
        name = named(row) + ("" if row["encoder"][1] or not is_batch else ", encoder included")
        lines.append([name, shown(one[part], digits), shown(row[part], digits),
                      f"{row[part][1] / one[part][1]:.2f}",
                      f"{row[part][1] / same[part][1]:.2f}" if same else ""])
    return table(head, lines)


def neighbours(rows):
    """Times with a neighbour, and how much longer they are than without."""
    head, lines = ["runtime", "encoder ms", "loss", "later step", "loss", "whole window", "loss"], []
    for row in rows:
        if row["mode"] == catalogue.ALONE and "busy" in row:
            cells = [named(row)]
            for part, digits in (("encoder", 0), ("later", 2), ("window", 0)):
                calm, busy = row[part][1], row["busy"][part]
                loss = f"{busy[1] / calm - 1:+.0%}" if calm else ""
                cells += [shown(busy, digits) if calm else "in the first step", loss]
            lines.append(cells)
    return table(head, lines)


def recording(found):
    """Whole processes over one recording."""
    head = ["program", "search", "whole process s", "× faster-whisper", "processor s", "peak MiB", "×",
            "words wrong"]
    rows = found["rows"]
    best = {(row["kind"], row["search"]): row for row in rows
            if not row["is_ours"] and "failure" not in row}
    lines = []
    for row in rows:
        if "failure" in row:
            lines.append(failed(row, len(head)))
            continue
        same = best.get((row["kind"], row["search"])) if row["is_ours"] else None
        ratio = lambda of: f"{of(row) / of(same):.2f}" if same else ""
        lines.append([
            row["name"], row["search"], shown(row["seconds"], 2), ratio(lambda row: row["seconds"][1]),
            shown(row["processor_seconds"], 1), f"{row['peak_mib']:.0f}", ratio(lambda row: row["peak_mib"]),
            f"{row['wrong']} of {found['words']}, {rate(row['wrong'], found['words'])}"])
    return (f"## A recording of {found['seconds']:.0f} s, {found['model']}\n\n{table(head, lines)}\n\n"
            f"{found['settings']}")
