import sys

import pytest

from icm.__main__ import main
from icm.report.dashboard import workspace
from icm.report.figures import series_colors
from icm.report.points import collect_points
from icm.report.wandb_session import run_id


def test_without_the_package_its_name_is_said(sweep_directory, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert main(["dashboard", str(sweep_directory)]) == 1
    assert capsys.readouterr().err == (
        "icm dashboard: the dashboard needs the package wandb-workspaces; run: pip install wandb-workspaces\n"
    )


def test_the_workspace_lays_out_a_review(runs):
    pytest.importorskip("wandb_workspaces", reason="the optional package wandb-workspaces is not installed")
    found = workspace(collect_points(runs), "demo", "icm", "somebody", answer="SA-ICM protects best.")
    sections = {section.name: section.panels for section in found.sections}
    assert list(sections) == [
        "Answer", "Privacy against rate", "Utility against rate", "Privacy against utility", "Faces", "Images", "Sweep",
    ]  # fmt: skip
    assert sections["Answer"][0].markdown == "SA-ICM protects best."
    scatter = sections["Privacy against rate"]
    assert [panel.y.name for panel in scatter] == [
        "cosine_similarity/dlib", "cosine_similarity/arcface", "calibrated_similarity/dlib",
        "calibrated_similarity/arcface",
    ]  # fmt: skip
    assert all(panel.x.name == "bpp" for panel in scatter)
    # What would be sent: only the runs of this sweep, each a dot of its own in the colour of its codec.
    sent = found._to_model().spec.section
    (runset,) = sent.run_sets
    (only,) = runset.filters["filters"]
    assert (only["key"], only["op"], only["value"]) == ({"section": "run", "name": "group"}, "=", "demo")
    assert runset.grouping == []
    colors = series_colors(collect_points(runs))
    drawn = [sent.custom_run_colors[run_id(run.directory)] for run in runs]
    assert drawn == [colors[run.summary["series"]] for run in runs]
    assert len(set(drawn)) == 3


def test_who_is_not_logged_in_is_told_what_to_do(sweep_directory, monkeypatch, capsys):
    pytest.importorskip("wandb_workspaces", reason="the optional package wandb-workspaces is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main(["dashboard", str(sweep_directory)]) == 1
    assert "not logged in to Weights & Biases; run: wandb login" in capsys.readouterr().err
