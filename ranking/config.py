"""How the ranker is trained: the `[ranking]` section."""

from typing import Literal

from pydantic import Field

from pipeline.config import Config
from ranking.deep_config import DeepConfig


class RankingConfig(Config):
    """A model of clicks and of what follows them, calibrated, turned into expected gain."""

    model: Literal["boosted", "deep"] = Field("boosted", description="boosted trees, or a network")
    runtime: Literal["native", "onnx"] = Field(
        "onnx", description="what scores boosted trees in service: their own library or ONNX Runtime; both are saved"
    )
    most_rows: int = Field(
        2_000_000, ge=1_000, description="shown items learned from, at most; of more, evenly drawn pages are kept"
    )
    trees: int = Field(200, ge=1, le=5_000, description="most trees; early stopping mostly takes fewer")
    leaves: int = Field(15, ge=2, le=1_024, description="leaves of a tree")
    learning_rate: float = Field(0.1, gt=0, le=1, description="share of each tree that is believed")
    patience: int = Field(30, ge=1, description="trees without improvement before training stops")
    least_rows: int = Field(50, ge=1, description="rows in a leaf, at least")
    least_share: float = Field(0.002, ge=0, le=0.5, description="rows in a leaf, as a share of the training rows")
    feature_share: float = Field(0.7, gt=0, le=1, description="share of the features each tree may use")
    row_share: float = Field(0.8, gt=0, le=1, description="share of the rows each tree sees")
    ridge: float = Field(10.0, ge=0, description="L2 penalty on the values of leaves")
    convert_leaves: int = Field(4, ge=2, le=1_024, description="leaves of a tree of conversions, which are few")
    convert_learning_rate: float = Field(0.05, gt=0, le=1, description="share of each of them that is believed")
    latest_share: float = Field(
        0.2,
        gt=0,
        lt=0.9,
        description="latest requests kept from training: the first half stops and blends, the second half is"
        " reported on, and both calibrate what is shipped",
    )
    least_requests: int = Field(200, ge=10, description="requests with something shown below which no model is trained")
    least_positives: int = Field(50, ge=1, description="positives below which no model is trained")
    calibration: Literal["platt", "isotonic"] = Field("platt", description="how scores become probabilities")
    gains: dict[str, float] = Field(
        {"click": 1.0, "like": 1.0, "cart": 2.0, "purchase": 3.0}, description="action -> gain; others gain 0"
    )
    position_bias: Literal["explored", "none"] = Field(
        "explored", description="where places tell how much they are looked at: pages in a drawn order, or nowhere"
    )
    unexposed_pages: int = Field(
        2_000, ge=0, description="pages learned from of which candidates that were not shown are drawn as negatives"
    )
    unexposed_per_page: int = Field(16, ge=1, description="candidates drawn from each of them")
    unexposed_weight: float = Field(
        0.1,
        ge=0,
        le=10,
        description="weight of all of them over that of all shown items; 0: learn from shown items alone",
    )
    threads: int = Field(2, ge=1, description="threads of a training job; serving takes one a request")
    deep: DeepConfig = Field(DeepConfig.model_validate({}), description="the network of the deep model")
