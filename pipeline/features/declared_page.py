"""The part of docs/features.md on features a user declares."""

from typing import Final

PAGE: Final = """
## Declare your own

Up to 64 features over any field of your items, in `podium.toml`. They come after the others, in the order declared,
for training, replay and service alike, and nothing of the future shows in them either. A bundle remembers what it was
trained with and refuses a configuration that declares otherwise: train again.

```toml
[[features.declared]]
name = "kind_rate_by_age"        # unlike any other feature's
kind = "rate"
item = "category.2"
by = "user.attributes.age"
action = "click"
window = "28d"
missing = "nan"
```

| kind | value | options |
| --- | --- | --- |
| `rate` | `action` over showings of all items of the same value, on pages asked alike | `by`, `action`, `window` |
| `count` | log(1 + `action`) of items of the same value; with `by`, on pages asked alike | `by`, `action`, `window` |
| `recency` * | log(1 + hours) since the subject's last positive on an item of the same value | |
| `affinity` | share of the subject's positives on items of the same value, drawn towards 0 | |
| `match` | whether the item has the value `by`; by `query` the share of the query's words in the item's text | `by` |
| `numeric` | the number | |
| `categorical` | 0 missing, 1 another value, from 2 on the `cardinality` values most items had | `cardinality` |

- `item`: `item_id`, `kind`, `brand`, `region`, `category.1` to `category.4` (the path down to there) or
  `attributes.NAME`, as of the item's latest row. Of a list the first value counts, and any one matches. `match` also
  reads `title`, `text` and `tags` (and of a category its last name), `numeric` reads `price` and `attributes.NAME`.
- `by`: `user.attributes.NAME` of the latest row of the user known an hour before the request's tick, `context.NAME` of
  the request, or `query`. Without it everybody counts. A rate of few showings is drawn towards that of everybody, and
  that one towards a prior; how far is fitted at training.
- `action`: view, click (the default), cart, purchase, like or hide. Of a rate, those that name a shown page.
- `window`: `24h`, `7d`; all time unless given. * and windows need clock time and are left out without it.
- `missing`: the value where it cannot be known: `"nan"`, which trees send their own way, or a number.
"""
