"""steps.py STEP FOLDER [ROWS]: one measured step with delta-rs; prints the seconds that it took, the processor seconds in
them, a count to compare, and the peak of the process's memory in MB."""
import resource
import sys
import time

LIMIT = 12 << 30  # bytes of address space: a machine that swaps measures nothing
resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))

import pyarrow as pa  # noqa: E402
from deltalake import DeltaTable, QueryBuilder, write_deltalake  # noqa: E402

step, path = sys.argv[1], sys.argv[2]
if step == "append":
    import numpy as np
    n = int(sys.argv[3])
    i = np.arange(n, dtype=np.int64)
    new = pa.table({"id": i, "name": pa.array([f"customer {x * 7919 % 1000003}" for x in range(n)]), "price": (i % 100000) / 4.0, "qty": (i % 50).astype(np.int32),
                    "at": pa.array(1_700_000_000_000_000 + i * 1000, pa.timestamp("us", tz="UTC"))})
began, used = time.perf_counter(), time.process_time()
if step == "open":
    count = len(DeltaTable(path).file_uris())
elif step == "scan":
    count = 0
    for batch in QueryBuilder().register("t", DeltaTable(path)).execute("select * from t"):
        count += batch.num_rows
elif step == "append":
    write_deltalake(path, new, mode="append")
    count = n
elif step == "checkpoint":
    dt = DeltaTable(path)
    dt.create_checkpoint()
    count = dt.version()
elif step == "commit":
    raise SystemExit("delta-rs has no call that only commits")
took, used = time.perf_counter() - began, time.process_time() - used
peak = next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(took, used, count, peak)
