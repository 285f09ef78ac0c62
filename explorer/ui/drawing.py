"""Drawing a chart: its rows bear names that a person reads, whoever has them shown or downloads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow
import streamlit as st

from explorer.ui.charts import theme


def draw(rows: pd.DataFrame | pyarrow.Table, spec: dict[str, Any], titles: Mapping[str, str], key: str, alt: str,
         width: str = "stretch", **more: Any) -> None:
    """Draw rows as a chart; with other rows and all else the same, it stays the same drawing.

    Args:
        rows: with the columns that the chart has as fields.
        spec: Vega-Lite without data.
        titles: of each column, no two the same.
        key, alt, width, more: as of `st.vega_lite_chart`.
    """
    if isinstance(rows, pd.DataFrame):
        # Who has the data shown sees no numbers of rows, which mean nothing.
        rows = pyarrow.Table.from_pandas(rows, preserve_index=False)
    st.vega_lite_chart(theme.with_titles(rows, titles), theme.titled(spec, titles), key=key, width=width, alt=alt,
                       **more)
