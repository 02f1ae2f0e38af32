"""The pytest plugin, as an author of kernel modules meets it: a pytest run of its own."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest
from tests.golden import modules
from tests.processes import unmeasured
from tests.real import debian

pytest_plugins = ["pytester"]

_NEEDED = ("ok_dep", "slab", "thread_left", "oops", "leaves")


@pytest.fixture
def author(pytester: pytest.Pytester) -> pytest.Pytester:
    """A directory with compiled modules in it, and no settings."""
    for name in _NEEDED:
        pytester.path.joinpath(f"{name}.ko").symlink_to(modules()[name])
    return pytester


def run(author: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    """Run pytest in a process of its own, with the plugin as installed and those of this suite left out."""
    author.makepyfile(test_it="import pytest\n\n" + test)
    others = ("randomly", "cacheprovider", "xdist", "xdist.looponfail", "hypothesispytest", "timeout")
    return author.runpytest_subprocess(*(f"-pno:{name}" for name in others), *options)


def test_a_module_that_behaves_passes(author: pytest.Pytester) -> None:
    result = run(
        author,
        """
def test_ok(ukmod_kernel):
    ukmod_kernel.insmod("ok_dep.ko", "x=3")
    assert "ok_dep: init, x=3" in ukmod_kernel.dmesg()
    ukmod_kernel.rmmod("ok_dep")
""",
    )
    result.assert_outcomes(passed=1)


BAD = {
    "oops": ('insmod("oops.ko", "kind=null_write")', "*oops: *NULL pointer dereference*"),
    "leak": ('insmod("slab.ko", "part=leak"); k.rmmod("slab")', "*leak: *bytes*slab*"),
    "misuse": ('insmod("slab.ko", "part=use_after_free")', "*misuse: *use-after-free*"),
    "thread": ('insmod("thread_left.ko"); k.rmmod("thread_left")', "*thread: leftover*thread_left*"),
    "dangling": ('insmod("leaves.ko", "what=notifier"); k.rmmod("leaves")', "*dangling: pointer to ear*"),
    "warning": ('insmod("oops.ko", "kind=warn")', "*warning: *"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_machine_that_ends_badly_fails_its_test(author: pytest.Pytester, kind: str) -> None:
    calls, line = BAD[kind]
    body = f"""
    k = ukmod_kernel
    try:
        k.{calls}
    except Exception as error:
        assert "ended" in str(error) or "did not return" in str(error)
"""
    allowing = "leak", "misuse", "thread", "dangling", "warning", "oops"
    others = ", ".join(repr(name) for name in allowing if name != kind)
    result = run(
        author,
        f"""
def test_bad(ukmod_kernel):
    ukmod_kernel.allow({others}){body}

def test_allowed(ukmod_kernel):
    ukmod_kernel.allow(*{allowing!r}){body}

@pytest.mark.ukmod_allow(*{allowing!r})
def test_marked(ukmod_kernel):{body}
""",
    )
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines([line, "*- dmesg of ukmod_kernel -*"])


def test_what_a_later_fixture_does_counts(author: pytest.Pytester) -> None:
    result = run(
        author,
        """
@pytest.fixture
def slab(ukmod_kernel):
    yield ukmod_kernel.insmod("slab.ko", "part=leak")
    ukmod_kernel.rmmod("slab")

def test_leaks(slab):
    pass
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*leak: *"])


