"""Kernel releases: which of them a word means, and which is newer."""

from __future__ import annotations

import pytest

from ukmod.machine.image.releases import chosen, is_word, order

DEBIAN = (
    "5.10.0-46-amd64",
    "6.1.0-56-amd64",
    "6.1.0-56-cloud-amd64",
    "6.12.95+deb13-amd64",
    "6.12.118+deb13-amd64",
    "6.12.118+deb13-cloud-amd64",
    "6.12.118+deb13-rt-amd64",
    "7.2.13+deb14-amd64",
)
OTHERS = (
    "6.8.0-45-generic",
    "6.8.0-45-lowlatency",
    "6.8.0-1010-aws",
    "6.12.5-200.fc41.x86_64",
    "6.13.1-arch1-1",
    "6.1.0-0.deb11.21-amd64",
)


@pytest.mark.parametrize(
    ("word", "release"),
    [
        ("6.12", "6.12.118+deb13-amd64"),
        ("6.12.95", "6.12.95+deb13-amd64"),
        ("6.12-rt", "6.12.118+deb13-rt-amd64"),
        ("6.12-cloud-amd64", "6.12.118+deb13-cloud-amd64"),
        ("6.1", "6.1.0-56-amd64"),
        ("6.1.0-56", "6.1.0-56-amd64"),
        ("newest", "7.2.13+deb14-amd64"),
        ("newest-cloud", "6.12.118+deb13-cloud-amd64"),
    ],
)
def test_a_word_means_the_newest_release_of_the_usual_flavour(word: str, release: str) -> None:
    assert chosen(word, DEBIAN) == release


@pytest.mark.parametrize("word", ["6.1.0-5", "6.2", "7.20", "5.10-rt", "6.12.1"])
def test_a_number_is_a_whole_one(word: str) -> None:
    assert chosen(word, DEBIAN) is None


@pytest.mark.parametrize("release", [*DEBIAN, *OTHERS])
def test_a_release_means_itself(release: str) -> None:
    assert chosen(release, [*DEBIAN, *OTHERS]) == release
    assert is_word(release)


@pytest.mark.parametrize(
    ("word", "release"),
    [
        ("6.8", "6.8.0-45-generic"),
        ("6.8-aws", "6.8.0-1010-aws"),
        ("6.12", "6.12.5-200.fc41.x86_64"),
        ("6.13", "6.13.1-arch1-1"),
    ],
)
def test_releases_of_other_distributions_are_taken_apart(word: str, release: str) -> None:
    assert chosen(word, OTHERS) == release


@pytest.mark.parametrize("text", ["auto", "none", "vmlinuz", "vmlinuz-6.12", "./6.12", "newestone", "6", ""])
def test_what_is_no_release_is_a_path_or_a_word_of_another_kind(text: str) -> None:
    assert not is_word(text)


def test_releases_are_ordered_by_their_numbers() -> None:
    releases = [
        "5.10.0-9",
        "5.10.0-46",
        "6.12.9",
        "6.12.95+deb13",
        "6.12.118+deb13",
        "7.3~rc2",
        "7.3-rc10",
        "7.3",
    ]
    assert sorted(sorted(releases), key=order) == releases


@pytest.mark.parametrize("text", ["1." * 60_000 + "\n", "6.12-" + "x" * 300, "1" + "-1" * 60_000 + "\n"])
def test_a_hostile_word_is_no_release_and_found_to_be_none_at_once(text: str) -> None:
    assert not is_word(text)


@pytest.mark.parametrize("release", ["6.1.²", "6.1.٣", "6.1\n9", "6." + "9" * 200, "-", "", "~rc~rc"])
def test_any_name_of_a_file_has_a_place_among_the_releases(release: str) -> None:
    assert sorted([release, "6.12", "6.1"], key=order)
