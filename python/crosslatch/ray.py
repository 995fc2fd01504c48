"""Many files, many machines: transcripts of a whole Ray Data dataset.

Ray handles workers, retries and back-pressure; this module defines a worker, which is one loaded model,
and what it does to a row.  A worker that dies is replaced, and its files are processed again; each row
comes out once, because the unfinished results of a dead worker are dropped with it.  A file that cannot
be read stops nothing: its row comes out with the reason in the column `error`.

`pip install "crosslatch[ray]"` on every machine of the cluster.
"""

from typing import TYPE_CHECKING, Any

import ray.data

from . import Error, Transcriber

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["transcribe"]

Row = dict[str, Any]


def transcribe(
    dataset: "ray.data.Dataset",
    model: "str | PathLike[str]",
    *,
    audio: str = "path",
    workers: "int | tuple[int, int]" = 64,
    threads: int = 2,
    precision: str = "f32",
    files_per_task: int = 4,
    sample_rate: str | None = None,
    **options: Any,
) -> "ray.data.Dataset":
    """Transcribes the sound in each row of a dataset; returns the dataset with more columns.

    `audio` is the column with the sound: file names that every machine can open, contents of files
    (`bytes`, as `ray.data.read_binary_files` reads them), or samples, whose rate is in column
    `sample_rate`.  `model` is a file that every machine can open.  Each worker loads it once and uses
    `threads` cores; `workers` is the largest number of them, or the fewest and the most.  The fewest
    must leave a core of the cluster free for reading rows, or everything waits forever.  A task is
    `files_per_task` rows, the unit that is processed again when a worker dies.  `options` are those of
    `crosslatch.Transcriber.transcribe`.

    New columns: `text`, `language`, `duration` (seconds), `segments` (a list of `start`, `end`, `text`,
    `tokens` and `avg_logprob`) and `error`.  If the sound cannot be transcribed, `error` says why and
    the others are null; otherwise it is null.  Rows come out in any order.
    """
    fewest, most = (1, workers) if isinstance(workers, int) else workers
    return dataset.repartition(target_num_rows_per_block=files_per_task).map(
        _Worker,
        fn_constructor_kwargs={
            "model": str(model),
            "settings": {"precision": precision, "threads": threads},
            "audio": audio,
            "sample_rate": sample_rate,
            "options": options,
        },
        # One task at a time: a task that is queued for one worker could not move to another.
        compute=ray.data.ActorPoolStrategy(
            min_size=fewest, max_size=most, max_tasks_in_flight_per_actor=1),
        num_cpus=_cores(threads),
    )


def _cores(threads: int) -> float:
    """The cores that Ray reserves for a worker: its threads, but never all of a small cluster."""
    cores: float = ray.cluster_resources().get("CPU", 0)
    return max(cores - 1, 0) if 0 < cores <= threads else threads


class _Worker:
    """A loaded model."""

    def __init__(self, model: str, settings: Row, audio: str, sample_rate: str | None,
                 options: Row) -> None:
        self.transcriber = Transcriber(model, **settings)
        self.audio, self.sample_rate, self.options = audio, sample_rate, options

    def __call__(self, row: Row) -> Row:
        rate = () if self.sample_rate is None else (int(row[self.sample_rate]),)
        try:
            transcript = self.transcriber.transcribe(
                row[self.audio], *rate, **self.options).transcript()
        except (Error, OSError) as error:
            return row | dict.fromkeys(("text", "language", "duration", "segments")) | {
                "error": str(error)}
        return row | {
            "text": transcript.text,
            "language": transcript.language,
            "duration": transcript.duration,
            "segments": [
                {
                    "start": segment.start,
                    "end": segment.end,
                    "text": segment.text,
                    "tokens": segment.tokens,
                    "avg_logprob": segment.avg_logprob,
                }
                for segment in transcript.segments
            ],
            "error": None,
        }
