import pytest

from icm.errors import UserError
from icm.shards import find_shard


@pytest.fixture
def array(monkeypatch):
    def task(number: int, first: int, last: int, count: int) -> None:
        for name, value in (("ID", number), ("MIN", first), ("MAX", last), ("COUNT", count)):
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))

    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    return task


def test_a_task_of_a_slurm_array_takes_its_part_unless_told(array):
    assert find_shard(None) == (0, 1)
    array(3, 0, 7, 8)
    assert find_shard(None) == (3, 8)
    assert find_shard("1/2") == (1, 2)


@pytest.mark.parametrize("numbers", [(2, 1, 8, 8), (5, 0, 5, 2)])
def test_an_array_with_gaps_or_another_start_leaves_no_part_to_nobody(array, numbers):
    array(*numbers)
    with pytest.raises(UserError, match=r"part \d of how many.*shard=\$SLURM_ARRAY_TASK_ID/8"):
        find_shard(None)


@pytest.mark.parametrize("text", ["8/8", "1", "-1/2", "a/b", 3])
def test_what_is_no_part(text):
    with pytest.raises(UserError, match="use INDEX/COUNT"):
        find_shard(text)
