"""SECURITY.md: each promise has tests that fail if it is broken."""

from __future__ import annotations

import re
from typing import Final

import pytest
from tests.golden import REPOSITORY

TESTS: Final = {
    "A module reaches no file, socket or process of the host.": (
        "attacks/test_attacks.py: test_an_attack_ends test_an_attack_on_an_image_ends",
        "attacks/test_programs.py: test_after_any_attack_of_a_program_others_run",
        "userland/test_attacks.py: test_strace_sees_no_file_of_the_host",
        "userland/test_contained.py: test_hostile_arguments_and_environments_reach_nothing_else",
    ),
    "What a device of a module returns is not believed": (
        "kernel/user/test_lies.py: test_no_more_bytes_are_read_or_written_than_were_asked_for",
        "kernel/user/test_lies.py: test_a_file_without_an_end_ends",
        "kernel/user/test_copies.py: test_nothing_leads_out_of_the_target_on_the_host",
        "kernel/user/test_copies.py: test_a_file_is_replaced_as_a_whole_or_not_at_all",
    ),
    "Text of others is shown, not obeyed": ("cli/test_hostile_names.py: test_names_are_shown_not_obeyed",),
    "Links in a root that you hand in do not lead out of it.": (
        "cli/test_links_out.py: test_what_a_link_leads_to_outside_of_a_root_is_not_shown",
    ),
    "Nothing that is read is executed.": (
        "machine/image/test_cache.py: test_directory_and_files_are_for_the_user_alone",
        "machine/image/test_cache.py: test_an_entry_that_was_made_with_another_key_is_not_authentic",
    ),
    "Files are opened to be read safely": (
        "kmod/test_regular.py: test_anything_else_is_refused_at_once",
        "cli/test_hostile_files.py: test_a_command_neither_blocks_nor_fills_the_memory",
    ),
    "Archives that you hand in as a root": (
        "cli/test_hostile_archives.py: test_a_command_ends_and_shows_nothing_of_the_host",
    ),
    "Unpacking takes at most a fifth more memory than its limit": (
        "kmod/test_compression.py: test_unpacking_needs_little_more_memory_than_the_limit",
    ),
    "Indexes, patterns, configuration and debugging information are read in bounded time": (
        "kmod/test_index.py: test_a_chain_that_spells_more_keys_than_anybody_has",
        "kmod/test_wildcard.py: test_no_pattern_takes_longer_than_the_product_of_both_lengths",
    ),
    "A guest takes bounded CPU time and memory.": (
        "kernel/test_watchdog.py: test_a_kernel_function_that_never_returns_ends_with_the_callers_patience",
        "kernel/test_watchdog.py: test_tasks_that_only_wake_each_other_end_with_the_callers_patience",
    ),
    "A damaged file is an error in a line": (
        "cli/test_damaged_files.py: test_a_command_ends_in_lines",
    ),
    "depmod leaves each of its files whole": (
        "kmod/depmod/test_killed.py: test_files_that_may_not_grow_leave_the_old_set",
        "kmod/depmod/test_publish.py: test_a_full_disk test_what_a_killed_run_left_is_removed_by_the_next",
    ),
}  # fmt: skip
"""By the words in bold: files below tests/, and tests in them."""


def test_every_promise_is_named() -> None:
    text = (REPOSITORY / "SECURITY.md").read_text()
    promises = text.partition("## What is promised")[2].partition("\n## ")[0]
    assert re.findall(r"^- \*\*(.+?)\*\*", promises, re.MULTILINE) == list(TESTS)


@pytest.mark.parametrize("promise", TESTS)
def test_a_promise_has_its_tests(promise: str) -> None:
    for line in TESTS[promise]:
        file, _, names = line.partition(": ")
        text = (REPOSITORY / "tests" / file).read_text()
        assert [name for name in names.split() if f"def {name}(" not in text] == []
