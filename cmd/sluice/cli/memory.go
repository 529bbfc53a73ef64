package cli

import (
	"os"
	"runtime/debug"
)

// limitMemory tells the garbage collector how much memory there is, unless the environment has said so (GOMEMLIMIT): it
// works harder near the limit instead of the kernel ending the process.
func limitMemory(n int64) {
	if os.Getenv("GOMEMLIMIT") == "" && n > 0 {
		debug.SetMemoryLimit(n - n/10)
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(300) // the budgets of the worker keep what lives far below the limit; collecting less often is cheaper
		}
	}
}
