// Package s3test proves the stores on real servers: the contract (storetest) and commits of many processes to one Delta table,
// on MinIO and versitygw, on emulators of Google Cloud Storage and Azure, and on the local disk. There is no code in it but tests.
//
// The servers are named by SLUICE_MINIO, SLUICE_VERSITYGW, SLUICE_FAKE_GCS and SLUICE_AZURITE (.ci/stack/install minio versitygw fake-gcs azurite);
// without them their tests skip. SLUICE_TEST_COMMITS is how many commits each of the eight processes makes: 20, and in the real-systems suite 500.
package s3test
