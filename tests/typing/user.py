"""A user's program, for type checkers: it is never run."""

from __future__ import annotations

import ukmod
from ukmod.kmod import Context, KernelFacts, Tree, closure, depmod, explain, plan


def on_record(record: ukmod.Record) -> None:
    print(record.level, record.text)


def helper(process: ukmod.Process) -> int:
    return len(process.argv)


def main() -> None:
    with ukmod.Kernel(tree="/lib/modules/6.1.0", image="auto", hz=100) as k:
        k.on_record(on_record)
        k.install("/sbin/helper", helper)

        @k.export(gpl=True, new=True)
        def answer(question: ukmod.CStr, depth: ukmod.Int) -> ukmod.Long:
            return len(question) + depth

        module: ukmod.Module = k.insmod("frob.ko", "level=3")
        finished: ukmod.Finished = k.modprobe("other", check=False)
        task: ukmod.Task = k.start("worker", lambda core: core.log.flush())
        requests: list[ukmod.Request] = list(k.requests)
        leaks: list[ukmod.Leak] = list(k.leaks())
        left: list[ukmod.Dangling] = list(k.dangling)
        problems = [*k.oopses, *k.warnings, *k.reports]
        print(module.name, finished.status, task.pid, requests, leaks, left, problems)
        try:
            k.rmmod("frob")
        except ukmod.LoadError as error:
            print(error.errno, error.subject)


def kmod() -> None:
    indexed = depmod("/srv/image")
    context = Context.open(Tree.open("/srv/image", "6.1.0"))
    files = closure(context, ["e1000e"]).files
    outcome = explain(context, "net-pf-38", KernelFacts()).is_loaded
    print(indexed.modules, [step.module for target in plan(context, "x").targets for step in target.steps])
    print(files, outcome)
