package notebook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// protocolVersion is the version of Jupyter's messaging protocol spoken here.
const protocolVersion = "5.3"

// delimiter stands between a message's routing frames and its signature.
const delimiter = "<IDS|MSG>"

// header is a message's header. Field names are the protocol's.
type header struct {
	ID       string `json:"msg_id"`
	Username string `json:"username"`
	Session  string `json:"session"`
	Type     string `json:"msg_type"`
	Version  string `json:"version"`
	Date     string `json:"date"`
}

// message is a received message.
type message struct {
	header  header
	parent  header // of the request that this message belongs to
	content json.RawMessage
}

// newHeader returns a header with a fresh id.
func newHeader(session, msgType string) header {
	return header{
		ID: randomID(), Username: "tlq", Session: session, Type: msgType,
		Version: protocolVersion, Date: time.Now().UTC().Format(time.RFC3339Nano),
	}
}

// randomID returns 32 random hexadecimal digits.
func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand never returns an error
	return hex.EncodeToString(b[:])
}

// sign returns the lower-case hexadecimal HMAC-SHA256 of the frames header,
// parent header, metadata and content, in this order.
func sign(key []byte, frames [][]byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, f := range frames {
		mac.Write(f)
	}
	return hex.AppendEncode(nil, mac.Sum(nil))
}

// encode returns the frames of a request: delimiter, signature, header, an
// empty parent header, empty metadata, content.
func encode(key []byte, h header, content any) ([][]byte, error) {
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	signed := [][]byte{head, []byte("{}"), []byte("{}"), body}
	return append([][]byte{[]byte(delimiter), sign(key, signed)}, signed...), nil
}

// decode reads a message from its frames, routing frames before the delimiter
// and binary buffers after the content included. A wrong signature is an error.
func decode(key []byte, frames [][]byte) (*message, error) {
	at := slices.IndexFunc(frames, func(f []byte) bool { return string(f) == delimiter })
	if at < 0 {
		return nil, fmt.Errorf("message of %d frames without the delimiter %s", len(frames), delimiter)
	}
	frames = frames[at+1:]
	if len(frames) < 5 {
		return nil, fmt.Errorf("message with %d frames after the delimiter, want at least 5", len(frames))
	}
	signed := frames[1:5]
	if !hmac.Equal(sign(key, signed), frames[0]) {
		return nil, errors.New("message with a wrong signature")
	}
	m := &message{content: json.RawMessage(signed[3])}
	if err := json.Unmarshal(signed[0], &m.header); err != nil {
		return nil, fmt.Errorf("message header: %w", err)
	}
	if err := json.Unmarshal(signed[1], &m.parent); err != nil {
		return nil, fmt.Errorf("message parent header: %w", err)
	}
	if !json.Valid(m.content) {
		return nil, fmt.Errorf("content of message %q is not JSON", m.header.Type)
	}
	return m, nil
}
