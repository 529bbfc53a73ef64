// Package arch holds no code that runs: its test reads the sources of the whole repository and checks the rules of
// the house, so that a wrong import is a failed test with a sentence that says what is wrong and where the line
// would be at home.
//
// Checked are: the direction of imports between the rooms, the keepers of third-party libraries, what pure rooms may
// not touch (clock, randomness, network), who may end the process, and the size of files.
package arch
