"""When a log may say that one system beats another."""

from dataclasses import dataclass

from pipeline.metrics.offpolicy.estimate import Contrast

NOTHING = Contrast(float("nan"), float("nan"), float("nan"), float("nan"), 0, "not measured")
JUDGED_SLACK = 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    """verdict: `a better`, `b better` or `undecided`."""

    verdict: str
    reason: str


def judge(
    explored: Contrast, ips: Contrast, dr: Contrast, judged: tuple[float, float] = (1.0, 1.0), biased: str | None = None
) -> Verdict:
    """The reporting rule: a better one needs the paired interval to exclude 0 on the randomised pages, or IPS and DR to
    agree on all of them.

    explored, ips, dr: value of a less value of b, each by its own estimator. judged: judged@k of a and b; an item that
    was never shown counts 0, so a lead of the one that the log has seen more of by over 0.05 decides nothing. biased:
    why IPS and DR may not be believed (clipping), else None.
    """
    both = ips.sign if ips.sign == dr.sign else 0
    sign, reason = explored.sign, f"the interval on the randomised pages excludes 0 ({_said(explored)})"
    if sign and both == -sign:
        return Verdict("undecided", f"randomised pages ({_said(explored)}) and IPS with DR ({_said(ips)}) contradict")
    if not sign and biased is not None:
        return Verdict("undecided", f"randomised pages: {_said(explored)}; IPS and DR: {biased}")
    if not sign:
        sign, reason = both, f"IPS ({_said(ips)}) and DR ({_said(dr)}) agree"
    if not sign:
        return Verdict("undecided", f"randomised pages: {_said(explored)}; IPS: {_said(ips)}; DR: {_said(dr)}")
    ahead = (judged[0] - judged[1]) * sign
    if ahead > JUDGED_SLACK:
        shares = f"judged {judged[0]:.0%} against {judged[1]:.0%}"
        return Verdict("undecided", f"{reason}, but the log has shown more of the winner's items ({shares})")
    return Verdict("a better" if sign > 0 else "b better", reason)


def _said(found: Contrast) -> str:
    if found.refused is not None:
        return found.refused
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
