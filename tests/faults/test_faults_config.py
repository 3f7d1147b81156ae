"""A bad podium.toml is refused before any work begins, by every command that takes one."""

from pathlib import Path

import pytest
from fault_checks import Shop, check_refused, podium

# the text of podium.toml, words of the error
FILES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "not TOML": (b"ranking = [", ("file", "valid TOML")),
    "a key twice": (b"[ranking]\ntrees = 5\ntrees = 6\n", ("file", "valid TOML")),
    "not UTF-8": (b"# caf\xe9\n", ("file", "UTF-8")),
    "a misspelt section": (b"[rankng]\ntrees = 5\n", ("[rankng]", "ranking")),
    "a key outside the sections": (b"trees = 5\n", ("[trees]", "one of the sections")),
    "a section that is a number": (b"ranking = 5\n", ("ranking", "valid dictionary")),
    "a section that is a list": (b"[[ranking]]\ntrees = 5\n", ("ranking", "valid dictionary")),
    "an unknown key": (b"[ranking]\ntree = 5\n", ("[ranking]", "tree:", "not permitted")),
    "an unknown key below": (b"[retrieval.lexical]\nboost = 2\n", ("[retrieval]", "lexical.boost", "not permitted")),
    "text for a number": (b"[ranking]\ntrees = 'many'\n", ("[ranking]", "trees", "valid integer", "'many'")),
    "a fraction for a whole number": (b"[ranking]\ntrees = 5.5\n", ("[ranking]", "trees", "valid integer")),
    "below the range": (b"[ranking]\ntrees = 0\n", ("[ranking]", "trees", "greater than or equal to 1", "0")),
    "above the range": (b"[ranking]\nfeature_share = 1.5\n", ("[ranking]", "feature_share", "1.5")),
    "not a number": (b"[ranking]\nlearning_rate = nan\n", ("[ranking]", "learning_rate")),
    "infinite": (b"[retrieval]\nk0 = inf\n", ("[retrieval]", "k0")),
    "none of the choices": (b"[ranking]\ncalibration = 'beta'\n", ("[ranking]", "calibration", "'platt'")),
    "a negative gain": (b"[logs.gains]\nclick = -1\n", ("[logs]", "gains", "-1")),
    "an infinite gain": (b"[ranking.gains]\nclick = inf\n", ("[ranking]", "gains")),
    "text for a window": (b"[logs.windows_ms]\nclick = '30m'\n", ("[logs]", "windows_ms.click", "'30m'")),
    "a negative window": (b"[logs.windows_ms]\nclick = -1\n", ("[logs]", "windows_ms", "-1")),
    "a trade above one": (b"[rerank]\ntrade = 2.0\n", ("[rerank]", "trade", "2.0")),
    "an empty page": (b"[serving]\npage_size = 0\n", ("[serving]", "page_size", "0")),
    "suggestions of no one": (b"[query_suggest]\nmin_subjects = -3\n", ("[query_suggest]", "min_subjects", "-3")),
    "text for a list": (b"[query_suggest]\nblocked = 'rude'\n", ("[query_suggest]", "blocked", "'rude'")),
}


def commands(config: Path, shop: Shop, out: Path) -> list[tuple[object, ...]]:
    test = ("--logs", shop.split / "test", "--out", out / "report")
    return [
        ("train", "--logs", shop.split / "train", "--out", out / "bundles", "--config", config, "--json"),
        ("evaluate", "--bundle", shop.bundle, *test, "--config", config, "--json"),
        ("serve", "--bundle", shop.bundle, "--config", config),
        ("demo", "--logs", shop.log, "--out", out / "demo", "--no-serve", "--config", config, "--json"),
    ]


@pytest.mark.parametrize(("text", "words"), FILES.values(), ids=FILES)
def test_a_bad_configuration_is_refused_and_nothing_is_written(
    text: bytes, words: tuple[str, ...], shop: Shop, tmp_path: Path
) -> None:
    config = tmp_path / "podium.toml"
    config.write_bytes(text)
    check_refused(podium(*commands(config, shop, tmp_path)[0]), str(config), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["podium.toml"]


@pytest.mark.parametrize("number", range(4), ids=["train", "evaluate", "serve", "demo"])
@pytest.mark.parametrize("text", [b"[rankng]\n", None], ids=["a misspelt section", "no file"])
def test_every_command_checks_the_whole_file_first(number: int, text: bytes | None, shop: Shop, tmp_path: Path) -> None:
    config = tmp_path / "podium.toml"
    if text is not None:
        config.write_bytes(text)
    check_refused(podium(*commands(config, shop, tmp_path)[number]), str(config))
    assert list(tmp_path.iterdir()) == ([] if text is None else [config])


def test_a_folder_is_no_configuration(shop: Shop, tmp_path: Path) -> None:
    check_refused(podium(*commands(tmp_path, shop, tmp_path)[0]), "file", "TOML", str(tmp_path))


def test_the_configuration_that_init_writes_is_accepted_and_never_overwritten(tmp_path: Path) -> None:
    from pipeline.config import check_sections
    from serving.defaults import SECTIONS

    config = tmp_path / "podium.toml"
    assert podium("init", config).code == 0
    check_sections(config, SECTIONS)
    check_refused(podium("init", config), "path", "does not exist yet")
