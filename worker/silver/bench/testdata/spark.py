"""spark.py HOME TABLE PARQUET...: merge each file into the table with Spark's MERGE and deletion vectors, one commit each; prints the seconds, CPU seconds (of the
JVM) and bytes of each as JSON. HOME is the readers' folder, whose jars/spark holds Delta's. One merge into a table of its own warms the JVM before."""
import json
import os
import sys
import time

from pyspark.sql import SparkSession

home, table = sys.argv[1:3]
jars = os.path.join(home, "jars", "spark")
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
builder = SparkSession.builder.master("local[2]")
for key, value in {
    "spark.jars": ",".join(os.path.join(jars, j) for j in sorted(os.listdir(jars))),
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.warehouse.dir": os.path.join(os.path.dirname(table), "spark-warehouse"),
    "spark.driver.memory": "8g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.databricks.delta.merge.deletionVectors.persistent": "true",
}.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
jvm = spark.sparkContext._gateway.proc.pid
tick = os.sysconf("SC_CLK_TCK")


def cpu():
    with open(f"/proc/{jvm}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / tick


def peak():
    with open(f"/proc/{jvm}/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))


def stored(path):
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(path) for f in files)


def merge(path, part):
    spark.read.parquet(part).createOrReplaceTempView("changes")
    spark.sql(f"MERGE INTO delta.`{path}` t USING changes s ON t.id = s.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *")


def vectors(path):
    spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")


warm = table + "-warm"
spark.read.parquet(sys.argv[3]).write.format("delta").save(warm)
vectors(warm)
merge(warm, sys.argv[3])
vectors(table)
out = {"Seconds": [], "CPU": [], "Bytes": []}
for part in sys.argv[3:]:
    before, began, used = stored(table), time.perf_counter(), cpu()
    merge(table, part)
    out["Seconds"].append(time.perf_counter() - began)
    out["CPU"].append(cpu() - used)
    out["Bytes"].append(stored(table) - before)
out["RSS"] = peak()
spark.stop()
print(json.dumps(out))