def test_the_log_is_in_the_report_of_any_failure(author: pytest.Pytester) -> None:
    result = run(
        author,
        """
def test_fails(ukmod_kernel):
    ukmod_kernel.insmod("ok_dep.ko")
    assert not ukmod_kernel.modules
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- dmesg of ukmod_kernel -*", "*ok_dep: init, x=0"])


@pytest.mark.parametrize("way", ["option", "ini"])
def test_the_tree_is_an_option_or_a_setting(author: pytest.Pytester, way: str) -> None:
    options = ["--ukmod-tree=.", "--ukmod-seed=7"] if way == "option" else []
    if way == "ini":
        author.makeini("[pytest]\nukmod_tree = .\nukmod_seed = 7\n")
    result = run(
        author,
        """
def test_modprobe(ukmod_kernel):
    assert ukmod_kernel.modprobe("ok_dep").status == 0
    assert list(ukmod_kernel.modules) == ["ok_dep"]
""",
        *options,
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--ukmod-seed=often", "*often: the seed is not a number*"),
        ("--ukmod-tree=nowhere", "*nowhere: there is no such directory*"),
        ("--ukmod-root=nowhere", "*nowhere: there is no such root: name a directory or an archive*"),
    ],
)
def test_a_setting_that_makes_no_sense_is_one_line(author: pytest.Pytester, option: str, says: str) -> None:
    result = run(author, "def test_it(ukmod_kernel):\n    pass\n", option)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([says])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_kind_that_does_not_exist_is_said(author: pytest.Pytester) -> None:
    result = run(author, "@pytest.mark.ukmod_allow('oopses')\ndef test_it(ukmod_kernel):\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*oopses: no such kind of problem; the kinds are oops, *"])


def test_without_the_machine_it_says_what_to_install(author: pytest.Pytester) -> None:
    author.makeconftest("import sys\nsys.modules['unicorn'] = None\n")
    result = run(author, "def test_it(ukmod_kernel):\n    pass\n\ndef test_other():\n    pass\n")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*pip install 'ukmod[[]machine]'*"])


def test_the_plugin_imports_nothing_until_it_is_used() -> None:
    code = "import sys, ukmod.pytest_plugin; print(*sys.modules)"
    found = subprocess.check_output([sys.executable, "-c", code], text=True, env=unmeasured())
    ours = {name for name in found.split() if name.startswith(("ukmod.", "unicorn", "greenlet"))}
    assert ours == {"ukmod.pytest_plugin"}


def test_a_test_that_failed_is_one_result_and_its_log_is_in_junit_xml(author: pytest.Pytester) -> None:
    result = run(
        author,
        """
def test_bad(ukmod_kernel):
    ukmod_kernel.insmod("thread_left.ko")
    ukmod_kernel.rmmod("thread_left")
    assert False, "and its own fault"
""",
        "--junitxml=junit.xml",
    )
    result.assert_outcomes(failed=1)
    written = (author.path / "junit.xml").read_text()
    assert '<property name="dmesg"' in written
    assert "thread_left" in written
    assert "pytest_plugin.py" not in result.stdout.str()


_FIXTURES = """
@pytest.fixture
def loaded(ukmod_kernel):
    "The timer fires during the test if it lasts long enough, and else while this is torn down."
    ukmod_kernel.insmod("leaves.ko", "what=timer")
    yield
    ukmod_kernel.rmmod("leaves")
    ukmod_kernel.run(5)

@pytest.fixture
def unloaded(ukmod_kernel):
    ukmod_kernel.insmod("leaves.ko", "what=timer")
    yield
    ukmod_kernel.rmmod("leaves")

@pytest.fixture
def crashed(ukmod_kernel):
    ukmod_kernel.insmod("leaves.ko", "what=timer")
    ukmod_kernel.rmmod("leaves")
    ukmod_kernel.run(5)

@pytest.fixture
def stubborn(ukmod_kernel):
    yield
    raise RuntimeError("the fixture's own fault")
"""
_CRASH = 'k.insmod("leaves.ko", "what=timer"); k.rmmod("leaves"); k.run(5)'
ENDS = {
    "in the test": ("def test_it(ukmod_kernel):\n    k = ukmod_kernel; " + _CRASH, "failed"),
    "in the test and at teardown": (
        "def test_it(ukmod_kernel, loaded):\n    ukmod_kernel.rmmod('leaves')\n    ukmod_kernel.run(5)",
        "failed",
    ),
    "at teardown": ("def test_it(loaded):\n    pass", "failed"),
    "at teardown of a test that fails": ("def test_it(loaded):\n    assert False", "failed"),
    "at teardown of a test that is skipped": ("def test_it(loaded):\n    pytest.skip('why not')", "failed"),
    "when the machine is shut down": ("def test_it(unloaded):\n    pass", "failed"),
    "at set-up": ("def test_it(crashed):\n    pass", "errors"),
    "at set-up and at teardown": ("def test_it(stubborn, crashed):\n    pass", "errors"),
    "in two fixtures": ("def test_it(stubborn, loaded):\n    pass", "failed"),
    "in an expected failure": ("@pytest.mark.xfail\ndef test_it(loaded):\n    assert False", "xfailed"),
    "in a test that should have failed": ("@pytest.mark.xfail\ndef test_it(loaded):\n    pass", "xfailed"),
    "late in an expected failure": (
        "@pytest.mark.xfail\ndef test_it(unloaded):\n    assert False",
        "xfailed",
    ),
    "late in a test that should have failed": (
        "@pytest.mark.xfail\ndef test_it(unloaded):\n    pass",
        "xfailed",
    ),
    "in a test that takes the fixture by its name": (
        "def test_it(request):\n    k = request.getfixturevalue('ukmod_kernel'); " + _CRASH,
        "failed",
    ),
    "late in a test that takes the fixture by its name": (
        "def test_it(request):\n    k = request.getfixturevalue('ukmod_kernel'); "
        + _CRASH.removesuffix("; k.run(5)"),
        "failed",
    ),
    "in a parametrized test": (
        "@pytest.mark.parametrize('n', [1])\ndef test_it(loaded, n):\n    assert not n",
        "failed",
    ),
    "in a class of unittest": (
        """
import unittest

class TestIt(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def give(self, ukmod_kernel):
        self.k = ukmod_kernel

    def setUp(self):
        self.k.insmod("leaves.ko", "what=timer")

    def tearDown(self):
        self.k.rmmod("leaves")
        self.k.run(5)

    def test_it(self):
        pass
""",
        "failed",
    ),
}
"""Where the kernel of a test crashes, the test, and its one outcome."""


def outcomes(result: pytest.RunResult) -> dict[str, int]:
    return {name: count for name, count in result.parseoutcomes().items() if count}


@pytest.mark.parametrize("where", ENDS)
def test_a_test_is_one_result_wherever_its_kernel_crashes(author: pytest.Pytester, where: str) -> None:
    test, outcome = ENDS[where]
    result = run(author, _FIXTURES + test, "--junitxml=junit.xml")
    assert outcomes(result) == {outcome: 1}
    (suite,) = ET.parse(author.path / "junit.xml").getroot()
    assert suite.get("tests") == "1"
    (case,) = suite.findall("testcase")
    assert [child.tag for child in case if child.tag in ("failure", "error", "skipped")] == [
        {"failed": "failure", "errors": "error", "xfailed": "skipped"}[outcome]
    ]
    if outcome != "xfailed":
        result.stdout.fnmatch_lines(["*timer bell*leaves*due at*", "*- dmesg of ukmod_kernel -*"])


def test_with_xdist_a_test_is_one_result_as_well(author: pytest.Pytester) -> None:
    tests = "\n".join(
        test.replace("test_it(", f"test_{number}(")
        for number, (test, outcome) in enumerate(ENDS.values())
        if outcome == "failed" and "unittest" not in test
    )
    author.makepyfile(test_it="import pytest\n\n" + _FIXTURES + tests)
    result = author.runpytest_subprocess("-pno:randomly", "-pno:cacheprovider", "-n2")
    assert outcomes(result) == {"failed": tests.count("def test_")}
    result.stdout.fnmatch_lines(["*timer bell*leaves*due at*", "*- dmesg of ukmod_kernel -*"])


def test_what_failed_at_teardown_is_told_beside_what_the_test_itself_found(author: pytest.Pytester) -> None:
    result = run(author, _FIXTURES + "def test_it(stubborn):\n    assert False, 'its own fault'")
    assert outcomes(result) == {"failed": 1}
    result.stdout.fnmatch_lines(["*its own fault*", "*- failed at teardown -*", "*the fixture's own fault*"])


def test_a_test_without_the_fixture_is_reported_as_pytest_does(author: pytest.Pytester) -> None:
    result = run(
        author,
        """
@pytest.fixture
def broken():
    yield
    assert False

def test_it(broken):
    pass
""",
    )
    result.assert_outcomes(passed=1, errors=1)


# -- several kernels ---------------------------------------------------------------------------------------

ON_EACH = """
def test_it(ukmod_kernel, ukmod_image):
    print("on", ukmod_image)
    ukmod_kernel.insmod("ok_dep.ko")
"""


def test_each_test_runs_on_each_image(author: pytest.Pytester) -> None:
    author.makeini("[pytest]\nukmod_images = none auto none\n")
    result = run(author, ON_EACH, "-v", "-s")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*::test_it[[]none] on none", "*::test_it[[]auto] on auto"])


def test_images_on_the_command_line_are_those_of_all_tests(author: pytest.Pytester) -> None:
    author.makeini("[pytest]\nukmod_images = auto\n")
    marked = ON_EACH + '\n@pytest.mark.ukmod_images("9.99")\ndef test_marked(ukmod_kernel): pass\n'
    result = run(author, marked, "-v", "--ukmod-images", "none,auto")
    result.assert_outcomes(passed=4)


def test_a_marker_chooses_the_images_of_a_test(author: pytest.Pytester) -> None:
    author.makeini("[pytest]\nukmod_images = 9.99\n")
    result = run(author, '@pytest.mark.ukmod_images("none", "auto")' + ON_EACH, "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it[[]none]*", "*test_it[[]auto]*"])


def test_one_image_on_the_command_line_leaves_one_test(author: pytest.Pytester) -> None:
    author.makeini("[pytest]\nukmod_images = 9.98 9.99\n")
    result = run(author, ON_EACH, "-v", "-s", "--ukmod-image", "none")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*::test_it on none"])


def test_a_kernel_that_is_not_here_says_how_to_get_it(author: pytest.Pytester) -> None:
    author.makeini("[pytest]\nukmod_images = none 9.99 boot/vmlinuz\n")
    result = run(author, ON_EACH)
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ukmod_kernel: 9.99: there is no such kernel on this machine: ukmod kernel fetch 9.99*",
            f"*ukmod_kernel: {author.path}/boot/vmlinuz: there is no such image; *",
        ]
    )


def test_a_test_that_asks_too_late_is_told_so(author: pytest.Pytester) -> None:
    author.makeini("[pytest]\nukmod_images = none auto\n")
    result = run(author, 'def test_it(request):\n    request.getfixturevalue("ukmod_kernel")\n')
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*ukmod_image: has several images (none, auto), so a test names it*"])


@pytest.mark.real
def test_a_module_runs_on_a_fetched_kernel(author: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = debian.require()
    store = author.path / "cache/ukmod/kernels"
    store.mkdir(parents=True)
    (store / kernel.release).symlink_to(kernel.image)
    monkeypatch.setenv("XDG_CACHE_HOME", str(author.path / "cache"))
    author.makeini("[pytest]\nukmod_images = 6.1\n")
    result = run(author, ON_EACH + "    assert ukmod_kernel.core.image is not None\n", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_it[[]6.1]*"])


@pytest.mark.real
@pytest.mark.parametrize("way", ["option", "ini"])
def test_the_root_file_system_is_an_option_or_a_setting(author: pytest.Pytester, way: str) -> None:
    kernel = debian.require()
    author.mkdir("rootfs")
    author.path.joinpath("rootfs/motd").write_text("hello\n")
    settings = {"root": "rootfs", "image": str(kernel.vmlinuz)}
    if way == "ini":
        author.makeini("\n".join(["[pytest]", *(f"ukmod_{name} = {it}" for name, it in settings.items())]))
    result = run(
        author,
        """
def test_first(ukmod_kernel):
    ukmod_kernel.write("/motd", "changed")

def test_second_has_a_machine_of_its_own(ukmod_kernel):
    assert ukmod_kernel.read("/motd") == "hello\\n"
""",
        *(f"--ukmod-{name}={it}" for name, it in settings.items() if way == "option"),
    )
    result.assert_outcomes(passed=2)


def test_a_root_without_an_image_is_one_line(author: pytest.Pytester) -> None:
    author.mkdir("rootfs")
    test = "def test_it(ukmod_kernel):\n    pass\n"
    result = run(author, test, "--ukmod-root=rootfs", "--ukmod-image=none")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*rootfs: a root file system needs the kernel's own code: give an image*"])
