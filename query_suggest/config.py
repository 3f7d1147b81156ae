"""The `[query_suggest]` section of podium.toml."""

from pydantic import Field

from pipeline.config import Config


class SuggestConfig(Config):
    """Which typed queries are suggested, and how they are found and ordered."""

    min_subjects: int = Field(
        3, ge=1, description="distinct people who must have typed a query; 3 suits small logs, take 20 to 50 on large"
    )
    tau_days: float = Field(14.0, gt=0, description="a search's weight falls by e in this many days")
    min_length: int = Field(2, ge=1, description="shortest query suggested, in characters")
    max_length: int = Field(80, ge=1, le=200, description="longest query suggested, in characters")
    max_queries: int = Field(1_000_000, ge=1, description="most queries kept, the most popular ones")
    blocked: tuple[str, ...] = Field((), description="words and phrases no suggestion may contain, however spelled")
    pool: int = Field(50, ge=1, le=64, description="completions looked at for each request before ordering")
    phrase_weight: float = Field(0.7, ge=0, le=1, description="a match inside a query against one at its start")
    min_word: int = Field(4, ge=2, description="shortest word that is corrected, in letters")
    dominance: float = Field(
        4.0, ge=1, description="a correction is sure when this many times as frequent as the next one"
    )
    max_words: int = Field(50_000, ge=1, description="most words the speller knows")
