package krl

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"

	"golang.org/x/crypto/ssh"
)

// PROTOCOL.krl, sections 1 and 2.
const (
	magic         = "SSHKRL\n\x00"
	formatVersion = 1

	sectionCertificates = 1
	sectionKeys         = 2
	sectionSHA1         = 3
	sectionSignature    = 4
	sectionSHA256       = 5
	sectionExtension    = 255

	certSerialList   = 0x20
	certSerialRange  = 0x21
	certSerialBitmap = 0x22
	certKeyID        = 0x23
	certExtension    = 0x39
)

// maxBitmap bounds one bitmap, in bits, as OpenSSH does.
const maxBitmap = 1 << 24

// Parse reads the content of a file of revoked keys. As sshd does, it takes for a KRL what begins as one, and anything else for
// a plain list. A list with an error in it is no list: what it revokes beyond the error would be let in.
//
// What Parse keeps takes memory in proportion to data, which it doesn't hold on to; the caller bounds that.
func Parse(data []byte) (*List, error) {
	rest, isKRL := bytes.CutPrefix(data, []byte(magic))
	l, parse := newList(), (*List).parsePlain
	if isKRL {
		parse, data = (*List).parseKRL, rest
	}
	if err := parse(l, data); err != nil {
		return nil, err
	}
	for _, c := range l.authorities {
		c.sort()
	}
	return l, nil
}

var errShort = errors.New("the KRL is cut short")

// parseKRL reads what comes after the magic.
func (l *List) parseKRL(data []byte) error {
	r := reader{data}
	version, err := r.uint32()
	if err != nil {
		return err
	}
	if version != formatVersion {
		return fmt.Errorf("KRL format version %d is not known here, %d is", version, formatVersion)
	}
	var header [3]uint64 // version, date, flags
	for i := range header {
		if header[i], err = r.uint64(); err != nil {
			return err
		}
	}
	if _, err = r.string(); err != nil { // reserved
		return err
	}
	if l.Comment, err = r.text("comment"); err != nil {
		return err
	}
	l.Version, l.Generated = header[0], time.Unix(int64(min(header[1], math.MaxInt64)), 0).UTC()
	signed := false
	for len(r.data) > 0 {
		offset := len(magic) + len(data) - len(r.data)
		typ, body, err := r.section()
		if err == nil && signed && typ != sectionSignature {
			err = errors.New("it comes after a signature")
		}
		if err == nil {
			switch typ {
			case sectionSignature:
				signed = true
				_, err = r.string() // body was the key that signed
			default:
				err = l.section(typ, body)
			}
		}
		if err != nil {
			return fmt.Errorf("KRL section %d at byte %d: %w", typ, offset, err)
		}
	}
	return nil
}

func (l *List) section(typ byte, body []byte) error {
	switch typ {
	case sectionCertificates:
		return l.certificates(body)
	case sectionKeys:
		return each(body, func(blob []byte) error {
			l.keys[sha256.Sum256(blob)] = struct{}{}
			return nil
		})
	case sectionSHA1:
		return each(body, func(sum []byte) error {
			if len(sum) != sha1.Size {
				return fmt.Errorf("a SHA1 fingerprint of %d bytes", len(sum))
			}
			l.sha1s[[sha1.Size]byte(sum)] = struct{}{}
			return nil
		})
	case sectionSHA256:
		return each(body, func(sum []byte) error {
			if len(sum) != sha256.Size {
				return fmt.Errorf("a SHA256 fingerprint of %d bytes", len(sum))
			}
			l.sha256s[[sha256.Size]byte(sum)] = struct{}{}
			return nil
		})
	case sectionExtension:
		return extension(body)
	}
	return errors.New("not known here")
}

// certificates reads PROTOCOL.krl, section 2.
func (l *List) certificates(body []byte) error {
	r := reader{body}
	authority, err := r.string()
	if err != nil {
		return err
	}
	if len(authority) > 0 {
		key, err := ssh.ParsePublicKey(authority)
		if err != nil {
			return fmt.Errorf("key of the authority: %w", err)
		}
		authority = key.Marshal()
	}
	if _, err := r.string(); err != nil { // reserved
		return err
	}
	c := l.authorities[string(authority)]
	if c == nil {
		c = &certificates{ids: make(map[string]struct{})}
		l.authorities[string(authority)] = c
	}
	for len(r.data) > 0 {
		typ, body, err := r.section()
		if err == nil {
			err = c.section(typ, body)
		}
		if err != nil {
			return fmt.Errorf("certificate section %#x: %w", typ, err)
		}
	}
	return nil
}

