package node

import (
	"fmt"
	"os"
	"path/filepath"
)

// LockDir takes the lock of a data folder for as long as the file that it gives is open. flag is what names the folder on the command line.
// Errors say which folder it is, who has it and how to take another.
func LockDir(dir, flag string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("the data folder %s can't be made: %w; choose another with %s", dir, err, flag)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("the data folder %s can't be written: %w; choose another with %s", dir, err, flag)
	}
	if err := flock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("the data folder %s is in use by another sluice process (lock %s); stop it, or choose another with %s", dir, path, flag)
	}
	return f, nil
}
