"""The attack surface of on-demand loading: families of names, by the format strings of request_module().

The families come from the code of the image and of the modules (:mod:`ukmod.kmod.audit.requests`). A table
says of some functions which system call leads to them, and what it takes. Names that an emulated kernel
asked for (:mod:`ukmod.survey.surface`) prove it.
"""

from __future__ import annotations

import re

from ukmod.kmod.audit.routes import BLOCKED, OPEN, UNKNOWN, combined
from ukmod.kmod.wildcard import fnmatch
from ukmod.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ukmod.kmod.audit.requests import ModuleRequest
    from ukmod.kmod.audit.routes import ModuleAudit

__all__ = [
    "ANYBODY",
    "ASKED_BY",
    "DEVICE",
    "NAMESPACE",
    "NEEDS",
    "ROOT",
    "UNTRIED",
    "AskedName",
    "Asker",
    "Family",
    "FamilyMember",
    "families",
    "with_proofs",
]

ANYBODY = "any user"
NAMESPACE = "a user namespace of one's own"
DEVICE = "access to a device's file"
ROOT = "root"
NEEDS = (ANYBODY, NAMESPACE, DEVICE, ROOT)
"""Privileges that it takes to ask, the least first."""


@record
class Asker:
    """The system call that leads to a function, and what a process needs for it."""

    call: str
    needs: str


