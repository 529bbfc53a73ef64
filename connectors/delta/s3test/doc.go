// Package s3test proves the stores on real servers: the contract (storetest) and commits of many processes to one Delta table,
// on MinIO, on versitygw and on the local disk. There is no code in it but tests.
//
// The servers are named by SLUICE_MINIO and SLUICE_VERSITYGW (.ci/stack/install minio versitygw); without them their tests skip.
// SLUICE_TEST_COMMITS is how many commits each of the eight processes makes: 20, and 500 in the real-systems suite.
package s3test
