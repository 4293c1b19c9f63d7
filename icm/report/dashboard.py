"""A saved W&B workspace to review a sweep in: its answer, plots over its runs, tables of faces and images."""

import importlib
from collections.abc import Sequence
from typing import Any

from icm.errors import UserError
from icm.evaluation.measures import Measure, Subject
from icm.report.equal_rate import is_privacy, privacy_measures
from icm.report.points import Point, measures_of, subject_title
from icm.report.wandb import metric_name

PACKAGE = "wandb-workspaces"
Panels = list[Any]


def workspace(points: Sequence[Point], sweep: str, project: str, entity: str, answer: str = "") -> Any:
    """The `wandb_workspaces.workspaces.Workspace` of a sweep; nothing is sent before its ``save()``.

    Args:
        points: Of the sweep, which tell the measures there are.
        sweep: Its name, the group of its runs.
        project, entity: Where its runs are.
        answer: What it found, in a sentence.

    Raises:
        UserError: The package is missing.
    """
    workspaces, panels = _package("workspaces"), _package("reports.v2")
    measures = measures_of(points)
    sections = {
        "Answer": [
            panels.MarkdownPanel(markdown=answer or f"Sweep {sweep}"),
            panels.MediaBrowser(media_keys=["report"]),
        ],
        "Privacy against rate": _scatter(panels, points, [measure for measure in measures if is_privacy(measure)]),
        "Utility against rate": _scatter(panels, points, [measure for measure in measures if not is_privacy(measure)]),
        "Privacy against utility": _trade_offs(panels, points),
        "Faces": [panels.WeavePanelSummaryTable(table_name="faces"), panels.MediaBrowser(media_keys=["figures/strip"])],
        "Images": [panels.WeavePanelSummaryTable(table_name="images")],
        "Sweep": [panels.WeavePanelSummaryTable(table_name="table"), panels.RunComparer(diff_only="split")],
    }
    return workspaces.Workspace(
        name=f"Review of {sweep}",
        entity=entity,
        project=project,
        sections=[
            workspaces.Section(name=name, panels=found, is_open=index < 4)
            for index, (name, found) in enumerate(sections.items())
            if found
        ],
        runset_settings=workspaces.RunsetSettings(
            filters=[workspaces.Metric("Group") == sweep],
            groupby=[workspaces.Summary("series")],
            order=[workspaces.Ordering(workspaces.Summary("bpp"))],
        ),
    )


def _package(module: str) -> Any:
    try:
        return importlib.import_module(f"wandb_workspaces.{module}")
    except ImportError as error:
        raise UserError(f"the dashboard needs the package {PACKAGE}; run: pip install {PACKAGE}") from error


def _scatter(panels: Any, points: Sequence[Point], measures: Sequence[Measure]) -> Panels:
    return [
        panels.ScatterPlot(
            title=_title(points, measure, subject),
            x=panels.SummaryMetric("bpp"),
            y=panels.SummaryMetric(metric_name(measure.key, *subject)),
            log_x=True,
        )
        for measure in measures
        for subject in measures_of(points)[measure]
    ]


def _trade_offs(panels: Any, points: Sequence[Point]) -> Panels:
    shown = measures_of(points)
    return [
        panels.ScatterPlot(
            title=f"{_title(points, private, who)} against {_title(points, useful, model)}",
            x=panels.SummaryMetric(metric_name(useful.key, *model)),
            y=panels.SummaryMetric(metric_name(private.key, *who)),
        )
        for private in privacy_measures(points)[:1]
        for who in shown[private]
        for useful in shown
        if not is_privacy(useful)
        for model in shown[useful]
    ]


def _title(points: Sequence[Point], measure: Measure, subject: Subject) -> str:
    return ", ".join(filter(None, [measure.title, subject_title(points, subject)]))