ASKED_BY: Mapping[str, Asker] = {
    "__sock_create": Asker("socket(2)", ANYBODY),
    "inet_create": Asker("socket(2)", ANYBODY),
    "inet6_create": Asker("socket(2)", ANYBODY),
    "netlink_create": Asker("socket(2) of AF_NETLINK", ANYBODY),
    "pn_socket_create": Asker("socket(2) of AF_PHONET", ROOT),
    "can_create": Asker("socket(2) of AF_CAN", ANYBODY),
    "bt_sock_create": Asker("socket(2) of AF_BLUETOOTH", ANYBODY),
    "alg_bind": Asker("bind(2) of AF_ALG", ANYBODY),
    "crypto_alg_mod_lookup": Asker("bind(2) of AF_ALG", ANYBODY),
    "crypto_lookup_template": Asker("bind(2) of AF_ALG", ANYBODY),
    "bprm_execve": Asker("execve(2)", ANYBODY),
    "search_binary_handler": Asker("execve(2)", ANYBODY),
    "tcp_ca_find_autoload": Asker("setsockopt(2), TCP_CONGESTION", ROOT),
    "tcp_set_ulp": Asker("setsockopt(2), TCP_ULP", ROOT),
    "sock_load_diag_module": Asker("NETLINK_SOCK_DIAG", ANYBODY),
    "ctrl_getfamily": Asker("generic netlink, CTRL_CMD_GETFAMILY", ANYBODY),
    "nfnetlink_bind": Asker("bind(2) of NETLINK_NETFILTER", NAMESPACE),
    "nfnetlink_rcv_msg": Asker("NETLINK_NETFILTER", NAMESPACE),
    "tty_ldisc_get": Asker("ioctl(2), TIOCSETD", ANYBODY),
    "br_ioctl_call": Asker("ioctl(2), SIOCGIFBR", ANYBODY),
    "sock_ioctl": Asker("ioctl(2), SIOCGIFVLAN", ANYBODY),
    "do_vcc_ioctl": Asker("ioctl(2) of AF_ATMSVC", ANYBODY),
    "get_fs_type": Asker("mount(2), fsopen(2)", NAMESPACE),
    "__rtnl_newlink": Asker("rtnetlink, RTM_NEWLINK", NAMESPACE),
    "lwtunnel_valid_encap_type": Asker("rtnetlink, RTM_NEWROUTE", NAMESPACE),
    "qdisc_create": Asker("rtnetlink, RTM_NEWQDISC", NAMESPACE),
    "tcf_proto_lookup_ops": Asker("rtnetlink, RTM_NEWTFILTER", NAMESPACE),
    "tc_action_load_ops": Asker("rtnetlink, RTM_NEWTFILTER, RTM_NEWACTION", NAMESPACE),
    "tcf_em_tree_validate": Asker("rtnetlink, RTM_NEWTFILTER", NAMESPACE),
    "tcf_ife_init": Asker("rtnetlink, RTM_NEWACTION", NAMESPACE),
    "__xfrm_init_state": Asker("NETLINK_XFRM", NAMESPACE),
    "nft_chain_type_get": Asker("NETLINK_NETFILTER, nf_tables", NAMESPACE),
    "nf_tables_chain_type_lookup": Asker("NETLINK_NETFILTER, nf_tables", NAMESPACE),
    "nf_tables_expr_parse": Asker("NETLINK_NETFILTER, nf_tables", NAMESPACE),
    "nft_expr_type_get": Asker("NETLINK_NETFILTER, nf_tables", NAMESPACE),
    "nft_obj_type_get": Asker("NETLINK_NETFILTER, nf_tables", NAMESPACE),
    "xt_request_find_match": Asker("setsockopt(2), IPT_SO_SET_REPLACE", NAMESPACE),
    "xt_request_find_target": Asker("setsockopt(2), IPT_SO_SET_REPLACE", NAMESPACE),
    "xt_request_find_table_lock": Asker("getsockopt(2), IPT_SO_GET_INFO", NAMESPACE),
    "do_ipt_get_ctl": Asker("getsockopt(2), IPT_SO_GET_REVISION_MATCH", NAMESPACE),
    "do_ip6t_get_ctl": Asker("getsockopt(2), IP6T_SO_GET_REVISION_MATCH", NAMESPACE),
    "do_arpt_get_ctl": Asker("getsockopt(2), ARPT_SO_GET_REVISION_TARGET", NAMESPACE),
    "ebt_check_entry": Asker("setsockopt(2), EBT_SO_SET_ENTRIES", NAMESPACE),
    "load_settype": Asker("NETLINK_NETFILTER, ipset", NAMESPACE),
    "ctnetlink_parse_nat_setup": Asker("NETLINK_NETFILTER, conntrack", NAMESPACE),
    "nf_conntrack_helper_try_module_get": Asker("NETLINK_NETFILTER, conntrack", NAMESPACE),
    "ip_vs_scheduler_get": Asker("setsockopt(2), IP_VS_SO_SET_ADD", NAMESPACE),
    "ip_vs_pe_getbyname": Asker("generic netlink, IPVS", ROOT),
    "ovs_vport_add": Asker("generic netlink, openvswitch", NAMESPACE),
    "l2tp_nl_cmd_session_create": Asker("generic netlink, l2tp", NAMESPACE),
    "dev_load": Asker("ioctl(2) of an interface's name", ROOT),
    "base_probe": Asker("open(2) of a character device", DEVICE),
    "misc_open": Asker("open(2) of a character device", DEVICE),
    "soundcore_open": Asker("open(2) of a sound device", DEVICE),
    "snd_request_card": Asker("open(2) of a sound device", DEVICE),
    "snd_open": Asker("open(2) of a sound device", DEVICE),
    "snd_timer_open": Asker("ioctl(2) of a sound timer", DEVICE),
    "snd_seq_client_use_ptr": Asker("ioctl(2) of the sequencer", DEVICE),
    "fb_open": Asker("open(2) of a frame buffer", DEVICE),
    "blk_request_module": Asker("open(2) of a block device", DEVICE),
    "ppp_set_compress": Asker("ioctl(2), PPPIOCSCOMPRESS", ROOT),
    "dm_get_target_type": Asker("ioctl(2), DM_TABLE_LOAD", ROOT),
    "elevator_get": Asker("write(2) to queue/scheduler in /sys", ROOT),
    "md_run": Asker("ioctl(2), RUN_ARRAY", ROOT),
    "level_store": Asker("write(2) to md/level in /sys", ROOT),
    "store_scaling_governor": Asker("write(2) to scaling_governor in /sys", ROOT),
}
"""Of functions that call request_module(), by their names in Linux 5.10 to 6.12, the way that leads there.

A family whose functions are not listed is shown without one: the table adds words, never a family."""

UNTRIED: Mapping[str, str] = {
    "store_scaling_governor": "it needs a driver of cpufreq, which needs its hardware",
    "try_then_request_governor": "it needs a device with a governor of devfreq",
    "soundcore_open": "it needs a sound card",
    "md_run": "it needs disks for an array",
    "level_store": "it needs a running array of disks",
    "do_vcc_ioctl": "it needs a device of ATM",
    "vcc_connect": "it needs a device of ATM",
}
"""Of functions that call request_module(), why no system call leads there in a machine without devices."""

