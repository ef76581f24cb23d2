"""The engines that decide steps, one in each module. Each is exact; they compute with SymPy."""

from gdn_core.extras import need

need("sympy")
