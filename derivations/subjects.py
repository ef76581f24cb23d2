"""The subjects of the claims in reading order, each a folder of :mod:`derivations.claims` and its modules in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """A subject: a folder of claims.

    Args:
        title: the heading above its claims.
        modules: the names of its modules, in reading order.
    """

    title: str
    modules: tuple[str, ...]


SUBJECTS: dict[str, Subject] = {
    "discretisation": Subject(
        "Discretisation",
        (
            "zero_order_hold",
            "block_exponential",
            "rounding",
            "step_size",
            "mamba_input",
            "bilinear_and_euler",
            "exponential_trapezoidal",
            "on_arrays",
            "softplus_gates",
        ),
    ),
    "state_space": Subject(
        "S4, selective SSM, scan",
        ("write_rule", "convolution", "held_sample", "hippo", "scan", "duality", "semiseparable"),
    ),
    "linear_attention": Subject(
        "Linear attention and its two failures",
        ("forms", "normaliser", "costs", "capacity", "random_keys", "recency", "rewriting"),
    ),
    "delta_rule": Subject(
        "Delta rule",
        (
            "gradient_step",
            "key_answers",
            "spectrum",
            "state_tracking",
            "longhorn",
            "one_equation",
            "wy_form",
            "micro_steps",
            "least_squares",
        ),
    ),
    "gated_delta_rule": Subject(
        "Gated delta rule",
        (
            "chunk",
            "triangular_system",
            "by_channel",
            "every_rule",
            "steps",
            "stages",
            "exact_step",
            "padding",
            "exponents",
            "attention",
            "separate_keys",
            "backward",
            "segments_backward",
            "torch_reference",
            "torch_forward",
            "torch_backward",
            "torch_exponents",
            "torch_channels",
        ),
    ),
    "kernels": Subject(
        "Compiled kernels",
        ("token_by_token", "chunk_forward", "chunk_backward", "channels", "channels_backward", "trajectory"),
    ),
    "family": Subject(
        "The family", ("tokens", "printed", "containment", "same_rule", "limit", "invariants", "objectives")
    ),
    "errata": Subject(
        "Errata",
        (
            "output_mask",
            "sign_under_the_inverse",
            "order_of_decay_and_error",
            "decays_in_w",
            "affine_composition",
            "decays_of_a_write",
            "key_eigenvalue",
            "longhorn_objective",
            "rows_are_tokens",
        ),
    ),
}
#: Old names of claims, which links and commands may still have, with those of today.
RENAMED = {
    "bilinear_rule_has_order_two": "bilinear_rule_has_local_error_of_order_three",
    "euler_step_has_order_one": "euler_step_has_local_error_of_order_two",
}
PACKAGE = "derivations.claims"
MODULES: tuple[str, ...] = tuple(f"{folder}.{name}" for folder, of in SUBJECTS.items() for name in of.modules)
