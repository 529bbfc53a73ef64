package file

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// publish gives the content of temp the name path if that is free. File systems without hard links (FAT, some network
// mounts) get renameat2 with RENAME_NOREPLACE, which is as atomic.
func publish(temp, path string) error {
	err := os.Link(temp, path)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EMLINK) {
		if err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE); err != nil {
			return &os.LinkError{Op: "renameat2", Old: temp, New: path, Err: err}
		}
		return nil
	}
	return err
}
