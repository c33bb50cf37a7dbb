"""--column and --format: the columns and the form that a caller chose."""

from __future__ import annotations

import csv
import io

import pytest

from tests.program import Program
from tiktrue_keys.cli.input.table_options import chosen_columns
from tiktrue_keys.cli.view.outcome import Table, When
from tiktrue_keys.cli.view.render import render
from tiktrue_keys.errors import UsageError

TABLE = Table(("key", "decrypts until"), [("a", When(1_800_000_000)), ("=b", When(None))], spare=("key",))


def test_without_a_choice_the_table_stays_as_it_is() -> None:
    assert chosen_columns(TABLE, None) == TABLE


def test_the_chosen_columns_come_in_the_order_of_the_choice_and_none_is_left_out() -> None:
    chosen = chosen_columns(TABLE, ["decrypts-until", "key"])
    assert (chosen.columns, chosen.spare) == (("decrypts until", "key"), ())
    assert list(chosen.rows) == [(When(1_800_000_000), "a"), (When(None), "=b")]


def test_an_unknown_column_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="'expiry'") as refused:
        chosen_columns(TABLE, ["expiry"])
    assert refused.value.hint == "use one of key, decrypts-until"


def test_csv_has_whole_times_and_no_formulas(capsys: pytest.CaptureFixture[str]) -> None:
    render([chosen_columns(TABLE, None, "csv")], color=False)
    assert capsys.readouterr().out == "key,decrypts until\r\na,2027-01-15T08:00:00Z\r\n'=b,\r\n"


@pytest.mark.parametrize("words", [["list"], ["models", "list"], ["fleet", "list"], ["audit", "show"]])
def test_each_command_with_a_list_writes_csv(program: Program, words: list[str]) -> None:
    program.generate("m")
    text = program.ok(*words, "--format", "csv")
    heading, *rows = csv.reader(io.StringIO(text, newline=""))
    assert len(heading) >= 5
    assert all(len(row) == len(heading) for row in rows)
    assert bool(rows) == (words[0] in ("list", "audit"))


def test_one_column_in_a_pipe(program: Program) -> None:
    key_id = program.generate("m").key_id
    assert program.ok("list", "--column", "status", "--column", "key") == f"STATUS  KEY\nactive  {key_id}\n"
    done = program.run("list", "--column", "expiry")
    assert done.returncode == 2
    assert "hint: use one of key, status, generation" in done.stderr
