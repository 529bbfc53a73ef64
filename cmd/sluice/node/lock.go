package node

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockDir takes the lock of a data folder for as long as the process lives.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("data.dir %s can't be made: %w; choose another with --data-dir", dir, err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("data.dir %s can't be written: %w; choose another with --data-dir", dir, err)
	}
	if err := flock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("data.dir %s is in use by another sluice process (lock %s); stop it, or choose another folder with --data-dir", dir, path)
	}
	return f, nil
}
