package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// A link is the place of a line in its chain: its number, from 1, and its SHA-256 without the line end. The next line carries
// both on: `,"seq":<number>,"prev":"<hash>"}` is what every line ends with. The zero link is that before the first line.
type link struct {
	seq  uint64
	hash [sha256.Size]byte
}

func (l link) String() string { return hex.EncodeToString(l.hash[:]) }

const (
	seqField  = `,"seq":`
	prevField = `,"prev":"`
	lineEnd   = `"}`
)

// appendNext appends what the line after l ends with.
func (l link) appendNext(b []byte) []byte {
	b = append(b, seqField...)
	b = strconv.AppendUint(b, l.seq+1, 10)
	b = append(b, prevField...)
	b = hex.AppendEncode(b, l.hash[:])
	return append(b, lineEnd...)
}

// next returns the link of the line after l.
func (l link) next(line []byte) link { return link{seq: l.seq + 1, hash: sha256.Sum256(line)} }

// parseLink reads what a line says of its own number and of the line before. It takes no other spelling than that of appendNext.
func parseLink(line []byte) (seq uint64, prev [sha256.Size]byte, ok bool) {
	const hexLen = 2 * sha256.Size
	head, ok := bytes.CutSuffix(line, []byte(lineEnd))
	if !ok || len(head) < len(prevField)+hexLen {
		return 0, prev, false
	}
	head, digits := head[:len(head)-hexLen], head[len(head)-hexLen:]
	if _, err := hex.Decode(prev[:], digits); err != nil || !bytes.Equal(bytes.ToLower(digits), digits) {
		return 0, prev, false
	}
	if head, ok = bytes.CutSuffix(head, []byte(prevField)); !ok {
		return 0, prev, false
	}
	at := bytes.LastIndex(head, []byte(seqField))
	if at < 0 {
		return 0, prev, false
	}
	number := string(head[at+len(seqField):])
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil || seq == 0 || number != strconv.FormatUint(seq, 10) {
		return 0, prev, false
	}
	return seq, prev, true
}
