package harness

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// evictTo is the share of the limit that is left after an eviction, so that
// the next few artifacts need none.
const evictTo = 0.9

// abandonedAfter is the age at which a temporary file is taken for litter
// whoever wrote it.
const abandonedAfter = 24 * time.Hour

type storedFile struct {
	path string
	size int64
	used time.Time
}

// files lists the artifacts. Files that vanish meanwhile are left out: another
// process may be evicting too.
func (s *Store) files() ([]storedFile, int64) {
	var out []storedFile
	var total int64
	_ = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, artifactSuffix) {
			return nil
		}
		if info, err := d.Info(); err == nil {
			out = append(out, storedFile{path, info.Size(), info.ModTime()})
			total += info.Size()
		}
		return nil
	})
	return out, total
}

// evict counts an artifact that was written and, beyond the limit, removes the
// least recently used ones, never the new one.
func (s *Store) evict(ctx context.Context, written Key, size int64) {
	if s.limit <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size >= 0 && s.size+size <= s.limit {
		s.size += size
		return
	}
	files, total := s.files() // other processes write too: count again before removing
	if total > s.limit {
		total = s.removeOldest(ctx, files, total, s.Path(written))
	}
	s.size = total
}

func (s *Store) removeOldest(ctx context.Context, files []storedFile, total int64, keep string) int64 {
	slices.SortFunc(files, func(a, b storedFile) int {
		if c := a.used.Compare(b.used); c != 0 {
			return c
		}
		return cmp.Compare(a.path, b.path)
	})
	removed, freed := 0, int64(0)
	for _, f := range files {
		if float64(total) <= evictTo*float64(s.limit) {
			break
		}
		if f.path == keep || os.Remove(f.path) != nil {
			continue
		}
		removed++
		freed += f.size
		total -= f.size
	}
	Report(ctx, EventEvicted, "the store was over its limit of %d bytes: removed the %d least recently used artifacts, %d bytes",
		s.limit, removed, freed)
	return total
}

// clean removes temporary files and locks of processes that are gone.
func (s *Store) clean() error {
	return filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // another process may remove files while we walk
		}
		switch name := d.Name(); {
		case d.IsDir():
		case strings.HasPrefix(name, tempPrefix) && abandoned(name, d):
			_ = os.Remove(path)
		case strings.HasSuffix(name, lockSuffix):
			removeStaleLock(path)
		}
		return nil
	})
}

// abandoned tells whether nobody will finish a temporary file.
func abandoned(name string, d fs.DirEntry) bool {
	pid, _, _ := strings.Cut(strings.TrimPrefix(name, tempPrefix), "-")
	if n, err := strconv.Atoi(pid); err != nil || !processAlive(n) {
		return true
	}
	info, err := d.Info()
	return err == nil && time.Since(info.ModTime()) > abandonedAfter
}