_CONVERSION = re.compile(r"%(?P<flags>[-+ #0]*)(?P<width>\d*)(?P<precision>\.(?:\d+|\*)?)?"
                         r"(?:hh|h|ll|l|z)?(?P<kind>[a-zA-Z%])")  # fmt: skip
_ANY = "?*"
_DIGITS, _HEXADECIMAL = "[[0-9*?-]*", "[[0-9a-fA-F*?]*"
_MADE = {"d": _DIGITS, "i": _DIGITS, "u": _DIGITS, "x": _HEXADECIMAL, "X": _HEXADECIMAL, "c": "?", "%": "%"}
"""Patterns for what a conversion makes; for any other it is some text."""
_SYMBOL = "symbol:"
_CLONE = re.compile(r"\.(?:part|constprop|isra|cold)\b.*")
_WORTH = 3
"""Letters that a format must have before it says anything about the names that it makes."""


@record
class AskedName:
    """A name that a kernel asked for, as ``function`` of ``owner`` (a module or vmlinux) called it.

    ``call`` are the system calls that led there, ``needs`` the least privilege with which they did.
    """

    name: str
    function: str
    owner: str
    call: str
    needs: str


@record
class FamilyMember:
    """A module that a family's name stands for, the name or alias, and the verdict for that route."""

    module: str
    word: str
    verdict: str
    why: str = ""


@record
class Family:
    """The names that one format makes, or, without requests, those of one kind that udev asks for.

    ``requests`` are the calls, (function, module) each; ``askers`` the known ways to them; ``proofs`` are
    names of it that a kernel has asked for. A family without ``members`` names nothing in this tree.
    """

    name: str
    requests: tuple[tuple[str, str], ...]
    askers: tuple[Asker, ...]
    members: tuple[FamilyMember, ...]
    proofs: tuple[AskedName, ...] = ()

    def count(self, verdict: str) -> int:
        """Return the number of modules with a verdict for all their names in the family together."""
        by_module: dict[str, list[str]] = {}
        for one in self.members:
            by_module.setdefault(one.module, []).append(one.verdict)
        return sum(combined(verdicts) == verdict for verdicts in by_module.values())

    @property
    def needs(self) -> str:
        """The least that it takes to ask for a name of the family, as proven, or else by the known ways.

        Empty without any.
        """
        needs = {one.needs for one in self.proofs or self.askers}
        return next((one for one in NEEDS if one in needs), "")

    @property
    def untried(self) -> str:
        """Why no system call can prove it in a machine without devices; empty if that is not known."""
        reasons = [UNTRIED.get(_CLONE.sub("", function), "") for function, _ in self.requests]
        return reasons[0] if all(reasons) and reasons and not self.proofs else ""

    @property
    def counts(self) -> dict[str, int]:
        """The number of modules for each verdict."""
        return {verdict: self.count(verdict) for verdict in (OPEN, BLOCKED, UNKNOWN)}


def families(requests: Iterable[ModuleRequest], modules: Sequence[ModuleAudit]) -> tuple[Family, ...]:
    """Return the families of names that the kernel asks for, by name, then those that udev alone asks for.

    An alias belongs to the format with the most letters of its own among those that can make it.
    """
    callers: dict[str, dict[tuple[str, str], None]] = {}
    for one in requests:
        for text in one.formats:
            name = f"{_SYMBOL}NAME" if text.startswith(_SYMBOL) else text
            callers.setdefault(name, {})[one.function, one.owner] = None
    matcher = _Matcher(name for name in callers if not name.startswith(_SYMBOL))
    members: dict[str, list[FamilyMember]] = {name: [] for name in callers}
    devices: dict[str, list[FamilyMember]] = {}
    for module in modules:
        for route in module.routes:
            member = FamilyMember(module.module, route.via, route.verdict, route.why)
            if route.kind == "symbol" and f"{_SYMBOL}NAME" in members:
                members[f"{_SYMBOL}NAME"].append(member)
            elif route.kind in {"name", "alias"}:
                found = matcher.family(route.via)
                if found is not None:
                    members[found].append(member)
                elif route.kind == "alias":
                    devices.setdefault(_bus(route.via), []).append(member)
    asked = [_family(name, tuple(callers[name]), members[name]) for name in sorted(callers)]
    others = [Family(bus, (), (), tuple(devices[bus])) for bus in sorted(devices)]
    return (*asked, *others)


