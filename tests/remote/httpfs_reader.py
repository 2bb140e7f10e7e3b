"""Ask a warehouse that lies in a bucket, through the product's own way of attaching it: for a DuckDB that has httpfs.

    python tests/remote/httpfs_reader.py FOLDER < JSON

FOLDER is where DuckDB is to look for extensions. The JSON says whom to ask and what; the answer is JSON as well. Uses
nothing but duckdb, the package that carries its extension, and the module that is tried.
"""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import duckdb
import duckdb_extension_httpfs

from pipelines.remote import httpfs


def main(folder):
    asked = json.load(sys.stdin)
    nothing_is_fetched = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    connection = duckdb.connect(config=nothing_is_fetched | {"extension_directory": folder})
    before = httpfs.is_possible(connection)
    ((platform,),) = connection.execute("pragma platform").fetchall()
    installed = Path(folder) / f"v{duckdb.__version__}" / platform
    installed.mkdir(parents=True)
    packaged = Path(duckdb_extension_httpfs.__file__).parent / "extensions" / f"v{duckdb.__version__}"
    shutil.copy(packaged / "httpfs.duckdb_extension", installed)
    said = {"possible": [before, httpfs.is_possible(connection)], "rows": [], "error": None}
    access = httpfs.Access(**asked["access"])
    try:
        httpfs.attach(connection, access, asked["url"], "warehouse")
        connection.execute("use warehouse")
        connection.execute("set enable_external_access = false")  # as the product locks a connection
        connection.execute("set lock_configuration = true")
        said["rows"] = connection.execute(asked["query"]).fetchall()
        said["writes"] = refused(connection, "create table warehouse.main.mine as select 1")
        said["others"] = refused(connection, f"from read_text('{asked['url'].rpartition('/')[0]}/manifest.json')")
        said["unredacted"] = refused(connection, "from duckdb_secrets(redact = false)")
        said["secrets"] = repr(connection.execute("from duckdb_secrets()").fetchall())
    except duckdb.Error as error:
        said["error"] = access.without_secrets(str(error))
    print(json.dumps(said | {"access": repr(access), "fields": list(dataclasses.asdict(access))}, default=str))


def refused(connection, statement):
    try:
        connection.execute(statement)
    except duckdb.Error as error:
        return str(error)
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
