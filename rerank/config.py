"""The `[rerank]` section of podium.toml."""

from pydantic import Field

from pipeline.config import Config


class ListwiseConfig(Config):
    """Trees that look at an item among its neighbours."""

    enabled: bool | None = Field(
        default=None,
        description="on or off; unset is on where training found it better than leaving the list",
    )
    depth: int = Field(default=50, ge=2, le=500, description="the best items of the ranker that are looked at")
    slots: int = Field(default=10, ge=1, le=100, description="places filled one by one; behind them the ranker's order")
    company: int = Field(default=7, ge=1, le=100, description="items right above that count as an item's company")
    trees: int = Field(default=100, ge=1, le=5_000, description="trees")
    leaves: int = Field(default=4, ge=2, le=256, description="leaves of a tree")
    learning_rate: float = Field(default=0.05, gt=0, le=1, description="share of each tree that is believed")
    least_rows: int = Field(default=500, ge=1, description="rows in a leaf, at least")
    ridge: float = Field(default=10.0, ge=0, description="L2 penalty on the values of leaves")
    latest_share: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="latest pages it learns from and is judged on; the ranker must not have learned from them",
    )
    most_pages: int = Field(default=12_000, ge=1, description="latest pages it learns from and is judged on, at most")
    learn_share: float = Field(default=0.65, gt=0, lt=1, description="first share of them, learned from, not judged")
    least_pages: int = Field(default=500, ge=1, description="pages with a positive to learn from, at least")
    errors: float = Field(
        default=1.5, ge=0, description="standard errors by which it must be ahead of leaving the list"
    )
    threads: int = Field(default=2, ge=1, description="threads of the training job; serving takes one a request")


class RerankConfig(Config):
    """How the ranked candidates become a page."""

    slate: int = Field(200, ge=1, le=1000, description="items kept for all pages of one request")
    trade: float | None = Field(
        None, ge=0, le=1, description="MMR: 1.0 ranks by relevance alone; unset takes the trade chosen in training"
    )
    windows: bool | None = Field(
        None, description="the window rules on or off; unset keeps them where training found them within the budget"
    )
    depth: int = Field(50, ge=1, le=500, description="MMR reorders the best `depth` items")
    mmr_window: int | None = Field(None, ge=1, description="MMR compares with the last picks only; unset with all")
    budget: float = Field(0.005, ge=0, le=1, description="share of NDCG@10 that diversity may cost in training")
    trades: tuple[float, ...] = Field(
        (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5), description="trades tried in training beside 1.0"
    )
    first: int = Field(20, ge=1, description="slots the window rules hold for")
    explore: int = Field(20, ge=1, description="how far down a slot may reach to meet the window rules")
    category_level: int = Field(2, ge=1, le=4, description="level of the category the window rule looks at")
    category_window: int = Field(5, ge=1, description="consecutive slots of the category rule")
    category_at_most: int = Field(4, ge=1, description="items of one category in its window; the window = no rule")
    brand_window: int = Field(5, ge=1, description="consecutive slots of the brand rule")
    brand_at_most: int = Field(3, ge=1, description="items of one brand in its window; the window = no rule")
    listwise: ListwiseConfig = Field(default=ListwiseConfig(), description="LambdaMART over the list")