def with_proofs(
    every: Sequence[Family], asked: Iterable[AskedName]
) -> tuple[tuple[Family, ...], tuple[AskedName, ...]]:
    """Return the families with the names that were asked for, and the names that no format makes.

    A name belongs to a format of the function that asked for it; else to any that makes it: a call at the end
    of a function seems to be its caller's. Last come those of the same module that make almost any name.
    """
    matcher = _Matcher(one.name for one in every if one.requests)
    by_call: dict[tuple[str, str], list[str]] = {}
    for family in every:
        for call in family.requests:
            by_call.setdefault(call, []).append(family.name)
    vague = {owner: one.name for one in every for _, owner in one.requests if _own_letters(one.name) < _WORTH}
    proofs: dict[str, list[AskedName]] = {}
    rest: list[AskedName] = []
    for one in asked:
        word = one.name.replace("-", "_")
        own = [name for name in by_call.get((one.function, one.owner), ()) if _makes(name, _glob(name), word)]
        found = max(own, key=_own_letters, default=None) or matcher.family(word) or vague.get(one.owner)
        (rest if found is None else proofs.setdefault(found, [])).append(one)
    return tuple([replace(one, proofs=tuple(proofs.get(one.name, ()))) for one in every]), tuple(rest)


def _own_letters(text: str) -> int:
    return len(_CONVERSION.sub("", text))


def _family(name: str, calls: tuple[tuple[str, str], ...], members: list[FamilyMember]) -> Family:
    askers = [ASKED_BY.get(_CLONE.sub("", function)) for function, _ in calls]
    return Family(name, calls, tuple(dict.fromkeys(filter(None, askers))), tuple(members))


def _bus(alias: str) -> str:
    """Return the kind of an alias that no code asks for: what stands before its colon."""
    head, colon, _ = alias.partition(":")
    return f"{head}:" if colon else "other"


class _Matcher:
    """Finds the format that makes a name; formats are kept by their first two letters."""

    def __init__(self, formats: Iterable[str]) -> None:
        self._by_start: dict[str, list[tuple[int, str, str]]] = {}
        for one in formats:
            own = _own_letters(one)
            if own >= _WORTH:
                start = one.partition("%")[0].replace("-", "_")[:2]
                self._by_start.setdefault(start, []).append((own, one, _glob(one)))

    def family(self, word: str) -> str | None:
        """Return the format; None if there is none."""
        found = (
            (own, name)
            for start in dict.fromkeys((word[:2], word[:1], ""))
            for own, name, pattern in self._by_start.get(start, ())
            if _makes(name, pattern, word)
        )
        return max(found, default=(0, None))[1]


def _makes(name: str, pattern: str, word: str) -> bool:
    """Tell whether a format may make a name. A prefix has no separator in it: %st_%s makes ipt_, not a_t_."""
    if not name.startswith("%s"):
        return fnmatch(pattern, word)
    prefix = len(re.split("[-_:]", word, maxsplit=1)[0])
    rest = pattern.removeprefix(_ANY)
    return any(fnmatch(rest, word[end:]) for end in range(1, prefix + 1))


def _glob(text: str) -> str:
    """Return a pattern for the names that a format makes, and for aliases with a wildcard in such a place.

    It is a wider one: a number may have more behind it. Of several formats that with the most letters counts.
    """
    parts: list[str] = []
    at = 0
    for found in _CONVERSION.finditer(text):
        made = _MADE.get(found["kind"], _ANY)
        parts.append(_literal(text[at : found.start()]))
        if not (parts[-1] == "" and parts[-2:-1] == [made]):  # one of many in a row does for all
            parts.append(made)
        at = found.end()
    return "".join([*parts, _literal(text[at:])])


def _literal(text: str) -> str:
    return re.sub(r"([*?\[\\])", r"\\\1", text.replace("-", "_"))
