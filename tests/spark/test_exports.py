"""What Spark itself writes lands by the recipe of the docs: part files, the folders of a column, INT96."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from exported import by_contract, published, recipe, tables


@pytest.mark.parametrize(
    ("form", "timestamps"), [("parquet", "INT96"), ("parquet", "TIMESTAMP_MICROS"), ("json", "INT96"), ("csv", "INT96")]
)
def test_what_spark_writes_lands(local: None, tmp_path: Path, form: str, timestamps: str) -> None:
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.getOrCreate()  # the one that the fixture has started
    spark.conf.set("spark.sql.parquet.outputTimestampType", timestamps)
    zone = spark.conf.get("spark.sql.session.timeZone")

    def write(landing: Path) -> None:
        for entity, table in tables().items():
            source = tmp_path / f"{entity}.parquet"
            pq.write_table(table, source)
            writer = spark.read.parquet(str(source)).repartition(2).write
            if entity == "viewing_sessions":
                writer = writer.partitionBy("is_deleted")
            if form == "csv":
                writer = writer.option("header", True)
            writer.format(form).save(str(landing / entity))

    spark.conf.set("spark.sql.session.timeZone", "UTC")
    try:
        assert published(tmp_path / "spark", write, recipe("Spark")) == published(tmp_path / "contract", by_contract)
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)
