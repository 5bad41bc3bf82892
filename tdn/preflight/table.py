"""What a preflight prints: node by node what is not right, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tdn.doctor.findings import Finding

Found = Sequence[tuple[str, Finding]]
"""Findings, each with the name of the node that it is about; "" for all of them."""
_NAMED = 8
"""Nodes without findings that are listed by name."""


def table(names: Sequence[str], found: Found, lines: Sequence[str], seconds: float) -> str:
    """The text.

    Args:
        names: Of the nodes.
        found: What is not right.
        lines: What was measured.
        seconds: That all of it took.
    """
    groups = list(_groups(names, found))
    width = max((len(who) for who, _ in groups), default=0)
    text = []
    for who, findings in groups:
        for finding in findings:
            text.append(f"  {who:<{width}}  {finding.level}  {finding.name}: {finding.found}")
            text.append(f"  {'':<{width}}    ->  {finding.remedy}")
            who = ""
    well = _well(names, groups)
    return "\n".join([*text, *well, *(f"  {line}" for line in lines), _verdict(found, seconds)])


def _groups(names: Sequence[str], found: Found) -> Iterator[tuple[str, list[Finding]]]:
    """Findings by whom they are about: first those of all nodes, then node by node."""
    about: dict[Finding, set[str]] = {}
    for name, finding in found:
        about.setdefault(finding, set()).update([name] if name else names)
    common = [finding for finding, nodes in about.items() if nodes >= set(names)]
    if common:
        yield ("all nodes" if len(names) > 1 else names[0]), common
    for name in names:
        own = [finding for finding, nodes in about.items() if name in nodes]
        own = [finding for finding in own if finding not in common]
        if own:
            yield name, own


def _well(names: Sequence[str], groups: Sequence[tuple[str, list[Finding]]]) -> list[str]:
    """A line for the nodes of which there is nothing to say."""
    concerned = {who for who, _ in groups}
    well = [name for name in names if name not in concerned]
    if not well:
        return []
    more = f" and {len(well) - _NAMED} more" if len(well) > _NAMED else ""
    state = "nothing but what all nodes have" if "all nodes" in concerned else "ok"
    return [f"  {', '.join(well[:_NAMED])}{more}: {state}"]


def _verdict(found: Found, seconds: float) -> str:
    failed = sorted({name for name, finding in found if finding.level == "fail"})
    warnings = len({finding for _, finding in found if finding.level == "warn"})
    told = f"{warnings} warning{'' if warnings == 1 else 's'}; {seconds:.0f} s"
    if not failed:
        return f"preflight: training can start; {told}"
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return f"preflight: training cannot start because of {', '.join(failed[:_NAMED])}{more}; {told}"
