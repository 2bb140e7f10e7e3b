"""Export the rows of a Parquet file as another program does: `python exporting.py KIND SOURCE TARGET`.

Run by the Python of an environment that has the programs (`make exporters`), and imports nothing of this project.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def clickhouse_csv(source: str, target: Path) -> None:
    """As `select … format CSVWithNames` of ClickHouse."""
    import chdb

    target.write_bytes(chdb.query(f"select * from file('{source}', Parquet)", "CSVWithNames").bytes())


def clickhouse_json(source: str, target: Path) -> None:
    """As `select … format JSONEachRow` of ClickHouse."""
    import chdb

    target.write_bytes(chdb.query(f"select * from file('{source}', Parquet)", "JSONEachRow").bytes())


def pandas_csv(source: str, target: Path) -> None:
    """As `frame.to_csv` of pandas."""
    import pandas

    pandas.read_parquet(source).to_csv(target, index=False)


def pandas_parquet(source: str, target: Path) -> None:
    """As `frame.to_parquet` of pandas."""
    import pandas

    pandas.read_parquet(source).to_parquet(target)


def pandas_json(source: str, target: Path) -> None:
    """As `frame.to_json` of pandas, a record a line."""
    import pandas

    pandas.read_parquet(source).to_json(target, orient="records", lines=True, date_format="iso")


def clickhouse_tabs(source: str, target: Path) -> None:
    """As `select … format TabSeparatedWithNames` of ClickHouse."""
    import chdb

    target.write_bytes(chdb.query(f"select * from file('{source}', Parquet)", "TabSeparatedWithNames").bytes())


def firehose(source: str, target: Path) -> None:
    """As Firehose delivers what boto3 puts: the objects of the bucket, below the folder `target`."""
    import boto3
    import moto
    import pandas

    lines = pandas.read_parquet(source).to_json(orient="records", lines=True, date_format="iso").splitlines()
    with moto.mock_aws():
        bucket = _bucket(boto3)
        stream = boto3.client("firehose", "us-east-1")
        stream.create_delivery_stream(
            DeliveryStreamName="stream",
            ExtendedS3DestinationConfiguration={"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::bucket"},
        )
        for some in (lines[:2], lines[2:]):
            records = [{"Data": line.encode()} for line in some]
            stream.put_record_batch(DeliveryStreamName="stream", Records=records or [{"Data": b""}])
        _download(bucket, target)


def dynamodb(source: str, target: Path) -> None:
    """As ExportTableToPointInTime of DynamoDB, of items that boto3 has put."""
    from decimal import Decimal

    import boto3
    import moto
    import pandas

    text = pandas.read_parquet(source).to_json(orient="records", date_format="iso")
    with moto.mock_aws():
        bucket, client = _bucket(boto3), boto3.client("dynamodb", "us-east-1")
        client.create_table(
            TableName="table",
            KeySchema=[{"AttributeName": "number", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "number", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )
        table = boto3.resource("dynamodb", "us-east-1").Table("table")
        for number, row in enumerate(json.loads(text, parse_float=Decimal)):
            table.put_item(Item={"number": number, **row})
        recovery = {"PointInTimeRecoveryEnabled": True}
        client.update_continuous_backups(TableName="table", PointInTimeRecoverySpecification=recovery)
        arn = client.describe_table(TableName="table")["Table"]["TableArn"]
        export = client.export_table_to_point_in_time(TableArn=arn, S3Bucket="bucket", S3Prefix="export")[
            "ExportDescription"
        ]
        deadline = time.monotonic() + 60
        while export["ExportStatus"] == "IN_PROGRESS":
            assert time.monotonic() < deadline, "the export does not end"
            time.sleep(0.05)
            export = client.describe_export(ExportArn=export["ExportArn"])["ExportDescription"]
        _download(bucket, target, "/data/")


ROLE = "arn:aws:iam::123456789012:role/role"


def _bucket(boto3: Any) -> Any:
    bucket = boto3.resource("s3", "us-east-1").Bucket("bucket")
    bucket.create()
    return bucket


def _download(bucket: Any, target: Path, below: str = "") -> None:
    for found in bucket.objects.all():
        if below in found.key:
            path = target / found.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(found.get()["Body"].read())


def debezium(source: str, target: Path) -> None:
    """The values of Debezium's events, a line each, by the JSON converter of Kafka Connect; a file for each table.

    `source` is JSON: `properties` of the engine, how many `records` there are to be.
    """
    from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine

    asked = json.loads(source)
    seen: dict[str, list[str]] = {}

    class Handler(BasePythonChangeHandler):
        def handleJsonBatch(self, records: list[Any]) -> None:
            for each in records:
                seen.setdefault(str(each.destination()).rpartition(".")[2], []).append(str(each.value()))
            if sum(map(len, seen.values())) >= asked["records"]:
                for table, values in seen.items():
                    (target / table).write_text("".join(f"{value}\n" for value in values), encoding="utf-8")
                os._exit(0)  # the engine waits for more

    DebeziumJsonEngine(properties=asked["properties"], handler=Handler()).run()
    raise SystemExit("the engine has ended before it has said everything")


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
