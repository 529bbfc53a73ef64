// Package corpora proves the reader on tables that others wrote: the Delta acceptance tests (DAT), Delta's golden tables
// and the tables of the kernel's own tests. The tables lie outside of the repository; testdata/outcomes.txt says what each
// version of each table is to give.
//
// There is no code outside of the test.
package corpora
