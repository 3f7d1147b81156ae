"""The `[rerank]` section of podium.toml."""

from pydantic import Field

from pipeline.config import Config


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
