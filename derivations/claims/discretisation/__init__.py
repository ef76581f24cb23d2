"""Discretisation: what a sampled state space model keeps of its differential equation."""
