"""The settings of an apt of our own, made from the system's."""

from __future__ import annotations

import pytest

from ukmod.errors import NotFoundError
from ukmod.packages.apt import Mirrors, configuration, mirrors_of, require_programs, sources_of

DUMP = """\
APT::Architecture "arm64";
APT::Update::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";
Acquire::http::Proxy "http://proxy:3142";
Acquire::IndexTargets::deb::DEP-11::MetaKey "$(COMPONENT)/dep11/Components-$(NATIVE_ARCHITECTURE).yml";
Acquire::Languages:: "de";
DPkg::Post-Invoke:: "true";
Dir::Etc "etc/apt";
Dir::Etc::Main "apt.conf";
""".splitlines()


def test_proxies_are_the_systems_and_hooks_are_not() -> None:
    text = configuration(DUMP, "/state", sources=None)
    assert 'Acquire::http::Proxy "http://proxy:3142";' in text
    assert "Invoke" not in text
    assert "DEP-11" not in text
    assert '"de"' not in text


def test_the_state_is_private_and_the_architecture_is_the_kernels() -> None:
    lines = configuration(DUMP, "/state", sources="/state/sources.list").splitlines()
    assert 'Dir::State "/state";' in lines
    assert 'Dir::Cache "/state/cache";' in lines
    assert 'Dir::Etc::SourceList "/state/sources.list";' in lines
    assert 'Dir::Etc::SourceParts "/dev/null";' in lines
    assert 'APT::Architecture "amd64";' in lines
    assert lines.index('Dir::Etc::Main "apt.conf";') < lines.index('Dir::Etc::Main "/dev/null";')


def test_without_suites_the_sources_are_the_systems() -> None:
    assert "SourceList" not in configuration(DUMP, "/state", sources=None)


def test_the_mirrors_are_told_by_their_labels() -> None:
    targets = [
        "|https://example.org/apt",
        "Docker CE|https://docker.org/debian",
        "Debian|http://mirror.org/debian",
        "Debian|http://other.org/debian",
        "Debian-Security|http://mirror.org/debian-security",
    ]
    found = mirrors_of(targets)
    assert found == Mirrors("Debian", "http://mirror.org/debian", "http://mirror.org/debian-security")
    assert mirrors_of(["Ubuntu|http://mirror.org/ubuntu"]).security == "http://mirror.org/ubuntu"
    assert mirrors_of(targets[:2]) == Mirrors("")


def test_a_suite_of_security_updates_is_on_their_mirror() -> None:
    text = sources_of(Mirrors("", "http://m/debian", "http://m/security"), ["trixie", "trixie-security"])
    assert text.splitlines() == [
        "deb http://m/debian trixie main",
        "deb http://m/security trixie-security main",
    ]


def test_a_suite_without_a_mirror_is_an_error() -> None:
    with pytest.raises(NotFoundError, match="trixie-security: apt's configuration names no mirror"):
        sources_of(Mirrors("", "http://m/debian"), ["trixie", "trixie-security"])


def test_a_system_without_apt_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        NotFoundError, match="apt-get, apt-cache, apt-config, dpkg-deb: kernels are fetched by apt"
    ):
        require_programs()
