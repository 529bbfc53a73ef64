"""read.py TABLE FRESH VERSION: write the rows of a version of TABLE (-1: the newest) anew with delta-rs, then read both with DuckDB, in turn; prints times, CPU
seconds and sizes as JSON."""
import json
import os
import resource
import sys
import time

import duckdb
import duckdb_extension_delta
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

con = duckdb.connect()
folder = os.path.dirname(duckdb_extension_delta.__file__)
con.execute(f"LOAD '{folder}/extensions/v{duckdb.__version__}/delta.duckdb_extension'")


def cpu():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime


def read(scan):
    cols = ", ".join('"' + r[0] + '"' for r in con.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall())
    began, used = time.perf_counter(), cpu()
    row = con.execute(f"SELECT count(*), bit_xor(hash({cols})), sum(hash({cols}) % 1000003) FROM {scan}").fetchone()
    return row, time.perf_counter() - began, cpu() - used


def size(path, version=None):
    t = pa.table(DeltaTable(path, version=version).get_add_actions())
    return t.num_rows, sum(t.column("size_bytes").to_pylist()) / 2**20, sum(t.column("num_records").to_pylist())


table, fresh, version = sys.argv[1], sys.argv[2], int(sys.argv[3])
ours, theirs = f"delta_scan('{table}', version => {version})" if version >= 0 else f"delta_scan('{table}')", f"delta_scan('{fresh}')"
rows = con.execute(f"SELECT * FROM {ours}").to_arrow_reader(100_000)
write_deltalake(fresh, rows)
out = {"Ours": [], "Fresh": [], "OursCPU": [], "FreshCPU": []}
was, now = None, None
for i in range(6):
    was, t, c = read(ours)
    now, u, d = read(theirs)
    if i:  # the first time warms the caches
        out["Ours"].append(t)
        out["OursCPU"].append(c)
        out["Fresh"].append(u)
        out["FreshCPU"].append(d)
out["Rows"], out["Equal"] = was[0], was == now
out["FreshFiles"], out["FreshMB"], _ = size(fresh)
con.close()
try:
    out["OursFiles"], out["OursMB"], physical = size(table, version if version >= 0 else None)
    out["Dead"] = physical - out["Rows"]
except Exception:  # it has features that this delta-rs does not read
    out["OursFiles"], out["OursMB"], out["Dead"] = 0, 0, 0
print(json.dumps(out))
