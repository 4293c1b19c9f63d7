"""How the numbers of a report were measured, in sentences made from the record of its runs."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from icm.evaluation.results import Run
from icm.report.points import Point, measures_of, run_name, series_of, several_attacks, subject_title

Paragraphs = list[tuple[str, list[str]]]
_RATE = (
    "Rates are bits over the pixels of the original, means over images; bpp counts the codec's payload. Codecs are "
    "compared at equal rate by linear interpolation in log(bpp) between the points of each codec, never beyond them."
)
_INTERVALS = (
    "Intervals are 95 % percentile intervals of 2,000 bootstrap resamples of whole images, for the faces of one image "
    "are not independent, unless a measure says otherwise; differences are paired: both codecs have the same resamples."
)
_ATTACK = (
    "The strongest attack on a codec is the one of those measured under which its faces are most exposed at that rate, "
    "picked for each codec, measure and recogniser."
)


def methods(runs: Sequence[Run], points: Sequence[Point]) -> Paragraphs:
    """Headings and the sentences below each: data, codecs, recognisers and attacks, measures, statistics, software."""
    shown = measures_of(points)
    seeds = _listed({str(run.summary["seed"]) for run in runs})
    paragraphs = [
        ("Pictures", _unique(map(_pictures, runs))),
        ("Codecs", [_codec(name, members) for name, members in series_of(points).items()]),
        ("Recognisers, attacks, models", _unique(_others(run) for run in runs)),
        ("Measures", [f"{measure.title[0].upper()}{measure.title[1:]}: {measure.caption}" for measure in shown]),
        (
            "Thresholds and notes",
            [*_unique(note for run in runs for note in run.summary.get("notes", [])), *_notes(points)],
        ),
        ("Comparison", [_RATE, _INTERVALS, *([_ATTACK] if several_attacks(points) else []), f"Seed {seeds}."]),
        ("Software", _unique(map(_software, runs))),
    ]
    return [(heading, sentences) for heading, sentences in paragraphs if sentences]


def provenance(run: Run) -> dict[str, Any]:
    """What one run was made with: its label, folder, checkpoint and whole configuration."""
    config = run.directory / "config.yaml"
    checkpoint = run.summary["parameters"].get("checkpoint_sha256")
    return {
        "label": run.summary["label"],
        "folder": run_name(run),
        "commit": run.summary.get("git_commit") or "unknown",
        "checkpoint": checkpoint,
        "cell": run.summary["cell"],
        "config": config.read_text(encoding="utf-8") if config.is_file() else None,
    }


def _pictures(run: Run) -> str:
    summary = run.summary
    source = f"{_count(summary['images'], 'image')} of {_part(run, summary['source'])}"
    if "faces" in summary:
        source += f"; {_count(summary['faces'], 'face')} found in the originals by {_part(run, summary['detector'])}"
    skipped = len(summary["skipped"])
    return f"{source}; {skipped} skipped. Data {summary['data']}."


def _codec(name: str, members: Sequence[Point]) -> str:
    first = members[0].runs[0].summary
    summaries = [point.runs[0].summary for point in members]
    fixed = {key: value for key, value in first["parameters"].items()
             if all(summary["parameters"].get(key) == value for summary in summaries)}  # fmt: skip
    points = ", ".join(point.short for point in members if point.short)
    settings = _settings(fixed, first["codec_version"])
    return f"{name}{f' at {points}' if points else ''}{f': {settings}' if settings else ''}."


def _others(run: Run) -> str:
    """The parts that look at the coded pictures: all but codec, source and detector."""
    others = [part for part in run.summary["parts"][2:] if part["name"] != run.summary.get("detector")]
    titles = run.summary.get("titles", {})
    return "; ".join(_described(titles.get(part["name"], part["name"]), part) for part in others)


def _part(run: Run, name: str) -> str:
    found = next((part for part in run.summary["parts"][1:] if part["name"] == name), None)
    return name if found is None else _described(name, found)


def _described(title: str, part: dict[str, Any]) -> str:
    settings = _settings(part["parameters"], part["version"])
    return f"{title} ({settings})" if settings else title


def _settings(parameters: dict[str, Any], version: str) -> str:
    named = [f"{name} {_text(value)}" for name, value in parameters.items() if value not in (None, "", {}, [])]
    return ", ".join([*named, *([f"version {version}"] if version else [])])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _notes(points: Sequence[Point]) -> list[str]:
    """What an estimate says of itself, such as the threshold it was taken at; once where it is the same everywhere."""
    found: dict[str, list[str]] = {}
    for measure, subjects in measures_of(points, empty=True).items():
        for subject in subjects:
            notes = [(point, each.note) for point in points if (each := point.estimate(measure.key, subject))]
            for note in dict.fromkeys(note for _, note in notes if note):
                who = subject_title(points, subject)
                where = [point.title for point, other in notes if other == note]
                rows = "" if len(where) == len(notes) else f" ({', '.join(where)})"
                found.setdefault(f"{measure.title}: {note}", []).append(f"{who}{rows}")
    return [f"{text} [{'; '.join(dict.fromkeys(filter(None, who)))}]" if any(who) else text
            for text, who in found.items()]  # fmt: skip


def _software(run: Run) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run.summary.get("versions", {}).items())
    return f"Commit {run.summary.get('git_commit') or 'unknown'}: {versions}."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _unique(sentences: Iterable[str]) -> list[str]:
    return [sentence for sentence in dict.fromkeys(sentences) if sentence]


def _listed(values: Iterable[str]) -> str:
    return ", ".join(sorted(values))
