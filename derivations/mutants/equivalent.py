"""Equivalent mutants: changes without an effect on exact numbers, which no step can refute, each with the reason."""

from __future__ import annotations

# By function, original statement and changed statement, with the reason.
_ONE_ROW = "A row is a memory of one value channel, so its first entry is its last."
_ONE_DECAY = "A stream whose decays differ by value channel has been cut into rows before, so there is one to take."
_FINITE = "Exact numbers are finite; tests with NaN and inf notice it."
_TOGETHER = "The two are given together, where something is erased."
_CANCELS = "The gradient of a decay of 0 is a sum that cancels; the mask takes off what rounding leaves of it."
_MASKED = "What stands there is not looked at: the other branch is taken at 0."
_UNIT = "The diagonal of a unit triangle is not read."
_SHAPE = "Its shape alone is taken, which is the same."
EQUIVALENT: dict[tuple[str, str, str], str] = {
    (f"gdn_core.{function}", before, after): reason
    for function, before, after, reason in (
        (
            "reference.moments",
            "k = x.k if x.k.ndim == 2 else x.k[None, :]",
            "k = x.k",
            "A key for all rows broadcasts to the same products without the new axis.",
        ),
        (
            "reference.moments",
            "read = (decayed * (x.b * k)).sum(-1)",
            "read = (decayed * (x.b * k)).sum(1)",
            "The last of two axes is the second.",
        ),
        ("reference.chunk", "G = [x.g[0, 0]]", "G = [x.g[0, -1]]", _ONE_DECAY),
        ("reference.chunk", "G.append(G[-1] + x.g[i, 0])", "G.append(G[-1] + x.g[i, -1])", _ONE_DECAY),
        (
            "reference._by_rows",
            "ends = [run(S[d:d + 1], x.row(d), exp=exp, stack=stack) for d in range(len(S))]",
            "ends = [run(S[d:d + 2], x.row(d), exp=exp, stack=stack) for d in range(len(S))]",
            "A second row runs along and is dropped: rows never meet.",
        ),
        (
            "reference._by_rows",
            "return (stack([end[0] for end, _ in ends]), stack([o[:, 0] for _, o in ends]).T)",
            "return (stack([end[-1] for end, _ in ends]), stack([o[:, 0] for _, o in ends]).T)",
            _ONE_ROW,
        ),
        (
            "reference._by_rows",
            "return (stack([end[0] for end, _ in ends]), stack([o[:, 0] for _, o in ends]).T)",
            "return (stack([end[0] for end, _ in ends]), stack([o[:, -1] for _, o in ends]).T)",
            _ONE_ROW,
        ),
        (
            "streams.tokens",
            "b, w = integrators.gates(rule.integrator, b, (k * k).sum(-1, keepdims=True), g)",
            "b, w = integrators.gates(rule.integrator, b, (k * k).sum(1, keepdims=True), g)",
            "The last of two axes is the second.",
        ),
        (
            "streams.featured",
            "return np.where(x > 0, 1 + x, np.exp(np.minimum(x, 0)))",
            "return np.where(x >= 0, 1 + x, np.exp(np.minimum(x, 0)))",
            "Both are 1 at 0.",
        ),
        (
            "streams.featured",
            "return np.where(x > 0, 1 + x, np.exp(np.minimum(x, 0)))",
            "return np.where(x > 0, 1 + x, np.exp(np.minimum(x, 1)))",
            "The exponential is taken where x is at most 0.",
        ),
        ("ssm.phi1", "safe = np.where(z == 0, 1.0, z)", "safe = np.where(z == 0, 2.0, z)", _MASKED),
        (
            "ssm.tokens",
            "if factor.shape[1] < u.shape[1]:",
            "if factor.shape[1] <= u.shape[1]:",
            "Where the widths are equal, zeros of the same width are added.",
        ),
        (
            "ssm.tokens",
            "factor = factor + 0 * u[:, :, None]",
            "factor = factor - 0 * u[:, :, None]",
            "Zeros are taken off instead of added.",
        ),
        ("reference_backward.chunk_backward", "G = [x.g[0, 0]]", "G = [x.g[0, -1]]", _ONE_DECAY),
        (
            "reference_backward.chunk_backward",
            "G.append(G[-1] + x.g[i, 0])",
            "G.append(G[-1] + x.g[i, -1])",
            _ONE_DECAY,
        ),
        (
            "reference_backward._by_rows",
            "dv = gathered('v', shared=False)[:, :, 0]",
            "dv = gathered('v', shared=False)[:, :, -1]",
            _ONE_ROW,
        ),
        (
            "reference_backward._by_rows",
            "dg = gathered('g', shared=True) if x.g.shape[1] == 1 else gathered('g', shared=False)[:, :, 0]",
            "dg = gathered('g', shared=True) if x.g.shape[1] == 1 else gathered('g', shared=False)[:, :, -1]",
            _ONE_ROW,
        ),
        (
            "reference_backward._by_rows",
            "dw = gathered('w', shared=True) if x.w.shape[1] == 1 else gathered('w', shared=False)[:, :, 0]",
            "dw = gathered('w', shared=True) if x.w.shape[1] == 1 else gathered('w', shared=False)[:, :, -1]",
            _ONE_ROW,
        ),
        (
            "reference_backward._by_rows",
            "return (stack([before[0] for before, _ in rows]), Token(q=dq, k=dk, v=dv, g=dg, b=db, w=dw))",
            "return (stack([before[-1] for before, _ in rows]), Token(q=dq, k=dk, v=dv, g=dg, b=db, w=dw))",
            _ONE_ROW,
        ),
        (
            "ops.torch.chunk._Span.put",
            "if self.start + self.n * self.C <= T:",
            "if self.start + self.n * self.C < T:",
            "Where the last chunk is full, both branches write the same tokens.",
        ),
        (
            "ops.torch.chunk._gates",
            "resets = logs <= precision.FORGETS[wide]",
            "resets = logs < precision.FORGETS[wide]",
            "At the bound the exponential is 0 in either way.",
        ),
        (
            "ops.torch.chunk._read_back",
            "lost = rows.isfinite().logical_not_().cumsum(-2) > 0",
            "lost = rows.isfinite().logical_not_() > 0",
            _FINITE,
        ),
        *(
            (
                "ops.torch.chunk._read_back",
                "return torch.bmm(lower, rows.masked_fill(lost, 0), out=out).masked_fill_(lost, torch.nan)",
                after,
                _FINITE,
            )
            for after in (
                "return torch.bmm(lower, rows.masked_fill(lost, 0), out=out)",
                "return torch.bmm(lower, rows, out=out).masked_fill_(lost, torch.nan)",
            )
        ),
        *(
            ("ops.torch.chunk.backward", f"if {first} is not None and {second} is not None:", f"if {after}:", _TOGETHER)
            for first, second in (("dbeta", "v_new"), ("d_gram", "gram"))
            for after in (
                f"{first} is not None or {second} is not None", f"{first} is not None", f"{second} is not None",
            )
        ),
        (
            "ops.torch.chunk.backward",
            "differences = (d_products * Aqk).tril_(-1).to(wide)",
            "differences = (d_products * Aqk).to(wide)",
            "The diagonal cancels between the sums over rows and columns; in floats not to the last bit.",
        ),
        (
            "ops.torch.chunk.backward",
            "last = forgotten[:n] * gates.so_far[:, :, -1, 0]",
            "last = forgotten[:n] * gates.so_far[:, :, -1, -1]",
            "The last axis has one entry.",
        ),
        *(
            (
                "ops.torch.chunk.backward",
                "span.put(dG if gates.resets is None else dG.masked_fill_(gates.resets, 0), dg)",
                after,
                _CANCELS,
            )
            for after in ("span.put(dG, dg)", "span.put(dG if gates.resets is None else dG, dg)")
        ),
        (
            "ops.torch.channels._prepare",
            "resets = logs <= precision.FORGETS[wide]",
            "resets = logs < precision.FORGETS[wide]",
            "At the bound the exponential is 0 in either way.",
        ),
        *(
            (
                "ops.torch.channels._prepare",
                "return d if later[1] is None or earlier[1] is None else d.masked_fill(later[1] != earlier[1], 0)",
                f"return d if {after} else d.masked_fill(later[1] != earlier[1], 0)",
                "Either both tokens are counted, or none is.",
            )
            for after in (
                "later[1] is None and earlier[1] is None", "later[1] is None", "earlier[1] is None",
                "later[1] is None or earlier[0] is None", "later[0] is None or earlier[1] is None",
            )
        ),
        *(
            (
                "ops.torch.channels._prepare",
                "UT = torch.linalg.solve_triangular("
                "products[0] + one, one.expand_as(products[0]), upper=False, unitriangular=True)",
                f"UT = torch.linalg.solve_triangular({after}, upper=False, unitriangular=True)",
                reason,
            )
            for after, reason in (
                ("products[0] - one, one.expand_as(products[0])", _UNIT),
                ("products[0], one.expand_as(products[0])", _UNIT),
                ("products[0] + one, one.expand_as(products[1])", _SHAPE),
                ("products[0] + one, one.expand_as(products[-1])", _SHAPE),
            )
        ),
        *(
            ("ops.torch.channels._read_back", before, after, _FINITE)
            for before, after in (
                ("lost = (~rows.isfinite()).cumsum(-2) > 0", "lost = ~rows.isfinite() > 0"),
                ("return (lower @ rows.masked_fill(lost, 0)).masked_fill(lost, torch.nan)",
                 "return lower @ rows.masked_fill(lost, 0)"),
                ("return (lower @ rows.masked_fill(lost, 0)).masked_fill(lost, torch.nan)",
                 "return (lower @ rows).masked_fill(lost, torch.nan)"),
            )
        ),
        (
            "ops.torch.channels._errors",
            "reading = None if x.UT is None else x.so_far * x.rows[0]",
            "reading = x.so_far * x.rows[0]",
            "Where nothing is erased it is not read.",
        ),
        *(
            ("ops.torch.channels._errors", "if x.UT is not None and reading is not None:", f"if {after}:", _TOGETHER)
            for after in ("x.UT is not None or reading is not None", "x.UT is not None", "reading is not None")
        ),
        *(
            ("ops.torch.channels.backward", "if x.ndim == 3 and values.shape[-1] > 1:", after,
             "The sum over one channel is that channel.")
            for after in ("if x.ndim == 3:", "if x.ndim == 3 and values.shape[-1] >= 1:")
        ),
        (
            "ops.torch.channels.backward",
            "if joined.shape[2] > x.shape[2]:",
            "if joined.shape[2] >= x.shape[2]:",
            "The sum over one head is that head.",
        ),
        (
            "ops.torch.channels.backward",
            "x[:, tokens] = joined[..., 0] if x.ndim == 3 else joined",
            "x[:, tokens] = joined[..., -1] if x.ndim == 3 else joined",
            "The last axis has one entry.",
        ),
        (
            "ops.torch.channels.backward",
            "r, d_writing, d_whole = (torch.empty_like(u), torch.empty_like(writing), "
            "torch.empty_like(writing[:, :, 0]))",
            "r, d_writing, d_whole = (torch.empty_like(u), torch.empty_like(writing), "
            "torch.empty_like(writing[:, :, -1]))",
            _SHAPE,
        ),
        *(
            (
                "ops.torch.channels.backward",
                "put(dG if x.resets is None else dG.masked_fill(x.resets, 0), dg, tokens)",
                after,
                _CANCELS,
            )
            for after in ("put(dG, dg, tokens)", "put(dG if x.resets is None else dG, dg, tokens)")
        ),
        (
            "ops.torch.channels.recurrent",
            "S = S.clone(memory_format=torch.contiguous_format)",
            "S = S",
            "Without a token the memory that is returned is the one that was given; nothing is written to it.",
        ),
    )
}
