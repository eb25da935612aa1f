package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// storeFormat is the version of the store's file layout. Another version's
// files lie in another folder and are never opened.
const storeFormat = "1"

// DefaultStoreLimit is the size a store may have, in bytes, where
// $TLQ_STORE_LIMIT doesn't say otherwise.
const DefaultStoreLimit = 10 << 30

// Environment variables that move and bound the store.
const (
	EnvStore      = "TLQ_STORE"       // folder
	EnvStoreLimit = "TLQ_STORE_LIMIT" // bytes, or with a suffix: 500M, 20G; 0: no limit
)

// Store keeps artifacts by key. A file appears under its final name only when
// it is complete and on disk, carries a checksum over all of its bytes, and is
// recomputed, never trusted, when it can't be read back. Any number of
// goroutines and processes may share a store; two that want the same missing
// artifact compute it once, one waiting for the other.
type Store struct {
	dir   string
	limit int64

	mu   sync.Mutex
	size int64 // bytes in the store as far as this process knows; -1: not counted yet
}

// StoreDir returns the folder of the store: $TLQ_STORE, else .tlq/store below
// root, else, where root is empty or can't be written, the user's cache folder.
func StoreDir(root string) (string, error) {
	if dir := os.Getenv(EnvStore); dir != "" {
		return dir, nil
	}
	if root != "" {
		dir := filepath.Join(root, ".tlq", "store")
		if os.MkdirAll(dir, 0o755) == nil {
			return dir, nil
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("harness: no place for the store: %w: set %s to a folder", err, EnvStore)
	}
	return filepath.Join(cache, "tlq", "store"), nil
}

// StoreLimit returns the size limit that $TLQ_STORE_LIMIT asks for, in bytes;
// 0 means none.
func StoreLimit() (int64, error) {
	text := os.Getenv(EnvStoreLimit)
	if text == "" {
		return DefaultStoreLimit, nil
	}
	limit, err := parseBytes(text)
	if err != nil {
		return 0, fmt.Errorf("harness: %s=%q: expected bytes, like 500M or 20G, or 0 for no limit", EnvStoreLimit, text)
	}
	return limit, nil
}

func parseBytes(text string) (int64, error) {
	digits, shift := strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(text)), "B"), 0
	digits = strings.TrimSuffix(digits, "I")
	for suffix, s := range map[string]int{"K": 10, "M": 20, "G": 30, "T": 40} {
		if cut, ok := strings.CutSuffix(digits, suffix); ok {
			digits, shift = cut, s
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift {
		return 0, errors.New("not a size")
	}
	return n << shift, nil
}

// OpenStore opens the store in dir, making the folder where it is missing and
// clearing what killed processes left half-written. limit is its size in
// bytes; 0 means none.
func OpenStore(dir string, limit int64) (*Store, error) {
	s := &Store{dir: filepath.Join(dir, "v"+storeFormat), limit: limit, size: -1}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("harness: store: %w: set %s to a folder that can be written", err, EnvStore)
	}
	return s, s.clean()
}

// Dir returns the folder that holds the artifacts.
func (s *Store) Dir() string { return s.dir }

// Path returns where the artifact of key lies, whether it exists or not.
func (s *Store) Path(key Key) string {
	return filepath.Join(s.dir, string(key[:2]), string(key)+artifactSuffix)
}

const artifactSuffix = ".safetensors"

// Has tells whether an artifact of that key is there, without reading it.
func (s *Store) Has(key Key) bool {
	if key.validate() != nil {
		return false
	}
	info, err := os.Stat(s.Path(key))
	return err == nil && info.Mode().IsRegular()
}

// Get reads the artifact of key. The error wraps fs.ErrNotExist where there is
// none, and is a *DamagedError where there is one that can't be trusted.
func (s *Store) Get(key Key) (*Artifact, error) {
	if err := key.validate(); err != nil {
		return nil, err
	}
	path := s.Path(key)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, &DamagedError{Path: path, Reason: err.Error()}
	}
	a, err := decodeArtifact(key, data)
	if err != nil {
		return nil, &DamagedError{Path: path, Reason: err.Error()}
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // the order of eviction; a read-only store has none
	return a, nil
}

// Put writes the artifact of key, replacing one that is there.
func (s *Store) Put(ctx context.Context, key Key, a *Artifact) error {
	if err := key.validate(); err != nil {
		return err
	}
	size, err := s.write(key, a)
	if errors.Is(err, fs.ErrNotExist) { // another machine's clean took our temporary file for a dead process's
		size, err = s.write(key, a)
	}
	if err != nil {
		return fmt.Errorf("harness: store %s: %w: free some space or set %s to another folder", s.dir, err, EnvStore)
	}
	s.evict(ctx, key, size)
	return nil
}

func (s *Store) write(key Key, a *Artifact) (size int64, err error) {
	dir := filepath.Dir(s.Path(key))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	f, err := os.CreateTemp(dir, tempPrefix+strconv.Itoa(os.Getpid())+"-*")
	if err != nil {
		return 0, err
	}
	size, err = writeArtifact(f, key, a)
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.Path(key))
	}
	if err != nil {
		os.Remove(f.Name())
		return 0, err
	}
	return size, syncDir(dir)
}

// Remove deletes the artifact of key where there is one.
func (s *Store) Remove(key Key) error {
	if err := key.validate(); err != nil {
		return err
	}
	if err := os.Remove(s.Path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("harness: store: %w", err)
	}
	return nil
}

// Do returns the artifact of key, computing and keeping it where the store has
// none that can be trusted; hit tells which. name is what messages call it.
// Other callers of the same key wait, in this process and in others.
func (s *Store) Do(ctx context.Context, name string, key Key, compute func(context.Context) (*Artifact, error)) (a *Artifact, hit bool, err error) {
	if a, err = s.Get(key); err == nil {
		return a, true, nil
	}
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	if a, err = s.Get(key); err == nil {
		return a, true, nil
	}
	var damaged *DamagedError
	if errors.As(err, &damaged) {
		Report(ctx, EventRecomputed, "%s: %s", name, damaged)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	if a, err = compute(ctx); err != nil {
		return nil, false, err
	}
	return a, false, s.Put(ctx, key, a)
}

// DamagedError says that a stored artifact can't be trusted.
type DamagedError struct {
	Path   string
	Reason string
}

// Error names the file and the reason.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("stored artifact %s can't be trusted: %s", filepath.Base(e.Path), e.Reason)
}
