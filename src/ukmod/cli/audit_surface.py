"""``ukmod audit surface``: the families of names that the kernel can be made to ask for."""

from __future__ import annotations

from ukmod.cli.document import print_document
from ukmod.cli.inspection import inspection
from ukmod.cli.progress import AUDITING, Progress
from ukmod.cli.terminal import near, write_lines
from ukmod.errors import UkmodError, UsageError
from ukmod.kmod.audit import BLOCKED, OPEN, UNKNOWN, audit
from ukmod.kmod.audit.requests import module_requests
from ukmod.kmod.audit.surface import ANYBODY, DEVICE, NAMESPACE, ROOT, families, with_proofs
from ukmod.record import asdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from ukmod.kmod.audit.requests import ModuleRequest
    from ukmod.kmod.audit.surface import AskedName, Family
    from ukmod.kmod.tree import Tree

__all__ = ["surface"]

_NO_IMAGE = "none"
_HEADS = {
    ANYBODY: "any user may ask",
    NAMESPACE: "root in a user namespace may ask",
    DEVICE: "with access to a device's file",
    ROOT: "root may ask",
    "": "other code of the kernel asks",
}


def surface(arguments: argparse.Namespace, names: Sequence[str]) -> int:
    """Print the families, or the modules of those that are named.

    Raises UsageError for a family that does not exist, and for a form that has no room for families.
    """
    if arguments.sarif or arguments.junit or arguments.html:
        raise UsageError("audit surface: there are no findings here: use --json")
    with Progress(AUDITING):
        found = inspection(arguments)
        tree = found.system.tree
        image, requests = _image_requests(arguments.kernel, found.vermagic, found.system.root, tree)
        requests += _module_requests(tree)
        result = audit(found.system.explainers(found.inspector, arguments.config))
    every = families(requests, result.modules)
    asked = _asked(image, tree) if arguments.prove else None
    every, unmade = with_proofs(every, asked or ())
    unmade = tuple([one for one in unmade if not any(_is_call_of(call, one) for call in requests)])
    named = [one for one in every if any(_means(word, one.name) for word in names)]
    if missing := [word for word in names if not any(_means(word, one.name) for one in every)]:
        hint = near(missing[0], {word for one in every for word in (one.name, _beginning(one.name))})
        raise UsageError(f"audit surface: there is no such family{hint}", subject=", ".join(missing))
    unresolved = [one for one in requests if not one.formats]
    if arguments.json:
        content = {
            "root": found.system.root,
            "release": tree.release,
            "image": image,
            "families": [_object(one) for one in (named if names else every)],
            "unresolved": [{"function": one.function, "owner": one.owner} for one in unresolved],
        }
        if asked is not None:
            content["unmade"] = [asdict(one) for one in unmade]
        print_document("surface", content)
        return 0
    lines = list(_named(named) if names else _all(every, image, len(requests), len(unresolved)))
    if asked is not None and not names:
        lines += ["", *_proof_summary(every, asked, unmade)]
    write_lines(lines)
    return 0


def _asked(image: str | None, tree: Tree) -> tuple[AskedName, ...]:
    """Return what the kernel asks for if it is asked. Raises UsageError without an image."""
    if image is None:
        raise UsageError("audit surface: --prove needs the kernel's image: name it by --kernel")
    from ukmod.survey.surface import prove

    with Progress("proving"):
        return prove(image, tree)


def _is_call_of(call: ModuleRequest, asked: AskedName) -> bool:
    """Tell whether a call whose name is made at run time may be the one that asked."""
    return not call.formats and (call.function, call.owner) == (asked.function, asked.owner)


def _proof_summary(
    every: Sequence[Family], asked: Sequence[AskedName], unmade: Sequence[AskedName]
) -> Iterator[str]:
    proven = [one for one in every if one.proofs]
    yield f"proven: the kernel asked for {len(asked)} names, of {len(proven)} families"
    rest = [one for one in every if one.requests and one.members and not one.proofs]
    for family in rest:
        if family.untried:
            yield f"  not proven: {family.name}: {family.untried}"
    if others := sum(not family.untried for family in rest):
        yield f"  not proven: {others} others, which other code asks for, most of it drivers with a device"
    for one in unmade:
        yield f"  of no family: {one.name}, by {one.function}() of {one.owner}: {one.call}"


