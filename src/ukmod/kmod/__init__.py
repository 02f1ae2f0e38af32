"""The userspace half: kmod as a typed library.

Standard library only. A name is imported when it is first used: ``modprobe`` imports this package too, and
has no time for what it does not need.

    >>> from ukmod.kmod import Context, Tree, plan
    >>> print(plan(Context.open(Tree.open("/srv/image")), "fs-ext4"))  # doctest: +SKIP
    insmod /srv/image/lib/modules/6.1.0/kernel/lib/crc16.ko
    ...
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.audit.audits import Audit as Audit
    from ukmod.kmod.audit.block import Proof as Proof
    from ukmod.kmod.audit.block import Remedy as Remedy
    from ukmod.kmod.audit.block import prove as prove
    from ukmod.kmod.audit.denials import AuditFinding as AuditFinding
    from ukmod.kmod.audit.policy import Policy as Policy
    from ukmod.kmod.audit.policy import check_policy as check_policy
    from ukmod.kmod.audit.policy import generate_policy as generate_policy
    from ukmod.kmod.audit.routes import ModuleAudit as ModuleAudit
    from ukmod.kmod.audit.routes import Route as Route
    from ukmod.kmod.closures import Closure as Closure
    from ukmod.kmod.closures import ClosureModule as ClosureModule
    from ukmod.kmod.closures import closure as closure
    from ukmod.kmod.config import Alias as Alias
    from ukmod.kmod.config import Blacklist as Blacklist
    from ukmod.kmod.config import Command as Command
    from ukmod.kmod.config import Config as Config
    from ukmod.kmod.config import Options as Options
    from ukmod.kmod.config import Softdep as Softdep
    from ukmod.kmod.config import Source as Source
    from ukmod.kmod.config import Weakdep as Weakdep
    from ukmod.kmod.config import load_config as load_config
    from ukmod.kmod.context import Context as Context
    from ukmod.kmod.context import Module as Module
    from ukmod.kmod.context import Softdeps as Softdeps
    from ukmod.kmod.depmod.library import Indexed as Indexed
    from ukmod.kmod.depmod.library import depmod as depmod
    from ukmod.kmod.elf import Elf as Elf
    from ukmod.kmod.elf import Section as Section
    from ukmod.kmod.elf import Symbol as Symbol
    from ukmod.kmod.explanation import Explainer as Explainer
    from ukmod.kmod.explanation import Explanation as Explanation
    from ukmod.kmod.explanation import StepNotes as StepNotes
    from ukmod.kmod.explanation import TargetNotes as TargetNotes
    from ukmod.kmod.explanation import explain as explain
    from ukmod.kmod.freshness import Freshness as Freshness
    from ukmod.kmod.host import Files as Files
    from ukmod.kmod.host import Host as Host
    from ukmod.kmod.host import Writer as Writer
    from ukmod.kmod.index import Index as Index
    from ukmod.kmod.index_write import write_index as write_index
    from ukmod.kmod.insert import carry_out as carry_out
    from ukmod.kmod.insert import insert_file as insert_file
    from ukmod.kmod.kernelargs import BootArguments as BootArguments
    from ukmod.kmod.kernelargs import KernelPolicy as KernelPolicy
    from ukmod.kmod.linkage import ExportedSymbol as ExportedSymbol
    from ukmod.kmod.lint.finding import Finding as Finding
    from ukmod.kmod.linux import LinuxHost as LinuxHost
    from ukmod.kmod.loaded import LoadedModule as LoadedModule
    from ukmod.kmod.loaded import SysModules as SysModules
    from ukmod.kmod.loaded import loaded_modules as loaded_modules
    from ukmod.kmod.modfile import ModuleFile as ModuleFile
    from ukmod.kmod.modinfo import ModuleInfo as ModuleInfo
    from ukmod.kmod.modinfo import Parameter as Parameter
    from ukmod.kmod.modinfo import read_module as read_module
    from ukmod.kmod.names import normalize_alias as normalize_alias
    from ukmod.kmod.names import normalize_modname as normalize_modname
    from ukmod.kmod.objections import Inspector as Inspector
    from ukmod.kmod.objections import KernelFacts as KernelFacts
    from ukmod.kmod.objections import ModuleFacts as ModuleFacts
    from ukmod.kmod.objections import Note as Note
    from ukmod.kmod.plans import Plan as Plan
    from ukmod.kmod.plans import Reason as Reason
    from ukmod.kmod.plans import Step as Step
    from ukmod.kmod.plans import Target as Target
    from ukmod.kmod.plans import plan as plan
    from ukmod.kmod.predict.modprobe import Circumstances as Circumstances
    from ukmod.kmod.remove import RemovalPlan as RemovalPlan
    from ukmod.kmod.remove import RemovalStep as RemovalStep
    from ukmod.kmod.remove import plan_removal as plan_removal
    from ukmod.kmod.signature import ModuleSignature as ModuleSignature
    from ukmod.kmod.signature import parse_signature as parse_signature
    from ukmod.kmod.symbols import exported_symbols as exported_symbols
    from ukmod.kmod.symbols import needed_symbols as needed_symbols
    from ukmod.kmod.system import System as System
    from ukmod.kmod.tree import Tree as Tree
    from ukmod.kmod.verify import Verdict as Verdict

_HOMES = {
    "Alias": "config",
    "Audit": "audit.audits",
    "AuditFinding": "audit.denials",
    "Blacklist": "config",
    "BootArguments": "kernelargs",
    "Circumstances": "predict.modprobe",
    "Closure": "closures",
    "ClosureModule": "closures",
    "Command": "config",
    "Config": "config",
    "Context": "context",
    "Elf": "elf",
    "Explainer": "explanation",
    "Explanation": "explanation",
    "ExportedSymbol": "linkage",
    "Files": "host",
    "Finding": "lint.finding",
    "Freshness": "freshness",
    "Host": "host",
    "Index": "index",
    "Indexed": "depmod.library",
    "Inspector": "objections",
    "KernelFacts": "objections",
    "KernelPolicy": "kernelargs",
    "LinuxHost": "linux",
    "LoadedModule": "loaded",
    "Module": "context",
    "ModuleAudit": "audit.routes",
    "ModuleFacts": "objections",
    "ModuleFile": "modfile",
    "ModuleInfo": "modinfo",
    "ModuleSignature": "signature",
    "Note": "objections",
    "Options": "config",
    "Parameter": "modinfo",
    "Plan": "plans",
    "Policy": "audit.policy",
    "Proof": "audit.block",
    "Reason": "plans",
    "Remedy": "audit.block",
    "RemovalPlan": "remove",
    "RemovalStep": "remove",
    "Route": "audit.routes",
    "Section": "elf",
    "Softdep": "config",
    "Softdeps": "context",
    "Source": "config",
    "Step": "plans",
    "StepNotes": "explanation",
    "Symbol": "elf",
    "SysModules": "loaded",
    "System": "system",
    "Target": "plans",
    "TargetNotes": "explanation",
    "Tree": "tree",
    "Verdict": "verify",
    "Weakdep": "config",
    "Writer": "host",
    "carry_out": "insert",
    "check_policy": "audit.policy",
    "closure": "closures",
    "depmod": "depmod.library",
    "explain": "explanation",
    "exported_symbols": "symbols",
    "generate_policy": "audit.policy",
    "insert_file": "insert",
    "load_config": "config",
    "loaded_modules": "loaded",
    "needed_symbols": "symbols",
    "normalize_alias": "names",
    "normalize_modname": "names",
    "parse_signature": "signature",
    "plan": "plans",
    "plan_removal": "remove",
    "prove": "audit.block",
    "read_module": "modinfo",
    "write_index": "index_write",
}
"""The module of this package that each public name is from. None may be called what a module is: the import
of that would put it in the name's place. depmod is the exception: that package can be called."""

__all__ = sorted(_HOMES)  # noqa: PLE0605 - a list of strings all the same


if not TYPE_CHECKING:  # a type checker is to know a name that does not exist

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(f"{__name__}.{home}"), name)
        return globals().setdefault(name, value)  # the import has put the package depmod there


def __dir__() -> list[str]:
    return [*__all__]
