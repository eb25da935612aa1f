//go:build unix

package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const lockSuffix = ".lock"

// lockPoll is how often a waiting process looks whether a key is free.
const lockPoll = 20 * time.Millisecond

// lock takes the lock of a key and returns how to give it back. The kernel
// drops it when the process dies, so none has to be broken.
func (s *Store) lock(ctx context.Context, key Key) (unlock func(), err error) {
	path := s.Path(key) + lockSuffix
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("harness: store: %w", err)
	}
	for {
		f, err := tryLock(path)
		if err != nil {
			return nil, fmt.Errorf("harness: store: lock %s: %w", key.Short(), err)
		}
		if f != nil {
			return func() {
				_ = os.Remove(path) // while it is held: see tryLock
				_ = f.Close()
			}, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// tryLock returns the locked file, or nil when somebody else holds it. The
// holder removes the file before it lets go, so a lock counts only on the file
// that still has the name.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil && sameFile(f, path) {
		return f, nil
	}
	_ = f.Close()
	if err == nil || errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return nil, nil
	}
	return nil, err
}

func sameFile(f *os.File, path string) bool {
	a, errA := f.Stat()
	b, errB := os.Stat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// removeStaleLock removes a lock file that nobody holds.
func removeStaleLock(path string) {
	if f, err := tryLock(path); err == nil && f != nil {
		_ = os.Remove(path)
		_ = f.Close()
	}
}

// processAlive tells whether a process of that number runs on this machine.
func processAlive(pid int) bool {
	if pid <= 0 {
		return false
	}
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
