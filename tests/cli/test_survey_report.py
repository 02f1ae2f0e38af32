"""What a survey says: tables of what came of modules."""

from __future__ import annotations

from ukmod.cli.survey_report import by_cause, by_subsystem, slowest, subsystem
from ukmod.kmod.tree import Tree
from ukmod.survey.verdict import PERMANENT, ModuleVerdict


class Files:
    """A tree of which only modules.dep is asked."""

    def __init__(self, path: str) -> None:
        self._path = path

    def module_path(self, _name: str) -> str:
        return self._path


def directory(path: str) -> str:
    tree: Tree = Files(path)  # type: ignore[assignment]
    return subsystem(tree, "name")


def test_subsystems_are_directories() -> None:
    assert directory("kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko") == "drivers/net"
    assert directory("kernel/net/ipv4/netfilter/ipt_SYNPROXY.ko.xz") == "net"
    assert directory("updates/dkms/nvidia.ko") == "updates"
    assert directory("here.ko") == "."


def test_a_module_is_counted_for_the_worst_that_is_known_of_it() -> None:
    loads = ModuleVerdict("a", "loads", unload="ok")
    assert loads.classification == "clean"
    assert ModuleVerdict("a", "loads", unload=PERMANENT).classification == "clean"
    assert ModuleVerdict("a", "loads", unload="in use (1 references)").classification == "stays"
    assert ModuleVerdict("a", "loads", unload="ok", warnings=("w",)).classification == "warning"
    assert ModuleVerdict("a", "loads", unload="ok", warnings=("w",), leaks=("l",)).classification == "leak"
    assert ModuleVerdict("a", "refuses", "ENODEV", leaks=("l",)).classification == "leak"
    assert ModuleVerdict("a", "loads", unload="ok", leaks=("l",), reports=("r",)).classification == "misuse"
    assert ModuleVerdict("a", "oops", leaks=("l",)).classification == "oops"


def test_the_table_by_subsystem() -> None:
    verdicts = [
        ModuleVerdict("a", "loads", unload="ok"),
        ModuleVerdict("b", "stuck"),
        ModuleVerdict("c", "dependency", "x: ENODEV"),
    ]
    assert by_subsystem({"a": "fs", "b": "drivers/net", "c": "fs"}, verdicts) == [
        "subsystem       all   clean  refused  timeout",
        "drivers/net       1       .        .        1",
        "fs                2       1        1        .",
        "all               3       1        1        1",
    ]


def test_the_table_by_cause() -> None:
    refused = [ModuleVerdict(name, "refuses", "ENODEV") for name in "ab"]
    needs = ModuleVerdict("c", "dependency", "x: ENODEV")
    stays = ModuleVerdict("d", "loads", unload="in use (1 references)")
    clean = ModuleVerdict("e", "loads", unload="ok")
    leaks = ModuleVerdict("f", "refuses", "ENODEV", "left kmalloc-64", leaks=("1 object",))
    assert by_cause([clean, stays, needs, leaks, *refused]) == [
        " count  class        cause",
        "     2  refused      ENODEV",
        "     1  leak         left kmalloc-64",
        "     1  refused      needs x: ENODEV",
        "     1  stays        in use (1 references)",
    ]


def test_rare_causes_are_summed_up() -> None:
    many = [ModuleVerdict(str(number), "oops", f"cause {number:02}") for number in range(32)]
    lines = by_cause(many)
    assert len(lines) == 1 + 30 + 1
    assert lines[-1] == "     2  2 more causes: see --json"


def test_a_table_of_nothing_is_not_printed() -> None:
    assert by_cause([ModuleVerdict("a", "loads", unload="ok")]) == []


def test_the_ten_slowest() -> None:
    verdicts = [
        ModuleVerdict(f"m{seconds:02}", "loads", unload="ok", seconds=seconds) for seconds in range(12)
    ]
    lines = slowest(verdicts)
    assert lines[1] == "  11.000  clean        m11"
    assert len(lines) == 1 + 10
