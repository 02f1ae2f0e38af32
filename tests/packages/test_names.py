"""Which packages a kernel consists of, as Debian and Ubuntu name them."""

from __future__ import annotations

import pytest

from ukmod.errors import NotFoundError
from ukmod.packages.names import headers_of, packages_of, releases

BOOKWORM = {
    "linux-image-6.1.0-56-amd64",
    "linux-image-6.1.0-56-amd64-dbg",
    "linux-image-6.1.0-56-amd64-unsigned",
    "linux-image-6.1.0-56-cloud-amd64-unsigned",
    "linux-image-amd64",
    "linux-image-amd64-signed-template",
    "linux-headers-6.1.0-56-amd64",
    "linux-headers-6.1.0-56-common",
    "linux-kbuild-6.1",
    "linux-libc-dev",
}
SID = {
    "linux-image-7.2.13+deb14-amd64",
    "linux-binary-7.2.13+deb14-amd64",
    "linux-binary-7.2.13+deb14-amd64-dbgsym",
    "linux-binary-unsigned-7.2.13+deb14-amd64",
    "linux-modules-7.2.13+deb14-amd64",
}
NOBLE = {
    "linux-image-6.8.0-45-generic",
    "linux-image-unsigned-6.8.0-45-generic",
    "linux-image-generic-hwe-24.04",
    "linux-modules-6.8.0-45-generic",
    "linux-modules-extra-6.8.0-45-generic",
    "linux-headers-6.8.0-45-generic",
    "linux-headers-6.8.0-45",
}


def test_the_kernels_are_those_with_packages_of_their_own() -> None:
    assert releases(BOOKWORM) == {"6.1.0-56-amd64", "6.1.0-56-cloud-amd64"}
    assert releases(SID) == {"7.2.13+deb14-amd64"}
    assert releases(NOBLE) == {"6.8.0-45-generic"}


@pytest.mark.parametrize(
    ("release", "names", "packages"),
    [
        ("6.1.0-56-amd64", BOOKWORM, ["linux-image-6.1.0-56-amd64-unsigned"]),
        ("6.1.0-56-amd64", {"linux-image-6.1.0-56-amd64"}, ["linux-image-6.1.0-56-amd64"]),
        ("7.2.13+deb14-amd64", SID, ["linux-binary-7.2.13+deb14-amd64", "linux-modules-7.2.13+deb14-amd64"]),
        (
            "6.8.0-45-generic",
            NOBLE,
            [
                "linux-image-unsigned-6.8.0-45-generic",
                "linux-modules-6.8.0-45-generic",
                "linux-modules-extra-6.8.0-45-generic",
            ],
        ),
    ],
)
def test_image_and_modules_are_in_one_package_or_in_several(
    release: str, names: set[str], packages: list[str]
) -> None:
    assert packages_of(release, names) == packages


def test_headers_bring_what_is_common_to_flavours_and_kbuild() -> None:
    needed = {
        "linux-headers-6.1.0-56-amd64": [
            "linux-headers-6.1.0-56-common",
            "linux-kbuild-6.1",
            "linux-compiler-gcc-12-x86",
        ],
        "linux-kbuild-6.1": ["libc6"],
    }
    assert headers_of("6.1.0-56-amd64", BOOKWORM, lambda name: needed.get(name, [])) == [
        "linux-headers-6.1.0-56-amd64",
        "linux-headers-6.1.0-56-common",
        "linux-kbuild-6.1",
    ]


@pytest.mark.parametrize("name", ["6.1/../../x", "6.1\x1b[2J", "6.1 x", "6.1\n", "٣", ".."])
def test_what_is_no_name_of_a_package_is_no_kernel(name: str) -> None:
    assert releases([f"linux-image-{name}", f"linux-binary-unsigned-{name}"]) == set()


def test_a_kernel_without_headers_is_an_error() -> None:
    with pytest.raises(NotFoundError, match=r"linux-headers-7\.2\.13\+deb14-amd64: there are no headers"):
        headers_of("7.2.13+deb14-amd64", SID, lambda _: [])
