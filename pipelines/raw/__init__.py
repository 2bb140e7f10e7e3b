"""Raw: landed files parsed once, each into one immutable folder, and the register that keeps erased ids out of them.

    layout.py                         which file stands where, and what a folder is named by
    raw_file.py, raw_folder.py        a landed file in raw; a folder, and all of raw by its folders
    index.py, index_cache.py          index.json, written and read; what this machine remembers of all of them
    catalog.py, readings.py           what raw holds; which reading of landed bytes counts
    rejected_records.py               what was not accepted, and what that says of a file or of a mapping
    quarantine.py                     damaged folders, kept until they are made again
    ingest.py, packs.py, writer.py    landed files -> raw; small ones together; the Parquet files of a folder
    pack_parts.py                     copies of a part of a pack, for what rests on no more of it
    seen_cache.py                     which landed files were read already
    deliveries.py                     which days of sessions were delivered
    erasure_register.py               who was forgotten
    unknown_fields.py                 fields that the contract does not know

Only jobs/redaction.py takes records out of a folder that is there: for `forget`, and for retention.
"""
