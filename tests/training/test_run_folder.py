"""When a training command may go on in a folder."""

import json

import pytest

from icm.files import WriteError
from icm.training.run_folder import FinishedRunError, RunFolder, RunFolderError

CONFIG = {
    "run": "a",
    "existing": "resume",
    "logger": {"name": "csv"},
    "objective": {"lmbda": 0.05},
    "trainer": {"max_epochs": 3},
}


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin(CONFIG, resuming=False)
    return folder


def test_a_new_and_an_empty_folder_start_at_nothing(tmp_path):
    assert RunFolder(tmp_path / "new").checkpoint_to_resume(CONFIG, "resume") is None
    assert RunFolder(tmp_path).checkpoint_to_resume(CONFIG, "resume") is None


def test_an_interrupted_run_goes_on_from_its_last_checkpoint(folder):
    assert folder.checkpoint_to_resume(CONFIG, "resume") is None
    folder.last.write_bytes(b"weights")
    assert folder.checkpoint_to_resume(CONFIG, "resume") == folder.last
    assert folder.checkpoint_to_resume({**CONFIG, "run": "b", "logger": {"name": "wandb"}}, "resume") == folder.last


def test_a_finished_run_is_refused_unless_told_to_continue(folder):
    folder.last.write_bytes(b"weights")
    folder.finish({"steps": 3})
    with pytest.raises(FinishedRunError, match=r"finished run.*run=NAME.*existing=continue"):
        folder.checkpoint_to_resume(CONFIG, "resume")
    assert folder.checkpoint_to_resume(CONFIG, "continue") == folder.last
    folder.begin(CONFIG, resuming=True)
    assert not folder.finished
    assert folder.last.is_file()


def test_another_configuration_is_refused_naming_what_differs(folder):
    folder.last.write_bytes(b"weights")
    changed = {**CONFIG, "objective": {"lmbda": 0.02}, "masks": {"alpha": 0.78}}
    with pytest.raises(RunFolderError, match=r"objective.lmbda: 0.05 -> 0.02; masks.alpha: None -> 0.78"):
        folder.checkpoint_to_resume(changed, "resume")
    assert folder.checkpoint_to_resume(changed, "continue") == folder.last


def test_a_run_that_never_reached_a_checkpoint_may_be_started_with_other_options(folder):
    assert folder.checkpoint_to_resume({**CONFIG, "objective": {"lmbda": 0.02}}, "resume") is None


def test_a_foreign_folder_is_refused_and_its_files_survive_overwriting(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    folder = RunFolder(tmp_path)
    with pytest.raises(RunFolderError, match=r"thesis.tex.*existing=overwrite"):
        folder.checkpoint_to_resume(CONFIG, "resume")
    with pytest.raises(RunFolderError, match=r"thesis.tex"):
        folder.checkpoint_to_resume(CONFIG, "continue")
    assert folder.checkpoint_to_resume(CONFIG, "overwrite") is None
    folder.begin(CONFIG, resuming=False)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_overwriting_removes_the_earlier_run_and_gives_another_identity(folder):
    for path in (folder.last, folder.best, folder.metrics, folder.directory / "epoch-0005.ckpt"):
        path.write_bytes(b"old")
    folder.finish({})
    origin = json.loads(folder.origin.read_text())
    folder.origin.write_text(json.dumps({**origin, "started": "2020-01-01T00:00:00+00:00"}))
    before = folder.identity()
    assert folder.checkpoint_to_resume(CONFIG, "overwrite") is None
    folder.begin(CONFIG, resuming=False)
    assert sorted(path.name for path in folder.directory.iterdir()) == ["config.yaml", "run.json"]
    assert folder.identity() != before


def test_resuming_keeps_the_identity(folder):
    before = folder.identity()
    folder.begin(CONFIG, resuming=True)
    assert RunFolder(folder.directory).identity() == before


def test_unknown_policy_is_refused(folder):
    with pytest.raises(RunFolderError, match="existing=yes: choose from resume, continue, overwrite"):
        folder.checkpoint_to_resume(CONFIG, "yes")


def test_a_folder_whose_files_cannot_be_removed_is_one_line(tmp_path):
    (tmp_path / "summary.json").mkdir()  # as on a read-only disk; permission bits do not stop root
    with pytest.raises(WriteError, match="cannot be written"):
        RunFolder(tmp_path).begin(CONFIG, resuming=False)
