from __future__ import annotations

from pathlib import Path

from ukmod.kmod.depmod.config import DEFAULT, DepmodConfig, load_config


def config(directory: Path, text: str, log: list[str] | None = None) -> DepmodConfig:
    (directory / "a.conf").write_text(text)
    keep = [] if log is None else log
    return load_config("6.1.0-x", [str(directory)], lambda _priority, message: keep.append(message))


def test_nothing_written_is_the_default(tmp_path: Path) -> None:
    assert load_config("6.1", [str(tmp_path), "/nonexistent"]) == DEFAULT


def test_the_last_line_is_asked_first(tmp_path: Path) -> None:
    got = config(tmp_path, "search updates built-in\nsearch extra\noverride a 6.1 x\noverride b * y\n")
    assert got.searches == ("extra", "built-in", "updates")
    assert got.overrides == ("y/b", "x/a")


def test_kernels_are_matched_by_an_unanchored_expression(tmp_path: Path) -> None:
    got = config(tmp_path, "external ^6\\\\.1 /yes\nexternal 5 /no\nexternal ( /bad\nexternal * /all\n")
    assert got.externals == ("/all", "/yes")


def test_lines_are_joined_commented_and_complained_about(tmp_path: Path) -> None:
    log: list[str] = []
    got = config(tmp_path, "# search no\nexclude a \\\n b\noverride only\nwhat\nmake_map_files no\n", log)
    assert got.excludes == {"a", "b"}
    assert log == [
        f"{tmp_path}/a.conf:4: ignoring bad line starting with 'override'",
        f"{tmp_path}/a.conf:5: ignoring bad line starting with 'what'",
        f"{tmp_path}/a.conf:6: command make_map_files not implemented yet",
    ]


def test_a_name_in_an_earlier_directory_hides_later_ones(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.conf").write_text(f"search {name}\n")
    (tmp_path / "two/notes.txt").write_text("search notes\n")
    assert load_config("6.1", [str(tmp_path / "one"), str(tmp_path / "two")]).searches == ("one",)
    assert load_config("6.1", [str(tmp_path / "two/notes.txt")]).searches == ("notes",)


def test_more_expressions_than_anybody_has_are_reported_and_passed_over(tmp_path: Path) -> None:
    lines = [f"override m{number} {'6' + '.*' * 4000} updates" for number in range(20)]
    (tmp_path / "a.conf").write_text("\n".join([*lines, "override last * updates", ""]))
    messages: list[str] = []
    config = load_config("6.1", [str(tmp_path)], lambda _priority, message: messages.append(message))
    assert [override.removeprefix("updates/") for override in config.overrides] == [
        "last",
        *[f"m{number}" for number in reversed(range(8))],
    ]
    assert (
        messages[0] == f"{tmp_path}/a.conf:9: override kernel: more than 64 KiB of expressions, passed over"
    )
