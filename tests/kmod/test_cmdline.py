"""Module parameters among the kernel's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.kmod.cmdline import module_parameters


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("quiet root=/dev/sda1 mod_a.x=1 mod-b.y\n", [("mod_a", "x=1"), ("mod-b", "y")]),
        ('psmouse.name="a b" quiet', [("psmouse", 'name="a b"')]),
        # grub quotes the whole word
        (
            '"parport.dyndbg=file drivers/parport/ieee1284_ops.c +mpf"',
            [("parport", 'dyndbg="file drivers/parport/ieee1284_ops.c +mpf"')],
        ),
        ('"parport.dyndbg"', []),
        ("a.b.c=1", []),
        ("a.b=1.2", [("a", "b=1.2")]),
        ("a=b.c", []),
        ('x"y.z=1', []),
        ('a.b"c=1" d.e=2', [("d", "e=2")]),
        ('a.b="open d.e=2', []),
        ('"a b.c=1" d.e', [("d", "e")]),
        ("\ta.b=1\va.c\n", [("a", "b=1"), ("a", "c")]),
        ("a.b=1\0c.d=2", [("a", "b=1")]),
        ("a.b=c=d.e", [("a", "b=c=d.e")]),
        ('"a.b=c=d"', [("a", 'b="c=d"')]),
        ('x"y.z=1" a.b', [("a", "b")]),
        ('a.b="c d" e.f', [("a", 'b="c d"'), ("e", "f")]),
        ('a.b=c="d e"', [("a", 'b=c="d e"')]),
        ("a.b", [("a", "b")]),
        ("a.b=c.d=e", [("a", "b=c.d=e")]),
        ('a.b="c d=e"', [("a", 'b="c d=e"')]),
    ],
)
def test_words(text: str, parameters: list[tuple[str, str]]) -> None:
    assert list(module_parameters(text)) == parameters


@given(st.text(st.sampled_from('ab."= \t\n'), max_size=30))
def test_anything_goes(text: str) -> None:
    for module, parameter in module_parameters(text):
        assert "." not in module
        assert '"' not in module
        assert parameter.count('"') % 2 == 0
