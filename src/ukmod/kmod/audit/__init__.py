"""Whether modules can get into the kernel, by every way that leads there.

``explain`` answers for one word. An audit answers for modules: each may be asked for by its name and by many
aliases, and comes along with others. One pass over the tree gives the verdict for each of these routes.
"""

from __future__ import annotations

from ukmod.kmod.audit.audits import Audit, audit
from ukmod.kmod.audit.denials import AuditFinding
from ukmod.kmod.audit.early import audit_system
from ukmod.kmod.audit.routes import BLOCKED, OPEN, UNKNOWN, ModuleAudit, Route

__all__ = [
    "BLOCKED",
    "OPEN",
    "UNKNOWN",
    "Audit",
    "AuditFinding",
    "ModuleAudit",
    "Route",
    "audit",
    "audit_system",
]
