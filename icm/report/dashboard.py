"""A saved W&B workspace to review a sweep in: its answer, plots over its runs, tables of faces and images."""

import importlib
from collections.abc import Sequence
from typing import Any

from icm.errors import UserError
from icm.evaluation.measures import Measure, Subject
from icm.report.equal_rate import is_privacy, privacy_measures
from icm.report.figures import series_colors
from icm.report.mirror import metric_name
from icm.report.points import Point, measures_of, subject_title
from icm.report.wandb_session import run_id

PACKAGE = "wandb-workspaces"
LEGEND = "${run:displayName}"
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
    measures, colors = measures_of(points), series_colors(points)
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
            order=[workspaces.Ordering(workspaces.Summary("bpp"))],
            # Grouped runs would be one dot of a scatter plot: a codec is told by the colour it has in the report.
            run_settings={
                run_id(run.directory): workspaces.RunSettings(color=colors[point.series])
                for point in points
                for run in point.runs
            },
            pinned_columns=["summary:title", "summary:bpp", *_headlines(points)],
        ),
    )


def _headlines(points: Sequence[Point]) -> list[str]:
    """The columns of the headline measure."""
    shown = measures_of(points)
    return [
        f"summary:{metric_name(measure.key, *subject)}"
        for measure in privacy_measures(points)[:1]
        for subject in shown[measure]
    ]


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
            legend_template=LEGEND,
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
            legend_template=LEGEND,
        )
        for private in privacy_measures(points)[:1]
        for who in shown[private]
        for useful in shown
        if not is_privacy(useful)
        for model in shown[useful]
    ]


def _title(points: Sequence[Point], measure: Measure, subject: Subject) -> str:
    return ", ".join(filter(None, [measure.title, subject_title(points, subject)]))
