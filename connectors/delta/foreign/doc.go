// Package foreign holds the tests in which other engines open the tables that we write: delta-rs, Polars, DuckDB (all three
// replay the log with delta-kernel-rs) and the Java kernel (independent of it).
//
// There is no code in it but tests. They run where READERS_HOME names the folder that .ci/stack/install readers filled (the
// real-systems suite, .ci/real, sets it), and skip elsewhere.
//
// tables_test.go makes the tables, each feature alone and the mixes that silver uses, and says which engine refuses which of
// them: a refusal that is not listed fails the test, and so does a listed one that does not happen, so that the lists are
// true. readers_test.go compares rows, versions, change feeds and filtered readings with our own. One process for each engine
// reads all tables (testdata/driver.py, testdata/Batch.java).
package foreign