def _means(word: str, family: str) -> bool:
    """True if the word is a family's name, or what all names in it begin with: net-pf for net-pf-%d."""
    return word in (family, _beginning(family))


def _beginning(family: str) -> str:
    return family.partition("%")[0].rstrip("-_")


def _image_requests(
    option: str | None, vermagic: str, root: str, tree: Tree
) -> tuple[str | None, list[ModuleRequest]]:
    """Return the image's path, and its requests; None and nothing without an image."""
    if option == _NO_IMAGE:
        return None, []
    from ukmod.machine.image.find import find_image, image_in
    from ukmod.machine.image.installed import image_at
    from ukmod.machine.image.requests import image_requests

    if option is not None:
        image = image_in(tree, image_at(option))
    elif (found := find_image(vermagic, root, tree=tree).image) is not None:
        image = found
    else:
        return None, []
    return image.path, image_requests(image)


def _module_requests(tree: Tree) -> list[ModuleRequest]:
    found: list[ModuleRequest] = []
    for name in tree.module_names():
        path = tree.module_path(name)
        try:
            with tree.open_module(path) as file:
                found += module_requests(file.elf(), name)
        except (OSError, UkmodError):
            continue  # the audit of that module says why it cannot be read
    return found


def _all(every: Sequence[Family], image: str | None, requests: int, unresolved: int) -> Iterator[str]:
    yield f"image: {image or 'none: the families that only its code asks for are missing'}"
    yield f"calls of request_module(): {requests}, of which {unresolved} with a name given at run time"
    width = max((len(one.name) for one in every if len(one.name) <= 32), default=0)
    groups = [
        (head, [one for one in every if one.requests and one.needs == need]) for need, head in _HEADS.items()
    ]
    groups.append(("udev asks, for a device", [one for one in every if not one.requests]))
    for head, members in groups:
        shown = [one for one in members if one.members]
        if shown:
            yield ""
            yield f"{head:<{width}}  {OPEN:>7} {BLOCKED:>7} {UNKNOWN:>7}"
        for one in shown:
            counts = " ".join([f"{one.counts[verdict]:>7}" for verdict in (OPEN, BLOCKED, UNKNOWN)])
            calls = _proven(one) or "; ".join([asker.call for asker in one.askers]) or _functions(one)
            yield f"  {one.name:<{width}}{counts}  {calls}".rstrip()


def _proven(family: Family) -> str:
    calls = dict.fromkeys(one.call for one in family.proofs)
    return f"proven: {'; '.join(calls)}" if calls else ""


def _functions(family: Family) -> str:
    names = list(dict.fromkeys(f"{function}()" for function, _ in family.requests))
    return ", ".join(names[:2]) + (", ..." if names[2:] else "")


def _named(named: Sequence[Family]) -> Iterator[str]:
    for one in named:
        yield f"{one.name}:"
        for function, owner in one.requests:
            yield f"  requested by {function}() of {owner}"
        for asker in one.askers:
            yield f"  reached by {asker.call}: {asker.needs}"
        for proof in one.proofs:
            yield f"  proven: {proof.call} by {proof.needs} asks for {proof.name}"
        for member in one.members:
            why = f": {member.why}" if member.why else ""
            yield f"  {member.verdict:<8}{member.module}: {member.word}{why}"


def _object(family: Family) -> dict[str, object]:
    return {
        "name": family.name,
        "needs": family.needs,
        "counts": family.counts,
        "requests": [{"function": function, "owner": owner} for function, owner in family.requests],
        "untried": family.untried,
        "askers": [{"call": one.call, "needs": one.needs} for one in family.askers],
        "proofs": [asdict(one) for one in family.proofs],
        "members": [
            {"module": one.module, "word": one.word, "verdict": one.verdict, "why": one.why}
            for one in family.members
        ],
    }
