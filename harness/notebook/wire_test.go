package notebook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWireRoundTrip(t *testing.T) {
	key := []byte("secret")
	h := newHeader("session", "execute_request")
	frames, err := encode(key, h, map[string]any{"code": "a <b>"})
	if err != nil {
		t.Fatal(err)
	}
	if len(frames) != 6 || string(frames[0]) != "<IDS|MSG>" {
		t.Fatalf("%d frames, first %q", len(frames), frames[0])
	}
	// The signature from its definition: over the concatenated four frames.
	mac := hmac.New(sha256.New, key)
	mac.Write(bytes.Join(frames[2:], nil))
	if want := hex.EncodeToString(mac.Sum(nil)); string(frames[1]) != want {
		t.Errorf("signature %s, want %s", frames[1], want)
	}
	routed := append([][]byte{[]byte("identity"), {}}, frames...)
	routed = append(routed, []byte("a binary buffer"))
	m, err := decode(key, routed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h, m.header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if m.parent.ID != "" || !bytes.Equal(m.content, frames[5]) {
		t.Errorf("parent %v, content %s", m.parent, m.content)
	}
}

// A signature computed outside this package (Python 3, hmac.new(b"key", …,
// "sha256") over '{"msg_id":"1"}', '{}', '{}', '{}').
const foreignSignature = "fae17e3551b4fe47b90efc695f60e0688abc04206e4800a47e3dea21647ee1c1"

func TestForeignSignature(t *testing.T) {
	frames := [][]byte{[]byte(delimiter), []byte(foreignSignature), []byte(`{"msg_id":"1"}`), []byte("{}"), []byte("{}"), []byte("{}")}
	m, err := decode([]byte("key"), frames)
	if err != nil || m.header.ID != "1" {
		t.Errorf("%v, %v", m, err)
	}
}

func TestDecodeErrors(t *testing.T) {
	key := []byte("k")
	good, err := encode(key, newHeader("s", "status"), map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	change := func(i int, text string) [][]byte {
		f := slices.Clone(good)
		f[i] = []byte(text)
		return f
	}
	resigned := func(i int, text string) [][]byte {
		f := change(i, text)
		f[1] = sign(key, f[2:6])
		return f
	}
	for _, tc := range []struct {
		frames [][]byte
		want   string
	}{
		{nil, "without the delimiter"},
		{good[1:], "without the delimiter"},
		{good[:5], "4 frames"},
		{change(5, `{"a":1}`), "wrong signature"},
		{change(1, strings.ToUpper(string(good[1]))), "wrong signature"},
		{change(1, ""), "wrong signature"},
		{resigned(2, "x"), "message header"},
		{resigned(3, "[]"), "parent header"},
		{resigned(5, "{"), "not JSON"},
	} {
		if _, err := decode(key, tc.frames); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("frames %q: error %v, want one with %q", tc.frames, err, tc.want)
		}
	}
	if _, err := decode([]byte("other"), good); err == nil {
		t.Error("another key was accepted")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(delimiter + "\x00sig\x00{}\x00{}\x00{}\x00{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		frames := bytes.Split(data, []byte{0})
		if at := slices.IndexFunc(frames, func(b []byte) bool { return string(b) == delimiter }); at >= 0 && len(frames) >= at+6 {
			frames[at+1] = sign(nil, frames[at+2:at+6])
		}
		if m, err := decode(nil, frames); err == nil {
			isIdle(m)
			c := &collector{displays: displays{}}
			_ = c.add(m)
		}
	})
}
