package harness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tlqlab/tlqlab/models/safetensors"
)

type smallValue struct {
	Text string `json:"text"`
	N    int    `json:"n"`
}

func smallArtifact(t testing.TB, n int) *Artifact {
	t.Helper()
	a, err := NewArtifact(smallValue{`with "quotes" and ` + checksumMark, n},
		safetensors.FromFloat32("x", []int{2, 2}, []float32{1, -2, 3.5, 1e-30}),
		safetensors.FromInts("ids", []int{3}, []int64{1, 2, 3}))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func testStore(t testing.TB, limit int64) *Store {
	t.Helper()
	s, err := OpenStore(t.TempDir(), limit)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var testStage = StageID{"test", 1}

func TestKeyDependsOnEverything(t *testing.T) {
	base := NewKey(testStage, map[string]int{"a": 1}, "k1", "k2")
	others := []Key{
		NewKey(StageID{"tess", 1}, map[string]int{"a": 1}, "k1", "k2"),
		NewKey(StageID{"test", 2}, map[string]int{"a": 1}, "k1", "k2"),
		NewKey(testStage, map[string]int{"a": 2}, "k1", "k2"),
		NewKey(testStage, map[string]int{"a": 1}, "k2", "k1"),
		NewKey(testStage, map[string]int{"a": 1}, "k1k2"),
		NewKey(testStage, map[string]int{"a": 1}, "k1", "k2", ""),
	}
	if slices.Contains(others, base) {
		t.Error("two different inputs have one key")
	}
	if base != NewKey(testStage, map[string]int{"a": 1}, "k1", "k2") {
		t.Error("a key isn't repeatable")
	}
	if base.validate() != nil || Key("../../etc/passwd").validate() == nil || Key("").validate() == nil {
		t.Error("validate: accepts what is not a key, or refuses one")
	}
}

func TestStoreRoundTrip(t *testing.T) {
	s, ctx := testStore(t, 0), context.Background()
	key := NewKey(testStage, nil)
	if _, err := s.Get(key); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("empty store: %v", err)
	}
	want := smallArtifact(t, 7)
	if err := s.Put(ctx, key, want); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	var v smallValue
	if err := got.Decode(&v); err != nil || v.N != 7 {
		t.Errorf("JSON: %+v, %v", v, err)
	}
	x, err := got.Float32s("x")
	if err != nil || !slices.Equal(x, []float32{1, -2, 3.5, 1e-30}) {
		t.Errorf("tensor: %v, %v", x, err)
	}
	f, err := safetensors.Open(s.Path(key))
	if err != nil {
		t.Fatalf("an artifact is not plain safetensors: %v", err)
	}
	defer f.Close()
	if !slices.Equal(f.Names(), []string{"ids", "x"}) {
		t.Errorf("names %v", f.Names())
	}
}

// damage checks that a stored file with other bytes is recomputed and
// reported, and that the good bytes come back.
func damage(t *testing.T, s *Store, key Key, good, bad []byte, what string) {
	t.Helper()
	if err := os.WriteFile(s.Path(key), bad, 0o644); err != nil {
		t.Fatal(err)
	}
	var log EventLog
	ctx := WithEvents(context.Background(), &log)
	a, hit, err := s.Do(ctx, "test", key, func(context.Context) (*Artifact, error) { return smallArtifact(t, 1), nil })
	if err != nil || hit {
		t.Fatalf("%s: hit %v, error %v", what, hit, err)
	}
	if e := log.Events(); len(e) != 1 || e[0].Kind != EventRecomputed {
		t.Fatalf("%s: events %v", what, e)
	}
	var v smallValue
	if err := a.Decode(&v); err != nil || v.N != 1 {
		t.Fatalf("%s: %+v %v", what, v, err)
	}
	if now, _ := os.ReadFile(s.Path(key)); !bytes.Equal(now, good) {
		t.Fatalf("%s: the file was not mended", what)
	}
}

func TestStoreDoesNotTrustDamage(t *testing.T) {
	s, key := testStore(t, 0), NewKey(testStage, nil)
	good, err := encodeArtifact(key, smallArtifact(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeArtifact(key, bytes.Clone(good)); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := decodeArtifact(key, bytes.Clone(good[:n])); err == nil {
			t.Fatalf("cut to %d of %d bytes: accepted", n, len(good))
		}
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[n] ^= 1 << bit
			if _, err := decodeArtifact(key, bad); err == nil {
				t.Fatalf("bit %d of byte %d flipped: accepted", bit, n)
			}
		}
	}
	if err := os.MkdirAll(filepath.Dir(s.Path(key)), 0o755); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(good); n += 97 {
		damage(t, s, key, good, good[:n], fmt.Sprintf("cut to %d", n))
		bad := bytes.Clone(good)
		bad[n] ^= 0x10
		damage(t, s, key, good, bad, fmt.Sprintf("byte %d flipped", n))
	}
	damage(t, s, key, good, append(bytes.Clone(good), 0), "one byte more")
	other, err := encodeArtifact(NewKey(testStage, 1), smallArtifact(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	damage(t, s, key, good, other, "another key's file")
	version := bytes.Replace(good, []byte(`"tlq_store":"1"`), []byte(`"tlq_store":"0"`), 1)
	damage(t, s, key, good, reseal(t, version), "another version's file")
}

// reseal gives changed bytes a checksum that fits.
func reseal(t *testing.T, data []byte) []byte {
	t.Helper()
	at, err := checksumAt(data)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(data)
	copy(out[at:], bytes.Repeat([]byte("0"), checksumDigits))
	sum := sha256.Sum256(out)
	hex.Encode(out[at:at+checksumDigits], sum[:])
	if bytes.Equal(out, data) {
		t.Fatal("nothing was changed")
	}
	return out
}

func TestStoreConcurrentWriters(t *testing.T) {
	dir := t.TempDir()
	var computed atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			s, err := OpenStore(dir, 0) // as if each were a process
			if err != nil {
				t.Error(err)
				return
			}
			_, _, err = s.Do(context.Background(), "test", NewKey(testStage, i%2), func(context.Context) (*Artifact, error) {
				computed.Add(1)
				time.Sleep(30 * time.Millisecond)
				return smallArtifact(t, i%2), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := computed.Load(); n != 2 {
		t.Errorf("2 keys were computed %d times", n)
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestStoreWaitEndsWithContext(t *testing.T) {
	s, key := testStore(t, 0), NewKey(testStage, nil)
	unlock, err := s.lock(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, _, err = s.Do(ctx, "test", key, func(context.Context) (*Artifact, error) { return nil, errors.New("must not run") })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestStoreFailedComputationLeavesNothing(t *testing.T) {
	s, key := testStore(t, 0), NewKey(testStage, nil)
	boom := errors.New("boom")
	if _, _, err := s.Do(context.Background(), "test", key, func(context.Context) (*Artifact, error) { return nil, boom }); !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
	if s.Has(key) || len(leftovers(t, s.Dir())) > 0 {
		t.Error("something was left behind")
	}
}

// leftovers lists everything in the store that is not an artifact.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, artifactSuffix) {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStoreEvictsLeastRecentlyUsed(t *testing.T) {
	ctx := context.Background()
	one, err := encodeArtifact(NewKey(testStage, 0), smallArtifact(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(one))
	s := testStore(t, 5*size)
	keys := make([]Key, 6)
	var log EventLog
	for i := range keys {
		keys[i] = NewKey(testStage, i)
		if err := s.Put(WithEvents(ctx, &log), keys[i], smallArtifact(t, i)); err != nil {
			t.Fatal(err)
		}
		if i == 4 { // all five fit; 0 was used last, 1 is the oldest
			old := time.Now().Add(-time.Hour)
			for j := range 5 {
				when := old.Add(time.Duration(j) * time.Minute)
				if err := os.Chtimes(s.Path(keys[j]), when, when); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Get(keys[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	var kept []int
	for i, k := range keys {
		if s.Has(k) {
			kept = append(kept, i)
		}
	}
	if !slices.Equal(kept, []int{0, 3, 4, 5}) {
		t.Errorf("kept %v, want the four that were used last: 0 3 4 5", kept)
	}
	if e := log.Events(); len(e) != 1 || e[0].Kind != EventEvicted {
		t.Errorf("events %v", e)
	}
}

func TestStoreLimitFromEnvironment(t *testing.T) {
	for text, want := range map[string]int64{"": DefaultStoreLimit, "0": 0, "12": 12, "3K": 3 << 10, "500M": 500 << 20, "20G": 20 << 30, "1GiB": 1 << 30, "2tb": 2 << 40} {
		t.Setenv(EnvStoreLimit, text)
		if got, err := StoreLimit(); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"-1", "much", "1X", "99999999999999T", "G"} {
		t.Setenv(EnvStoreLimit, text)
		if _, err := StoreLimit(); err == nil {
			t.Errorf("%q: accepted", text)
		}
	}
}

func TestStoreDirOrder(t *testing.T) {
	root := t.TempDir()
	t.Setenv(EnvStore, "")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(root, "cache"))
	if dir, err := StoreDir(root); err != nil || dir != filepath.Join(root, ".tlq", "store") {
		t.Errorf("in a checkout: %s, %v", dir, err)
	}
	if dir, err := StoreDir(""); err != nil || !strings.HasSuffix(dir, filepath.Join("tlq", "store")) {
		t.Errorf("elsewhere: %s, %v", dir, err)
	}
	t.Setenv(EnvStore, "/elsewhere")
	if dir, err := StoreDir(root); err != nil || dir != "/elsewhere" {
		t.Errorf("by name: %s, %v", dir, err)
	}
}

// TestStoreSurvivesKill kills a process that writes artifacts at random
// moments; whatever it leaves must read back or be absent, and the next open
// clears its litter.
func TestStoreSurvivesKill(t *testing.T) {
	if dir := os.Getenv("TLQ_TEST_STORE_WRITER"); dir != "" {
		writeForever(t, dir)
		return
	}
	dir := t.TempDir()
	for round := range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestStoreSurvivesKill$")
		cmd.Env = append(os.Environ(), "TLQ_TEST_STORE_WRITER="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(40+17*round) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	s, err := OpenStore(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("litter after opening: %v", left)
	}
	files, _ := s.files()
	if len(files) == 0 {
		t.Fatal("the writer wrote nothing: the test shows nothing")
	}
	for _, f := range files {
		if _, err := s.Get(Key(strings.TrimSuffix(filepath.Base(f.path), artifactSuffix))); err != nil {
			t.Errorf("after kill: %v", err)
		}
	}
	t.Logf("%d artifacts survive", len(files))
}

func writeForever(t *testing.T, dir string) {
	s, err := OpenStore(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	big := smallArtifact(t, 0)
	big.Tensors = append(big.Tensors, safetensors.FromFloat32("big", []int{1 << 16}, make([]float32, 1<<16)))
	for i := 0; ; i++ {
		key := NewKey(testStage, []int{os.Getpid(), i})
		if _, _, err := s.Do(context.Background(), "test", key, func(context.Context) (*Artifact, error) { return big, nil }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStoreKeepsOtherProcessesTemporaryFiles(t *testing.T) {
	s := testStore(t, 0)
	sub := filepath.Join(s.Dir(), "ab")
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	alive := filepath.Join(sub, fmt.Sprintf("%s%d-1", tempPrefix, os.Getpid()))
	dead := filepath.Join(sub, tempPrefix+"999999999-1")
	for _, path := range []string{alive, dead} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.clean(); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, s.Dir()); !slices.Equal(left, []string{alive}) {
		t.Errorf("left %v, want the living process's file only", left)
	}
}

// encodeArtifact is the contents of an artifact's file.
func encodeArtifact(key Key, a *Artifact) ([]byte, error) {
	f, err := os.CreateTemp("", "artifact-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := writeArtifact(f, key, a); err != nil {
		return nil, err
	}
	return os.ReadFile(f.Name())
}
