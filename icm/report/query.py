"""SQL over result files: every table of every run in memory, nothing else within reach of a query."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icm.errors import UserError
from icm.evaluation.measures import Subject
from icm.evaluation.results import TEXT_COLUMNS, Run, rows_to_csv
from icm.report.points import run_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Rows = list[tuple[Any, ...]]
_RUN_FIELDS = (
    "codec", "title", "series", "short", "qp", "variant", "source", "detector", "images", "faces", "bpp", "bpp_total",
    "bpp_pooled", "psnr", "lossless_images", "data", "cell", "seed", "git_commit",
)  # fmt: skip
_TEXT = {*TEXT_COLUMNS, "run", "title", "series", "short", "variant", "source", "detector", "data", "cell",
         "git_commit", "measure", "note", "point", "tasks"}  # fmt: skip


def ask(runs: Sequence[Run], sql: str) -> tuple[list[str], Rows]:
    """The heading and the rows of the answer to one SELECT.

    Args:
        runs: Finished runs; their views are ``runs``, ``estimates``, and one for each CSV table they have.
        sql: In DuckDB's dialect. It reads no file and changes nothing.

    Raises:
        UserError: A statement of another kind, or one that DuckDB does not understand, in one line.
    """
    import duckdb

    tables = _tables(runs)
    connection = duckdb.connect(":memory:")
    try:
        for name, rows in tables.items():
            _load(connection, name, rows)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type.name != "SELECT":
            raise UserError(f"SQL: one SELECT is needed; the views are {', '.join(tables)}")
        answer = connection.execute(statements[0])
        return [column[0] for column in answer.description or []], answer.fetchall()
    except duckdb.Error as error:
        reason = " ".join(str(error).split("\n\nLINE")[0].split())
        raise UserError(f"SQL: {reason}; the views are {', '.join(tables)}") from None
    finally:
        connection.close()


def _tables(runs: Sequence[Run]) -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = {"runs": [], "estimates": [], "images": [], "faces": []}
    for run in runs:
        summary: Mapping[str, Any] = run.summary
        head = {"run": run_name(run), "label": summary["label"]}
        point = {"point": json.dumps(summary["point"]), "tasks": " ".join(summary["tasks"])}
        tables["runs"].append({**head, **{name: summary.get(name) for name in _RUN_FIELDS}, **point})
        who = dict.fromkeys(("measure", *Subject._fields))
        tables["estimates"] += [{**head, **who, **entry} for entry in summary["estimates"]]
        for name, rows in run.tables.items():
            tables.setdefault(name, []).extend({**head, **row} for row in rows)
    return {name: rows for name, rows in tables.items() if rows}


def _load(connection: "DuckDBPyConnection", name: str, rows: list[dict[str, Any]]) -> None:
    """Make a table of rows whose columns may differ, by way of a CSV file: DuckDB finds the types of its numbers."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    types = {column: "VARCHAR" for column in columns if column in _TEXT}
    with tempfile.TemporaryDirectory(prefix="icm-query-") as folder:
        path = Path(folder) / "table.csv"
        path.write_text(rows_to_csv(columns, rows), encoding="utf-8")
        connection.read_csv(str(path), header=True, dtype=types, sample_size=-1).create("loaded")
    quoted = '"' + name.replace('"', '""') + '"'
    connection.execute(f"ALTER TABLE loaded RENAME TO {quoted}")
