"""Programs that use a kernel to try modules: a survey of a tree, its journal, and leak detection."""
