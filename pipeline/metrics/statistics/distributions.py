"""Student's t and the binomial, where p values and power come from. scipy is imported when one is asked for, so that
a metric without a test starts without it."""


def t_tail(statistic: float, dof: float) -> float:
    """Two-sided p value of a t statistic: P(|T| >= |statistic|) with `dof` degrees of freedom."""
    from scipy.special import stdtr

    return float(min(1.0, 2.0 * stdtr(dof, -abs(statistic))))


def t_quantile(share: float, dof: float) -> float:
    """The value below which T lies with probability `share`."""
    from scipy.special import stdtrit

    return float(stdtrit(dof, share))


def t_power(shift: float, dof: float, alpha: float) -> float:
    """P(|T| beyond its two-sided bound at `alpha`) when T is noncentral by `shift` = effect / standard error."""
    from scipy.special import nctdtr

    bound = t_quantile(1.0 - alpha / 2.0, dof)
    return float(1.0 - nctdtr(dof, abs(shift), bound) + nctdtr(dof, abs(shift), -bound))


def sign_tail(wins: int, losses: int) -> float:
    """Two-sided p value of the sign test: as uneven a split of fair coins, or more so. 1 without any."""
    from scipy.special import bdtr

    return float(min(1.0, 2.0 * bdtr(min(wins, losses), wins + losses, 0.5))) if wins + losses else 1.0
