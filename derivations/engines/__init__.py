"""What decides a step: one engine a module, each exact. They compute with SymPy."""

from gdn_core.extras import need

need("sympy")