func (c *certificates) section(typ byte, body []byte) error {
	r := reader{body}
	switch typ {
	case certSerialList:
		for len(r.data) > 0 {
			serial, err := r.uint64()
			if err == nil {
				err = c.add(serials{serial, serial})
			}
			if err != nil {
				return err
			}
		}
		return nil
	case certSerialRange:
		lo, err := r.uint64()
		if err != nil {
			return err
		}
		hi, err := r.uint64()
		if err == nil {
			err = r.end()
		}
		if err == nil {
			err = c.add(serials{lo, hi})
		}
		return err
	case certSerialBitmap:
		return c.bitmap(r)
	case certKeyID:
		for len(r.data) > 0 {
			id, err := r.text("key id")
			if err != nil {
				return err
			}
			c.ids[id] = struct{}{}
		}
		return nil
	case certExtension:
		return extension(body)
	}
	return errors.New("not known here")
}

func (c *certificates) add(s serials) error {
	if s.lo == 0 || s.lo > s.hi {
		return fmt.Errorf("no serials: %d to %d", s.lo, s.hi)
	}
	c.ranges = append(c.ranges, s)
	return nil
}

func (c *certificates) bitmap(r reader) error {
	lo, err := r.uint64()
	if err != nil {
		return err
	}
	mpint, err := r.string() // RFC 4251, section 5
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return err
	}
	if len(mpint) > 0 && mpint[0]&0x80 != 0 {
		return errors.New("a bitmap is a negative number")
	}
	set := bytes.TrimLeft(mpint, "\x00")
	if len(set) == 0 {
		return nil
	}
	n := uint64(len(set)-1)*8 + uint64(bits.Len8(set[0]))
	switch {
	case n > maxBitmap:
		return fmt.Errorf("a bitmap of %d bits", n)
	case n-1 > math.MaxUint64-lo:
		return errors.New("a bitmap goes beyond the last serial")
	case lo == 0 && set[len(set)-1]&1 == 1:
		return errors.New("a bitmap revokes serial 0")
	}
	c.bitmaps = append(c.bitmaps, bitmap{lo, bytes.Clone(set)})
	return nil
}

// extension reads PROTOCOL.krl, sections 2.5 and 5. None is known, so those must do that need not be.
func extension(body []byte) error {
	r := reader{body}
	name, err := r.text("extension name")
	if err != nil {
		return err
	}
	critical, err := r.byte()
	if err != nil {
		return err
	}
	if _, err = r.string(); err == nil {
		err = r.end()
	}
	if err == nil && critical != 0 {
		err = fmt.Errorf("extension %.64q is critical and not known here", name)
	}
	return err
}

// each calls f with every string of body.
func each(body []byte, f func([]byte) error) error {
	for r := (reader{body}); len(r.data) > 0; {
		s, err := r.string()
		if err == nil {
			err = f(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// reader reads the types of RFC 4251, section 5. What it returns lies in its data.
type reader struct{ data []byte }

func (r *reader) take(n int) ([]byte, error) {
	if n > len(r.data) {
		return nil, errShort
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b, nil
}

func (r *reader) byte() (byte, error) {
	b, err := r.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func (r *reader) uint32() (uint32, error) {
	b, err := r.take(4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

func (r *reader) uint64() (uint64, error) {
	b, err := r.take(8)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b), nil
}

func (r *reader) string() ([]byte, error) {
	n, err := r.uint32()
	if err != nil {
		return nil, err
	}
	if uint64(n) > uint64(len(r.data)) {
		return nil, errShort
	}
	return r.take(int(n))
}

// text is a string without NUL, but for one at its end, which is dropped, as OpenSSH does.
func (r *reader) text(what string) (string, error) {
	b, err := r.string()
	if err != nil {
		return "", err
	}
	b = bytes.TrimSuffix(b, []byte{0})
	if bytes.IndexByte(b, 0) >= 0 {
		return "", fmt.Errorf("a NUL in the %s", what)
	}
	return string(b), nil
}

// section is a type and what belongs to it.
func (r *reader) section() (typ byte, body []byte, err error) {
	if typ, err = r.byte(); err != nil {
		return 0, nil, err
	}
	body, err = r.string()
	return typ, body, err
}

func (r *reader) end() error {
	if len(r.data) > 0 {
		return fmt.Errorf("%d bytes too many", len(r.data))
	}
	return nil
}
